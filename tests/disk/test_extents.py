import errno
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hfnfs.config import BLOCK_BYTES, MIB
from hfnfs.disk.extents import DiskExtents
from hfnfs.disk.segment import HEADER_BYTES, SEGMENT_BYTES
from hfnfs.errors import CacheUnusable, NoSpace, RemoteCorrupt
from hfnfs.remote import ContentId
from hfnfs.vfs.ports import Extents
from tests.disk.contents import (
    EMPTY,
    LONG,
    ROUND,
    SMALL,
    TINY,
    block,
    block_count,
    blocks,
    files_of,
    got,
    numbered,
    truth,
)

EDGE = SEGMENT_BYTES // BLOCK_BYTES


@pytest.fixture
def extents(tmp_path: Path) -> Iterator[DiskExtents]:
    made = DiskExtents(tmp_path, 1024 * MIB)
    yield made
    made.close()


def again(extents: DiskExtents, directory: Path) -> DiskExtents:
    """As after a restart."""
    extents.close()
    return DiskExtents(directory, 1024 * MIB)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd" if Path("/proc/self/fd").exists() else "/dev/fd"))


def test_it_is_what_the_volume_asks_for(extents: DiskExtents) -> None:
    port: Extents = extents
    assert port.read(SMALL, 0, 1) is None


def test_what_was_added_is_read_without_a_copy(extents: DiskExtents) -> None:
    extents.add(SMALL, 0, blocks(SMALL, 0, 4))
    view = extents.read(SMALL, 100, 2 * BLOCK_BYTES + 1)
    assert view is not None
    assert bytes(view) == truth(SMALL, 100, 2 * BLOCK_BYTES + 1)
    assert view.readonly
    other = extents.read(SMALL, 100, 2 * BLOCK_BYTES + 1)
    assert other is not None
    assert view.obj is other.obj  # the mapping


def test_absent_bytes_are_not_made_up(extents: DiskExtents) -> None:
    extents.add(SMALL, BLOCK_BYTES, block(SMALL, 1))
    assert extents.read(SMALL, 0, 1) is None
    assert extents.read(SMALL, BLOCK_BYTES, 2 * BLOCK_BYTES + 1) is None
    assert got(extents, SMALL, 2 * BLOCK_BYTES - 1, 2 * BLOCK_BYTES) == block(SMALL, 1)[-1:]
    assert extents.read(ROUND, BLOCK_BYTES, BLOCK_BYTES + 1) is None


def test_an_empty_range_is_always_there(extents: DiskExtents) -> None:
    for content in (EMPTY, TINY, SMALL):
        assert got(extents, content, content.size, content.size) == b""
        assert extents.has(content, content.size, content.size)


def test_asking_makes_no_file(extents: DiskExtents, tmp_path: Path) -> None:
    assert not extents.has(SMALL, 0, 1)
    assert extents.gap(SMALL, 0, SMALL.size) == (0, SMALL.size)
    extents.make_resident(SMALL, 0, SMALL.size)
    assert files_of(tmp_path) == []


def test_the_gap_is_of_whole_blocks_and_ends_with_the_content(extents: DiskExtents) -> None:
    extents.add(SMALL, BLOCK_BYTES, block(SMALL, 1))
    assert extents.gap(SMALL, 5, BLOCK_BYTES) == (0, BLOCK_BYTES)
    assert extents.gap(SMALL, BLOCK_BYTES, BLOCK_BYTES + 1) is None
    assert extents.gap(SMALL, BLOCK_BYTES, 2 * BLOCK_BYTES + 1) == (
        2 * BLOCK_BYTES,
        3 * BLOCK_BYTES,
    )
    assert extents.gap(SMALL, 0, SMALL.size) == (0, SMALL.size)
    extents.add(SMALL, 0, block(SMALL, 0))
    assert extents.gap(SMALL, 0, SMALL.size) == (2 * BLOCK_BYTES, SMALL.size)


