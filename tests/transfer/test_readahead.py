import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.config import BLOCK_BYTES, GIB, KIB, MIB
from hfnfs.transfer.readahead import RUNS_MAX, History, Plan, Windows

WINDOWS = Windows(BLOCK_BYTES, 8 * MIB)
SIZES = st.integers(1, 3 * GIB) | st.integers(1, 4 * MIB)
READ = st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, MIB))


@given(size=SIZES, reads=st.lists(READ, max_size=60))
def test_a_plan_is_of_whole_blocks_and_holds_what_was_asked_for(
    size: int, reads: list[tuple[float, int]]
) -> None:
    history = History(size, WINDOWS)
    for where, count in reads:
        start = int(where * size)
        end = min(start + count, size)
        plan = history.plan(start, end)
        assert 0 <= plan.start <= start < end <= plan.needed <= plan.end <= size
        assert start - plan.start < BLOCK_BYTES
        assert plan.needed - end < BLOCK_BYTES
        assert all(at % BLOCK_BYTES == 0 or at == size for at in plan)
        assert BLOCK_BYTES <= plan.window <= 8 * MIB
        assert plan.window % BLOCK_BYTES == 0


@given(size=SIZES, reads=st.lists(READ, max_size=60))
def test_never_much_more_is_planned_than_the_largest_window(
    size: int, reads: list[tuple[float, int]]
) -> None:
    history = History(size, WINDOWS)
    for where, count in reads:
        start = int(where * size)
        end = min(start + count, size)
        plan = history.plan(start, end)
        assert plan.end - plan.needed <= 4 * WINDOWS.bytes_max


def sequential(history: History, size: int, count: int) -> list[Plan]:
    return [history.plan(at, min(at + count, size)) for at in range(0, size, count)]


def test_the_first_read_fetches_the_smallest_window() -> None:
    assert History(GIB, WINDOWS).plan(0, 4096) == (0, BLOCK_BYTES, BLOCK_BYTES, BLOCK_BYTES)
    assert History(100, WINDOWS).plan(0, 7) == (0, 100, 100, BLOCK_BYTES)


def test_random_reads_keep_to_the_smallest_window() -> None:
    history = History(64 * GIB, WINDOWS)
    offsets = random.Random(5).sample(range(0, 64 * GIB, 4 * KIB), 300)
    for offset in offsets:
        plan = history.plan(offset, offset + 4 * KIB)
        assert plan.end - plan.start <= 2 * BLOCK_BYTES < MIB


def test_windows_of_a_sequential_reader_double_up_to_the_largest() -> None:
    plans = sequential(History(GIB, WINDOWS), 256 * MIB, 128 * KIB)
    windows = [plan.window for plan in plans]
    assert windows == sorted(windows)
    assert all(after <= 2 * before for before, after in pairwise(windows))
    assert windows[-1] == 8 * MIB
    assert windows.index(8 * MIB) < 64


def test_a_sequential_reader_always_has_a_window_ahead_but_not_many() -> None:
    given_up_to = 0
    history = History(GIB, WINDOWS)
    for at in range(0, 512 * MIB, 128 * KIB):
        plan = history.plan(at, at + 128 * KIB)
        given_up_to = max(given_up_to, plan.end)
        if at:
            assert given_up_to >= at + 128 * KIB + plan.window // 2
        assert given_up_to <= at + 128 * KIB + 3 * plan.window


def test_little_more_is_planned_than_was_read_so_far() -> None:
    for count in (4 * KIB, 128 * KIB, MIB):
        history = History(GIB, WINDOWS)
        for at in range(0, 64 * MIB, count):
            plan = history.plan(at, at + count)
            assert plan.end <= 4 * (at + count + BLOCK_BYTES)


