"""Whole files are compared with their hash once all of their bytes have come.

A chunk carries no checksum of its own, so what storage, a proxy or a bug altered on the way is
found only in the whole. It costs about 1.5 s of one core for a GiB, so it is done in a thread,
one file at a time, and not before a file has been quiet for a while. What is wrong is dropped,
to be fetched again; what was evicted meanwhile is left alone until it comes again.

    landed --quiet for EVERY_S--> all there? --no--> wait for more to land
                                             --yes--> hash --right--> done
                                                           --wrong--> error, forgotten
"""

import asyncio
import hashlib
import logging
import threading
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from hfnfs.config import MIB
from hfnfs.errors import HfnfsError
from hfnfs.remote import ContentId
from hfnfs.vfs.ports import Extents
from hfnfs.xet.whole import whole_hash

EVERY_S: Final = 1.0
_STEP_BYTES: Final = MIB
_LOOK_BYTES: Final = 64 * MIB  # presence is asked for in such parts
_CONTENTS_MAX: Final = 4096  # of those beyond it is forgotten how far they were there
_GIT_ID_DIGITS: Final = 40

_log = logging.getLogger(__name__)


class Forgetful(Extents, Protocol):
    """Extents that can drop a content."""

    def forget(self, content: ContentId) -> None:
        """Drop all blocks of a content whose bytes turned out to be wrong; blocks."""
        ...


class Watched:
    """Extents that tell which contents bytes were added to, in whatever thread."""

    def __init__(self, extents: Extents, verifier: "Verifier") -> None:
        self.read = extents.read
        self.has = extents.has
        self.gap = extents.gap
        self.make_resident = extents.make_resident
        self.pin = extents.pin
        self.unpin = extents.unpin
        self._extents = extents
        self._verifier = verifier

    def add(self, content: ContentId, offset: int, data: bytes | memoryview) -> None:
        """Keep whole blocks, and tell."""
        self._extents.add(content, offset, data)
        self._verifier.landed(content)


class Verifier:
    """Follows what lands, and verifies what is complete."""

    def __init__(self, extents: Forgetful) -> None:
        self._extents = extents
        self._fresh: set[ContentId] = set()  # bytes of it landed since the last round
        self._lock = threading.Lock()
        self._due: set[ContentId] = set()  # bytes of it landed before
        # All before this offset was there when it was looked at; longest ago first.
        self._reached: dict[ContentId, int] = {}

    def watched(self) -> Watched:
        """The extents, for those who add to them."""
        return Watched(self._extents, self)

    def landed(self, content: ContentId) -> None:
        """Take in that bytes of it were added; from any thread."""
        with self._lock:
            self._fresh.add(content)

    async def run(self) -> None:
        """Verify for ever."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.round()
            except HfnfsError as error:
                _log.warning("the cache cannot be verified: %s", error)
            except Exception:  # a rim: a bug costs this check, not the mount
                _log.exception("verifying the cache failed")

    async def round(self) -> None:
        """Verify what is complete and was quiet since the last round."""
        with self._lock:
            fresh, self._fresh = self._fresh, set()
        quiet, self._due = self._due - fresh, fresh
        for content in quiet:
            reached = self._reached.pop(content, 0)
            reached = await asyncio.to_thread(self._reach, content, reached)
            if reached == content.size:
                await self._verify(content)
                continue
            self._reached[content] = reached
            if len(self._reached) > _CONTENTS_MAX:
                del self._reached[next(iter(self._reached))]

    def _reach(self, content: ContentId, offset: int) -> int:
        """Up to where all is there, known to be so up to `offset`."""
        while offset < content.size:
            stop = min(offset + _LOOK_BYTES, content.size)
            if not self._extents.has(content, offset, stop):
                break
            offset = stop
        return offset

    async def _verify(self, content: ContentId) -> None:
        """Compare it with its hash."""
        try:
            found = await hashed(content, self._pieces(content))
        except _Absent:
            return
        if found == content.key:
            _log.debug("%s: verified", content.key)
            return
        await asyncio.to_thread(self._extents.forget, content)
        _log.error(
            "%s: its bytes have another hash (%s): dropped, to be fetched again", content.key, found
        )

    def _pieces(self, content: ContentId) -> Iterator[memoryview]:
        for start in range(0, content.size, _STEP_BYTES):
            end = min(start + _STEP_BYTES, content.size)
            self._extents.pin(content, start, end)
            try:
                piece = self._extents.read(content, start, end)
                if piece is None:
                    self._extents.make_resident(content, start, end)
                    piece = self._extents.read(content, start, end)
            finally:
                self._extents.unpin(content, start, end)
            if piece is None:
                raise _Absent
            yield piece


class _Absent(Exception):
    """It is not all there any more."""


class _Unwanted(Exception):
    """Nobody waits for the hash any more."""


async def hashed(content: ContentId, pieces: Iterator[memoryview]) -> str:
    """What key_of gives, from a thread; who is cancelled ends that too."""
    is_wanted = True

    def while_wanted() -> Iterator[memoryview]:
        for piece in pieces:
            if not is_wanted:
                raise _Unwanted
            yield piece

    try:
        return await asyncio.to_thread(key_of, content, while_wanted())
    finally:
        is_wanted = False


def key_of(content: ContentId, pieces: Iterable[memoryview]) -> str:
    """The key that these bytes have, of the kind that the content's is; blocks."""
    if content.xet_hash is not None:
        return f"xet-{whole_hash(pieces, content.size)}"
    is_git = len(content.key) == len("git-") + _GIT_ID_DIGITS
    digest = hashlib.sha1(b"blob %d\0" % content.size) if is_git else hashlib.sha256()  # noqa: S324  # git's choice
    for piece in pieces:
        digest.update(piece)
    return f"git-{digest.hexdigest()}"
