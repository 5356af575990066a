"""Copies of staged files: of the staged ranges, with holes, and nothing left after a failure."""

import errno
import os
import random

import pytest

from hfnfs.config import MIB
from hfnfs.disk import snapshot as copying
from hfnfs.disk.ranges import Ranges
from hfnfs.disk.staging import Staging
from hfnfs.errors import NoSpace
from tests.disk.failing import failing


def test_a_snapshot_stays_as_it_was_and_its_gaps_are_filled_by_others(staging: Staging) -> None:
    staging.write(1, 10, b"staged")
    snapshot = staging.snapshot(1, Ranges([(10, 16)]), 30)
    staging.write(1, 10, b"later!")
    snapshot.fill(0, b"base bytes")
    snapshot.seal()
    assert snapshot.path.read_bytes() == b"base bytesstaged" + bytes(14)
    assert snapshot.path.stat().st_mode & 0o777 == 0o400
    assert staging.usage().snapshot_bytes > 0
    snapshot.discard()
    snapshot.discard()
    assert not snapshot.path.exists()
    assert staging.usage().snapshot_bytes == 0


def test_bytes_outside_of_the_staged_ranges_are_zeros_in_a_snapshot(staging: Staging) -> None:
    staging.write(1, 0, b"abcdef")
    snapshot = staging.snapshot(1, Ranges([(1, 2), (4, 5)]), 8)
    assert snapshot.path.read_bytes() == b"\0b\0\0e\0\0\0"
    snapshot.discard()


def test_holes_stay_holes(staging: Staging) -> None:
    staging.write(1, 64 * MIB, b"end")
    staging.truncate(1, 128 * MIB)
    snapshot = staging.snapshot(1, Ranges([(0, 128 * MIB)]), 128 * MIB)
    assert snapshot.path.stat().st_size == 128 * MIB
    assert snapshot.path.stat().st_blocks * 512 < MIB
    snapshot.discard()


def test_it_is_copied_by_hand_where_the_kernel_does_not(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = random.Random(1).randbytes(3 * MIB + 5)
    staging.write(1, 7, data)
    monkeypatch.setattr(os, "copy_file_range", failing(errno.EXDEV), raising=False)
    snapshot = staging.snapshot(1, Ranges([(7, 7 + len(data))]), 7 + len(data))
    assert snapshot.path.read_bytes() == bytes(7) + data
    snapshot.discard()


def test_what_a_clone_has_too_much_is_zeroed(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on btrfs and XFS, where all of the file is cloned at once."""

    def clone(source: int, target: int) -> bool:
        os.pwrite(target, os.pread(source, 3 * MIB, 0), 0)
        return True

    data = random.Random(2).randbytes(2 * MIB)
    staging.write(1, 0, data)
    monkeypatch.setattr(copying, "_clone", clone)
    own = Ranges([(5, 9), (MIB + 300_000, MIB + 300_010)])
    for size in (MIB + 300_005, 3 * MIB):
        truth = bytearray(size)
        for start, end in own.intersect(0, size):
            truth[start:end] = data[start:end]
        snapshot = staging.snapshot(1, own, size)
        assert snapshot.path.read_bytes() == bytes(truth)
        snapshot.discard()


def test_a_snapshot_for_which_there_is_no_room_leaves_nothing(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging.write(1, 0, b"abc")
    monkeypatch.setattr(copying, "_copied_by_kernel", failing(errno.ENOSPC))
    with pytest.raises(NoSpace):
        staging.snapshot(1, Ranges([(0, 3)]), 3)
    assert not list((staging.path(1).parent / "snapshots").iterdir())