def test_a_range_over_two_segments_is_read(extents: DiskExtents, tmp_path: Path) -> None:
    start = (EDGE - 1) * BLOCK_BYTES
    extents.add(LONG, start, blocks(LONG, EDGE - 1, EDGE + 3))
    assert got(extents, LONG, start, LONG.size) == truth(LONG, start, LONG.size)
    assert got(extents, LONG, SEGMENT_BYTES - 1, SEGMENT_BYTES) == block(LONG, EDGE - 1)[-1:]
    assert got(extents, LONG, SEGMENT_BYTES, SEGMENT_BYTES + 1) == block(LONG, EDGE)[:1]
    assert extents.read(LONG, start - 1, LONG.size) is None
    assert extents.gap(LONG, start - 1, LONG.size) == (start - BLOCK_BYTES, start)
    assert len(files_of(tmp_path)) == 2


def test_after_a_restart_bytes_are_present_but_unchecked(
    extents: DiskExtents, tmp_path: Path
) -> None:
    extents.add(SMALL, 0, blocks(SMALL, 0, 4))
    extents = again(extents, tmp_path)
    assert extents.has(SMALL, 0, SMALL.size)
    assert extents.read(SMALL, 0, 1) is None
    extents.make_resident(SMALL, 0, 2 * BLOCK_BYTES)
    assert got(extents, SMALL, 0, 2 * BLOCK_BYTES) == blocks(SMALL, 0, 2)
    assert extents.read(SMALL, 0, SMALL.size) is None
    extents.close()


@pytest.mark.parametrize("at", [0, 1, BLOCK_BYTES // 2, BLOCK_BYTES - 1])
def test_an_altered_block_becomes_absent_and_can_be_added_again(
    extents: DiskExtents, tmp_path: Path, at: int
) -> None:
    extents.add(SMALL, 0, blocks(SMALL, 0, 4))
    extents.close()
    flip(files_of(tmp_path)[0], HEADER_BYTES + BLOCK_BYTES + at)
    extents = again(extents, tmp_path)
    extents.make_resident(SMALL, 0, SMALL.size)
    assert extents.gap(SMALL, 0, SMALL.size) == (BLOCK_BYTES, 2 * BLOCK_BYTES)
    assert got(extents, SMALL, 0, BLOCK_BYTES) == block(SMALL, 0)
    assert extents.read(SMALL, BLOCK_BYTES, BLOCK_BYTES + 1) is None
    extents.add(SMALL, BLOCK_BYTES, block(SMALL, 1))
    assert got(extents, SMALL, 0, SMALL.size) == truth(SMALL, 0, SMALL.size)
    extents.close()


def test_an_altered_record_makes_its_block_absent(extents: DiskExtents, tmp_path: Path) -> None:
    extents.add(SMALL, 0, blocks(SMALL, 0, 4))
    extents.close()
    flip(files_of(tmp_path)[0], 2 * 8 + 5)
    extents = again(extents, tmp_path)
    extents.make_resident(SMALL, 0, SMALL.size)
    assert extents.gap(SMALL, 0, SMALL.size) == (2 * BLOCK_BYTES, 3 * BLOCK_BYTES)
    extents.close()


@pytest.mark.parametrize("left", [0, 3, 8, HEADER_BYTES, HEADER_BYTES + BLOCK_BYTES + 9])
def test_a_truncated_segment_loses_what_was_cut_off_and_nothing_dies(
    extents: DiskExtents, tmp_path: Path, left: int
) -> None:
    extents.add(SMALL, 0, blocks(SMALL, 0, 4))
    extents.close()
    os.truncate(files_of(tmp_path)[0], left)
    extents = again(extents, tmp_path)
    extents.make_resident(SMALL, 0, SMALL.size)
    whole = max(left - HEADER_BYTES, 0) // BLOCK_BYTES
    assert extents.gap(SMALL, 0, SMALL.size) == (whole * BLOCK_BYTES, SMALL.size)
    extents.add(SMALL, 0, blocks(SMALL, 0, 4))
    assert got(extents, SMALL, 0, SMALL.size) == truth(SMALL, 0, SMALL.size)
    extents.close()


def test_a_longer_segment_is_as_good(extents: DiskExtents, tmp_path: Path) -> None:
    extents.add(TINY, 0, block(TINY, 0))
    extents.close()
    os.truncate(files_of(tmp_path)[0], 10 * MIB)
    extents = again(extents, tmp_path)
    extents.make_resident(TINY, 0, TINY.size)
    assert got(extents, TINY, 0, TINY.size) == block(TINY, 0)
    extents.close()


@pytest.mark.parametrize("kind", ["symlink", "directory", "fifo"])
def test_something_else_in_a_segments_place_is_refused(
    extents: DiskExtents, tmp_path: Path, kind: str
) -> None:
    extents.add(TINY, 0, block(TINY, 0))
    extents.close()
    path = files_of(tmp_path)[0]
    path.rename(tmp_path / "elsewhere")
    if kind == "symlink":
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
    extents = DiskExtents(tmp_path, 1024 * MIB)
    before = descriptors()
    with pytest.raises(CacheUnusable):
        extents.has(TINY, 0, 1)
    with pytest.raises(CacheUnusable):
        extents.add(TINY, 0, block(TINY, 0))
    assert descriptors() == before


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "xet-a/b", "xet-a\0", "xet-", "a" * 300])
def test_a_key_that_is_no_file_name_is_refused(extents: DiskExtents, key: str) -> None:
    with pytest.raises(RemoteCorrupt):
        extents.add(ContentId(key, 1), 0, b"x")
    with pytest.raises(RemoteCorrupt):
        extents.has(ContentId(key, 1), 0, 1)


