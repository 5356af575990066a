"""Where a request waits, the only place in nfs3/ (our own client apart).

Meet what it needs and run it again, or hold its result until it is durable.

    needs --met--> run --> result --------------------> finished
      |             |  --> held --durable-------------> finished
      |             +----> needs                 |
      +--time or rounds are up--> TryLater       +--time is up, or it failed--> NotDurable

What was run may have changed something, so from then on it is never answered "try later": the
client would ask for the same change again, and learn that it has been made.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias, TypeVar

from hfnfs.errors import HfnfsError, NoSpace, NotDurable, QuotaReached, TryLater
from hfnfs.vfs.needs import Held, Need, NotYet, Pager

R = TypeVar("R")
T = TypeVar("T")
Finish: TypeAlias = Callable[[Any], T]  # makes the answer of what run gave
Fail: TypeAlias = Callable[[Exception], T]


class Waiting:
    """Lets requests wait for a pager.

    For what they need for at most `deadline_s` and `attempts_max` rounds; once they have run, for
    what must be durable for at most `hold_deadline_s`.
    """

    def __init__(
        self, pager: Pager, *, attempts_max: int, deadline_s: float, hold_deadline_s: float
    ) -> None:
        self._pager = pager
        self._attempts_max = attempts_max
        self._deadline_s = deadline_s
        self._hold_deadline_s = hold_deadline_s

    async def rerun(
        self, run: Callable[[], R | Held[R]], need: Need, finish: Finish[T], fail: Fail[T]
    ) -> T:
        """Meet need and run, until nothing is missing; finish what run gives.

        What one round brought stays pinned until the last has run, or rounds could undo each
        other for ever. What fails, rounds and time that are up (TryLater) among it, is for
        `fail` to answer.
        """
        return await _answered(self._rerun(run, need), finish, fail)

    async def hold(self, held: Held[R], finish: Finish[T], fail: Fail[T]) -> T:
        """Finish a result once what it is held for is met; fail as rerun does."""
        return await _answered(self._hold(held), finish, fail)

    async def _rerun(self, run: Callable[[], R | Held[R]], need: Need) -> R:
        deadline = asyncio.timeout(self._deadline_s)
        try:
            async with deadline, AsyncExitStack() as pinned:
                for _ in range(self._attempts_max):
                    await pinned.enter_async_context(self._pager.meet(need))
                    try:
                        result = run()
                    except NotYet as not_yet:
                        need = not_yet.need
                        continue
                    deadline.reschedule(None)  # what has run is not to be taken back
                    break
                else:
                    raise TryLater(f"{need!r} is missing after {self._attempts_max} rounds")
        except TimeoutError as error:
            if not deadline.expired():  # not ours: a bug of somebody's
                raise
            raise TryLater(f"{need!r} is missing after {self._deadline_s} s") from error
        return await self._hold(result) if isinstance(result, Held) else result

    async def _hold(self, held: Held[R]) -> R:
        deadline = asyncio.timeout(self._hold_deadline_s)
        try:
            async with deadline, self._pager.meet(held.until):
                return held.result
        except (NoSpace, QuotaReached):  # says best what the user can do
            raise
        except HfnfsError as error:
            raise NotDurable(f"done, but not {held.until!r}: {error}") from error
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise NotDurable(
                f"done, but not {held.until!r} after {self._hold_deadline_s} s"
            ) from error


async def _answered(result: Awaitable[Any], finish: Finish[T], fail: Fail[T]) -> T:
    try:
        return finish(await result)
    except Exception as error:  # a rim: what fails gets an answer
        return fail(error)
