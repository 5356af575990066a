"""A repo mounted at a branch or tag: pinned to one commit at a time, and each adopted as a whole.

    pinned --probe: another commit--> fetched: what is shown, as it is there --all of it--> pinned
                                         │ no answer: nothing has changed, and later again

What is fetched is shown in one step, in which the remote becomes that of the new commit: whoever
asked the old one asks again. Directories beyond what can be fetched in time are not listed any
more in that step, so nobody sees two commits side by side. Bytes are by their hash, or by the
commit that named them, so reads go on.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from hfnfs.errors import HfnfsError, RemoteEntryMissing, RemoteError
from hfnfs.remote import ContentId, Listing, Piece, Remote, RemoteEntry, Revision
from hfnfs.transfer.loaded import loaded
from hfnfs.transfer.poll import Rhythm
from hfnfs.transfer.side_by_side import side_by_side
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.merge import changes
from hfnfs.vfs.switching import There, switch
from hfnfs.vfs.volume import Volume

# Directories, and entries of those that differ, that are shown in the step itself: about 0.1 s.
_DIRECTORIES_MAX: Final = 2000
_ENTRIES_MAX: Final = 20_000
# Those that were looked at meanwhile are fetched, too, so often.
_PASSES_MAX: Final = 3
# Entries that are compared before others are served.
_SLICE: Final = 256

T = TypeVar("T")
_log = logging.getLogger(__name__)


class BranchRemote:
    """Remote over one that is pinned to a commit, and later another one."""

    immutable = True  # what is shown is told when it is not so any more

    def __init__(self, pinned: Remote) -> None:
        self._pinned = pinned

    def become(self, pinned: Remote) -> None:
        """Answer from another commit; who waits for the old one's answer gets the new one's."""
        self._pinned = pinned

    async def revision(self) -> Revision:
        """The commit it is pinned to."""
        return await self._pinned.revision()

    async def list(self, directory: str) -> Listing:
        """All entries of `directory`. Raises RemoteEntryMissing."""
        return await self._of_now(lambda pinned: pinned.list(directory))

    async def find(self, paths: Sequence[str]) -> Mapping[str, RemoteEntry | None] | None:
        """The entries of `paths`."""
        return await self._of_now(lambda pinned: pinned.find(paths))

    def open(self, content: ContentId, start: int, end: int) -> AsyncIterator[Piece]:
        """Pieces that cover [start, end) of `content`, of whatever commit."""
        return self._pinned.open(content, start, end)

    async def _of_now(self, ask: Callable[[Remote], Awaitable[T]]) -> T:
        while True:
            pinned = self._pinned
            try:
                answer = await ask(pinned)
            except RemoteError:
                if pinned is self._pinned:
                    raise
                continue
            if pinned is self._pinned:
                return answer


class Branch(NamedTuple):
    """A branch or tag that is mounted, and how to find out about its commits."""

    remote: BranchRemote
    probe: Callable[[], Awaitable[Revision]]  # what the branch is at now
    at: Callable[[Revision], Awaitable[Remote]]  # the repo at a commit, ready for reads
    remember: Callable[[Revision], Awaitable[None]]  # for later mounts


class Follow:
    """Adopts what is committed to a branch that is mounted."""

    def __init__(self, branch: Branch, volume: Volume, rhythm: Rhythm) -> None:
        self._branch = branch
        self._volume = volume
        self._interval_s, self._at_once, self._clock, self._pause = rhythm
        self._said: set[type[Exception]] = set()

    async def run(self) -> None:
        """Do so for as long as the mount lives."""
        while self._interval_s:
            await self._pause(self._interval_s)
            try:
                await self.turn()
                self._said.clear()
            except HfnfsError as error:
                level = logging.DEBUG if type(error) in self._said else logging.WARNING
                self._said.add(type(error))
                _log.log(level, "a new commit cannot be looked for, or not shown yet: %s", error)
            except Exception:  # a rim: a bug costs freshness, not the mount
                _log.exception("following the branch failed")

    async def turn(self) -> None:
        """Look for a new commit, and show it. Raises RemoteError, and then nothing has changed."""
        revision = await self._branch.probe()
        if revision.token == self._volume.revision.token:
            return
        remote = await self._branch.at(revision)
        there = await _Fetching(self._volume, remote, revision, self._at_once).all()
        self._branch.remote.become(remote)
        switch(self._volume.tree, there)
        self._volume.revision = revision
        _log.info("now at commit %s", revision.token)
        await self._branch.remember(revision)


class _Fetching:
    """What is shown, as another commit has it."""

    def __init__(self, volume: Volume, remote: Remote, revision: Revision, at_once: int) -> None:
        self._tree = volume.tree
        self._remote = remote
        self._revision = revision
        self._at_once = at_once
        self._there: dict[int, There] = {}
        self._seen: set[int] = set()
        self._entries = 0  # of what is kept of them

    async def all(self) -> Mapping[int, There]:
        """What each directory has, as far as there is room for it. Raises RemoteError."""
        for _ in range(_PASSES_MAX):
            found = await loaded(self._tree)
            missing = (each for each in found if each.fileid not in self._seen)
            some = list(islice(missing, _DIRECTORIES_MAX - len(self._seen)))
            if not some:
                break
            self._seen.update(each.fileid for each in some)
            await side_by_side(some, self._fetch, at_once=self._at_once)
        return self._there

    async def _fetch(self, directory: Directory) -> None:
        path = self._tree.path(directory)
        if directory.listed_at is None:
            names = await self._named(directory, path)
            if names is not None:
                self._keep(directory, names, len(names))
            return
        try:
            listing = await self._remote.list(path)
        except RemoteEntryMissing:
            if directory.parent is not None:
                return  # the one above shows it no more
            listing = Listing(self._revision.token, {})
        if await _is_shown(directory, listing):
            self._there[directory.fileid] = None
        else:
            self._keep(directory, listing, len(listing.entries))

    async def _named(
        self, directory: Directory, path: str
    ) -> Mapping[bytes, RemoteEntry | None] | None:
        """The files that somebody asked for by name; None if only a listing can tell."""
        shown = directory.children
        names = {n for n in (*directory.asked, *shown) if not isinstance(shown.get(n), Directory)}
        paths = dict(_paths(path, names))
        found = await self._remote.find(list(paths)) if paths else {}
        return None if found is None else {paths[p]: e for p, e in found.items() if p in paths}

    def _keep(self, directory: Directory, there: There, entries: int) -> None:
        self._entries += entries
        if self._entries <= _ENTRIES_MAX:
            self._there[directory.fileid] = there


def _paths(directory: str, names: set[bytes]) -> Iterator[tuple[str, bytes]]:
    """The paths of names that a far side can have at all."""
    for name in names:
        try:
            text = name.decode()
        except UnicodeDecodeError:
            continue
        yield f"{directory}/{text}" if directory else text, name


async def _is_shown(directory: Directory, listing: Listing) -> bool:
    """Whether a directory shows just what the listing says."""
    entries = iter(listing.entries.values())
    while batch := list(islice(entries, _SLICE)):
        found = changes(directory.children, batch)
        if found.appeared or found.replaced or found.gone:
            return False
        await asyncio.sleep(0)  # others are served in between
    return len(directory.children) == len(listing.entries)
