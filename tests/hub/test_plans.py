"""Plans are asked for once, used for their parts, and forgotten in time."""

import asyncio

import pytest

from hfnfs.errors import RemoteUnavailable
from hfnfs.hub import plans
from hfnfs.hub.plans import LIFE_S, Plans
from hfnfs.remote import ContentId
from hfnfs.xet.plan import Fetch, Plan, Term
from tests.fakes.clock import FakeClock

KIB = 1024
FILE = ContentId("xet-" + "1" * 64, 10_000 * KIB)
OTHER = ContentId("xet-" + "2" * 64, 10_000 * KIB)


class Asked:
    """A CAS whose files are terms of `term_bytes`, each with a range of its own."""

    def __init__(self, term_bytes: int) -> None:
        self.term_bytes = term_bytes
        self.asked: list[tuple[int, int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def __call__(self, content: ContentId, start: int, end: int) -> Plan:
        self.asked.append((start, end))
        number = len(self.asked)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        size = self.term_bytes
        first, last = start // size, -(-end // size)
        fetches = [
            Fetch(f"http://h/{content.key}/{n}?{number}", 0, size, 0, 1) for n in range(first, last)
        ]
        terms = [Term(n, 0, 1, size) for n in range(last - first)]
        return Plan(first * size, (last - first) * size, tuple(terms), tuple(fetches))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def test_a_plan_answers_for_its_parts_until_its_urls_are_old(clock: FakeClock) -> None:
    cas = Asked(64 * KIB)
    known = Plans(cas, clock)
    whole = await known.plan(FILE, 0, 640 * KIB)
    part = await known.plan(FILE, 70 * KIB, 200 * KIB)
    assert (part.offset, part.length) == (64 * KIB, 192 * KIB)
    assert part.fetches == whole.fetches[1:4]
    assert [term.fetch for term in part.terms] == [0, 1, 2]
    assert await known.plan(FILE, 0, 640 * KIB) == whole
    assert len(cas.asked) == 1
    clock.advance(LIFE_S)
    await known.plan(FILE, 0, 10)
    assert len(cas.asked) == 2


async def test_a_plan_that_would_fetch_much_more_is_not_used(clock: FakeClock) -> None:
    cas = Asked(5000 * KIB)
    known = Plans(cas, clock)
    await known.plan(FILE, 0, 5000 * KIB)
    await known.plan(FILE, 0, 4 * KIB)
    await known.plan(FILE, 0, 4900 * KIB)
    assert cas.asked == [(0, 5000 * KIB), (0, 4 * KIB)]


async def test_what_is_wanted_by_many_is_asked_for_once(clock: FakeClock) -> None:
    cas = Asked(64 * KIB)
    cas.gate.clear()
    known = Plans(cas, clock)
    async with asyncio.TaskGroup() as tasks:
        callers = [tasks.create_task(known.plan(FILE, 0, 10)) for _ in range(50)]
        await asyncio.sleep(0)
        cas.gate.set()
    assert len({caller.result() for caller in callers}) == 1
    assert len(cas.asked) == 1


async def test_a_failure_is_told_to_all_who_wait_and_not_kept(clock: FakeClock) -> None:
    cas = Asked(64 * KIB)
    cas.gate.clear()
    cas.error = RemoteUnavailable("gone")
    known = Plans(cas, clock)

    async def fails() -> None:
        with pytest.raises(RemoteUnavailable):
            await known.plan(FILE, 0, 10)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(5):
            tasks.create_task(fails())
        await asyncio.sleep(0)
        cas.gate.set()
    assert len(cas.asked) == 1
    cas.error = None
    await known.plan(FILE, 0, 10)


async def test_who_is_cancelled_leaves_the_others_their_plan(clock: FakeClock) -> None:
    cas = Asked(64 * KIB)
    cas.gate.clear()
    known = Plans(cas, clock)
    async with asyncio.TaskGroup() as tasks:
        first, second = (tasks.create_task(known.plan(FILE, 0, 10)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        cas.gate.set()
    assert second.result().offset == 0
    assert len(cas.asked) == 2


async def test_a_forgotten_plan_is_asked_for_again_and_others_are_not(clock: FakeClock) -> None:
    cas = Asked(64 * KIB)
    known = Plans(cas, clock)
    await known.plan(FILE, 0, 640 * KIB)
    await known.plan(OTHER, 0, 640 * KIB)
    known.forget(await known.plan(FILE, 0, 10))
    await known.plan(FILE, 0, 640 * KIB)
    await known.plan(OTHER, 0, 10)
    assert len(cas.asked) == 3


async def test_what_is_kept_is_bounded(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "ROWS_MAX", 20)
    cas = Asked(64 * KIB)
    known = Plans(cas, clock)
    for n in range(100):
        await known.plan(FILE, n * 64 * KIB, n * 64 * KIB + 10)
    assert len(known._kept) == 10
    await known.plan(FILE, 99 * 64 * KIB, 99 * 64 * KIB + 1)
    assert len(cas.asked) == 100
