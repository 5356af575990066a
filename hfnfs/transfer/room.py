"""Room for fetches: so many at a time, and so many bytes of memory for all of them together."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple


class _Waiter(NamedTuple):
    bytes: int
    admitted: asyncio.Future[None]


class Room:
    """Admits who asks in their order, as soon as there is room for them.

    `bytes_taken` is what those inside have said they need, at most `bytes_max`.
    """

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self.count_max = count_max
        self.bytes_max = bytes_max
        self.count = 0
        self.bytes_taken = 0
        self._waiters: deque[_Waiter] = deque()

    @asynccontextmanager
    async def taken(self, needed: int) -> AsyncIterator[None]:
        """Be inside with `needed` bytes; who needs more than all gets all."""
        needed = min(needed, self.bytes_max)
        await self._admission(needed)
        try:
            yield
        finally:
            self._leave(needed)

    async def _admission(self, needed: int) -> None:
        if not self._waiters and self._has_room_for(needed):
            self._enter(needed)
            return
        waiter = _Waiter(needed, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            await waiter.admitted
        except asyncio.CancelledError:
            if waiter.admitted.cancelled():
                self._admit()  # those behind may need less
            else:
                self._leave(needed)  # admitted and cancelled in one turn
            raise

    def _has_room_for(self, needed: int) -> bool:
        return self.count < self.count_max and self.bytes_taken + needed <= self.bytes_max

    def _enter(self, needed: int) -> None:
        self.count += 1
        self.bytes_taken += needed

    def _leave(self, needed: int) -> None:
        self.count -= 1
        self.bytes_taken -= needed
        self._admit()

    def _admit(self) -> None:
        waiters = self._waiters
        while waiters and (waiters[0].admitted.done() or self._has_room_for(waiters[0].bytes)):
            waiter = waiters.popleft()
            if not waiter.admitted.done():  # else it was cancelled
                self._enter(waiter.bytes)
                waiter.admitted.set_result(None)
