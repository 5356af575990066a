"""A far side whose names, once told, are kept on disk.

What cannot change is asked once and for ever: listings and entries of a commit are answered from
disk. What can (a bucket) is asked each time; only while the far side gives no answer at all is
what it said last given in its place, as an error that has it, so that nobody takes it for how
things are. A refusal (401, 403, 404) is an answer.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import NamedTuple

from hfnfs.clock import Clock
from hfnfs.disk.names import KeptNames
from hfnfs.errors import CacheUnusable, NoSpace, Offline, RemoteUnavailable
from hfnfs.remote import ContentId, Listing, Piece, Remote, RemoteEntry, Revision

Found = Mapping[str, RemoteEntry | None]

UNREACHABLE = (RemoteUnavailable, Offline)

_log = logging.getLogger(__name__)


class Recalled(RemoteUnavailable):
    """No answer, and what it was the last time."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))


class RecalledListing(Recalled):
    """Of a directory."""

    def __init__(self, error: Exception, listing: Listing) -> None:
        super().__init__(error)
        self.listing = listing


class RecalledNames(Recalled):
    """Of single paths; None: all of their directory may be recalled."""

    def __init__(self, error: Exception, found: Found | None) -> None:
        super().__init__(error)
        self.found = found


class _Answer(NamedTuple):
    """An answer of `find`."""

    found: Found | None


class KeptRemote:
    """Remote over another one and what is kept of it.

    `revision` is the commit that the other one is pinned to, or "" if it is not; `folder` is the
    mounted folder, as names are kept by their whole path.
    """

    def __init__(
        self, remote: Remote, names: KeptNames, *, revision: str, folder: str, clock: Clock
    ) -> None:
        self.immutable = remote.immutable
        self._remote = remote
        self._names = names
        self._revision = revision
        self._folder = folder
        self._clock = clock
        self._is_behind = False  # shows what was, and has said so
        self._cannot_keep = False

    async def revision(self) -> Revision:
        """What the far side has now."""
        return await self._remote.revision()

    def open(self, content: ContentId, start: int, end: int) -> AsyncIterator[Piece]:
        """Pieces that cover [start, end) of `content`."""
        return self._remote.open(content, start, end)

    async def list(self, directory: str) -> Listing:
        """All entries of `directory`. Raises RemoteEntryMissing, RecalledListing."""
        if self.immutable and (kept := await self._kept_listing(directory)) is not None:
            return kept
        try:
            listing = await self._remote.list(directory)
        except UNREACHABLE as error:
            kept = None if self.immutable else await self._kept_listing(directory)
            if kept is None:
                raise
            self._show_what_was(error)
            raise RecalledListing(error, kept) from error
        self._is_reached()
        where = self._whole(directory)
        await self._keep(
            lambda now_ns: self._names.keep_listing(self._revision, where, listing, now_ns)
        )
        return listing

    async def find(self, paths: Sequence[str]) -> Found | None:
        """The entries of `paths`, None for what is not there; None in all: list instead.

        Raises RecalledNames.
        """
        if self.immutable and (kept := await self._kept_entries(paths)) is not None:
            return kept.found
        try:
            found = await self._remote.find(paths)
        except UNREACHABLE as error:
            kept = None if self.immutable else await self._kept_entries(paths)
            if kept is None:
                raise
            self._show_what_was(error)
            raise RecalledNames(error, kept.found) from error
        self._is_reached()
        if found:
            await self._keep(lambda now_ns: self._keep_entries(found, now_ns))
        return found

    # --------------------------------------------------------------- what is kept

    async def _kept_listing(self, directory: str) -> Listing | None:
        where = self._whole(directory)
        kept = await asyncio.to_thread(self._names.listing, self._revision, where)
        return None if kept is None else kept.listing

    async def _kept_entries(self, paths: Sequence[str]) -> _Answer | None:
        """What `find` can say of the paths by what is kept; None: nothing."""
        return await asyncio.to_thread(self._answer, paths)

    def _answer(self, paths: Sequence[str]) -> _Answer | None:
        found: dict[str, RemoteEntry | None] = {}
        for path in paths:
            whole = self._whole(path)
            if self._names.has_listing(self._revision, whole.rpartition("/")[0]):
                return _Answer(None)
            kept = self._names.entry(self._revision, whole)
            if kept is None:
                return None
            found[path] = kept.entry
        return _Answer(found)

    def _keep_entries(self, found: Found, now_ns: int) -> None:
        for path, entry in found.items():
            self._names.keep_entry(self._revision, self._whole(path), entry, now_ns)

    async def _keep(self, write: Callable[[int], None]) -> None:
        """Write in a thread; a disk that refuses costs only what it would have kept."""
        try:
            await asyncio.to_thread(write, self._clock.wall_ns())
        except (CacheUnusable, NoSpace) as error:
            if not self._cannot_keep:
                _log.warning("names cannot be kept for later: %s", error)
            self._cannot_keep = True
        else:
            self._cannot_keep = False

    def _whole(self, path: str) -> str:
        return "/".join(filter(None, (self._folder, path)))

    # ------------------------------------------------------------------- telling

    def _show_what_was(self, error: Exception) -> None:
        if not self._is_behind:
            _log.warning("showing names as they were when last asked for: %s", error)
        self._is_behind = True

    def _is_reached(self) -> None:
        if self._is_behind:
            _log.warning("the Hub answers again: names are up to date")
        self._is_behind = False


class NoRemote:
    """A far side that must not be asked: all that is not kept is Offline."""

    def __init__(self, name: str, revision: Revision, *, immutable: bool) -> None:
        self.immutable = immutable
        self._name = name
        self._revision = revision

    async def revision(self) -> Revision:
        """What was there when it was last asked."""
        return self._revision

    async def list(self, directory: str) -> Listing:
        """Raise Offline."""
        raise self._offline(f"what is in {directory or 'it'!r}")

    async def find(self, paths: Sequence[str]) -> Found | None:
        """Raise Offline."""
        raise self._offline(f"{paths[0]!r}")

    async def open(self, content: ContentId, start: int, end: int) -> AsyncIterator[Piece]:
        """Raise Offline."""
        raise self._offline(f"[{start}, {end}) of {content.path or content.key}")
        yield  # an async generator, as the Protocol wants it

    def _offline(self, what: str) -> Offline:
        return Offline(
            f"{self._name}: {what} is not cached, and the Hub is not asked because of "
            "HF_HUB_OFFLINE or --offline"
        )
