import os
from pathlib import Path

import pytest

from hfnfs.config import BLOCK_BYTES, GIB, MIB
from hfnfs.disk.eviction import evict, segments_on_disk
from hfnfs.disk.extents import DiskExtents
from hfnfs.disk.segment import remove_segment
from hfnfs.remote import ContentId
from tests.disk.contents import block, blocks, files_of, got, numbered

SIZE = 8 * BLOCK_BYTES  # 1 MiB, of `numbered`


def fill(extents: DiskExtents, content: ContentId) -> None:
    extents.add(content, 0, blocks(content, 0, 8))


def set_used(directory: Path, content: ContentId, seconds: int) -> None:
    (path,) = directory.glob(f"??/{content.key}.*")
    os.utime(path, (seconds, seconds))


def bytes_on_disk(directory: Path) -> int:
    return sum(segment.bytes for segment in segments_on_disk(directory))


def keys_on_disk(directory: Path) -> set[str]:
    return {path.name.partition(".")[0] for path in files_of(directory)}


def test_the_budget_is_kept_whatever_is_added(tmp_path: Path) -> None:
    extents = DiskExtents(tmp_path, 4 * MIB)
    for number in range(24):
        fill(extents, numbered(number))
        assert bytes_on_disk(tmp_path) <= 4 * MIB + 64 * 1024
    assert len(files_of(tmp_path)) >= 2
    extents.close()


def test_holes_do_not_count(tmp_path: Path) -> None:
    extents = DiskExtents(tmp_path, GIB)
    content = numbered(1, 64 * MIB)
    extents.add(content, 63 * MIB, blocks(content, 504, 512))
    assert bytes_on_disk(tmp_path) < 2 * MIB
    extents.close()


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    extents = DiskExtents(tmp_path, GIB)
    for number in range(4):
        fill(extents, numbered(number))
    extents.close()
    for number, used in enumerate([30, 10, 40, 20]):
        set_used(tmp_path, numbered(number), used)
    assert evict(tmp_path, 3 * MIB // 2, lambda _: True) >= 2 * MIB
    assert keys_on_disk(tmp_path) == {numbered(0).key, numbered(2).key}


def test_reading_is_using(tmp_path: Path) -> None:
    extents = DiskExtents(tmp_path, GIB)
    for number in range(3):
        fill(extents, numbered(number))
        set_used(tmp_path, numbered(number), 1000 + number)
    assert got(extents, numbered(0), 0, 1) == block(numbered(0), 0)[:1]
    extents._evict(1)
    assert keys_on_disk(tmp_path) == {numbered(0).key, numbered(2).key}
    extents.close()


def test_views_of_what_was_evicted_stay_right(tmp_path: Path) -> None:
    extents = DiskExtents(tmp_path, 2 * MIB)
    fill(extents, numbered(0))
    view = extents.read(numbered(0), 0, SIZE)
    for number in range(1, 6):
        fill(extents, numbered(number))
    assert numbered(0).key not in keys_on_disk(tmp_path)
    assert view is not None
    assert bytes(view) == blocks(numbered(0), 0, 8)
    assert extents.gap(numbered(0), 0, SIZE) == (0, SIZE)
    fill(extents, numbered(0))
    assert got(extents, numbered(0), 0, SIZE) == blocks(numbered(0), 0, 8)
    extents.close()


def test_what_is_pinned_stays(tmp_path: Path) -> None:
    extents = DiskExtents(tmp_path, 2 * MIB)
    kept = numbered(0)
    extents.pin(kept, 0, 1)
    fill(extents, kept)
    for number in range(1, 12):
        fill(extents, numbered(number))
        assert got(extents, kept, 0, SIZE) == blocks(kept, 0, 8)
    extents.unpin(kept, 0, 1)
    for number in range(12, 20):
        fill(extents, numbered(number))
    assert kept.key not in keys_on_disk(tmp_path)
    extents.close()


def test_what_another_process_has_open_stays_until_it_tidies(tmp_path: Path) -> None:
    ours, theirs = DiskExtents(tmp_path, 2 * MIB), DiskExtents(tmp_path, GIB)
    fill(theirs, numbered(0))
    for number in range(1, 6):
        fill(ours, numbered(number))
    assert numbered(0).key in keys_on_disk(tmp_path)
    theirs.tidy()  # not read since it was opened: closed
    for number in range(6, 12):
        fill(ours, numbered(number))
    assert numbered(0).key not in keys_on_disk(tmp_path)
    theirs.close()
    ours.close()


def test_tidying_keeps_what_is_read(tmp_path: Path) -> None:
    extents = DiskExtents(tmp_path, GIB)
    fill(extents, numbered(0))
    fill(extents, numbered(1))
    assert extents.read(numbered(0), 0, 1) is not None
    extents.tidy()
    assert extents.read(numbered(0), 0, 1) is not None
    assert extents.read(numbered(1), 0, 1) is None
    extents.close()


def test_a_segment_whose_file_was_removed_is_forgotten(tmp_path: Path) -> None:
    extents = DiskExtents(tmp_path, GIB)
    fill(extents, numbered(0))
    assert extents.read(numbered(0), 0, 1) is not None
    files_of(tmp_path)[0].unlink()
    extents.tidy()
    assert not extents.has(numbered(0), 0, 1)
    fill(extents, numbered(0))
    assert len(files_of(tmp_path)) == 1
    extents.close()


def test_only_segments_are_removed(tmp_path: Path) -> None:
    extents = DiskExtents(tmp_path, GIB)
    fill(extents, numbered(0))
    extents.close()
    fanout = files_of(tmp_path)[0].parent
    others = [fanout / "notes.txt", fanout / "xet-0.1", tmp_path / "readme"]
    for other in others:
        other.write_bytes(b"mine")
    evict(tmp_path, GIB, lambda _: True)
    assert all(other.exists() for other in others)
    assert segments_on_disk(tmp_path) == []


def test_one_evictor_at_a_time(tmp_path: Path) -> None:
    extents = DiskExtents(tmp_path, GIB)
    fill(extents, numbered(0))
    extents.close()
    nested: list[int] = []

    def let_go(_: str) -> bool:
        nested.append(evict(tmp_path, GIB, lambda _: True))
        return False

    assert evict(tmp_path, GIB, let_go) == 0
    assert nested == [0]
    assert len(files_of(tmp_path)) == 1


def test_removing_what_is_gone_is_done(tmp_path: Path) -> None:
    assert remove_segment(str(tmp_path / "gone"))


@pytest.mark.parametrize("bytes_max", [0, 1, BLOCK_BYTES])
def test_a_budget_smaller_than_what_is_in_use_still_serves(tmp_path: Path, bytes_max: int) -> None:
    extents = DiskExtents(tmp_path, bytes_max)
    for number in range(3):
        extents.pin(numbered(number), 0, SIZE)
        fill(extents, numbered(number))
        assert got(extents, numbered(number), 0, SIZE) == blocks(numbered(number), 0, 8)
        extents.unpin(numbered(number), 0, SIZE)
    assert len(files_of(tmp_path)) <= 2
    extents.close()
