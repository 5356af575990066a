"""The rest of a file follows what was read of it, behind those who wait for bytes of their own."""

import asyncio

import pytest

from hfnfs.config import BLOCK_BYTES
from hfnfs.disk.memory import MemoryExtents
from hfnfs.errors import RemoteUnavailable
from hfnfs.remote import ContentId
from hfnfs.transfer import whole
from hfnfs.transfer.whole import FILES_AT_ONCE, STEP_BYTES, EveryFile, WholeFiles
from tests.until import until

SIZE = 2 * STEP_BYTES + 5


def content(number: int, size: int = SIZE) -> ContentId:
    return ContentId(f"xet-{number:064x}", size)


class FakeFetcher:
    """Brings ranges at once, or when it is told to; `asked` holds them."""

    def __init__(self, extents: MemoryExtents) -> None:
        self.extents = extents
        self.asked: list[tuple[int, int, int]] = []
        self.failures: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.inside = 0

    async def bring(self, content: ContentId, start: int, end: int) -> None:
        self.asked.append((int(content.key[4:], 16), start, end))
        self.inside += 1
        try:
            await self.gate.wait()
        finally:
            self.inside -= 1
        if self.failures:
            raise self.failures.pop()
        first = start // BLOCK_BYTES * BLOCK_BYTES
        stop = min(-(-end // BLOCK_BYTES) * BLOCK_BYTES, content.size)
        self.extents.add(content, first, bytes(stop - first))


class Side:
    def __init__(self, tasks: asyncio.TaskGroup, bytes_max: int = 1 << 30) -> None:
        self.extents = MemoryExtents(1 << 30)
        self.fetcher = FakeFetcher(self.extents)
        self.bytes_max = bytes_max
        self.files = WholeFiles(self.fetcher, self.extents, lambda: self.bytes_max, tasks)
        self.whole = EveryFile(self.files)

    def has(self, wanted: ContentId) -> bool:
        return self.extents.has(wanted, 0, wanted.size)


async def test_all_of_a_file_follows_its_first_read() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        await side.whole.bring(content(1), STEP_BYTES + 3, STEP_BYTES + 9)
    assert side.has(content(1))
    assert side.fetcher.asked == [
        (1, STEP_BYTES + 3, STEP_BYTES + 9),
        (1, 0, STEP_BYTES),
        (1, STEP_BYTES, 2 * STEP_BYTES),
        (1, 2 * STEP_BYTES, SIZE),
    ]
    assert not side.extents._pins


async def test_what_is_there_is_not_asked_for() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        side.extents.add(content(1), 0, bytes(STEP_BYTES))
        await side.whole.bring(content(1), SIZE - 1, SIZE)
    assert side.fetcher.asked[1:] == [(1, STEP_BYTES, 2 * STEP_BYTES)]


async def test_a_file_is_walked_once_however_many_read_it_and_few_at_a_time() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        for number in range(6):
            await side.whole.bring(content(number), 0, 1)
            await side.whole.bring(content(number), 1, 2)
        side.fetcher.gate.clear()
        await until(lambda: side.fetcher.inside == FILES_AT_ONCE)
        await asyncio.sleep(0)
        assert side.fetcher.inside == FILES_AT_ONCE
        side.fetcher.gate.set()
    assert all(side.has(content(number)) for number in range(6))
    assert side.fetcher.asked.count((3, 0, STEP_BYTES)) == 1


async def test_one_that_is_larger_than_the_cache_is_left_alone() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks, bytes_max=SIZE - 1)
        await side.whole.bring(content(1), 0, 5)
    assert side.fetcher.asked == [(1, 0, 5)]


async def test_it_waits_while_others_ask_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        side.fetcher.gate.clear()
        demand = tasks.create_task(side.whole.bring(content(9, BLOCK_BYTES), 0, 1))
        await until(lambda: side.fetcher.inside == 1)
        side.files.want(content(1))
        await until(lambda: content(1) in side.files._walked)
        for _ in range(50):
            await asyncio.sleep(0)
        assert side.fetcher.asked == [(9, 0, 1)], "somebody is asking"
        side.fetcher.gate.set()
        await demand
    assert side.has(content(1))
    monkeypatch.setattr(whole, "_GIVES_WAY_S", 0)
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        side.files._quiet.clear()
        side.files.want(content(1))
    assert side.has(content(1))


async def test_a_failure_ends_the_walk_and_a_later_read_begins_anew() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        await side.whole.bring(content(1), 0, 1)
        side.fetcher.failures = [RemoteUnavailable("as told")]
        await until(lambda: not side.files._walked)
        assert not side.has(content(1))
        await side.whole.bring(content(1), SIZE - 1, SIZE)
    assert side.has(content(1))


async def test_a_failed_read_raises_and_walks_nothing() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        side.fetcher.failures = [RemoteUnavailable("as told")]
        with pytest.raises(RemoteUnavailable):
            await side.whole.bring(content(1), 0, 1)
    assert side.fetcher.asked == [(1, 0, 1)]
    assert side.files._quiet.is_set()


async def test_what_is_no_longer_wanted_is_not_walked_to_its_end() -> None:
    steps = iter([True, False])
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        side.files.want(content(1), lambda: next(steps))
    assert side.fetcher.asked == [(1, 0, STEP_BYTES)]


async def test_one_that_the_cache_cannot_take_any_more_is_not_walked_to_its_end() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        side.fetcher.gate.clear()
        side.files.want(content(1))
        await until(lambda: side.fetcher.inside)
        side.bytes_max = SIZE - 1
        side.fetcher.gate.set()
    assert side.fetcher.asked == [(1, 0, STEP_BYTES)]
