"""Several processes on one cache, some of which are killed."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hfnfs.config import BLOCK_BYTES, GIB, MIB
from hfnfs.disk.extents import DiskExtents
from tests.disk.cache_writer import CONTENTS
from tests.disk.contents import block, got

ROOT = Path(__file__).resolve().parent.parent.parent
Added = set[tuple[int, int]]


@contextmanager
def writer(directory: Path, bytes_max: int, seed: int) -> Iterator["subprocess.Popen[str]"]:
    """A process that adds blocks; killed in the middle of its work at the end of the block."""
    command = [sys.executable, "-m", "tests.disk.cache_writer", str(directory)]
    with subprocess.Popen(
        [*command, str(bytes_max), str(seed)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def told(process: "subprocess.Popen[str]", lines: int) -> Added:
    """Its next lines: what it has added."""
    assert process.stdout is not None
    pairs = [process.stdout.readline().split() for _ in range(lines)]
    return {(int(which), int(number)) for which, number in pairs}


def read_block(extents: DiskExtents, which: int, number: int) -> bytes | None:
    content = CONTENTS[which]
    start = number * BLOCK_BYTES
    end = min(start + BLOCK_BYTES, content.size)
    extents.make_resident(content, start, end)
    return got(extents, content, start, end)


def wrong_blocks(extents: DiskExtents) -> Added:
    """Blocks that read as something else than their bytes."""
    everything = [(which, number) for which in range(len(CONTENTS)) for number in range(41)]
    return {
        (which, number)
        for which, number in everything
        if read_block(extents, which, number) not in (None, block(CONTENTS[which], number))
    }


@pytest.mark.parametrize("seed", range(4))
def test_what_a_killed_process_had_added_is_there_and_right(tmp_path: Path, seed: int) -> None:
    with writer(tmp_path, GIB, seed) as process:
        added = told(process, 10 + 37 * seed)
    extents = DiskExtents(tmp_path, GIB)
    for which, number in added:
        assert read_block(extents, which, number) == block(CONTENTS[which], number)
    assert not wrong_blocks(extents)
    extents.close()


def test_a_process_reads_what_another_adds_just_now_and_outlives_it(tmp_path: Path) -> None:
    extents = DiskExtents(tmp_path, GIB)
    added: Added = set()
    with writer(tmp_path, GIB, 7) as one, writer(tmp_path, GIB, 8) as other:
        for _ in range(20):
            added |= told(one, 5) | told(other, 5)
            assert not wrong_blocks(extents)
            assert all(read_block(extents, *pair) is not None for pair in added)
    assert not wrong_blocks(extents)
    assert all(read_block(extents, *pair) is not None for pair in added)
    extents.close()


def test_processes_that_evict_each_others_segments_never_give_wrong_bytes(tmp_path: Path) -> None:
    extents = DiskExtents(tmp_path, 12 * MIB)
    with writer(tmp_path, 12 * MIB, 1) as one, writer(tmp_path, 12 * MIB, 2) as other:
        for turn in range(30):
            told(one, 10)
            told(other, 10)
            content = CONTENTS[turn % len(CONTENTS)]
            extents.add(content, 0, block(content, 0))
            assert not wrong_blocks(extents)
            extents.tidy()
    extents.close()
