"""Where a request waits: meet what it needs, run it again; or hold its result until durable."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeVar

from hfnfs.errors import TryLater
from hfnfs.vfs.needs import Held, Need, NotYet, Pager

T = TypeVar("T")


class Waiting:
    """Lets requests wait for a pager, each for at most `deadline_s` and `attempts_max` rounds."""

    def __init__(self, pager: Pager, *, attempts_max: int, deadline_s: float) -> None:
        self._pager = pager
        self._attempts_max = attempts_max
        self._deadline_s = deadline_s

    async def rerun(self, run: Callable[[], T | Held[T]], need: Need) -> T:
        """Meet need and run, until nothing is missing; give what run gives.

        What one round brought stays pinned until the last has run, or rounds could undo each
        other for ever. Raises TryLater when rounds or time are up, and what run and pager raise.
        """
        return await self._in_time(self._rerun(run, need))

    async def hold(self, held: Held[T]) -> T:
        """Give a result once what it is held for is met. Raises as rerun does."""
        return await self._in_time(self._hold(held))

    async def _rerun(self, run: Callable[[], T | Held[T]], need: Need) -> T:
        async with AsyncExitStack() as pinned:
            for _ in range(self._attempts_max):
                await pinned.enter_async_context(self._pager.meet(need))
                try:
                    result = run()
                except NotYet as not_yet:
                    need = not_yet.need
                    continue
                return await self._hold(result) if isinstance(result, Held) else result
        raise TryLater(f"{need!r} is still missing after {self._attempts_max} rounds")

    async def _hold(self, held: Held[T]) -> T:
        async with self._pager.meet(held.until):
            return held.result

    async def _in_time(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._deadline_s) as deadline:
                return await work
        except TimeoutError as error:
            if not deadline.expired():  # somebody else's timeout is a bug, not our deadline
                raise
            raise TryLater(f"not ready after {self._deadline_s} s") from error
