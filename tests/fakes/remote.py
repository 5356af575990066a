"""A far side in memory: it counts what it is asked, fails on request, and waits at a gate."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Protocol

import numpy as np

from hfnfs.errors import RemoteEntryMissing
from hfnfs.remote import ContentId, Kind, Listing, Piece, RemoteEntry, Revision

MTIME_NS = 1_600_000_000_000_000_000


class Bytes(Protocol):
    """What a file's content is made of; `bytes`, or something as large as wanted."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


class Pattern:
    """Bytes of any size that take no memory: each 8 say at which offset they lie."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        start, stop, _ = part.indices(self._size)
        offsets = np.arange(start // 8 * 8, stop, 8, dtype=">u8")
        return offsets.tobytes()[start % 8 :][: stop - start]


class Gate:
    """Lets through what comes, or only as many as it is told to."""

    def __init__(self) -> None:
        self._free: int | None = None  # None: open
        self._moved = asyncio.Event()
        self.waiting = 0

    def close(self) -> None:
        self._free = 0

    def open(self) -> None:
        self._free = None
        self._moved.set()

    def let_through(self, count: int) -> None:
        self._free = (self._free or 0) + count
        self._moved.set()

    async def passed(self) -> None:
        """Return when it is one's turn."""
        self.waiting += 1
        try:
            while self._free == 0:
                self._moved.clear()
                await self._moved.wait()
        finally:
            self.waiting -= 1
        if self._free is not None:
            self._free -= 1


class FakeRemote:
    """hfnfs.remote.Remote over a mapping of paths to bytes.

    `failures[method]` is raised by the next calls of that method, one each. A stream passes
    `pieces_gate` before each piece, every other request `gate`. `opened` holds the ranges asked
    for, `asked` the other requests, `streaming` counts the streams that have not ended.
    """

    immutable = True

    def __init__(self, files: Mapping[str, Bytes], *, piece_bytes: int = 64 * 1024) -> None:
        self.files = dict(files)
        self.piece_bytes = piece_bytes
        self.finds = True  # False: `find` says "list instead"
        self.gate = Gate()
        self.pieces_gate = Gate()
        self.asked: list[tuple[str, str]] = []
        self.opened: list[tuple[str, int, int]] = []
        self.failures: dict[str, list[Exception]] = {}
        self.fail_after_bytes = 0  # a failing stream gives so many bytes before
        self.end_after_bytes: int | None = None  # streams end early, without a word
        self.bytes_sent: Counter[str] = Counter()
        self.streaming = 0

    def content(self, path: str) -> ContentId:
        """The content of a file; files of one path and size share it."""
        size = len(self.files[path])
        digest = blake2b(f"{path} {size}".encode(), digest_size=20).hexdigest()
        return ContentId("git-" + digest, size, path, "main")

    async def revision(self) -> Revision:
        await self._request("revision", "")
        return Revision("main", MTIME_NS)

    async def list(self, directory: str) -> Listing:
        await self._request("list", directory)
        base = directory + "/" if directory else ""
        entries: dict[str, RemoteEntry] = {}
        for path in self.files:
            if path.startswith(base):
                name = path[len(base) :].partition("/")[0]
                entries[name] = self._entry(base + name)
        if directory and not entries:
            raise RemoteEntryMissing(directory)
        return Listing("main", entries)

    async def find(self, paths: Sequence[str]) -> Mapping[str, RemoteEntry | None] | None:
        await self._request("find", " ".join(sorted(paths)))
        if not self.finds:
            return None
        found: dict[str, RemoteEntry | None] = {}
        for path in paths:
            is_directory = any(other.startswith(path + "/") for other in self.files)
            if not is_directory:  # those are left out, as a bucket does
                found[path] = self._entry(path) if path in self.files else None
        return found

    async def open(self, content: ContentId, start: int, end: int) -> AsyncIterator[Piece]:
        data = self._bytes_of(content)
        self.opened.append((content.path, start, end))
        failure = self._failure("open")
        first = start // self.piece_bytes * self.piece_bytes
        stop = min(-(-end // self.piece_bytes) * self.piece_bytes, content.size)
        self.streaming += 1
        sent = 0
        try:
            for offset in range(first, stop, self.piece_bytes):
                await self.pieces_gate.passed()
                if failure is not None and sent >= self.fail_after_bytes:
                    raise failure
                if self.end_after_bytes is not None and sent >= self.end_after_bytes:
                    return
                piece = data[offset : min(offset + self.piece_bytes, stop)]
                sent += len(piece)
                self.bytes_sent[content.path] += len(piece)
                yield Piece(offset, piece)
            if failure is not None:
                raise failure
        finally:
            self.streaming -= 1

    def _bytes_of(self, content: ContentId) -> Bytes:
        return self.files[content.path]

    async def _request(self, method: str, of: str) -> None:
        self.asked.append((method, of))
        failure = self._failure(method)
        await self.gate.passed()
        if failure is not None:
            raise failure

    def _failure(self, method: str) -> Exception | None:
        with suppress(KeyError, IndexError):
            return self.failures[method].pop(0)
        return None

    def _entry(self, path: str) -> RemoteEntry:
        name = path.rpartition("/")[2]
        if path in self.files:
            return RemoteEntry(name, Kind.FILE, self.content(path), MTIME_NS)
        return RemoteEntry(name, Kind.DIRECTORY)
