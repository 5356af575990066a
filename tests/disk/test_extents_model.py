"""Random work of two processes on one cache, restarts and damage, against a model of it."""

import os
import random
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hfnfs.config import BLOCK_BYTES, GIB
from hfnfs.disk.extents import DiskExtents
from hfnfs.disk.segment import HEADER_BYTES
from hfnfs.remote import ContentId
from tests.disk.contents import (
    LONG,
    ROUND,
    SMALL,
    TINY,
    block_count,
    blocks,
    files_of,
    got,
    truth,
)

# LONG is used near the edge of its first segment only.
FIRST_BLOCK = {TINY: 0, SMALL: 0, ROUND: 0, LONG: block_count(LONG) - 5}
CONTENTS = st.sampled_from(list(FIRST_BLOCK))
WHO = st.integers(0, 1)
PART = st.floats(0, 1)
Block = tuple[ContentId, int]


class ExtentsAgainstModel(RuleBasedStateMachine):
    """What is read is what was added, whatever happened to the files meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.TemporaryDirectory()
        self.directory = Path(self.home.name)
        self.processes = [DiskExtents(self.directory, GIB), DiskExtents(self.directory, GIB)]
        self.kept: set[Block] = set()  # added, and not damaged since
        self.damaged: set[Block] = set()  # added, and altered since
        self.sure: list[set[Block]] = [set(), set()]  # what each process has to give at once

    def teardown(self) -> None:
        for process in self.processes:
            process.close()
        self.home.cleanup()

    @staticmethod
    def some(content: ContentId, where: float, count: float) -> range:
        first, last = FIRST_BLOCK[content], block_count(content)
        start = min(first + int(where * (last - first)), last - 1)
        return range(start, min(start + 1 + int(count * 3), last))

    @rule(who=WHO, content=CONTENTS, where=PART, count=PART)
    def add(self, who: int, content: ContentId, where: float, count: float) -> None:
        some = self.some(content, where, count)
        data = blocks(content, some.start, some.stop)
        self.processes[who].add(content, some.start * BLOCK_BYTES, data)
        added = {(content, number) for number in some}
        self.sure[who] |= added
        self.kept |= added
        self.damaged -= added

    @rule(who=WHO, content=CONTENTS, where=PART, count=PART)
    def check(self, who: int, content: ContentId, where: float, count: float) -> None:
        some = self.some(content, where, count)
        end = min(some.stop * BLOCK_BYTES, content.size)
        self.processes[who].make_resident(content, some.start * BLOCK_BYTES, end)
        checked = {(content, number) for number in some}
        self.sure[who] |= checked & self.kept
        self.damaged -= checked

    @rule(who=WHO, content=CONTENTS, start=PART, count=PART)
    def read(self, who: int, content: ContentId, start: float, count: float) -> None:
        lowest = FIRST_BLOCK[content] * BLOCK_BYTES
        begin = min(lowest + int(start * (content.size - lowest)), content.size - 1)
        end = min(begin + 1 + int(count * 3 * BLOCK_BYTES), content.size)
        numbers = range(begin // BLOCK_BYTES, -(-end // BLOCK_BYTES))
        data = got(self.processes[who], content, begin, end)
        at_hand = all((content, number) in self.sure[who] for number in numbers)
        assert data == (truth(content, begin, end) if at_hand else None)

    @rule(who=WHO)
    def restart(self, who: int) -> None:
        self.processes[who].close()
        self.processes[who] = DiskExtents(self.directory, GIB)
        self.sure[who] = set()

    @rule(seed=st.integers())
    def alter_a_block(self, seed: int) -> None:
        self.restart(0)
        self.restart(1)
        if not self.kept:
            return
        rng = random.Random(seed)
        content, number = rng.choice(sorted(self.kept, key=str))
        path, first = self.segment_of(content, number)
        size = min(BLOCK_BYTES, content.size - number * BLOCK_BYTES)
        at = HEADER_BYTES + (number - first) * BLOCK_BYTES + rng.randrange(size)
        with path.open("r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ rng.randrange(1, 256)]))
        self.kept.discard((content, number))
        self.damaged.add((content, number))

    @rule(seed=st.integers())
    def cut_a_segment(self, seed: int) -> None:
        self.restart(0)
        self.restart(1)
        if not self.kept:
            return
        rng = random.Random(seed)
        content, number = rng.choice(sorted(self.kept, key=str))
        path, first = self.segment_of(content, number)
        left = rng.choice([0, 8, 64, HEADER_BYTES, HEADER_BYTES + 1, path.stat().st_size - 1])
        os.truncate(path, left)
        for block in [b for b in self.kept | self.damaged if self.segment_of(*b)[0] == path]:
            index = block[1] - first
            size = min(BLOCK_BYTES, content.size - block[1] * BLOCK_BYTES)
            if HEADER_BYTES + index * BLOCK_BYTES + size > left:
                self.kept.discard(block)
                self.damaged.add(block)
            if 8 * (index + 1) > left:  # its record went as well
                self.damaged.discard(block)

    @rule(seed=st.integers())
    def lose_a_file(self, seed: int) -> None:
        self.restart(0)
        self.restart(1)
        files = files_of(self.directory)
        if not files:
            return
        lost = random.Random(seed).choice(files)
        for found in (self.kept, self.damaged):
            found.difference_update([b for b in found if self.segment_of(*b)[0] == lost])
        lost.unlink()

    @rule(who=WHO)
    def tidy(self, who: int) -> None:
        """Closes what was not read: it has to be checked again, as after a restart."""
        self.processes[who].tidy()
        self.processes[who].tidy()
        self.sure[who] = set()

    @invariant()
    def presence_is_known(self) -> None:
        for content, lowest in FIRST_BLOCK.items():
            for number in range(lowest, block_count(content)):
                start = number * BLOCK_BYTES
                there = (content, number) in self.kept | self.damaged
                assert self.processes[0].has(content, start, start + 1) == there

    def segment_of(self, content: ContentId, number: int) -> tuple[Path, int]:
        """The file of a block, and the first block in it."""
        (path,) = self.directory.glob(f"??/{content.key}.{content.size}.{number // 512}")
        return path, number // 512 * 512


ExtentsAgainstModel.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None
)
test_extents_against_the_model = ExtentsAgainstModel.TestCase
