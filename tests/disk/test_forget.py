"""What turned out to be wrong is dropped, under whoever works with it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hfnfs.config import BLOCK_BYTES, MIB
from hfnfs.disk.extents import DiskExtents
from hfnfs.disk.segment import SEGMENT_BYTES
from tests.disk.contents import LONG, SMALL, blocks, files_of, truth

EDGE = SEGMENT_BYTES // BLOCK_BYTES


@pytest.fixture
def extents(tmp_path: Path) -> Iterator[DiskExtents]:
    made = DiskExtents(tmp_path, 1024 * MIB)
    yield made
    made.close()


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def test_a_forgotten_content_is_absent_at_once_and_after_a_restart(
    extents: DiskExtents, tmp_path: Path
) -> None:
    start = (EDGE - 1) * BLOCK_BYTES
    extents.add(LONG, start, blocks(LONG, EDGE - 1, EDGE + 3))
    extents.add(SMALL, 0, blocks(SMALL, 0, 4))
    before = descriptors()
    view = extents.read(LONG, start, SEGMENT_BYTES)
    extents.forget(LONG)
    assert descriptors() < before
    assert extents.gap(LONG, start, LONG.size) == (start, LONG.size)
    assert len(files_of(tmp_path)) == 1
    assert view is not None
    assert bytes(view) == truth(LONG, start, SEGMENT_BYTES)
    again = DiskExtents(tmp_path, 1024 * MIB)
    assert again.has(SMALL, 0, SMALL.size)
    assert not again.has(LONG, start, start + 1)
    again.close()


def test_what_is_forgotten_under_a_thread_is_closed_when_that_has_done(
    extents: DiskExtents,
) -> None:
    extents.add(SMALL, 0, blocks(SMALL, 0, 4))
    before = descriptors()
    with extents._using(SMALL, 0, create=False) as segment:
        assert segment is not None
        extents.forget(SMALL)
        assert segment.present(0, 4) == [True] * 4
        assert not extents.has(SMALL, 0, 1)
    assert descriptors() < before
