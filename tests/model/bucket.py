"""A bucket in memory that takes changes, from others too, fails on request, and forgets nothing.

What went wrong is told as it would be: a request that fails may have been done all the same.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

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
from hfnfs.xet.whole import whole_hash
from tests.fakes.clock import FakeClock

_MS = 1_000_000
_PIECE = 50_000


class File(NamedTuple):
    """What a path holds."""

    content: ContentId
    mtime_ns: int


class Troubles:
    """How likely each kind of request fails; what was in it may have been done."""

    def __init__(self) -> None:
        self.rate = 0.0
        self.rng = random.Random(0)

    def strikes(self) -> bool:
        return self.rng.random() < self.rate


class Bucket:
    """hfnfs.remote.WritableRemote over a dict of paths."""

    immutable = False

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.files: dict[str, File] = {}
        self.contents: dict[str, bytes] = {EMPTY.key: b""}
        self.troubles = Troubles()
        self.is_down = False
        self.requests = 0
        self._token = 0

    # ------------------------------------------------------------ what others do

    def content_of(self, data: bytes) -> ContentId:
        """The content of some bytes, which the bucket has from now on."""
        if not data:
            return EMPTY
        content = ContentId(f"xet-{whole_hash([data], len(data))}", len(data))
        self.contents[content.key] = data
        return content

    def put(self, path: str, data: bytes) -> None:
        """Somebody else uploads a file."""
        self._set(path, File(self.content_of(data), self._clock.wall_ns() // _MS * _MS))

    def delete(self, path: str) -> None:
        """Somebody else deletes a file."""
        self._set(path, None)

    def read(self, path: str) -> bytes | None:
        """The bytes of a file; None if there is none."""
        file = self.files.get(path)
        return None if file is None else self.contents[file.content.key]

    def _set(self, path: str, file: File | None) -> None:
        self._token += 1
        if file is None:
            self.files.pop(path, None)
        else:
            self.files[path] = file

    # ------------------------------------------------------------ as a remote

    async def revision(self) -> Revision:
        await self._request()
        return Revision(str(self._token), self._clock.wall_ns())

    async def list(self, directory: str) -> Listing:
        entries = self._entries(directory)  # as it was when the request came
        await self._request()
        if directory and not entries:
            raise RemoteEntryMissing(directory)
        return Listing("", entries)

    async def find(self, paths: Sequence[str]) -> Mapping[str, RemoteEntry | None] | None:
        found: dict[str, RemoteEntry | None] = {}
        for path in paths:
            if path in self.files:
                found[path] = self._entry(path)
            elif not any(other.startswith(path + "/") for other in self.files):
                found[path] = None
        await self._request()
        return found

    async def open(self, content: ContentId, start: int, end: int) -> AsyncIterator[Piece]:
        data = self.contents.get(content.key)
        if data is None:
            raise RemoteEntryMissing(content.key)
        await self._request()
        for offset in range(start // _PIECE * _PIECE, end, _PIECE):
            yield Piece(offset, data[offset : offset + _PIECE])

    async def upload(self, files: Sequence[Path]) -> Sequence[ContentId | RemoteError]:
        outcomes: list[ContentId | RemoteError] = []
        for path in files:
            content = self.content_of(path.read_bytes())
            await asyncio.sleep(0)
            failed = self.is_down or self.troubles.strikes()
            outcomes.append(RemoteUnavailable("as told") if failed else content)
        return outcomes

    async def commit(self, operations: Sequence[Operation]) -> Mapping[str, RemoteError]:
        await self._request()
        failed: dict[str, RemoteError] = {}
        for operation in sorted(operations, key=lambda one: not isinstance(one, Put)):
            if self.troubles.strikes():
                failed[operation.path] = RemoteUnavailable("as told")
            elif isinstance(operation, Put):
                assert operation.content.key in self.contents, "it was uploaded before"
                file = File(operation.content, operation.mtime_ns // _MS * _MS)
                self._set(operation.path, file)
            elif operation.moved_to not in failed:
                self._set(operation.path, None)
            else:
                failed[operation.path] = RemoteUnavailable("what it moved to is not there")
        await self._request()  # the answer may get lost
        return failed

    async def changes(self, since: str = "") -> AsyncIterator[FeedEvent]:
        raise FeedUnavailable("there is none")
        yield  # an async generator, as the Protocol wants it

    async def _request(self) -> None:
        self.requests += 1
        for _ in range(self.troubles.rng.randrange(4)):
            await asyncio.sleep(0)
        if self.is_down or self.troubles.strikes():
            raise RemoteUnavailable("as told")

    def _entries(self, directory: str) -> dict[str, RemoteEntry]:
        base = f"{directory}/" if directory else ""
        names = {p[len(base) :].partition("/")[0] for p in self.files if p.startswith(base)}
        return {name: self._entry(base + name) for name in sorted(names)}

    def _entry(self, path: str) -> RemoteEntry:
        name, file = path.rpartition("/")[2], self.files.get(path)
        if any(other.startswith(path + "/") for other in self.files):
            return RemoteEntry(name, Kind.DIRECTORY)
        assert file is not None
        return RemoteEntry(name, Kind.FILE, file.content, file.mtime_ns)