def test_a_content_of_another_size_is_another_content(extents: DiskExtents) -> None:
    extents.add(SMALL, 0, blocks(SMALL, 0, 4))
    longer = ContentId(SMALL.key, SMALL.size + 1)
    assert extents.read(longer, 0, 1) is None
    assert not extents.has(longer, 0, 1)


def test_half_a_block_is_our_own_mistake(extents: DiskExtents) -> None:
    with pytest.raises(AssertionError):
        extents.add(SMALL, 1, block(SMALL, 0))
    with pytest.raises(AssertionError):
        extents.add(SMALL, 0, block(SMALL, 0)[:-1])


def test_a_second_cache_on_the_directory_sees_what_is_added(
    extents: DiskExtents, tmp_path: Path
) -> None:
    other = DiskExtents(tmp_path, 1024 * MIB)
    assert not other.has(SMALL, 0, 1)
    extents.add(SMALL, 0, block(SMALL, 0))
    assert other.has(SMALL, 0, BLOCK_BYTES)
    other.make_resident(SMALL, 0, BLOCK_BYTES)
    assert got(other, SMALL, 0, BLOCK_BYTES) == block(SMALL, 0)
    extents.add(SMALL, BLOCK_BYTES, block(SMALL, 1))  # into a segment that the other has open
    assert other.gap(SMALL, 0, 3 * BLOCK_BYTES) == (2 * BLOCK_BYTES, 3 * BLOCK_BYTES)
    other.close()


def test_views_outlive_the_cache_and_its_files(extents: DiskExtents, tmp_path: Path) -> None:
    extents.add(ROUND, 0, blocks(ROUND, 0, 4))
    view = extents.read(ROUND, 1, ROUND.size)
    extents.close()
    files_of(tmp_path)[0].unlink()
    assert view is not None
    assert bytes(view) == truth(ROUND, 1, ROUND.size)


def test_open_segments_are_bounded_and_reopened(tmp_path: Path) -> None:
    extents = DiskExtents(tmp_path, 1024 * MIB, segments_open_max=3)
    before = descriptors()
    for number in range(20):
        extents.add(numbered(number, 10), 0, block(numbered(number, 10), 0))
        assert descriptors() <= before + 2 * 3
    for number in range(20):
        content = numbered(number, 10)
        assert extents.has(content, 0, 10)
        extents.make_resident(content, 0, 10)
        assert got(extents, content, 0, 10) == block(content, 0)
    extents.close()
    assert descriptors() == before


