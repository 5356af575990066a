import asyncio
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hfnfs.config import BLOCK_BYTES, GIB, KIB, MIB, MountConfig
from hfnfs.disk.extents import DiskExtents
from hfnfs.errors import NoSpace, RemoteCorrupt, RemoteError, RemoteUnavailable, TryLater
from hfnfs.remote import ContentId
from hfnfs.transfer.fetch import Fetcher
from hfnfs.vfs.ports import Tripwires
from tests.fakes.clock import FakeClock
from tests.fakes.remote import FakeRemote, Pattern
from tests.until import until

PIECES_A_BLOCK = 2  # of FakeRemote


@pytest.fixture
def extents(tmp_path: Path) -> Iterator[DiskExtents]:
    made = DiskExtents(tmp_path / "blocks", GIB)
    (tmp_path / "blocks").mkdir()
    yield made
    assert not made._pins, "pins left"
    made.close()


@pytest.fixture
def config(tmp_path: Path) -> MountConfig:
    return MountConfig("me/repo", tmp_path, window_bytes_max=8 * MIB)


def fetcher_of(
    remote: FakeRemote, extents: DiskExtents, config: MountConfig, tasks: asyncio.TaskGroup
) -> Fetcher:
    return Fetcher(remote, extents, config, tasks, clock=FakeClock(), tripwires={})


def far_side(**sizes: int) -> FakeRemote:
    return FakeRemote({name: Pattern(size) for name, size in sizes.items()})


def read(
    extents: DiskExtents, remote: FakeRemote, content: ContentId, start: int, end: int
) -> None:
    """Check that the range is at hand, and right."""
    view = extents.read(content, start, end)
    assert view is not None
    assert bytes(view) == remote.files[content.path][start:end]


async def test_a_range_is_fetched_and_at_hand(extents: DiskExtents, config: MountConfig) -> None:
    remote = far_side(a=5 * BLOCK_BYTES + 3)
    content = remote.content("a")
    async with asyncio.TaskGroup() as tasks:
        fetcher = fetcher_of(remote, extents, config, tasks)
        await fetcher.bring(content, 10, 20)
        read(extents, remote, content, 0, BLOCK_BYTES)
        await fetcher.bring(content, 5 * BLOCK_BYTES + 1, content.size)
        read(extents, remote, content, 5 * BLOCK_BYTES, content.size)
    assert remote.opened == [
        ("a", 0, BLOCK_BYTES),
        ("a", 5 * BLOCK_BYTES, content.size),
    ]


async def test_a_random_read_of_a_large_file_fetches_little(
    extents: DiskExtents, config: MountConfig
) -> None:
    remote = far_side(a=1000 * GIB)
    content = remote.content("a")
    offset = 617 * GIB + 5 * BLOCK_BYTES - 2 * KIB  # over the edge of a block
    async with asyncio.TaskGroup() as tasks:
        await fetcher_of(remote, extents, config, tasks).bring(content, offset, offset + 4 * KIB)
    read(extents, remote, content, offset, offset + 4 * KIB)
    assert remote.bytes_sent["a"] == 2 * BLOCK_BYTES < MIB


async def test_200_readers_of_one_range_fetch_it_once(
    extents: DiskExtents, config: MountConfig
) -> None:
    remote = far_side(a=MIB)
    content = remote.content("a")
    async with asyncio.TaskGroup() as tasks:
        fetcher = fetcher_of(remote, extents, config, tasks)
        for _ in range(200):
            tasks.create_task(fetcher.bring(content, 0, MIB))
    assert len(remote.opened) == 1
    assert remote.bytes_sent["a"] == MIB
    read(extents, remote, content, 0, MIB)


@pytest.mark.parametrize("count", [128 * KIB, MIB])
async def test_a_sequential_reader_fetches_each_byte_once_in_few_streams(
    extents: DiskExtents, config: MountConfig, count: int
) -> None:
    remote = far_side(a=64 * MIB + 17)
    content = remote.content("a")
    async with asyncio.TaskGroup() as tasks:
        fetcher = fetcher_of(remote, extents, config, tasks)
        for start in range(0, content.size, count):
            end = min(start + count, content.size)
            if extents.read(content, start, end) is None:
                await fetcher.bring(content, start, end)
            read(extents, remote, content, start, end)
    assert remote.bytes_sent["a"] == content.size
    ranges = sorted((start, end) for _, start, end in remote.opened)
    assert [start for start, _ in ranges[1:]] == [end for _, end in ranges[:-1]]
    assert len(ranges) < 24


