"""Random work on a cache whose disk fills up, is read-only, and has room again, against a model."""

import errno
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hfnfs.config import BLOCK_BYTES, GIB
from hfnfs.disk.eviction import evict
from hfnfs.disk.memory import MemoryExtents
from hfnfs.disk.overflow import QUIET_S, TRY_EVERY_S, OverflowingExtents
from hfnfs.remote import ContentId
from tests.disk.contents import LONG, ROUND, SMALL, block_count, blocks, numbered, truth
from tests.disk.failing import CacheDisk
from tests.fakes.clock import FakeClock

WIDE = numbered(1, 10 * BLOCK_BYTES + 5)
# LONG is used near the edge of its first segment only.
FIRST_BLOCK = {SMALL: 0, ROUND: 0, WIDE: 0, LONG: block_count(LONG) - 6}
CONTENTS = st.sampled_from(list(FIRST_BLOCK))
PART = st.floats(0, 1)
MEMORY_BYTES = 6 * BLOCK_BYTES
Range = tuple[ContentId, int, int]


class OverflowAgainstModel(RuleBasedStateMachine):
    """What is read is right; what was added while it was pinned is there until it is not pinned."""

    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.TemporaryDirectory()
        self.directory = Path(self.home.name)
        self.patch = pytest.MonkeyPatch()
        self.disk = CacheDisk(self.patch)
        self.clock = FakeClock()
        self.memory = MemoryExtents(MEMORY_BYTES)
        self.extents = OverflowingExtents(self.directory, GIB, self.memory, self.clock)
        self.pins: list[Range] = []
        self.sure: set[tuple[ContentId, int]] = set()  # blocks added while they were pinned
        self.known: set[tuple[ContentId, int]] = set()  # ever added, and not forgotten since
        self.held: list[tuple[memoryview, bytes]] = []

    def teardown(self) -> None:
        for pinned in self.pins:
            self.extents.unpin(*pinned)
        assert not self.extents._pins
        assert not self.memory._pins
        self.extents.close()
        self.patch.undo()
        self.home.cleanup()

    @staticmethod
    def some(content: ContentId, where: float, count: int) -> range:
        first, last = FIRST_BLOCK[content], block_count(content)
        start = min(first + int(where * (last - first)), last - 1)
        return range(start, min(start + count, last))

    @staticmethod
    def bytes_of(content: ContentId, some: range) -> Range:
        return content, some.start * BLOCK_BYTES, min(some.stop * BLOCK_BYTES, content.size)

    @rule(content=CONTENTS, where=PART, count=st.integers(1, 5))
    def add(self, content: ContentId, where: float, count: int) -> None:
        some = self.some(content, where, count)
        data = blocks(content, some.start, some.stop)
        self.extents.add(content, some.start * BLOCK_BYTES, data)
        added = {(content, number) for number in some}
        self.known |= added
        self.sure |= {each for each in added if self.is_pinned(*each)}

    @rule(content=CONTENTS, where=PART, count=st.integers(1, 6), skew=st.integers(0, 9))
    def read(self, content: ContentId, where: float, count: int, skew: int) -> None:
        some = self.some(content, where, count)
        _, start, end = self.bytes_of(content, some)
        start = min(start + skew, end - 1)
        view = self.extents.read(content, start, end)
        if view is None and self.extents.has(content, start, end):
            self.extents.make_resident(content, start, end)
            view = self.extents.read(content, start, end)
            assert view is not None, "who reads would be sent to and fro"
        assert (view is not None) == self.extents.has(content, start, end)
        if view is not None:
            assert {(content, number) for number in some} <= self.known
            self.held = [*self.held[-8:], (view, truth(content, start, end))]

    @rule(content=CONTENTS, where=PART, count=st.integers(1, 6))
    def pin(self, content: ContentId, where: float, count: int) -> None:
        pinned = self.bytes_of(content, self.some(content, where, count))
        self.extents.pin(*pinned)
        self.pins.append(pinned)

    @rule(which=PART)
    def unpin(self, which: float) -> None:
        if self.pins:
            pinned = self.pins.pop(int(which * (len(self.pins) - 1)))
            self.extents.unpin(*pinned)
            self.sure = {each for each in self.sure if self.is_pinned(*each)}

    @rule(
        bytes_left=st.sampled_from([0, 5, BLOCK_BYTES + 9, 3 * BLOCK_BYTES]),
        refusal=st.sampled_from([errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO]),
    )
    def the_disk_fills_up(self, bytes_left: int, refusal: int) -> None:
        self.disk.fill(bytes_left, refusal)

    @rule()
    def the_disk_has_room(self) -> None:
        self.disk.clear()

    @rule(seconds=st.sampled_from([TRY_EVERY_S / 2, TRY_EVERY_S, QUIET_S]))
    def time_goes_by(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(content=CONTENTS)
    def forget(self, content: ContentId) -> None:
        self.extents.forget(content)
        self.known = {each for each in self.known if each[0] is not content}
        self.sure &= self.known

    @rule()
    def tidy(self) -> None:
        self.extents.tidy()

    @rule()
    def others_evict(self) -> None:
        evict(self.directory, 1 << 60, lambda _path: True)

    @rule()
    def restart(self) -> None:
        """What was in memory is gone, and what is on the disk is to be checked."""
        for pinned in self.pins:
            self.extents.unpin(*pinned)
        self.extents.close()
        assert self.memory.bytes_kept == 0
        self.memory = MemoryExtents(MEMORY_BYTES)
        self.extents = OverflowingExtents(self.directory, GIB, self.memory, self.clock)
        for pinned in self.pins:
            self.extents.pin(*pinned)
        self.sure.clear()

    def is_pinned(self, content: ContentId, number: int) -> bool:
        at = number * BLOCK_BYTES
        return any(c is content and start <= at < end for c, start, end in self.pins)

    @invariant()
    def what_is_sure_is_there(self) -> None:
        for content, number in self.sure:
            at = number * BLOCK_BYTES
            assert self.extents.has(content, at, at + 1)

    @invariant()
    def a_gap_is_the_smallest_one(self) -> None:
        for content, first in FIRST_BLOCK.items():
            last = block_count(content)
            absent = [
                number for number in range(first, last)
                if not self.extents.has(content, number * BLOCK_BYTES, number * BLOCK_BYTES + 1)
            ]  # fmt: skip
            start, end = first * BLOCK_BYTES, content.size
            gap = self.bytes_of(content, range(absent[0], absent[-1] + 1))[1:] if absent else None
            assert self.extents.gap(content, start, end) == gap

    @invariant()
    def what_is_held_stays_right(self) -> None:
        assert all(bytes(view) == data for view, data in self.held)

    @invariant()
    def memory_is_bounded_by_what_is_not_pinned(self) -> None:
        assert self.pins or self.memory.bytes_kept <= MEMORY_BYTES


OverflowAgainstModel.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
test_overflow_against_the_model = OverflowAgainstModel.TestCase
