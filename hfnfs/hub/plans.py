"""Plans that were asked for, kept while their signed URLs are good.

A plan also answers for a part of its range, as long as that would not make us fetch much more
than the part: a signed range of bytes can only be had as a whole.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import accumulate
from typing import Final, NamedTuple

from hfnfs.clock import Clock
from hfnfs.errors import HfnfsError
from hfnfs.remote import ContentId
from hfnfs.xet.plan import Plan

# Signed URLs are good for about an hour; a clock of theirs or ours may be wrong.
LIFE_S: Final = 600.0
# Terms and ranges of all plans together; one takes about 500 bytes, URL included.
ROWS_MAX: Final = 20_000
# A kept plan is used when it makes us fetch at most this much besides what is asked for.
SURPLUS_BYTES_MAX: Final = 256 * 1024

Ask = Callable[[ContentId, int, int], Awaitable[Plan]]


class _Kept(NamedTuple):
    key: str
    plan: Plan
    until: float  # monotonic seconds

    @property
    def rows(self) -> int:
        return len(self.plan.terms) + len(self.plan.fetches)


class Plans:
    """Gives plans of ranges, asking `ask` for those it has not."""

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._kept: list[_Kept] = []  # oldest first
        self._rows = 0
        self._asking: dict[tuple[str, int, int], asyncio.Future[Plan]] = {}

    async def plan(self, content: ContentId, start: int, end: int) -> Plan:
        """A plan that covers [start, end), asked for once however many want it now.

        Raises RemoteError.
        """
        key = content.key, start, end
        while True:
            if (known := self._known(content, start, end)) is not None:
                return known
            asking = self._asking.get(key)
            if asking is None:
                return await self._asked(content, start, end)
            await asyncio.wait([asking])
            if not asking.cancelled():  # else who asked was cancelled, and we have to
                return asking.result()

    def forget(self, plan: Plan) -> None:
        """Its URLs are no longer good: ask anew for all of the file that it belongs to."""
        gone = {kept.key for kept in self._kept if set(kept.plan.fetches) & set(plan.fetches)}
        self._keep_only(lambda kept: kept.key not in gone)

    async def _asked(self, content: ContentId, start: int, end: int) -> Plan:
        key = content.key, start, end
        future = self._asking[key] = asyncio.get_running_loop().create_future()
        asked_at = self._clock.now()
        try:
            plan = await self._ask(content, start, end)
        except HfnfsError as error:
            future.set_exception(error)
            future.exception()  # nobody else may be waiting
            raise
        else:
            future.set_result(plan)
        finally:
            future.cancel()
            del self._asking[key]
        self._keep(_Kept(content.key, plan, asked_at + LIFE_S))
        return plan

    def _keep(self, kept: _Kept) -> None:
        self._kept.append(kept)
        self._rows += kept.rows
        now = self._clock.now()
        self._keep_only(lambda kept: kept.until > now)
        while self._rows > ROWS_MAX:
            self._rows -= self._kept.pop(0).rows

    def _keep_only(self, is_kept: Callable[[_Kept], bool]) -> None:
        self._kept = [kept for kept in self._kept if is_kept(kept)]
        self._rows = sum(kept.rows for kept in self._kept)

    def _known(self, content: ContentId, start: int, end: int) -> Plan | None:
        now = self._clock.now()
        for kept in reversed(self._kept):
            if kept.key == content.key and kept.until > now:
                part = part_of(kept.plan, start, end)
                if part is not None and _bytes_of(part) <= end - start + SURPLUS_BYTES_MAX:
                    return part
        return None


def part_of(plan: Plan, start: int, end: int) -> Plan | None:
    """The plan of whole terms that covers [start, end); None if `plan` does not."""
    if not plan.offset <= start < end <= plan.offset + plan.length:
        return None
    ends = accumulate((term.length for term in plan.terms), initial=plan.offset)
    begins = [*ends]
    inside = [
        (begin, term)
        for begin, term in zip(begins, plan.terms, strict=False)
        if begin < end and begin + term.length > start
    ]
    numbers = {fetch: number for number, fetch in enumerate({term.fetch for _, term in inside})}
    return Plan(
        inside[0][0],
        sum(term.length for _, term in inside),
        tuple(term._replace(fetch=numbers[term.fetch]) for _, term in inside),
        tuple(plan.fetches[fetch] for fetch in numbers),
    )


def _bytes_of(plan: Plan) -> int:
    return sum(fetch.end - fetch.start for fetch in plan.fetches)