async def next_piece(remote: FakeRemote) -> None:
    sent = remote.bytes_sent.total()
    remote.pieces_gate.let_through(1)
    await until(lambda: remote.bytes_sent.total() > sent)


async def read_slowly(fetcher: Fetcher, remote: FakeRemote, content: ContentId, at: int) -> None:
    """Bring the block at `at` through a gate that opens for one piece at a time, then closes."""
    remote.pieces_gate.close()
    async with asyncio.TaskGroup() as tasks:
        caller = tasks.create_task(fetcher.bring(content, at, at + BLOCK_BYTES))
        await until(lambda: remote.pieces_gate.waiting > 0)
        while not caller.done():
            await next_piece(remote)
            await until(lambda: caller.done() or remote.pieces_gate.waiting == remote.streaming)


async def test_a_reader_is_woken_while_its_window_is_still_on_the_way(
    extents: DiskExtents, config: MountConfig
) -> None:
    remote = far_side(a=64 * MIB)
    content = remote.content("a")
    async with asyncio.TaskGroup() as tasks:
        fetcher = fetcher_of(remote, extents, config, tasks)
        for at in range(0, 16 * MIB, MIB):
            await fetcher.bring(content, at, at + MIB)
        await until(lambda: not fetcher._flying)
        gap = extents.gap(content, 0, content.size)
        assert gap is not None
        start = gap[0]
        await read_slowly(fetcher, remote, content, start)
        read(extents, remote, content, start, start + BLOCK_BYTES)
        assert ("a", start, start + 8 * MIB) in remote.opened
        assert not extents.has(content, start, start + MIB)
        remote.pieces_gate.open()
    assert extents.has(content, start, start + 8 * MIB)  # the stream went on to the window's end


async def test_who_wants_more_joins_what_flies_and_fetches_the_rest(
    extents: DiskExtents, config: MountConfig
) -> None:
    remote = far_side(a=MIB)
    content = remote.content("a")
    remote.pieces_gate.close()
    async with asyncio.TaskGroup() as tasks:
        fetcher = fetcher_of(remote, extents, config, tasks)
        tasks.create_task(fetcher.bring(content, BLOCK_BYTES, 3 * BLOCK_BYTES))
        await until(lambda: remote.streaming == 1)
        tasks.create_task(fetcher.bring(content, 0, MIB))
        await until(lambda: remote.streaming == 3)
        remote.pieces_gate.open()
    assert sorted(remote.opened) == [
        ("a", 0, BLOCK_BYTES),
        ("a", BLOCK_BYTES, 3 * BLOCK_BYTES),
        ("a", 3 * BLOCK_BYTES, MIB),
    ]
    read(extents, remote, content, 0, MIB)


async def test_what_is_in_the_cache_is_not_fetched_again(
    extents: DiskExtents, config: MountConfig
) -> None:
    remote = far_side(a=MIB)
    content = remote.content("a")
    extents.add(content, 0, remote.files["a"][0 : 5 * BLOCK_BYTES])
    async with asyncio.TaskGroup() as tasks:
        fetcher = fetcher_of(remote, extents, config, tasks)
        await fetcher.bring(content, 0, BLOCK_BYTES)
        assert remote.opened == []
        await fetcher.bring(content, 0, MIB)
    assert remote.opened == [("a", 5 * BLOCK_BYTES, MIB)]


async def test_a_caller_that_is_cancelled_leaves_the_flight_to_end(
    extents: DiskExtents, config: MountConfig
) -> None:
    remote = far_side(a=MIB)
    content = remote.content("a")
    remote.pieces_gate.close()
    async with asyncio.TaskGroup() as tasks:
        fetcher = fetcher_of(remote, extents, config, tasks)
        caller = tasks.create_task(fetcher.bring(content, 0, MIB))
        await until(lambda: remote.streaming == 1)
        caller.cancel()
        await until(caller.done)
        remote.pieces_gate.open()
    read(extents, remote, content, 0, MIB)
    assert len(remote.opened) == 1


