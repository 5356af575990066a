"""One stream of a range from the far side into the cache, and those who wait for parts of it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from hfnfs.config import KIB, MIB
from hfnfs.errors import RemoteCorrupt, RemoteUnavailable
from hfnfs.remote import ContentId, Piece, Remote
from hfnfs.transfer.assembly import Assembly
from hfnfs.vfs.ports import Extents

# What one stream holds at most: its body that waits, the part of it that is being decoded, with a
# copy to have it in one piece, the decoded part, and the one before that is being stored.
STREAM_BYTES_MAX: Final = 10 * MIB
# A short one holds this often what it brings; it begins and ends with a whole chunk.
_COPIES_MAX: Final = 4
_CHUNKS_BYTES_MAX: Final = 256 * KIB
# Chunks that a file repeats are kept until the last use, in a plan's span at most.
_KEPT_BYTES_MAX: Final = 64 * MIB


class Flight:
    """[start, end) of a content on its way, front to back; whole blocks.

    Each waiter is woken as soon as its bytes are in the cache, or when the flight has failed.
    """

    def __init__(self, content: ContentId, start: int, end: int) -> None:
        self.content = content
        self.start = start
        self.end = end
        self.landed = start  # all before it is in the cache
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def is_awaited(self) -> bool:
        """Whether anybody waits for it just now."""
        return any(not future.done() for _, future in self._waiters)

    def until(self, offset: int) -> asyncio.Future[None]:
        """Done once all before `offset` is in the cache; cancel it when you leave."""
        future = asyncio.get_running_loop().create_future()
        if offset <= self.landed:
            future.set_result(None)
        else:
            self._waiters.append((offset, future))
        return future

    @property
    def memory_bytes(self) -> int:
        """The most that it holds in memory while it flies."""
        length = self.end - self.start
        stream = min(STREAM_BYTES_MAX, _COPIES_MAX * (length + _CHUNKS_BYTES_MAX))
        return stream + min(length, _KEPT_BYTES_MAX)

    async def run(
        self, remote: Remote, extents: Extents, stall_s: float, goes_on: Callable[[], bool]
    ) -> None:
        """Stream it; every piece has to come within `stall_s`. Raises HfnfsError.

        Ends early where `goes_on` says no, asked now and then.
        """
        extents.pin(self.content, self.start, self.end)
        try:
            async with closing_stream(remote.open(self.content, self.start, self.end)) as pieces:
                await self._store(pieces, extents, stall_s, goes_on)
        finally:
            extents.unpin(self.content, self.start, self.end)

    async def _store(
        self,
        pieces: AsyncIterator[Piece],
        extents: Extents,
        stall_s: float,
        goes_on: Callable[[], bool],
    ) -> None:
        assembly = Assembly(self.content, self.start, self.end)
        while (piece := await self._next(pieces, stall_s)) is not None:
            blocks = assembly.take(piece)
            if blocks:
                # The disk may make a writer wait, and hashing takes time: not on the loop.
                landed = await asyncio.to_thread(self._add, extents, blocks)
                self._land(landed)
            if assembly.is_complete and piece.offset >= self.end:
                return  # it was asked for a range and goes on and on
            if not goes_on():
                return
        if not assembly.is_complete:
            raise RemoteCorrupt(
                f"{self.content.key}: the stream of [{self.start}, {self.end}) ended early"
            )

    def _add(self, extents: Extents, runs: list[memoryview]) -> int:
        """Keep what follows `landed`; where it ends."""
        offset = self.landed
        for blocks in runs:
            extents.add(self.content, offset, blocks)
            offset += len(blocks)
        return offset

    async def _next(self, pieces: AsyncIterator[Piece], stall_s: float) -> Piece | None:
        deadline = asyncio.timeout(stall_s)
        try:
            async with deadline:
                return await anext(pieces, None)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise RemoteUnavailable(
                f"{self.content.key}: no bytes for {stall_s} s, [{self.landed}, {self.end}) missing"
            ) from error

    def _land(self, landed: int) -> None:
        self.landed = landed
        waiting = []
        for offset, future in self._waiters:
            if future.done():
                continue
            if offset <= landed:
                future.set_result(None)
            else:
                waiting.append((offset, future))
        self._waiters = waiting

    def fail(self, error: Exception) -> None:
        """Tell those who still wait that it ended before their bytes came."""
        for _, future in self._waiters:
            if not future.done():
                future.set_exception(error)
        self._waiters.clear()


@asynccontextmanager
async def closing_stream(pieces: AsyncIterator[Piece]) -> AsyncIterator[AsyncIterator[Piece]]:
    """End a stream that is left early at once, not when it is collected."""
    try:
        yield pieces
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()
