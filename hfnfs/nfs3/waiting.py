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
from collections.abc import Callable
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
        try:
            result = await self._rerun(run, need)
            if not isinstance(result, Held):
                return finish(result)
        except Exception as error:  # a rim: what fails gets an answer
            return fail(error)
        return await self.hold(result, finish, fail)

    def hold(self, held: Held[Any], finish: Finish[T], fail: Fail[T]) -> "asyncio.Future[T]":
        """Finish a result once what it is held for is met; fail as rerun does.

        No task is made for it: of changes nearly all are held, many at a time.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def settle(error: Exception | None) -> None:
            deadline.cancel()
            if answer.done():  # time is up, or nobody waits any more
                return
            try:
                answer.set_result(_answer(held, error, finish, fail))
            except Exception as no_answer:  # for who waits
                answer.set_exception(no_answer)

        def expire() -> None:
            settle(TryLater(f"not within {self._hold_deadline_s} s"))

        deadline = loop.call_later(self._hold_deadline_s, expire)
        self._pager.when_met(held.until, settle)
        return answer

    async def _rerun(self, run: Callable[[], R | Held[R]], need: Need) -> R | Held[R]:
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
                    return result
                raise TryLater(f"{need!r} is missing after {self._attempts_max} rounds")
        except TimeoutError as error:
            if not deadline.expired():  # not ours: a bug of somebody's
                raise
            raise TryLater(f"{need!r} is missing after {self._deadline_s} s") from error


def _answer(held: Held[Any], error: Exception | None, finish: Finish[T], fail: Fail[T]) -> T:
    if error is not None:
        return fail(_undone(held, error))
    try:
        return finish(held.result)
    except Exception as bug:  # a rim: what fails gets an answer
        return fail(bug)


def _undone(held: Held[Any], error: Exception) -> Exception:
    """What to say of a result that is not durable."""
    if isinstance(error, (NoSpace, QuotaReached)):  # says best what the user can do
        return error
    if isinstance(error, HfnfsError):
        return NotDurable(f"done, but not {held.until!r}: {error}")
    return error
