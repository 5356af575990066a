"""Bytes that `hf download` already brought to this machine, used in place of the far side's.

huggingface_hub keeps blobs by their sha256 or git id. One is a candidate for a content of its size
(and, of plain files, its name), and is used once all of it was found to have the content's own
hash; that is remembered for as long as the file is the same (inode, size, time of change). Blobs
are read, never mapped or changed: others may truncate them, and what is short is not used.

    candidate --hash, in a thread, one at a time--> good: read from now on
                                                --> another: never looked at again
"""

import asyncio
import logging
import os
import re
import stat
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final, NamedTuple

from hfnfs.clock import Clock
from hfnfs.config import MIB
from hfnfs.disk.records import Records
from hfnfs.errors import CacheUnusable, NoSpace
from hfnfs.remote import ContentId, Listing, Piece, Remote, RemoteEntry, Revision
from hfnfs.transfer.flight import closing_stream
from hfnfs.transfer.single_flight import SingleFlight
from hfnfs.transfer.verify import hashed

# The directory is looked at again after so long.
LOOK_EVERY_S: Final = 10.0
# A read waits so long for a blob to be hashed; then it goes to the far side, the hashing goes on.
PATIENCE_S: Final = 3.0
_PIECE_BYTES: Final = MIB
_NAME: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

_log = logging.getLogger(__name__)


class Blob(NamedTuple):
    """A file, and what it was when it was looked at; another one when that has changed."""

    path: str
    device: int
    inode: int
    size: int
    modified_ns: int


class _Changed(Exception):
    """The blob is not what it was when it was looked at."""


class _Candidate(NamedTuple):
    content: ContentId
    blob: Blob

    @property
    def record(self) -> tuple[str, ...]:
        """What its key is remembered by: there is one of each kind."""
        kind = self.content.key.partition("-")[0]
        return kind, *(str(part) for part in self.blob)


class BlobRemote:
    """Remote over another one, bytes from local blobs where there are any."""

    def __init__(
        self,
        remote: Remote,
        directory: Path,
        records: Records,
        clock: Clock,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self.immutable = remote.immutable
        self._remote = remote
        self._directory = directory
        self._records = records
        self._clock = clock
        self._looked_at: float | None = None
        self._by_size: dict[int, list[Blob]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._hash: SingleFlight[_Candidate, str] = SingleFlight(tasks, self._hash_now)

    async def revision(self) -> Revision:
        """What the far side has now."""
        return await self._remote.revision()

    async def list(self, directory: str) -> Listing:
        """All entries of `directory`. Raises RemoteEntryMissing."""
        return await self._remote.list(directory)

    async def find(self, paths: Sequence[str]) -> Mapping[str, RemoteEntry | None] | None:
        """The entries of `paths`."""
        return await self._remote.find(paths)

    async def open(self, content: ContentId, start: int, end: int) -> AsyncGenerator[Piece, None]:
        """Pieces that cover [start, end) of `content`."""
        blob = await self._blob_of(content) if start < end else None
        if blob is not None:
            try:
                async with aclosing(_read(blob, start, end)) as pieces:
                    async for piece in pieces:
                        start = piece.offset + len(piece.data)
                        yield piece
                return
            except (OSError, _Changed) as error:
                _log.debug("%s is not used any more: %s", blob.path, error)
                self._looked_at = None
        async with closing_stream(self._remote.open(content, start, end)) as rest:
            async for offset, data in rest:
                # A stream begins with a whole chunk, a part of which may have been given.
                skipped = max(start - offset, 0) if blob is not None else 0
                yield Piece(offset + skipped, memoryview(data)[skipped:])

    async def _blob_of(self, content: ContentId) -> Blob | None:
        """A blob that has the content's bytes, as far as that is known in time."""
        now = self._clock.now()
        if self._looked_at is None or now - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = now
            self._by_size = await asyncio.to_thread(_blobs_in, self._directory)
        candidates = [
            _Candidate(content, blob)
            for blob in self._by_size.get(content.size, ())
            if content.xet_hash is not None or content.key == f"git-{Path(blob.path).name}"
        ]
        keys = await asyncio.to_thread(lambda: [self._known_key(c) for c in candidates])
        for candidate, key in zip(candidates, keys, strict=True):
            if key == content.key:
                return candidate.blob
        unknown = [c for c, key in zip(candidates, keys, strict=True) if key is None]
        try:
            async with asyncio.timeout(PATIENCE_S):
                for candidate in unknown:
                    if await self._hash(candidate) == content.key:
                        return candidate.blob
        except TimeoutError:
            _log.debug("%s: its blob is still being hashed", content.key)
        return None

    def _known_key(self, candidate: _Candidate) -> str | None:
        known = self._records.get(*candidate.record)
        return None if known is None else str(known.value)

    async def _hash_now(self, candidate: _Candidate) -> str:
        """The key that the blob's bytes have, of the content's kind; "" if it has changed."""
        async with self._one_at_a_time:
            try:
                key = await hashed(candidate.content, _pieces(candidate.blob))
            except (OSError, _Changed) as error:
                _log.debug("%s cannot be used: %s", candidate.blob.path, error)
                return ""
        try:
            now_ns = self._clock.wall_ns()
            await asyncio.to_thread(self._records.put, candidate.record, key, now_ns)
        except (CacheUnusable, NoSpace) as error:
            _log.warning("%s has to be hashed again: %s", candidate.blob.path, error)
        return key


async def _read(blob: Blob, start: int, end: int) -> AsyncGenerator[Piece, None]:
    """Pieces of [start, end). Raises OSError, _Changed."""
    fd = await asyncio.to_thread(_opened, blob)
    try:
        for offset in range(start, end, _PIECE_BYTES):
            size = min(_PIECE_BYTES, end - offset)
            yield Piece(offset, await asyncio.to_thread(_part, fd, blob, offset, size))
    finally:
        os.close(fd)


def _pieces(blob: Blob) -> Iterator[memoryview]:
    """All of it. Raises OSError, _Changed."""
    fd = _opened(blob)
    try:
        for offset in range(0, blob.size, _PIECE_BYTES):
            size = min(_PIECE_BYTES, blob.size - offset)
            yield memoryview(_part(fd, blob, offset, size))
    finally:
        os.close(fd)


def _opened(blob: Blob) -> int:
    fd = os.open(blob.path, _OPEN)
    try:
        _require_same(fd, blob)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _part(fd: int, blob: Blob, offset: int, size: int) -> bytes:
    data = os.pread(fd, size, offset)
    _require_same(fd, blob)
    if len(data) != size:
        raise _Changed(f"{len(data)} bytes instead of {size}")
    return data


def _require_same(fd: int, blob: Blob) -> None:
    if _seen(blob.path, os.fstat(fd)) != blob:
        raise _Changed("it was changed")


def _blobs_in(directory: Path) -> dict[int, list[Blob]]:
    """Files that are blobs by their name, by size; none of a directory that is not there."""
    found: dict[int, list[Blob]] = {}
    try:
        for entry in os.scandir(directory):
            status = entry.stat(follow_symlinks=False)
            if _NAME.fullmatch(entry.name) and stat.S_ISREG(status.st_mode):
                found.setdefault(status.st_size, []).append(_seen(entry.path, status))
    except FileNotFoundError:
        return {}
    except OSError as error:
        _log.warning("%s: blobs in it are not used: %s", directory, error.strerror)
    return found


def _seen(path: str, status: os.stat_result) -> Blob:
    return Blob(path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
