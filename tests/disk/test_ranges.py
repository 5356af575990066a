"""A set of ranges against a set of bytes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.disk import ranges as module
from hfnfs.disk.ranges import OFFSET_MAX, Ranges
from hfnfs.errors import CacheUnusable

SPACE = 64
PLACES = st.integers(0, SPACE)
PAIRS = st.tuples(PLACES, PLACES).map(lambda pair: (min(pair), max(pair)))
STEPS = st.lists(st.tuples(st.sampled_from(["add", "remove", "truncate"]), PAIRS), max_size=30)
FAR = st.lists(st.tuples(st.integers(1, 2**40), st.integers(1, 2**40)), max_size=30)


def built(steps: list[tuple[str, tuple[int, int]]]) -> tuple[Ranges, bytearray]:
    """The set after all steps, and the model: a byte for each place, 1 when it is in."""
    ranges, model = Ranges(), bytearray(SPACE)
    for step, (start, end) in steps:
        if step == "add":
            ranges.add(start, end)
            model[start:end] = b"\1" * (end - start)
        elif step == "remove":
            ranges.remove(start, end)
            model[start:end] = bytes(end - start)
        else:
            ranges.truncate(start)
            model[start:] = bytes(SPACE - start)
    return ranges, model


def runs(model: bytearray, start: int, end: int, value: int) -> list[tuple[int, int]]:
    """The longest runs of places in [start, end) that have this value."""
    found: list[tuple[int, int]] = []
    for place in range(start, end):
        if model[place] != value:
            continue
        if found and found[-1][1] == place:
            found[-1] = found[-1][0], place + 1
        else:
            found.append((place, place + 1))
    return found


@given(STEPS)
def test_it_holds_what_was_put_in_and_not_taken_out(
    steps: list[tuple[str, tuple[int, int]]],
) -> None:
    ranges, model = built(steps)
    assert list(ranges) == runs(model, 0, SPACE, 1)
    assert len(ranges) == len(list(ranges))
    assert ranges.total == sum(model)
    assert bool(ranges) == any(model)


@given(STEPS, PAIRS)
def test_it_tells_what_of_a_window_is_in_and_what_is_not(
    steps: list[tuple[str, tuple[int, int]]], window: tuple[int, int]
) -> None:
    ranges, model = built(steps)
    start, end = window
    assert list(ranges.intersect(start, end)) == runs(model, start, end, 1)
    assert list(ranges.gaps(start, end)) == runs(model, start, end, 0)
    assert ranges.covers(start, end) == all(model[start:end])


@given(STEPS, STEPS)
def test_sets_are_joined_and_subtracted(
    steps: list[tuple[str, tuple[int, int]]], others: list[tuple[str, tuple[int, int]]]
) -> None:
    (ranges, model), (other, other_model) = built(steps), built(others)
    both, rest = ranges.copy(), ranges.copy()
    both.update(other)
    rest.subtract(other)
    pairs = list(zip(model, other_model, strict=True))
    assert list(both) == runs(bytearray(a | b for a, b in pairs), 0, SPACE, 1)
    assert list(rest) == runs(bytearray(a & ~b & 1 for a, b in pairs), 0, SPACE, 1)
    assert ranges == built(steps)[0]  # copies are copies


@given(FAR)
def test_it_is_packed_and_unpacked_unchanged(gaps_and_lengths: list[tuple[int, int]]) -> None:
    ranges, place = Ranges(), 0
    for gap, length in gaps_and_lengths:
        ranges.add(place + gap, place + gap + length)
        place += gap + length
    unpacked = Ranges.unpack(ranges.pack())
    assert unpacked == ranges
    assert unpacked.total == ranges.total


@given(st.binary(max_size=40))
def test_bytes_are_unpacked_only_if_pack_makes_them(packed: bytes) -> None:
    try:
        ranges = Ranges.unpack(packed)
    except CacheUnusable:
        return
    assert ranges.pack() == packed


@given(FAR.filter(bool), st.integers(1, 8))
def test_a_cut_is_noticed_or_ends_between_two_ranges(
    gaps_and_lengths: list[tuple[int, int]], cut: int
) -> None:
    ranges, place = Ranges(), 0
    for gap, length in gaps_and_lengths:
        ranges.add(place + gap, place + gap + length)
        place += gap + length
    packed = ranges.pack()
    try:
        left = Ranges.unpack(packed[: max(len(packed) - cut, 0)])
    except CacheUnusable:
        return
    assert list(left) == list(ranges)[: len(left)]


def test_the_furthest_range_is_held() -> None:
    ranges = Ranges([(0, 1), (OFFSET_MAX - 1, OFFSET_MAX)])
    assert Ranges.unpack(ranges.pack()) == ranges
    ranges.add(1, OFFSET_MAX - 1)
    assert list(ranges) == [(0, OFFSET_MAX)]
    assert Ranges.unpack(ranges.pack()) == ranges


def test_more_ranges_than_the_bound_are_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RANGES_MAX", 100)
    assert len(Ranges.unpack(b"\1\1" * 100)) == 100
    with pytest.raises(CacheUnusable):
        Ranges.unpack(b"\1\1" * 101)


def test_many_small_writes_stay_a_few_bytes_each() -> None:
    rng = random.Random(5)
    places = rng.sample(range(1_000_000), 20_000)
    ranges = Ranges((place * 4096, place * 4096 + 4096) for place in places)
    assert len(ranges.pack()) < 6 * len(ranges)
    assert ranges.total == 20_000 * 4096


def test_equal_sets_are_equal_and_show_their_ranges() -> None:
    assert Ranges([(0, 4), (4, 8)]) == Ranges([(0, 8)])
    assert Ranges([(0, 8)]) != [(0, 8)]
    assert repr(Ranges([(2, 3)])) == "Ranges([(2, 3)])"
