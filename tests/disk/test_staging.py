"""Staged bytes: what was written is read, what was synced is said to be, and nothing else."""

import errno
import os
import resource
import threading
from pathlib import Path

import pytest

from hfnfs.config import KIB
from hfnfs.disk import headroom
from hfnfs.disk import staging as module
from hfnfs.disk.ranges import OFFSET_MAX, Ranges
from hfnfs.disk.staging import Staging
from hfnfs.errors import CacheUnusable, FileTooLarge, NoSpace, QuotaExceeded, TryLater
from tests.disk.failing import failing
from tests.disk.staged import opened

PATIENCE_S = 60


# ---------------------------------------------------------------- a disk that fails


def test_a_short_write_does_not_count_and_the_file_goes_on(staging: Staging) -> None:
    """The limit of file sizes makes the system write a part first and then refuse, truly."""
    staging.write(1, 0, b"kept")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(NoSpace):
            staging.write(1, 4000, bytes(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert staging.write(1, 4, b" and more") == 9
    assert staging.read(1, 0, 13) == b"kept and more"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, NoSpace),
        (errno.EDQUOT, QuotaExceeded),
        (errno.EFBIG, FileTooLarge),
        (errno.EIO, CacheUnusable),
    ],
)
def test_what_the_disk_says_is_told(
    staging: Staging, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    monkeypatch.setattr(os, "pwrite", failing(number))
    with pytest.raises(kind, match=f"{staging.path(1)}: {os.strerror(number)}"):
        staging.write(1, 0, b"x")


def test_no_file_reaches_beyond_what_offsets_can_say(staging: Staging) -> None:
    with pytest.raises(NoSpace):
        staging.write(1, OFFSET_MAX, b"x")
    with pytest.raises(NoSpace):
        staging.truncate(1, OFFSET_MAX + 1)
    assert staging.usage().files == 0


def test_a_write_that_moves_nothing_is_no_endless_loop(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwrite", lambda *_args: 0)
    with pytest.raises(NoSpace):
        staging.write(1, 0, b"x")


def test_a_full_disk_takes_what_needs_no_room_and_leaves_some_for_others(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(headroom, "_free", lambda _fd: 8192 - staging.usage().bytes)
    staging.write(1, 0, bytes(8192))
    with pytest.raises(NoSpace, match="nearly full"):
        staging.write(1, 8192, bytes(4097))
    staging.write(1, 0, b"x" * 8192)
    assert staging.read(1, 0, 8192) == b"x" * 8192
    staging.unlink(staging.set_aside(1))
    staging.write(2, 0, bytes(8192))


def test_who_writes_is_put_off_while_something_can_make_room_on_a_full_disk(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging.write(1, 0, b"can go")
    staging.can_free = lambda: staging.reaches(1, 0)
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", failing(errno.EDQUOT))
        with pytest.raises(TryLater):
            staging.write(2, 0, b"x")
    assert not staging.has_room(1)
    staging.unlink(staging.set_aside(1))
    assert staging.has_room(1)
    staging.write(2, 0, b"x")


def test_a_failed_sync_is_told_until_the_bytes_were_written_again(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging.write(1, 0, b"a" * 100)
    staging.write(2, 0, b"b")
    with monkeypatch.context() as patch:
        patch.setattr(module, "sync_bytes", failing(errno.EIO))
        with pytest.raises(CacheUnusable):
            staging.sync(1)
    assert list(staging.doubtful(1)) == [(0, 100)]
    with pytest.raises(CacheUnusable):
        staging.sync(1)  # the system holds the pages for clean now, and would say yes
    staging.write(1, 0, b"c" * 50)
    with pytest.raises(CacheUnusable):
        staging.sync(1)
    assert list(staging.doubtful(1)) == [(50, 100)]
    staging.write(1, 50, b"c" * 50)
    staging.sync(1)
    staging.sync(1)
    staging.sync(2)
    assert not staging.doubtful(1)


def test_what_is_cut_off_or_removed_is_in_doubt_no_more(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fileid in (1, 2):
        staging.write(fileid, 0, b"a" * 100)
        with monkeypatch.context() as patch:
            patch.setattr(module, "sync_bytes", failing(errno.ENOSPC))
            with pytest.raises(NoSpace):
                staging.sync(fileid)
    staging.truncate(1, 0)
    staging.sync(1)
    staging.unlink(staging.set_aside(2))
    staging.write(2, 0, b"new")
    staging.sync(2)


def test_all_who_sync_a_file_at_once_hear_of_its_failure(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging.write(1, 0, b"a")
    syncing, go_on = threading.Event(), threading.Event()
    calls: list[int] = []

    def fail_once(fd: int) -> None:
        calls.append(fd)
        if len(calls) == 1:  # as the system: one caller is told
            syncing.set()
            assert go_on.wait(PATIENCE_S)
            raise OSError(errno.EIO, "lost")

    monkeypatch.setattr(module, "sync_bytes", fail_once)
    failures: list[Exception] = []

    def sync() -> None:
        try:
            staging.sync(1)
        except CacheUnusable as error:
            failures.append(error)

    threads = [threading.Thread(target=sync) for _ in range(3)]
    threads[0].start()
    assert syncing.wait(PATIENCE_S)
    for thread in threads[1:]:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join()
    assert len(failures) == 3


def test_what_is_written_during_a_sync_is_left_for_the_next(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging.write(1, 0, b"a" * 10)
    monkeypatch.setattr(module, "sync_bytes", lambda _fd: staging.write(1, 20, b"b") and None)
    staging.sync(1)
    assert staging.unsynced() == [1]
    assert staging.unsynced_bytes == 1


# ---------------------------------------------------------------- bounds


def test_unsynced_bytes_are_counted_once_until_they_are_synced(staging: Staging) -> None:
    staging.write(1, 0, bytes(100))
    staging.write(1, 50, bytes(100))
    staging.write(2, 0, bytes(10))
    assert staging.unsynced_bytes == 160
    staging.truncate(1, 20)
    assert staging.unsynced_bytes == 30
    staging.sync(1)
    assert staging.unsynced_bytes == 10
    staging.unlink(staging.set_aside(2))
    assert staging.unsynced_bytes == 0


def test_writers_are_put_off_when_too_much_is_staged_and_may_go_on_after(tmp_path: Path) -> None:
    staging = Staging(tmp_path, 100 * KIB)
    staging.open(set())
    staging.write(1, 0, bytes(80 * KIB))
    with pytest.raises(TryLater):
        staging.write(2, 0, bytes(40 * KIB))
    staging.unlink(staging.set_aside(1))
    staging.write(2, 0, bytes(40 * KIB))
    staging.close()


def test_what_is_found_at_the_start_counts(tmp_path: Path) -> None:
    with opened(tmp_path) as staging:
        staging.write(1, 0, bytes(80 * KIB))
        staging.sync(1)
    staging = Staging(tmp_path, 100 * KIB)
    staging.open({1})
    with pytest.raises(TryLater):
        staging.write(2, 0, bytes(40 * KIB))
    staging.close()


# ---------------------------------------------------------------- reading


def test_a_file_that_lost_its_end_is_no_zeros(staging: Staging) -> None:
    staging.write(1, 0, b"a" * 100)
    os.truncate(staging.path(1), 50)
    with pytest.raises(CacheUnusable, match="ends at 50"):
        staging.read(1, 0, 100)
    assert staging.read_resident(1, 0, 100) is None
    with pytest.raises(CacheUnusable, match="shorter"):
        staging.snapshot(1, Ranges([(0, 100)]), 100)
    assert not list((staging.path(1).parent / "snapshots").iterdir())


def test_what_is_not_staged_cannot_be_read_or_synced(staging: Staging) -> None:
    for work in (lambda: staging.read(1, 0, 1), lambda: staging.sync(1)):
        with pytest.raises(CacheUnusable, match="nothing is staged"):
            work()


def test_what_is_not_in_memory_is_not_waited_for(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging.write(1, 0, b"abc")
    assert staging.read_resident(1, 0, 3) == b"abc"
    assert staging.read_resident(1, 1, 1) == b""
    monkeypatch.setattr(os, "preadv", failing(errno.EAGAIN))
    assert staging.read_resident(1, 0, 3) is None


def test_files_are_for_the_user_alone(staging: Staging) -> None:
    staging.write(1, 0, b"abc")
    assert staging.path(1).stat().st_mode & 0o777 == 0o600
    assert staging.path(1).parent.stat().st_mode & 0o777 == 0o700


# ---------------------------------------------------------------- copies, room


def test_a_copy_becomes_another_file_and_outlives_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as staging:
        staging.write(1, 0, b"abcdef")
        copy = staging.snapshot(1, Ranges([(0, 2), (4, 6)]), 8)
        copy.sync()
        staging.adopt(copy, 2)
        copy.discard()  # it is not his any more
        assert 2 in staging.unsynced()  # its name
        staging.sync(2)
        staging.write(2, 0, b"A")
        assert staging.usage().snapshot_bytes == 0
    with opened(tmp_path, {1, 2}) as staging:
        assert staging.read(1, 0, 6) == b"abcdef"
        assert staging.read(2, 0, 8) == b"Ab\0\0ef\0\0"
        assert staging.reaches(2, 8)
        assert not staging.reaches(2, 9)
        assert not staging.reaches(3, 0)


def test_a_snapshot_of_nothing_staged_is_all_gap(staging: Staging) -> None:
    snapshot = staging.snapshot(9, Ranges(), 5)
    snapshot.fill(1, b"base")
    snapshot.seal()
    assert snapshot.path.read_bytes() == b"\0base"
    snapshot.discard()


def test_there_is_room_for_one_write_however_little_is_allowed(tmp_path: Path) -> None:
    staging = Staging(tmp_path, 4096)
    staging.open(set())
    assert staging.has_room(5000)
    staging.write(1, 0, b"x" * 5000)
    assert not staging.has_room(1)
    staging.unlink(staging.set_aside(1))
    assert staging.has_room(1)
    staging.close()


def test_a_sync_that_runs_is_still_to_be_waited_for(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    monkeypatch.setattr(module, "sync_bytes", lambda _fd: seen.append(staging.unsynced()))
    staging.write(1, 0, b"x")
    staging.sync(1)
    assert seen == [[1]]
    assert staging.unsynced() == []