@pytest.mark.parametrize("blocks_before", range(5))
@pytest.mark.parametrize("pieces_more", range(PIECES_A_BLOCK))
async def test_a_failure_reaches_those_whose_bytes_did_not_come(
    extents: DiskExtents, config: MountConfig, blocks_before: int, pieces_more: int
) -> None:
    remote = far_side(a=4 * BLOCK_BYTES)
    content = remote.content("a")
    remote.failures["open"] = [RemoteUnavailable("gone")]
    remote.fail_after_bytes = blocks_before * BLOCK_BYTES + pieces_more * remote.piece_bytes
    async with asyncio.TaskGroup() as tasks:
        fetcher = fetcher_of(remote, extents, config, tasks)

        async def outcome(blocks: int) -> bool:
            try:
                await fetcher.bring(content, 0, blocks * BLOCK_BYTES)
            except RemoteUnavailable:
                return False
            return True

        callers = [tasks.create_task(outcome(blocks)) for blocks in (4, 3, 2, 1)]
        await until(lambda: all(caller.done() for caller in callers))
        came = min(blocks_before, 4)
        assert [caller.result() for caller in callers] == [n <= came for n in (4, 3, 2, 1)]
        assert remote.opened == [("a", 0, content.size)]
        await until(lambda: not fetcher._flying)
        await fetcher.bring(content, 0, content.size)  # a later one tries again, for the rest
    read(extents, remote, content, 0, content.size)
    assert remote.opened[1:] == ([("a", came * BLOCK_BYTES, content.size)] if came < 4 else [])


@pytest.mark.parametrize("bytes_before", [0, 64 * KIB, 3 * 64 * KIB])
async def test_a_stream_that_ends_early_is_corrupt(
    extents: DiskExtents, config: MountConfig, bytes_before: int
) -> None:
    remote = far_side(a=MIB)
    remote.end_after_bytes = bytes_before
    async with asyncio.TaskGroup() as tasks:
        fetcher = fetcher_of(remote, extents, config, tasks)
        with pytest.raises(RemoteCorrupt, match="ended early"):
            await fetcher.bring(remote.content("a"), 0, MIB)


async def test_a_stream_that_brings_nothing_is_given_up(
    extents: DiskExtents, config: MountConfig
) -> None:
    remote = far_side(a=MIB)
    remote.pieces_gate.close()
    async with asyncio.TaskGroup() as tasks:
        fetcher = fetcher_of(remote, extents, replace(config, stall_timeout_s=0.0), tasks)
        with pytest.raises(RemoteUnavailable, match="no bytes"):
            await fetcher.bring(remote.content("a"), 0, MIB)
    assert remote.streaming == 0


async def test_a_bug_reaches_the_waiters_and_does_not_end_the_others(
    extents: DiskExtents, config: MountConfig
) -> None:
    remote = far_side(a=MIB, b=MIB)
    remote.failures["open"] = [ZeroDivisionError("oh")]
    async with asyncio.TaskGroup() as tasks:
        fetcher = fetcher_of(remote, extents, config, tasks)
        with pytest.raises(ZeroDivisionError):
            await fetcher.bring(remote.content("a"), 0, 1)
        await fetcher.bring(remote.content("b"), 0, 1)


@pytest.mark.logs_errors
async def test_a_bug_that_nobody_waits_for_is_logged(
    extents: DiskExtents, config: MountConfig, caplog: pytest.LogCaptureFixture
) -> None:
    remote = far_side(a=MIB)
    remote.failures["open"] = [ZeroDivisionError("oh")]
    remote.pieces_gate.close()
    async with asyncio.TaskGroup() as tasks:
        caller = tasks.create_task(
            fetcher_of(remote, extents, config, tasks).bring(remote.content("a"), 0, 1)
        )
        await until(lambda: remote.streaming == 1)
        caller.cancel()
        await until(caller.done)
        remote.pieces_gate.open()
    assert "ZeroDivisionError" in caplog.text