@given(seed=st.integers(), count=st.sampled_from([32 * KIB, 128 * KIB, MIB]))
def test_parallel_reads_out_of_order_are_one_run(seed: int, count: int) -> None:
    """As NFS clients send them: some in flight, the order among them any."""
    order = random.Random(seed)
    history = History(GIB, WINDOWS)
    reads = list(range(0, 128 * MIB, count))
    for i in range(0, len(reads), 4):
        batch = reads[i : i + 4]
        order.shuffle(batch)
        reads[i : i + 4] = batch
    plans = [history.plan(at, at + count) for at in reads]
    assert plans[-1].window == 8 * MIB
    assert len(history._runs) == 1


def test_a_read_that_comes_late_fetches_just_itself() -> None:
    history = History(GIB, WINDOWS)
    sequential(history, 32 * MIB, MIB)
    plan = history.plan(30 * MIB, 30 * MIB + 1)
    assert plan.end == plan.needed == 30 * MIB + BLOCK_BYTES


def test_a_read_of_what_should_have_come_fetches_a_window() -> None:
    """It was put off, or it failed; what did come is not fetched again by fetch.py."""
    history = History(GIB, WINDOWS)
    plans = sequential(history, 32 * MIB, MIB)
    plan = history.plan(32 * MIB, 32 * MIB + 1)
    assert plan.end == 32 * MIB + plan.window <= max(plan.end for plan in plans)


def test_a_reader_that_found_much_in_the_cache_is_the_same_run() -> None:
    history = History(GIB, WINDOWS)
    plans = sequential(history, 64 * MIB, MIB)
    last = max(plan.end for plan in plans)
    assert last > 64 * MIB + 4 * MIB
    assert history.plan(last, last + MIB).window == 8 * MIB


def test_who_reads_over_a_wire_is_given_more_and_the_wire_moves_on() -> None:
    """A reader that finds everything in the cache is heard of by its wires alone."""
    history = History(GIB, WINDOWS)
    sequential(history, 32 * MIB, MIB)
    given_up_to, asked = 0, 0
    for at in range(32 * MIB, 512 * MIB, 128 * KIB):
        end = at + 128 * KIB
        if not any(at <= wire < end for wire in history.wires):
            continue
        given_up_to = max(given_up_to, history.plan(at, end).end)
        asked += 1
        assert given_up_to >= end + WINDOWS.bytes_max
        assert not any(at <= wire < end for wire in history.wires)
    assert asked == pytest.approx((512 - 32) * MIB / WINDOWS.bytes_max, abs=2)


def test_random_reads_stretch_no_wires() -> None:
    history = History(64 * GIB, WINDOWS)
    for offset in random.Random(5).sample(range(0, 64 * GIB, 4 * KIB), 300):
        history.plan(offset, offset + 4 * KIB)
        assert not history.wires


def test_no_wire_is_left_once_all_is_given() -> None:
    history = History(64 * MIB, WINDOWS)
    sequential(history, 64 * MIB, MIB)
    assert not history.wires


@given(seed=st.integers())
def test_a_wire_is_never_left_where_was_just_read(seed: int) -> None:
    chance = random.Random(seed)
    history = History(256 * MIB, WINDOWS)
    for _ in range(200):
        base = chance.choice([0, 64 * MIB, 65 * MIB, 128 * MIB])
        start = base + chance.randrange(40) * 512 * KIB
        history.plan(start, start + MIB)
        assert not any(start <= wire < start + MIB for wire in history.wires)


def test_several_readers_are_followed_at_once() -> None:
    history = History(64 * GIB, WINDOWS)
    for at in range(0, 64 * MIB, MIB):
        plans = [history.plan(n * GIB + at, n * GIB + at + MIB) for n in range(RUNS_MAX)]
    assert {plan.window for plan in plans} == {8 * MIB}


def test_runs_are_bounded() -> None:
    history = History(1000 * GIB, WINDOWS)
    for n in range(900):
        history.plan(n * GIB, n * GIB + 1)
    assert len(history._runs) == RUNS_MAX
