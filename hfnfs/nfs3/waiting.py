"""Where a request waits, the only place in nfs3/ (our own client apart).

Meet what it needs and run it again, or hold its result until it is durable.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeAlias, TypeVar

from hfnfs.errors import TryLater
from hfnfs.vfs.needs import Held, Need, NotYet, Pager

T = TypeVar("T")
Fail: TypeAlias = Callable[[Exception], T]


class Waiting:
    """Lets requests wait for a pager, each for at most `deadline_s` and `attempts_max` rounds."""

    def __init__(self, pager: Pager, *, attempts_max: int, deadline_s: float) -> None:
        self._pager = pager
        self._attempts_max = attempts_max
        self._deadline_s = deadline_s

    async def rerun(self, run: Callable[[], T | Held[T]], need: Need, fail: Fail[T]) -> T:
        """Meet need and run, until nothing is missing; give what run gives.

        What one round brought stays pinned until the last has run, or rounds could undo each
        other for ever. What fails, rounds and time that are up (TryLater) among it, is for
        `fail` to answer.
        """
        return await self._in_time(self._rerun(run, need), fail)

    async def hold(self, held: Held[T], fail: Fail[T]) -> T:
        """Give a result once what it is held for is met; fail as rerun does."""
        return await self._in_time(self._hold(held), fail)

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

    async def _in_time(self, work: Awaitable[T], fail: Fail[T]) -> T:
        deadline = asyncio.timeout(self._deadline_s)
        try:
            async with deadline:
                return await work
        except TimeoutError as error:
            if not deadline.expired():  # not ours: a bug of somebody's
                return fail(error)
            return fail(TryLater(f"not ready after {self._deadline_s} s"))
        except Exception as error:  # a rim: what fails gets an answer
            return fail(error)