async def test_a_full_disk_is_told_to_who_waits(
    extents: DiskExtents, config: MountConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise NoSpace("full")

    monkeypatch.setattr(extents, "add", full)
    remote = far_side(a=MIB)
    async with asyncio.TaskGroup() as tasks:
        with pytest.raises(NoSpace):
            await fetcher_of(remote, extents, config, tasks).bring(remote.content("a"), 0, 1)
    assert remote.streaming == 0


async def test_streams_at_a_time_are_bounded_and_all_are_served(
    extents: DiskExtents, config: MountConfig
) -> None:
    remote = far_side(**{f"f{n}": BLOCK_BYTES for n in range(40)})
    remote.pieces_gate.close()
    contents = [remote.content(path) for path in remote.files]
    async with asyncio.TaskGroup() as tasks:
        fetcher = fetcher_of(remote, extents, replace(config, fetches_in_flight_max=3), tasks)
        callers = [tasks.create_task(fetcher.bring(c, 0, c.size)) for c in contents]
        most = 0
        while not all(caller.done() for caller in callers):
            remote.pieces_gate.let_through(1)
            most = max(most, remote.streaming)
            await asyncio.sleep(0)
    assert most == 3
    for content in contents:
        read(extents, remote, content, 0, content.size)


async def test_reading_ahead_is_bounded(extents: DiskExtents, config: MountConfig) -> None:
    remote = far_side(a=GIB)
    content = remote.content("a")
    async with asyncio.TaskGroup() as tasks:
        fetcher = fetcher_of(remote, extents, replace(config, windows_in_flight_max=2), tasks)
        for start in range(0, 16 * MIB, MIB):
            await fetcher.bring(content, start, start + MIB)
            assert remote.streaming <= 3
        assert extents.has(content, 0, 16 * MIB)
    assert remote.bytes_sent["a"] <= 16 * MIB + 3 * 8 * MIB


async def test_reading_ahead_gives_way_to_what_is_asked_for(
    extents: DiskExtents, config: MountConfig
) -> None:
    remote = far_side(a=GIB, b=MIB, c=MIB)
    a, b, c = (remote.content(path) for path in "abc")
    async with asyncio.TaskGroup() as tasks:
        fetcher = fetcher_of(remote, extents, replace(config, fetches_in_flight_max=2), tasks)
        for start in range(0, 4 * MIB, MIB):
            await fetcher.bring(a, start, start + MIB)
        await until(lambda: not fetcher._flying)
        gap = extents.gap(a, 0, GIB)
        assert gap is not None
        await read_slowly(fetcher, remote, a, gap[0])
        assert remote.streaming == 1
        callers = [tasks.create_task(fetcher.bring(content, 0, 1)) for content in (b, c)]
        await until(lambda: [path for path, _, _ in remote.opened[-2:]] == ["b", "c"])
        assert remote.streaming == 2
        remote.pieces_gate.open()
        await until(lambda: all(caller.done() for caller in callers))
        await fetcher.bring(a, 0, 16 * MIB)  # what gave way is fetched when it is needed
    read(extents, remote, a, 0, 16 * MIB)


async def test_a_reader_that_finds_all_in_the_cache_is_read_ahead_of(
    extents: DiskExtents, config: MountConfig
) -> None:
    remote, misses = far_side(a=64 * MIB), 0
    tripwires: Tripwires = {}
    content = remote.content("a")
    async with asyncio.TaskGroup() as tasks:
        fetcher = Fetcher(remote, extents, config, tasks, clock=FakeClock(), tripwires=tripwires)
        for at in range(0, 64 * MIB, MIB):
            is_over_wire = any(at <= wire < at + MIB for wire in tripwires.get(content.key, ()))
            is_missed = extents.read(content, at, at + MIB) is None
            if is_missed or is_over_wire:
                await fetcher.bring(content, at, at + MIB)
                assert not any(at <= w < at + MIB for w in tripwires.get(content.key, ()))
            misses += is_missed
            await until(lambda: not fetcher._flying)  # a slow reader
    assert misses <= 2
    assert content.key not in tripwires
    assert remote.bytes_sent["a"] == 64 * MIB


async def test_reading_ahead_ends_when_its_reader_is_gone(
    extents: DiskExtents, config: MountConfig
) -> None:
    remote, clock = far_side(a=GIB), FakeClock()
    content = remote.content("a")
    async with asyncio.TaskGroup() as tasks:
        fetcher = Fetcher(remote, extents, config, tasks, clock=clock, tripwires={})
        for at in range(0, 16 * MIB, MIB):
            await fetcher.bring(content, at, at + MIB)
        await until(lambda: not fetcher._flying)
        gap = extents.gap(content, 0, GIB)
        assert gap is not None
        await read_slowly(fetcher, remote, content, gap[0])
        assert remote.streaming >= 1
        clock.advance(config.read_ahead_linger_s)
        sent = remote.bytes_sent["a"]
        remote.pieces_gate.open()
    assert remote.bytes_sent["a"] - sent < MIB, "of whole windows of 8 MiB"


async def test_memory_is_bounded_over_all_files(extents: DiskExtents, config: MountConfig) -> None:
    remote = far_side(**{f"f{n}": 64 * MIB for n in range(20)})
    contents = [remote.content(path) for path in remote.files]
    most = 0
    async with asyncio.TaskGroup() as tasks:
        config = replace(config, memory_bytes_max=64 * MIB)
        fetcher = fetcher_of(remote, extents, config, tasks)

        async def reader(n: int) -> None:
            nonlocal most
            content = contents[n % len(contents)]
            start = n // len(contents) * 16 * MIB
            for at in range(start, start + 4 * MIB, MIB):
                await fetcher.bring(content, at, at + MIB)
                most = max(most, fetcher.room.bytes_taken)

        for n in range(64):
            tasks.create_task(reader(n))
    assert 0 < most <= 32 * MIB


async def test_the_end_of_the_mount_ends_streams_and_waiters(
    extents: DiskExtents, config: MountConfig
) -> None:
    remote = far_side(a=MIB)
    remote.pieces_gate.close()
    outcomes: list[BaseException] = []

    async def caller(fetcher: Fetcher) -> None:
        try:
            await fetcher.bring(remote.content("a"), 0, MIB)
        except (asyncio.CancelledError, TryLater) as error:
            outcomes.append(error)
            raise

    async def mount() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(caller(fetcher_of(remote, extents, config, tasks)))

    async with asyncio.TaskGroup() as tasks:
        mounted = tasks.create_task(mount())
        await until(lambda: remote.streaming == 1)
        mounted.cancel()
        await until(mounted.done)
    assert remote.streaming == 0
    assert len(outcomes) == 1


async def test_histories_are_bounded(
    extents: DiskExtents, config: MountConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hfnfs.transfer.fetch._CONTENTS_MAX", 5)
    remote = far_side(**{f"f{n}": 10 for n in range(30)})
    async with asyncio.TaskGroup() as tasks:
        fetcher = fetcher_of(remote, extents, config, tasks)
        for path in remote.files:
            await fetcher.bring(remote.content(path), 0, 10)
            assert len(fetcher._routes) <= 6
        await until(lambda: not fetcher._flying)


@pytest.mark.parametrize("seed", range(20))
async def test_many_readers_and_a_failing_far_side_give_right_bytes_or_an_error(
    extents: DiskExtents, config: MountConfig, seed: int
) -> None:
    rng = random.Random(seed)
    remote = far_side(a=3 * MIB + 5, b=BLOCK_BYTES, c=20 * MIB)
    remote.failures["open"] = [RemoteUnavailable("now and then")] * rng.randrange(6)
    remote.fail_after_bytes = rng.randrange(MIB)
    errors = 0

    async def reader() -> None:
        nonlocal errors
        for _ in range(10):
            content = remote.content(rng.choice("abc"))
            start = rng.randrange(content.size)
            end = min(start + rng.randrange(1, MIB), content.size)
            extents.pin(content, start, end)
            try:
                await fetcher.bring(content, start, end)
                read(extents, remote, content, start, end)
            except RemoteError:
                errors += 1
            finally:
                extents.unpin(content, start, end)

    async with asyncio.TaskGroup() as tasks:
        limit = replace(config, fetches_in_flight_max=rng.choice([1, 2, 16]))
        fetcher = fetcher_of(remote, extents, limit, tasks)
        for _ in range(8):
            tasks.create_task(reader())
    assert not fetcher._flying
    assert remote.streaming == 0
    assert remote.failures["open"] == []
    assert errors <= 8 * 6
