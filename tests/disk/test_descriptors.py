"""Few files are open at once, none that must not be closed, and none that is not ours."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hfnfs.disk import descriptors
from hfnfs.disk.ranges import Ranges
from hfnfs.disk.staging import Staging
from hfnfs.errors import CacheUnusable, TryLater
from tests.disk.failing import failing
from tests.disk.staged import opened


def test_a_name_that_did_not_reach_the_disk_fails_the_sync(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging.write(1, 0, b"a")
    monkeypatch.setattr(descriptors, "_sync_names", failing(errno.EIO))
    with pytest.raises(CacheUnusable):
        staging.sync(1)


def test_names_of_many_new_files_are_synced_at_once(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(descriptors, "_sync_names", synced.append)
    for fileid in range(20):
        staging.write(fileid, 0, b"a")
    for fileid in range(20):
        staging.sync(fileid)
    staging.write(3, 9, b"a")
    staging.sync(3)
    assert len(synced) == 1


def test_few_files_are_open_and_none_is_closed_before_its_sync(tmp_path: Path) -> None:
    staging = Staging(tmp_path, None, descriptors_max=3)
    staging.open(set())
    for fileid in range(3):
        staging.write(fileid, 0, b"a")
    with pytest.raises(TryLater):
        staging.write(3, 0, b"a")
    assert staging.unsynced() == [0, 1, 2]
    staging.sync(0)
    staging.write(3, 0, b"a")
    assert len(staging._descriptors) == 3
    for fileid in (1, 2, 3):
        staging.sync(fileid)
    assert staging.read(0, 0, 1) == b"a"
    assert len(staging._descriptors) == 3
    staging.close()


def test_it_is_crowded_before_no_more_files_can_be_opened(tmp_path: Path) -> None:
    staging = Staging(tmp_path, None, descriptors_max=8)
    staging.open(set())
    for fileid in range(1, 7):
        assert not staging.is_crowded
        staging.write(fileid, 0, b"x")
    staging.write(7, 0, b"x")
    assert staging.is_crowded
    assert staging.unsynced() == [1, 2, 3, 4, 5, 6, 7]
    staging.sync(1)
    assert not staging.is_crowded
    staging.close()


@pytest.mark.parametrize("make", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_no_link_is_written_through(tmp_path: Path, make: Callable[[Path, Path], None]) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    with opened(tmp_path / "staging") as staging:
        make(precious, staging.path(1))
        with pytest.raises(CacheUnusable):
            staging.write(1, 0, b"x")
    with opened(tmp_path / "staging", {1}) as staging:
        with pytest.raises(CacheUnusable):
            staging.write(1, 0, b"x")
        with pytest.raises(CacheUnusable):
            staging.read(1, 0, 1)
    assert precious.read_text() == "mine"


def test_a_removed_file_lives_on_for_who_reads_it(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging.write(1, 0, b"abc")
    pread = os.pread

    def remove_first(fd: int, count: int, offset: int) -> bytes:
        staging.unlink(staging.set_aside(1))
        staging.write(1, 0, b"new")  # at once under the same fileid
        return pread(fd, count, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", remove_first)
        assert staging.read(1, 0, 3) == b"abc"
    assert staging.read(1, 0, 3) == b"new"
    assert len(os.listdir(staging.path(1).parent)) == 3  # the new one, snapshots, lost+found


def test_the_longest_unused_is_closed_for_one_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging = Staging(tmp_path, None, descriptors_max=2)
    staging.open(())
    for fileid in (1, 2):
        staging.write(fileid, 0, b"a")
        staging.sync(fileid)
    staging.read(1, 0, 1)
    staging.write(3, 0, b"a")
    staging.sync(3)
    opened_again: list[str] = []
    really_open = os.open

    def note(path: str, *how: int, **named: int) -> int:
        opened_again.append(path)
        return really_open(path, *how, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", note)
        for fileid in (1, 3, 2):
            staging.read(fileid, 0, 1)
    assert opened_again == [f"{2:016x}"]
    staging.close()


def test_no_descriptor_is_left_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(os.listdir("/dev/fd"))
    staging = Staging(tmp_path, None, descriptors_max=4)
    staging.open(())
    for fileid in range(10):  # one is closed for the next
        staging.write(fileid, 0, b"a")
        staging.sync(fileid)
    staging.unlink(staging.set_aside(3, 8, 9))
    staging.snapshot(1, Ranges([(0, 1)]), 1).discard()
    os.link(staging.path(0), tmp_path / "other")
    with pytest.raises(CacheUnusable):
        staging.read(0, 0, 1)
    pread = os.pread

    def remove_first(fd: int, count: int, offset: int) -> bytes:
        staging.unlink(staging.set_aside(7))
        return pread(fd, count, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", remove_first)
        assert staging.read(7, 0, 1) == b"a"
    staging.close()
    assert len(os.listdir("/dev/fd")) == before
