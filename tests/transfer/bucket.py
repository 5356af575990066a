"""A bucket in memory: it takes changes, fails and waits on request, and counts requests."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path

from hfnfs.errors import FeedUnavailable, RemoteEntryMissing, RemoteError, RemoteUnavailable
from hfnfs.remote import (
    EMPTY,
    ContentId,
    FeedEvent,
    Kind,
    Listing,
    Operation,
    Piece,
    Put,
    RemoteEntry,
    Revision,
)
from tests.fakes.remote import Gate

MTIME_NS = 1_600_000_000_123_000_000
_KEY_BYTES = 32


def content_of(data: bytes) -> ContentId:
    """The content that these bytes are; short ones can be read from its key."""
    if not data:
        return EMPTY
    short = len(data) <= _KEY_BYTES
    return ContentId(
        f"xet-{(data.hex() if short else blake2b(data, digest_size=32).hexdigest()):0>64}",
        len(data),
    )


class FakeBucket:
    """hfnfs.remote.WritableRemote over a mapping of paths to bytes.

    `down` fails every request. `bad_bytes` fail to go up, `stuck_bytes` go up never. `bad_paths`
    are refused in a batch. `lost` batches are done, and get no answer. Batches pass `gate`, uploads
    `upload_gate`.
    """

    immutable = False

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.mtimes: dict[str, int] = {}
        self.blobs: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        self.uploads: list[list[bytes]] = []
        self.batches: list[list[Operation]] = []
        self.shown: list[set[str]] = []  # names after each operation
        self.gate, self.upload_gate = Gate(), Gate()
        self.down: RemoteError | None = None
        self.bad_bytes: dict[bytes, RemoteError] = {}
        self.stuck_bytes: set[bytes] = set()
        self.bad_paths: dict[str, RemoteError] = {}
        self.lost = 0
        self.uploading = 0

    async def revision(self) -> Revision:
        self._ask("revision")
        return Revision("now", MTIME_NS)

    async def list(self, directory: str) -> Listing:
        self._ask("list")
        base = f"{directory}/" if directory else ""
        entries: dict[str, RemoteEntry] = {}
        for path in self.files:
            if path.startswith(base):
                name, _, below = path[len(base) :].partition("/")
                if below or name not in entries:
                    entries[name] = (
                        RemoteEntry(name, Kind.DIRECTORY) if below else self.entry(base + name)
                    )
        if directory and not entries:
            raise RemoteEntryMissing(directory)
        return Listing("", entries)

    async def find(self, paths: Sequence[str]) -> Mapping[str, RemoteEntry | None] | None:
        self._ask("find")
        return {path: self.entry(path) for path in paths if path in self.files}

    def entry(self, path: str) -> RemoteEntry:
        name, data = path.rpartition("/")[2], self.files[path]
        return RemoteEntry(name, Kind.FILE, content_of(data), self.mtimes.get(path, MTIME_NS))

    async def open(self, content: ContentId, start: int, end: int) -> AsyncIterator[Piece]:
        self._ask("open")
        data = next(d for d in self.files.values() if content_of(d) == content)
        for offset in range(start - start % 4, end, 4):
            yield Piece(offset, data[offset : offset + 4])

    async def upload(self, files: Sequence[Path]) -> Sequence[ContentId | RemoteError]:
        self._ask("upload")
        self.uploads.append([path.read_bytes() for path in files])
        self.uploading += 1
        try:
            if any(data in self.stuck_bytes for data in self.uploads[-1]):
                await asyncio.Event().wait()
            await self.upload_gate.passed()
            return [self._taken(path.read_bytes()) for path in files]
        finally:
            self.uploading -= 1

    def _taken(self, data: bytes) -> ContentId | RemoteError:
        if self.down is not None:
            return self.down
        if data in self.bad_bytes:
            return self.bad_bytes[data]
        content = content_of(data)
        self.blobs[content.key] = data
        return content

    async def commit(self, operations: Sequence[Operation]) -> Mapping[str, RemoteError]:
        self._ask("batch")
        self.batches.append(list(operations))
        self.blobs |= {content_of(data).key: data for data in self.files.values()}
        await self.gate.passed()
        failed = {}
        for operation in sorted(operations, key=lambda o: not isinstance(o, Put)):
            path = operation.path
            if path in self.bad_paths:
                failed[path] = self.bad_paths[path]
            elif isinstance(operation, Put):
                empty = operation.content.size == 0
                self.files[path] = b"" if empty else self.blobs[operation.content.key]
                self.mtimes[path] = operation.mtime_ns
            elif operation.moved_to in failed:
                failed[path] = failed[operation.moved_to]
            else:
                self.files.pop(path, None)
            self.shown.append(set(self.files))
        if self.lost:
            self.lost -= 1
            raise RemoteUnavailable("the answer got lost")
        return failed

    async def changes(self, since: str = "") -> AsyncIterator[FeedEvent]:
        raise FeedUnavailable(since)
        yield  # makes it an iterator

    def _ask(self, what: str) -> None:
        self.asked[what] += 1
        if self.down is not None and what != "upload":
            raise self.down
