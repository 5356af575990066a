"""Blocks in memory: the same bytes as on disk, within a budget, pinned and held ones excepted."""

import threading
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hfnfs.config import BLOCK_BYTES, MIB
from hfnfs.disk.memory import SLAB_BYTES, MemoryCache, MemoryExtents
from hfnfs.remote import ContentId
from hfnfs.vfs.ports import Extents
from tests.disk.contents import EMPTY, LONG, ROUND, SMALL, TINY, block, blocks, numbered, truth

SLAB_BLOCKS = SLAB_BYTES // BLOCK_BYTES
WIDE = numbered(1, 3 * SLAB_BYTES + 5)


def extents(bytes_max: int = 64 * MIB) -> MemoryExtents:
    return MemoryExtents(bytes_max)


def got(extents: MemoryExtents, content: ContentId, start: int, end: int) -> bytes | None:
    view = extents.read(content, start, end)
    return None if view is None else bytes(view)


def fill(extents: MemoryExtents, content: ContentId) -> None:
    extents.add(content, 0, blocks(content, 0, -(-content.size // BLOCK_BYTES)))


def test_what_was_added_is_read_without_a_copy() -> None:
    kept: Extents = extents()
    kept.add(SMALL, 0, blocks(SMALL, 0, 4))
    views = [kept.read(SMALL, 100, 2 * BLOCK_BYTES + 1) for _ in range(2)]
    assert [bytes(view or b"") for view in views] == [truth(SMALL, 100, 2 * BLOCK_BYTES + 1)] * 2
    assert views[0] is not None
    assert views[1] is not None
    assert views[0].readonly
    assert views[0].obj is views[1].obj


def test_absent_bytes_are_not_made_up() -> None:
    kept = extents()
    kept.add(SMALL, BLOCK_BYTES, block(SMALL, 1))
    assert kept.read(SMALL, 0, 1) is None
    assert kept.read(SMALL, BLOCK_BYTES, 2 * BLOCK_BYTES + 1) is None
    assert kept.gap(SMALL, 5, BLOCK_BYTES) == (0, BLOCK_BYTES)
    assert kept.gap(SMALL, BLOCK_BYTES, BLOCK_BYTES + 1) is None
    assert kept.gap(SMALL, 0, SMALL.size) == (0, SMALL.size)
    assert kept.has(SMALL, BLOCK_BYTES, 2 * BLOCK_BYTES)
    for content in (EMPTY, TINY, SMALL):
        assert got(kept, content, content.size, content.size) == b""
        assert kept.has(content, content.size, content.size)


def test_a_read_may_lie_across_slabs() -> None:
    kept = extents()
    fill(kept, WIDE)
    for start, end in [(0, WIDE.size), (SLAB_BYTES - 1, 2 * SLAB_BYTES + 1), (WIDE.size - 6, None)]:
        assert got(kept, WIDE, start, end or WIDE.size) == truth(WIDE, start, end or WIDE.size)


def test_memory_is_taken_for_blocks_alone() -> None:
    kept = extents()
    kept.add(LONG, 100 * BLOCK_BYTES, block(LONG, 100))
    assert kept.bytes_kept == BLOCK_BYTES
    kept.add(LONG, 100 * BLOCK_BYTES, block(LONG, 100))
    assert kept.bytes_kept == BLOCK_BYTES


def test_the_longest_unread_goes_first_when_the_budget_is_passed() -> None:
    contents = [numbered(n, SLAB_BYTES) for n in range(5)]
    kept = extents(4 * SLAB_BYTES)
    for content in contents[:4]:
        fill(kept, content)
    fill(kept, contents[4])  # passes over all once, and takes the oldest
    assert [kept.has(c, 0, 1) for c in contents] == [False, True, True, True, True]
    assert got(kept, contents[1], 0, 1)
    fill(kept, contents[0])
    assert [kept.has(c, 0, 1) for c in contents] == [True, True, False, True, True]
    assert kept.bytes_kept == 4 * SLAB_BYTES


def test_what_is_pinned_stays_and_goes_when_it_is_no_longer() -> None:
    kept = extents(SLAB_BYTES)
    kept.pin(WIDE, 0, WIDE.size)
    fill(kept, WIDE)
    assert kept.bytes_kept > SLAB_BYTES
    assert got(kept, WIDE, 0, WIDE.size) == truth(WIDE, 0, WIDE.size)
    kept.unpin(WIDE, 0, WIDE.size)
    assert kept.bytes_kept <= SLAB_BYTES


def test_a_view_stays_what_it_is_whatever_becomes_of_its_block() -> None:
    kept = extents(SLAB_BYTES)
    fill(kept, SMALL)
    view = kept.read(SMALL, 0, SMALL.size)
    for number in range(4):
        fill(kept, numbered(number, SLAB_BYTES))
    assert not kept.has(SMALL, 0, 1)
    kept.close()
    assert view is not None
    assert bytes(view) == truth(SMALL, 0, SMALL.size)


def test_a_forgotten_content_is_absent_and_can_be_added_again() -> None:
    kept = extents()
    for content in (SMALL, ROUND):
        fill(kept, content)
    kept.forget(SMALL)
    assert not kept.has(SMALL, 0, 1)
    assert kept.bytes_kept == 4 * BLOCK_BYTES
    fill(kept, SMALL)
    assert got(kept, SMALL, 0, SMALL.size) == truth(SMALL, 0, SMALL.size)


def test_a_content_of_the_same_key_and_another_size_is_another() -> None:
    kept = extents()
    fill(kept, TINY)
    assert kept.read(ContentId(TINY.key, 4), 0, 4) is None


def test_threads_may_add_while_others_read() -> None:
    kept = extents(8 * SLAB_BYTES)
    contents = [numbered(n, 2 * SLAB_BYTES) for n in range(8)]
    wrong: list[Any] = []

    def work(seed: int) -> None:
        for turn in range(40):
            content = contents[(seed + turn) % len(contents)]
            fill(kept, content)
            data = got(kept, content, 7, content.size)
            if data not in (None, truth(content, 7, content.size)):
                wrong.append(content)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert 0 < kept.bytes_kept <= 8 * SLAB_BYTES
    assert kept.bytes_kept == sum(s.block_count for s in kept._slabs.values()) * BLOCK_BYTES


@pytest.mark.parametrize("bytes_max", [SLAB_BYTES, 4 * SLAB_BYTES])
def test_it_never_keeps_more_than_its_budget(bytes_max: int) -> None:
    kept = extents(bytes_max)
    for number in range(20):
        kept.add(LONG, number * SLAB_BYTES, blocks(LONG, number * SLAB_BLOCKS, (number + 1) * 8))
        assert kept.bytes_kept <= bytes_max


def test_a_cache_without_a_disk_has_all_that_one_with_a_disk_has() -> None:
    cache = MemoryCache()
    cache.names("x").keep_entry("", "a", None, 1)
    assert cache.names("x").entry("", "a") is not None
    assert cache.volume_state("x").id == cache.volume_state("x").id
    assert cache.sources().get("x") is None


CONTENTS = [TINY, SMALL, ROUND, WIDE]


class MemoryAgainstModel(RuleBasedStateMachine):
    """Random adds, reads and pins under a budget that is too small for all."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = extents(6 * BLOCK_BYTES)
        self.pins: list[tuple[ContentId, int, int]] = []
        self.held: list[tuple[memoryview, bytes]] = []

    @rule(content=st.sampled_from(CONTENTS), where=st.floats(0, 1), count=st.integers(1, 4))
    def add(self, content: ContentId, where: float, count: int) -> None:
        last = -(-content.size // BLOCK_BYTES)
        first = min(int(where * last), last - 1)
        stop = min(first + count, last)
        self.kept.add(content, first * BLOCK_BYTES, blocks(content, first, stop))

    @rule(content=st.sampled_from(CONTENTS), where=st.floats(0, 1), count=st.floats(0, 1))
    def read(self, content: ContentId, where: float, count: float) -> None:
        start = min(int(where * content.size), content.size - 1)
        end = min(start + 1 + int(count * 3 * BLOCK_BYTES), content.size)
        view = self.kept.read(content, start, end)
        assert (view is not None) == self.kept.has(content, start, end)
        if view is not None:
            self.held = [*self.held[-8:], (view, truth(content, start, end))]

    @rule(content=st.sampled_from(CONTENTS))
    def pin(self, content: ContentId) -> None:
        self.kept.pin(content, 0, content.size)
        self.pins.append((content, 0, content.size))

    @rule()
    def unpin(self) -> None:
        if self.pins:
            self.kept.unpin(*self.pins.pop())

    @rule(content=st.sampled_from(CONTENTS))
    def forget(self, content: ContentId) -> None:
        self.kept.forget(content)

    @invariant()
    def what_is_held_is_right(self) -> None:
        assert all(bytes(view) == data for view, data in self.held)

    @invariant()
    def the_budget_holds_for_what_is_not_pinned(self) -> None:
        assert self.pins or self.kept.bytes_kept <= 6 * BLOCK_BYTES


MemoryAgainstModel.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None
)
test_memory_against_the_model = MemoryAgainstModel.TestCase