def test_the_segment_read_last_stays_open(tmp_path: Path) -> None:
    extents = DiskExtents(tmp_path, 1024 * MIB, segments_open_max=3)
    hot = numbered(0, 10)
    extents.add(hot, 0, block(hot, 0))
    for number in range(1, 20):
        assert got(extents, hot, 0, 10) == block(hot, 0)
        extents.add(numbered(number, 10), 0, block(numbered(number, 10), 0))
    assert got(extents, hot, 0, 10) == block(hot, 0)
    extents.close()


def test_pinned_segments_stay_open_beyond_the_bound(tmp_path: Path) -> None:
    extents = DiskExtents(tmp_path, 1024 * MIB, segments_open_max=2)
    contents = [numbered(number, 10) for number in range(5)]
    for content in contents:
        extents.pin(content, 0, 10)
        extents.add(content, 0, block(content, 0))
    assert all(got(extents, content, 0, 10) == block(content, 0) for content in contents)
    for content in contents:
        extents.unpin(content, 0, 10)
    extents.add(numbered(9, 10), 0, block(numbered(9, 10), 0))
    assert sum(extents.read(content, 0, 10) is not None for content in contents) <= 1
    extents.close()


def test_an_unpin_too_many_is_our_own_mistake(extents: DiskExtents) -> None:
    extents.pin(SMALL, 0, 1)
    extents.unpin(SMALL, 0, 1)
    with pytest.raises(AssertionError):
        extents.unpin(SMALL, 0, 1)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("bytes_left", [0, 5, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 3])
def test_a_full_disk_is_no_space_and_nothing_is_half_recorded(
    extents: DiskExtents,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    bytes_left: int,
) -> None:
    with monkeypatch.context() as patched:
        fill_disk(patched, bytes_left, code)
        with pytest.raises(NoSpace):
            extents.add(SMALL, 0, blocks(SMALL, 0, 4))
    extents.make_resident(SMALL, 0, SMALL.size)
    assert whole_or_absent(extents)
    extents = again(extents, tmp_path)
    extents.make_resident(SMALL, 0, SMALL.size)
    assert whole_or_absent(extents)
    extents.add(SMALL, 0, blocks(SMALL, 0, 4))
    assert got(extents, SMALL, 0, SMALL.size) == truth(SMALL, 0, SMALL.size)
    extents.close()


def whole_or_absent(extents: DiskExtents) -> bool:
    for number in range(block_count(SMALL)):
        start = number * BLOCK_BYTES
        data = got(extents, SMALL, start, start + 9)
        if data != (block(SMALL, number)[:9] if extents.has(SMALL, start, start + 9) else None):
            return False
    return True


def test_a_full_disk_is_answered_by_evicting(
    extents: DiskExtents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extents.add(ROUND, 0, blocks(ROUND, 0, 4))
    old = files_of(tmp_path)[0]
    pwrite = os.pwrite

    def pwrite_when_there_is_room(fd: int, data: bytes, offset: int) -> int:
        if old.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite_when_there_is_room)
    extents.add(SMALL, 0, blocks(SMALL, 0, 4))
    assert got(extents, SMALL, 0, SMALL.size) == truth(SMALL, 0, SMALL.size)
    assert extents.gap(ROUND, 0, 1) == (0, BLOCK_BYTES)


