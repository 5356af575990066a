"""A disk that takes no more: who reads goes on, from memory, within its bound."""

import errno
import logging
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hfnfs.config import BLOCK_BYTES, GIB, MIB
from hfnfs.disk.extents import DiskExtents
from hfnfs.disk.memory import SLAB_BYTES, MemoryExtents
from hfnfs.disk.overflow import QUIET_S, TRY_EVERY_S, OverflowingExtents
from hfnfs.disk.segment import HEADER_BYTES, SEGMENT_BYTES
from hfnfs.errors import CacheUnusable
from hfnfs.remote import ContentId
from hfnfs.vfs.ports import Extents
from tests.disk.contents import (
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
from tests.disk.failing import CacheDisk, failing
from tests.fakes.clock import FakeClock

BEGINS = "takes no more"
OVER = "takes what is read again"
EDGE = SEGMENT_BYTES // BLOCK_BYTES


@pytest.fixture
def memory() -> MemoryExtents:
    return MemoryExtents(64 * MIB)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def extents(
    tmp_path: Path, memory: MemoryExtents, clock: FakeClock
) -> Iterator[OverflowingExtents]:
    made = OverflowingExtents(tmp_path, GIB, memory, clock)
    yield made
    made.close()


def add(extents: DiskExtents, content: ContentId, *numbers: int) -> None:
    for number in numbers:
        extents.add(content, number * BLOCK_BYTES, block(content, number))


def fill(extents: DiskExtents, content: ContentId) -> None:
    extents.add(content, 0, blocks(content, 0, block_count(content)))


def told(caplog: pytest.LogCaptureFixture, what: str) -> int:
    return sum(what in message for message in caplog.messages)


def test_what_is_on_the_disk_is_read_as_without_it(extents: OverflowingExtents) -> None:
    port: Extents = extents
    assert type(port).read is DiskExtents.read
    fill(extents, SMALL)
    assert got(extents, SMALL, 7, SMALL.size) == truth(SMALL, 7, SMALL.size)


@pytest.mark.parametrize("refusal", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("bytes_left", [0, 5, BLOCK_BYTES + 3])
def test_what_the_disk_refuses_is_kept_in_memory(
    extents: OverflowingExtents, cache_disk: CacheDisk, refusal: int, bytes_left: int
) -> None:
    cache_disk.fill(bytes_left, refusal)
    for content in (SMALL, ROUND):
        fill(extents, content)
        assert extents.has(content, 0, content.size)
        assert got(extents, content, 1, content.size) == truth(content, 1, content.size)


@pytest.mark.parametrize("call", ["mkdir", "open", "ftruncate"])
def test_where_no_segment_can_be_made_it_is_kept_in_memory(
    extents: OverflowingExtents, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, call, lambda *_args, **_named: failing(errno.EDQUOT)())
        fill(extents, SMALL)
    assert got(extents, SMALL, 0, SMALL.size) == truth(SMALL, 0, SMALL.size)


def test_a_read_may_lie_in_both_places(
    extents: OverflowingExtents, cache_disk: CacheDisk, memory: MemoryExtents
) -> None:
    extents.pin(ROUND, 0, ROUND.size)
    add(extents, ROUND, 0, 2)
    cache_disk.fill()
    add(extents, ROUND, 3)
    assert got(extents, ROUND, 2 * BLOCK_BYTES + 1, ROUND.size) == truth(
        ROUND, 2 * BLOCK_BYTES + 1, ROUND.size
    )
    assert extents.read(ROUND, 0, ROUND.size) is None
    add(extents, ROUND, 1)
    assert memory.bytes_kept == 2 * BLOCK_BYTES
    for start, end in [(0, ROUND.size), (5, ROUND.size - 5), (BLOCK_BYTES - 1, BLOCK_BYTES + 1)]:
        assert got(extents, ROUND, start, end) == truth(ROUND, start, end)


def test_a_read_over_two_segments_may_lie_in_both_places(
    extents: OverflowingExtents, cache_disk: CacheDisk
) -> None:
    start = (EDGE - 2) * BLOCK_BYTES
    extents.pin(LONG, 0, LONG.size)
    add(extents, LONG, EDGE - 1)
    cache_disk.fill()
    add(extents, LONG, EDGE - 2, EDGE, EDGE + 1, EDGE + 2)
    assert got(extents, LONG, start + 3, LONG.size) == truth(LONG, start + 3, LONG.size)
    assert extents.gap(LONG, start - 1, LONG.size) == (start - BLOCK_BYTES, start)


def test_the_gap_is_of_what_is_in_neither_place(
    extents: OverflowingExtents, cache_disk: CacheDisk
) -> None:
    wide = numbered(1, 9 * BLOCK_BYTES)
    extents.pin(wide, 0, wide.size)
    add(extents, wide, 1, 3, 6)
    cache_disk.fill()
    add(extents, wide, 0, 2, 7, 8)
    assert extents.gap(wide, 1, wide.size) == (4 * BLOCK_BYTES, 6 * BLOCK_BYTES)
    assert not extents.has(wide, 0, wide.size)
    assert extents.has(wide, 0, 4 * BLOCK_BYTES)
    assert extents.has(wide, 6 * BLOCK_BYTES, wide.size)
    add(extents, wide, 4, 5)
    assert extents.gap(wide, 0, wide.size) is None


def test_bytes_on_the_disk_are_checked_for_a_read_of_both_places(
    extents: OverflowingExtents, cache_disk: CacheDisk, tmp_path: Path, clock: FakeClock
) -> None:
    add(extents, ROUND, 0, 1)
    extents.close()
    again = OverflowingExtents(tmp_path, GIB, MemoryExtents(MIB), clock)
    cache_disk.fill()
    again.pin(ROUND, 0, ROUND.size)
    add(again, ROUND, 2, 3)
    assert again.has(ROUND, 0, ROUND.size)
    assert again.read(ROUND, 0, ROUND.size) is None
    again.make_resident(ROUND, 0, ROUND.size)
    assert got(again, ROUND, 0, ROUND.size) == truth(ROUND, 0, ROUND.size)
    again.close()


def test_the_disk_is_tried_now_and_then_and_takes_what_comes_later(
    extents: OverflowingExtents, cache_disk: CacheDisk, memory: MemoryExtents, clock: FakeClock
) -> None:
    cache_disk.fill()
    fill(extents, SMALL)
    tried = cache_disk.refused
    fill(extents, ROUND)
    assert cache_disk.refused == tried > 0
    clock.advance(TRY_EVERY_S)
    fill(extents, TINY)
    assert cache_disk.refused > tried
    cache_disk.clear()
    kept = memory.bytes_kept
    fill(extents, numbered(1))
    assert memory.bytes_kept > kept
    clock.advance(TRY_EVERY_S)
    kept = memory.bytes_kept
    fill(extents, numbered(2))
    assert memory.bytes_kept == kept
    assert got(extents, numbered(2), 0, 9) == truth(numbered(2), 0, 9)


def test_it_is_said_once_that_it_begins_and_once_that_it_is_over(
    extents: OverflowingExtents,
    cache_disk: CacheDisk,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache_disk.fill(refusal=errno.EDQUOT)
    for number in range(5):
        fill(extents, numbered(number))
        clock.advance(TRY_EVERY_S)
    assert told(caplog, BEGINS) == 1
    assert os.strerror(errno.EDQUOT) in caplog.text
    assert "64 MiB" in caplog.text
    for number in range(5, 10):  # a disk that takes some and refuses some
        cache_disk.clear()
        fill(extents, numbered(number))
        cache_disk.fill()
        fill(extents, numbered(number + 5))
        clock.advance(TRY_EVERY_S)
    assert told(caplog, BEGINS) == 1
    assert told(caplog, OVER) == 0
    cache_disk.clear()
    clock.advance(QUIET_S)
    for number in range(20, 25):
        fill(extents, numbered(number))
    assert told(caplog, OVER) == 1
    cache_disk.fill()
    fill(extents, ROUND)
    assert told(caplog, BEGINS) == 2
    assert all(record.levelno == logging.WARNING for record in caplog.records)


def test_memory_is_bounded_what_is_read_stays_and_so_does_what_is_pinned(
    tmp_path: Path, cache_disk: CacheDisk, clock: FakeClock
) -> None:
    memory = MemoryExtents(4 * SLAB_BYTES)
    extents = OverflowingExtents(tmp_path, GIB, memory, clock)
    cache_disk.fill()
    hot, pinned = numbered(100, SLAB_BYTES), numbered(101, SLAB_BYTES)
    extents.pin(pinned, 0, pinned.size)
    for content in (pinned, numbered(0, SLAB_BYTES), hot):
        fill(extents, content)
    for number in range(1, 10):
        fill(extents, numbered(number, SLAB_BYTES))
        assert got(extents, hot, 0, 1) is not None
        assert memory.bytes_kept == 4 * SLAB_BYTES
    assert extents.gap(numbered(0, SLAB_BYTES), 0, 1) == (0, BLOCK_BYTES)
    assert got(extents, pinned, 0, pinned.size) == truth(pinned, 0, pinned.size)
    extents.unpin(pinned, 0, pinned.size)
    for number in range(10, 14):
        fill(extents, numbered(number, SLAB_BYTES))
    assert not extents.has(pinned, 0, 1)
    assert not extents._pins
    extents.close()


def test_what_can_be_kept_at_all_is_what_memory_has_room_for(
    extents: OverflowingExtents, cache_disk: CacheDisk, clock: FakeClock
) -> None:
    assert extents.bytes_max == GIB
    cache_disk.fill()
    fill(extents, SMALL)
    assert extents.bytes_max == 64 * MIB
    cache_disk.clear()
    clock.advance(QUIET_S)
    fill(extents, ROUND)
    assert extents.bytes_max == GIB


def test_memory_is_given_back_when_it_is_over(
    extents: OverflowingExtents, cache_disk: CacheDisk, memory: MemoryExtents, clock: FakeClock
) -> None:
    cache_disk.fill()
    fill(extents, SMALL)
    for _ in range(3):
        extents.tidy()
    assert memory.bytes_kept == 4 * BLOCK_BYTES
    cache_disk.clear()
    clock.advance(QUIET_S)
    fill(extents, ROUND)
    extents.tidy()
    assert got(extents, SMALL, 0, 1) is not None  # so it stays for one more time
    extents.tidy()
    assert memory.bytes_kept == 4 * BLOCK_BYTES
    extents.tidy()
    assert memory.bytes_kept == 0


def test_a_disk_that_became_read_only_stops_nobody(
    extents: OverflowingExtents,
    tmp_path: Path,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fill(extents, SMALL)
    fill(extents, TINY)
    extents.close()
    again = OverflowingExtents(tmp_path, GIB, MemoryExtents(MIB), clock)
    again.make_resident(TINY, 0, TINY.size)
    monkeypatch.setattr(os, "pwrite", failing(errno.EROFS))
    monkeypatch.setattr(os, "utime", failing(errno.EROFS))
    open_ = os.open

    def open_to_read(path: str, flags: int, mode: int = 0o777) -> int:
        return failing(errno.EROFS)() if flags & os.O_RDWR else open_(path, flags, mode)

    monkeypatch.setattr(os, "open", open_to_read)
    assert got(again, TINY, 0, TINY.size) == block(TINY, 0)
    assert again.gap(SMALL, 1, SMALL.size) == (0, SMALL.size)  # there, but not to be opened
    fill(again, SMALL)
    assert got(again, SMALL, 0, SMALL.size) == truth(SMALL, 0, SMALL.size)
    again.tidy()
    again.close()
    assert told(caplog, BEGINS) == 1


def test_a_wrong_block_whose_record_cannot_be_cleared_is_absent_all_the_same(
    extents: OverflowingExtents, cache_disk: CacheDisk, tmp_path: Path, clock: FakeClock
) -> None:
    fill(extents, ROUND)
    extents.close()
    with files_of(tmp_path)[0].open("r+b") as file:
        file.seek(HEADER_BYTES + BLOCK_BYTES)
        file.write(bytes(9))
    again = OverflowingExtents(tmp_path, GIB, MemoryExtents(MIB), clock)
    cache_disk.fill()
    again.pin(ROUND, 0, ROUND.size)
    again.make_resident(ROUND, 0, ROUND.size)
    assert again.gap(ROUND, 0, ROUND.size) == (BLOCK_BYTES, 2 * BLOCK_BYTES)
    add(again, ROUND, 1)
    again.make_resident(ROUND, 0, ROUND.size)
    assert got(again, ROUND, 0, ROUND.size) == truth(ROUND, 0, ROUND.size)
    cache_disk.clear()
    clock.advance(TRY_EVERY_S)
    add(again, ROUND, 1)
    again.close()
    other = DiskExtents(tmp_path, GIB)
    other.make_resident(ROUND, 0, ROUND.size)
    assert got(other, ROUND, 0, ROUND.size) == truth(ROUND, 0, ROUND.size)
    other.close()


def test_a_block_that_cannot_be_read_is_an_error_not_a_round_for_ever(
    extents: OverflowingExtents, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(extents, ROUND)
    extents.close()
    again = OverflowingExtents(tmp_path, GIB, MemoryExtents(MIB), clock)
    pread = os.pread

    def pread_no_blocks(fd: int, size: int, offset: int) -> bytes:
        if offset >= HEADER_BYTES:
            failing(errno.EIO)()
        return pread(fd, size, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", pread_no_blocks)
        assert again.has(ROUND, 0, ROUND.size)
        with pytest.raises(CacheUnusable):
            again.make_resident(ROUND, 0, ROUND.size)
    again.close()


def test_something_else_in_a_segments_place_is_left_alone_and_its_bytes_are_kept(
    extents: OverflowingExtents, tmp_path: Path
) -> None:
    fill(extents, TINY)
    extents.close()
    path = files_of(tmp_path)[0]
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    again = OverflowingExtents(tmp_path, GIB, MemoryExtents(MIB), FakeClock())
    assert not again.has(TINY, 0, 1)
    fill(again, TINY)
    assert got(again, TINY, 0, TINY.size) == block(TINY, 0)
    again.close()
    assert path.is_symlink()


def test_a_forgotten_content_is_in_neither_place(
    extents: OverflowingExtents, cache_disk: CacheDisk
) -> None:
    add(extents, ROUND, 0, 1)
    cache_disk.fill()
    add(extents, ROUND, 2, 3)
    fill(extents, SMALL)
    extents.forget(ROUND)
    assert extents.gap(ROUND, 0, ROUND.size) == (0, ROUND.size)
    assert extents.read(ROUND, 3 * BLOCK_BYTES, ROUND.size) is None
    assert extents.has(SMALL, 0, SMALL.size)


def test_a_closed_cache_keeps_nothing_and_says_nothing(
    extents: OverflowingExtents,
    cache_disk: CacheDisk,
    memory: MemoryExtents,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    extents.pin(ROUND, 0, ROUND.size)
    add(extents, ROUND, 0)
    cache_disk.fill()
    add(extents, ROUND, 1)
    view = extents.read(ROUND, 0, 2 * BLOCK_BYTES)
    extents.close()
    clock.advance(TRY_EVERY_S)
    with pytest.raises(CacheUnusable, match="closed"):
        add(extents, ROUND, 0)
    assert memory.bytes_kept == 0
    assert extents.read(ROUND, 0, 1) is None
    assert view is not None
    assert bytes(view) == blocks(ROUND, 0, 2)
    assert told(caplog, BEGINS) == 1


def test_threads_read_what_is_right_while_the_disk_fills_up_and_empties(
    tmp_path: Path, cache_disk: CacheDisk, clock: FakeClock
) -> None:
    memory = MemoryExtents(2 * SLAB_BYTES)
    extents = OverflowingExtents(tmp_path, GIB, memory, clock)
    contents = [numbered(number, SLAB_BYTES + number) for number in range(6)]
    wrong: list[object] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(40):
            content = chance.choice(contents)
            extents.pin(content, 0, content.size)
            fill(extents, content)
            if got(extents, content, 1, content.size) != truth(content, 1, content.size):
                wrong.append(content)
            extents.unpin(content, 0, content.size)
            cache_disk.fill(chance.choice([0, BLOCK_BYTES, 1 << 40]))
            clock.advance(TRY_EVERY_S / 2)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert memory.bytes_kept <= 2 * SLAB_BYTES
    assert not extents._pins
    extents.close()


def test_on_a_disk_that_is_really_full_all_is_read(
    small_disk: Path, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    extents = OverflowingExtents(small_disk, GIB, MemoryExtents(8 * MIB), clock)
    content = numbered(1, 40 * BLOCK_BYTES)
    extents.pin(content, 0, content.size)
    for number in range(40):
        add(extents, content, number)
        clock.advance(TRY_EVERY_S)
    assert len(files_of(small_disk)) == 1
    assert got(extents, content, 0, content.size) == truth(content, 0, content.size)
    extents.unpin(content, 0, content.size)
    extents.close()
    caplog.clear()  # the error in it holds a mapping
