"""The index of a known file comes at once, and a tensor file that is being loaded comes whole."""

import asyncio
import random
import struct
from collections.abc import Callable

import pytest

from hfnfs.config import BLOCK_BYTES, MIB
from hfnfs.disk.memory import MemoryExtents
from hfnfs.errors import RemoteUnavailable
from hfnfs.remote import ContentId
from hfnfs.transfer.foresight import LOAD_MISSES, Foresight
from tests.fakes.clock import FakeClock

SIZE = 64 * MIB
HEADER = 3 * MIB
SAFETENSORS = struct.pack("<Q", HEADER - 8) + b'{"a":' + bytes(SIZE - 13)
PARQUET = b"PAR1" + bytes(SIZE - 12) + struct.pack("<I", MIB) + b"PAR1"
UNKNOWN = b"\x93NUMPY" + bytes(SIZE - 6)
LINGER_S = 10.0


class FakeWhole:
    """Brings ranges of one file at once, and remembers what was asked for and wanted."""

    def __init__(self, extents: MemoryExtents, data: bytes) -> None:
        self.extents = extents
        self.data = data
        self.asked: list[tuple[int, int]] = []
        self.wanted: list[Callable[[], bool]] = []
        self.failures: list[Exception] = []

    async def bring(self, content: ContentId, start: int, end: int) -> None:
        self.asked.append((start, end))
        if self.failures:
            raise self.failures.pop()
        first = start // BLOCK_BYTES * BLOCK_BYTES
        stop = min(-(-end // BLOCK_BYTES) * BLOCK_BYTES, content.size)
        self.extents.add(content, first, self.data[first:stop])

    def want(self, content: ContentId, goes_on: Callable[[], bool]) -> None:
        self.wanted.append(goes_on)


class Side:
    def __init__(self, data: bytes, tasks: asyncio.TaskGroup) -> None:
        self.content = ContentId(f"xet-{1:064x}", len(data))
        self.clock = FakeClock()
        extents = MemoryExtents(1 << 30)
        self.whole = FakeWhole(extents, data)
        self.foresight = Foresight(self.whole, extents, tasks, clock=self.clock, linger_s=LINGER_S)
        self.extents = extents

    async def read(self, start: int, size: int) -> None:
        await self.foresight.bring(self.content, start, start + size)


async def test_the_header_of_a_safetensors_file_comes_with_its_first_bytes() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(SAFETENSORS, tasks)
        await side.read(0, 4096)
    assert side.whole.asked == [(0, 4096), (0, HEADER)]
    assert not side.extents._pins


async def test_the_end_of_a_parquet_file_comes_with_its_beginning() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(PARQUET, tasks)
        await side.read(0, 16)
    (_, asked) = side.whole.asked
    assert asked[1] == SIZE
    assert side.extents.has(side.content, SIZE - 8, SIZE)


async def test_the_footer_of_a_parquet_file_comes_with_its_end() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(PARQUET, tasks)
        await side.read(SIZE - 8, 8)
    assert side.whole.asked == [(SIZE - 8, SIZE), (SIZE - 8 - MIB, SIZE)]


async def test_an_index_is_asked_for_once() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(SAFETENSORS, tasks)
        for _ in range(3):
            await side.read(0, 4096)
    assert side.whole.asked.count((0, HEADER)) == 1


async def test_of_an_unknown_file_comes_what_was_asked_for() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(UNKNOWN, tasks)
        for n in range(2 * LOAD_MISSES):
            await side.read(n * MIB, 4096)
    assert len(side.whole.asked) == 2 * LOAD_MISSES
    assert not side.whole.wanted


async def test_a_loader_that_goes_forwards_is_given_the_whole_file() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(SAFETENSORS, tasks)
        await side.read(0, 4096)
        for n in range(LOAD_MISSES - 1):
            await side.read(HEADER + 5 * n * MIB, 4096)
        assert not side.whole.wanted
        await side.read(SIZE - MIB, 4096)
    assert side.whole.wanted


async def test_a_loader_that_takes_tensors_in_any_order_is_given_the_whole_file() -> None:
    places = [HEADER + n * MIB for n in range(50)]
    random.Random(3).shuffle(places)
    async with asyncio.TaskGroup() as tasks:
        side = Side(SAFETENSORS, tasks)
        await side.read(0, 4096)
        for place in places:
            await side.read(place, MIB)
    assert side.whole.wanted


async def test_a_few_bytes_at_random_places_load_nothing_else() -> None:
    places = random.Random(5)
    async with asyncio.TaskGroup() as tasks:
        side = Side(SAFETENSORS, tasks)
        await side.read(0, 4096)
        for _ in range(200):
            await side.read(places.randrange(HEADER, SIZE - 64), 64)
    assert not side.whole.wanted


async def test_who_reads_now_and_then_is_no_loader() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(SAFETENSORS, tasks)
        await side.read(0, 4096)
        for n in range(3 * LOAD_MISSES):
            side.clock.advance(LINGER_S)
            await side.read(HEADER + n * MIB, 4096)
    assert not side.whole.wanted


async def test_the_rest_is_wanted_only_while_it_is_asked_for() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(SAFETENSORS, tasks)
        await side.read(0, 4096)
        for n in range(LOAD_MISSES):
            await side.read(HEADER + n * MIB, 4096)
        goes_on = side.whole.wanted[-1]
        assert goes_on()
        side.clock.advance(LINGER_S)
        assert not goes_on()


async def test_an_index_that_cannot_be_fetched_troubles_nobody() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(SAFETENSORS, tasks)
        await side.read(0, 4096)
        side.whole.failures.append(RemoteUnavailable("as told"))
    assert not side.extents._pins


async def test_a_read_that_fails_is_the_readers_to_know() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(SAFETENSORS, tasks)
        side.whole.failures.append(RemoteUnavailable("as told"))
        with pytest.raises(RemoteUnavailable):
            await side.read(0, 4096)