@pytest.mark.parametrize("call", ["mkdir", "open", "ftruncate"])
def test_a_segment_that_cannot_be_made_is_no_space(
    extents: DiskExtents, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_args: object, **_named: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = descriptors()
    extents.add(TINY, 0, block(TINY, 0))
    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(NoSpace):
            extents.add(SMALL, 0, blocks(SMALL, 0, 4))
    extents.close()
    assert descriptors() == before


def test_a_disk_that_fails_otherwise_is_an_unusable_cache(
    extents: DiskExtents, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_disk(monkeypatch, 0, errno.EIO)
    with pytest.raises(CacheUnusable):
        extents.add(SMALL, 0, blocks(SMALL, 0, 4))


def test_many_threads_add_check_and_read_the_same(tmp_path: Path) -> None:
    extents = DiskExtents(tmp_path, 1024 * MIB, segments_open_max=2)
    contents = [numbered(n, 2 * BLOCK_BYTES + n) for n in range(6)]
    wrong: list[object] = []
    meet = threading.Barrier(4)

    def work(seed: int) -> None:
        meet.wait(30)
        for turn in range(60):
            content = contents[(turn + seed) % len(contents)]
            if turn % 3 == seed % 3:
                extents.make_resident(content, 0, content.size)
            else:
                extents.add(content, 0, blocks(content, 0, 3))
            data = got(extents, content, 1, content.size)
            if data is not None and data != truth(content, 1, content.size):
                wrong.append(content)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)
    extents.close()


def test_closing_waits_for_no_thread_and_takes_no_descriptor_from_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = descriptors()
    extents = DiskExtents(tmp_path, 1024 * MIB)
    writing, go_on = threading.Event(), threading.Event()
    pwrite = os.pwrite

    def slow_pwrite(fd: int, data: bytes, offset: int) -> int:
        writing.set()
        assert go_on.wait(30)
        return pwrite(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", slow_pwrite)
    thread = threading.Thread(target=extents.add, args=(SMALL, 0, blocks(SMALL, 0, 4)))
    thread.start()
    assert writing.wait(30)
    extents.close()
    bystander = tmp_path / "bystander"
    with bystander.open("wb"):  # gets the next free descriptor
        go_on.set()
        thread.join(30)
    assert bystander.read_bytes() == b""
    assert descriptors() == before
    extents = DiskExtents(tmp_path, 1024 * MIB)
    extents.make_resident(SMALL, 0, SMALL.size)
    assert got(extents, SMALL, 0, SMALL.size) == truth(SMALL, 0, SMALL.size)
    extents.close()


def test_a_closed_cache_keeps_nothing_more(extents: DiskExtents) -> None:
    extents.add(TINY, 0, block(TINY, 0))
    before = descriptors()
    extents.close()
    with pytest.raises(CacheUnusable, match="closed"):
        extents.add(TINY, 0, block(TINY, 0))
    assert extents.read(TINY, 0, 1) is None
    assert descriptors() < before


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x40]))


def fill_disk(monkeypatch: pytest.MonkeyPatch, bytes_left: int, code: int) -> None:
    """Let pwrite take that many bytes more, the last time fewer than asked, then none."""
    pwrite = os.pwrite
    left = [bytes_left]

    def pwrite_until_full(fd: int, data: bytes, offset: int) -> int:
        if left[0] == 0:
            raise OSError(code, os.strerror(code))
        written = pwrite(fd, memoryview(data)[: left[0]], offset)
        left[0] -= written
        return written

    monkeypatch.setattr(os, "pwrite", pwrite_until_full)


def test_a_disk_that_is_really_full_is_no_space_and_what_is_there_reads(small_disk: Path) -> None:
    extents = DiskExtents(small_disk, 1024 * MIB)
    content = numbered(1, 40 * BLOCK_BYTES)
    extents.pin(content, 0, content.size)
    added = 0
    with suppress(NoSpace):
        for added in range(40):
            extents.add(content, added * BLOCK_BYTES, block(content, added))
    assert 4 <= added <= 8
    assert got(extents, content, 0, added * BLOCK_BYTES) == blocks(content, 0, added)
    assert extents.gap(content, 0, content.size) == (added * BLOCK_BYTES, content.size)
    other = DiskExtents(small_disk, 1024 * MIB)  # checks holes, too, without touching them mapped
    other.make_resident(content, 0, content.size)
    assert got(other, content, 0, added * BLOCK_BYTES) == blocks(content, 0, added)
    other.close()
    extents.unpin(content, 0, content.size)
    extents.add(SMALL, 0, blocks(SMALL, 0, 4))  # in the place of what nobody needs
    assert got(extents, SMALL, 0, SMALL.size) == truth(SMALL, 0, SMALL.size)
    extents.close()
