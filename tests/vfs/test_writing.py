"""Writing: nothing is fetched for it, claimed too early, or given up too soon."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hfnfs.disk.ranges import OFFSET_MAX
from hfnfs.disk.schema import MetaKey
from hfnfs.errors import (
    CacheUnusable,
    FileTooLarge,
    InvalidArgument,
    IsDirectory,
    NoSpace,
    QuotaExceeded,
    RemoteUnavailable,
)
from hfnfs.remote import EMPTY, Kind, RemoteEntry
from hfnfs.vfs import writing
from hfnfs.vfs.needs import Cloned, Durable, Journaled, NotYet, StagingRoom, Synced
from hfnfs.vfs.node import FileType
from hfnfs.vfs.writing import Bounds
from tests.disk.failing import failing
from tests.vfs.writers import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.crash()


def after_a_restart(bench: Bench, tmp_path: Path) -> Bench:
    """What was submitted, found again by another process."""
    bench.journal.submit()
    bench.crash()
    records = bench.state.overlays()
    again = Bench(tmp_path, known=tuple(records))
    again.extents.contents = bench.extents.contents
    for node in bench.tree.root.children.values():
        entry = RemoteEntry(node.name.decode(), Kind.FILE, node.content or EMPTY)
        again.tree.apply_found(again.tree.root, node.name, entry)
        if node.fileid in records:
            twin = again.tree.root.children[node.name]
            again.writing.restore(twin, records[node.fileid])
    return again


# ---------------------------------------------------------------- writing


def test_a_write_needs_nothing_of_the_base_and_moves_the_times(bench: Bench) -> None:
    node = bench.file(b"0123456789")
    assert node.content is not None
    bench.extents.absent.add(node.content)
    ctime_ns = node.ctime_ns
    assert bench.writing.write(node, 4, b"AB") == 2
    assert bench.extents.reads == []
    assert node.size == 10
    assert node.mtime_ns == node.atime_ns == bench.clock.wall_ns() // 1_000_000 * 1_000_000
    assert node.ctime_ns > ctime_ns
    before = node.ctime_ns
    bench.writing.write(node, 4, b"AB")
    assert node.ctime_ns > before  # the clock stands still
    assert bench.changed == [node, node]
    assert bench.keeper.needs(node)


def test_a_time_of_access_that_was_set_stays(bench: Bench) -> None:
    node = bench.file(b"0")
    node.atime_ns = 7
    bench.writing.write(node, 0, b"A")
    assert node.atime_ns == 7


def test_to_write_nothing_changes_nothing(bench: Bench) -> None:
    node = bench.file(b"0123456789")
    assert bench.writing.write(node, 40, b"") == 0
    assert (node.size, bench.changed, bench.data.overlay(node)) == (10, [], None)


def test_the_volume_counts_what_files_grew_by(bench: Bench) -> None:
    node = bench.file(b"0123456789")
    bench.writing.write(node, 20, b"x")
    assert bench.tree.byte_count == 21
    bench.writing.truncate(node, 4)
    assert bench.tree.byte_count == 4


def test_only_files_are_written(bench: Bench) -> None:
    with pytest.raises(IsDirectory):
        bench.writing.write(bench.tree.root, 0, b"x")
    link = bench.tree.nodes.make(FileType.LNK, bench.tree.root, "link")
    with pytest.raises(InvalidArgument):
        bench.writing.truncate(link, 0)


def test_no_file_reaches_beyond_what_offsets_can_say(bench: Bench) -> None:
    node = bench.file(b"")
    with pytest.raises(FileTooLarge):
        bench.writing.write(node, OFFSET_MAX, b"x")
    with pytest.raises(FileTooLarge):
        bench.writing.truncate(node, OFFSET_MAX + 1)


def test_a_quota_bounds_what_files_grow_by(tmp_path: Path) -> None:
    bench = Bench(tmp_path, bounds=Bounds(1 << 30, lambda: 5))
    node = bench.file(b"0123456789")
    bench.writing.write(node, 0, b"ABCDEFGHIJ")
    bench.writing.truncate(node, 15)
    with pytest.raises(QuotaExceeded):
        bench.writing.truncate(node, 21)
    with pytest.raises(QuotaExceeded):
        bench.writing.write(node, 15, b"abcdef")
    assert node.size == 15
    bench.crash()


def test_what_files_grew_by_is_unsent_until_the_hub_has_it(bench: Bench) -> None:
    node, other = bench.file(b"0123456789"), bench.file(b"", "other")
    bench.writing.write(node, 5, b"0123456789")
    bench.writing.write(other, 0, b"abc")
    assert bench.writing.unsent_bytes == 8
    bench.writing.truncate(node, 7)
    assert bench.writing.unsent_bytes == 0
    bench.settle(node)
    assert bench.writing.unsent_bytes == 3
    bench.writing.discard(other)
    assert bench.writing.unsent_bytes == 0


# ------------------------------------------------- asked before anything is changed


def test_a_writer_waits_for_the_disk_and_is_announced_before(tmp_path: Path) -> None:
    bench = Bench(tmp_path, bounds=Bounds(100))
    announced: list[Synced] = []
    bench.writing.when_unsynced = announced.append
    node, other = bench.file(b""), bench.file(b"", "other")
    bench.writing.write(node, 0, bytes(60))
    assert announced == []
    bench.writing.write(node, 60, bytes(60))
    assert announced == [Synced(100)]
    with pytest.raises(NotYet) as caught:
        bench.writing.write(other, 0, b"x")
    assert caught.value.need == Synced(100)
    assert bench.data.overlay(other) is None
    bench.staging.sync(node.fileid)
    bench.writing.write(other, 0, b"x")
    bench.crash()


def test_a_writer_waits_for_room_in_the_staging(tmp_path: Path) -> None:
    bench = Bench(tmp_path, bytes_max=8192)
    node = bench.file(b"")
    bench.writing.write(node, 0, bytes(8192))
    with pytest.raises(NotYet) as caught:
        bench.writing.write(node, 8192, b"xy")
    assert caught.value.need == StagingRoom(2)
    assert node.size == 8192
    bench.crash()


def test_a_writer_waits_while_too_much_is_to_be_recorded(bench: Bench) -> None:
    node = bench.file(b"0")
    bench.state.is_full = True
    for change in (
        lambda: bench.writing.write(node, 0, b"x"),
        lambda: bench.writing.truncate(node, 0),
    ):
        with pytest.raises(NotYet) as caught:
            change()
        assert isinstance(caught.value.need, Journaled)
        assert bench.data.overlay(node) is None
    assert bench.read(node) == b"0"


# ----------------------------------------------------------------- a disk that fails


def test_a_write_that_failed_is_not_there(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    node = bench.file(b"0123456789")
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing(errno.ENOSPC))
        with pytest.raises(NoSpace):
            bench.writing.write(node, 8, b"ABCD")
    assert bench.read(node) == b"0123456789"
    assert not bench.writing.is_dirty(node)
    assert bench.changed == []
    assert bench.writing.evict(1)  # nothing is left of it but an empty file
    bench.give_up()
    assert bench.staging.usage().files == 0


def test_a_write_that_failed_half_way_over_staged_bytes_is_a_change(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = bench.file(b"")
    bench.writing.write(node, 0, b"abcdef")
    bench.settle(node)
    pwrite, calls = os.pwrite, [2, 0]
    monkeypatch.setattr(
        os, "pwrite", lambda fd, data, offset: pwrite(fd, bytes(data)[: calls.pop(0)], offset)
    )
    with pytest.raises(NoSpace):
        bench.writing.write(node, 2, b"ABCD")
    assert bench.read(node) == b"abABef"
    assert bench.writing.is_dirty(node)  # or the Hub would have other bytes than are read here


# ----------------------------------------------------------------- durable


def test_unsynced_bytes_are_not_found_again(bench: Bench, tmp_path: Path) -> None:
    node = bench.file(b"0123456789")
    bench.writing.write(node, 2, b"AB")
    bench.keep(node)
    bench.writing.write(node, 6, b"CDEFGHIJ")
    again = after_a_restart(bench, tmp_path)
    twin = again.tree.root.children[b"f"]
    assert again.read(twin) == b"01AB456789"
    assert again.writing.is_dirty(twin)
    again.crash()


def test_a_staged_file_is_known_of_before_its_bytes_are_durable(
    bench: Bench, tmp_path: Path
) -> None:
    node = bench.file(b"0123456789")
    bench.writing.write(node, 0, b"AB")
    again = after_a_restart(bench, tmp_path)
    assert again.read(again.tree.root.children[b"f"]) == b"0123456789"
    assert not list((tmp_path / "lost+found").iterdir())
    again.give_up()
    assert again.staging.path(node.fileid).stat().st_size == 0
    again.crash()


def test_a_truncation_is_durable_with_the_journal_and_claims_no_unsynced_bytes(
    bench: Bench, tmp_path: Path
) -> None:
    node = bench.file(b"0123456789")
    bench.writing.write(node, 2, b"AB")
    bench.writing.truncate(node, 6)
    bench.writing.truncate(node, 8)
    again = after_a_restart(bench, tmp_path)
    assert again.read(again.tree.root.children[b"f"]) == b"012345\0\0"
    again.crash()


def test_a_need_is_lacking_until_its_version_was_claimed_synced_and_kept(bench: Bench) -> None:
    node = bench.file(b"")
    assert not bench.writing.lacks(bench.writing.durable(node))
    bench.writing.write(node, 0, b"a")
    first = bench.writing.durable(node)
    claim = bench.writing.claim(node.fileid)
    bench.writing.write(node, 1, b"b")
    second = bench.writing.durable(node)
    assert bench.writing.lacking() == [second]
    bench.writing.keep(node.fileid, claim)
    assert (bench.writing.lacks(first), bench.writing.lacks(second)) == (False, True)
    bench.keep(node)
    assert bench.writing.lacking() == []


def test_versions_are_never_used_twice(bench: Bench) -> None:
    node = bench.file(b"0")
    bench.writing.write(node, 0, b"a")
    need = bench.writing.durable(node)
    bench.settle(node)
    assert bench.writing.evict(1)
    assert bench.writing.durable(node) == Durable(node.fileid, 0)
    bench.writing.write(node, 0, b"b")
    assert not bench.writing.lacks(need)


# ----------------------------------------------------------------- settled


def test_settled_bytes_stay_here_and_can_be_evicted(bench: Bench) -> None:
    node = bench.file(b"0123456789")
    bench.writing.write(node, 2, b"AB")
    assert not bench.writing.evict(1)
    content = bench.settle(node)
    assert node.content == content
    bench.extents.absent.add(content)
    assert bench.data.read(node, 2, 2) == (b"AB", False)
    assert bench.writing.evict(1)
    bench.extents.absent.clear()
    assert bench.read(node) == b"01AB456789"
    assert not bench.keeper.needs(node)
    assert bench.keeper.kept[-1] is node
    bench.journal.submit()
    assert bench.state.overlays() == {}


def test_an_empty_file_that_was_created_is_settled_without_an_overlay(bench: Bench) -> None:
    node = bench.tree.nodes.make(FileType.REG, bench.tree.root, "new")
    bench.writing.settle(node, 0, EMPTY)
    assert node.content == EMPTY


def test_a_write_during_the_upload_stays_dirty_over_the_new_base(bench: Bench) -> None:
    node = bench.file(b"0123456789")
    assert node.content is not None
    old = node.content
    bench.writing.write(node, 2, b"AB")
    content, version = bench.content(bench.read(node)), bench.version(node)
    bench.writing.write(node, 4, b"CD")
    bench.writing.settle(node, version, content)
    bench.extents.absent.add(old)
    assert bench.read(node) == b"01ABCD6789"
    assert bench.writing.is_dirty(node)
    assert not bench.writing.evict(1)


@pytest.mark.parametrize("is_read", [True, False])
def test_longest_unused_is_evicted_first(bench: Bench, is_read: bool) -> None:
    nodes = [bench.file(b"", name) for name in "abc"]
    for node in nodes:
        bench.writing.write(node, 0, b"x" * 10)
        bench.settle(node)
    if is_read:
        bench.data.read(nodes[0], 0, 1)
    else:
        content = bench.settle(nodes[0])  # it reads them
        bench.settle(nodes[1])
        bench.writing.write(nodes[0], 0, b"x")
        bench.writing.settle(nodes[0], bench.writing.durable(nodes[0]).version, content)
    assert bench.writing.evict(11)
    assert [bench.data.overlay(node) is None for node in nodes] == [False, True, True]


def test_of_files_that_the_hub_has_not_too_many_are_kept(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "OVERLAYS_MAX", 2)
    nodes = [bench.file(b"", name) for name in "abcd"]
    for node in nodes:
        bench.writing.write(node, 0, b"x")
    contents = [bench.settle(node) for node in nodes[1:]]
    assert bench.writing.is_dirty(nodes[0])  # unused for longest, and ours alone
    contents.insert(0, bench.settle(nodes[0]))
    kept = [node for node in nodes if bench.data.overlay(node) is not None]
    assert kept == [nodes[0], nodes[3]]  # those that were used last
    assert [node.content for node in nodes] == contents
    assert [bench.read(node) for node in nodes] == [b"x"] * 4


def test_a_failed_upload_is_told_once_and_not_after_a_good_one(bench: Bench) -> None:
    node = bench.file(b"")
    error = RemoteUnavailable("down")
    bench.writing.fail(node, error)
    assert bench.writing.take_failure(node.fileid) is error
    assert bench.writing.take_failure(node.fileid) is None
    bench.writing.fail(node, error)
    bench.settle(node)
    assert bench.writing.take_failure(node.fileid) is None


def test_other_bytes_on_the_hub_replace_what_is_only_a_cache(bench: Bench) -> None:
    node = bench.file(b"0123456789")
    bench.writing.write(node, 0, b"AB")
    bench.settle(node)
    assert bench.file(b"other") is node
    assert bench.data.overlay(node) is None
    assert bench.read(node) == b"other"


# ----------------------------------------------------------------- given up


def test_staged_bytes_are_removed_only_when_told_and_not_if_there_are_new_ones(
    bench: Bench,
) -> None:
    node, other = bench.file(b"0"), bench.file(b"0", "other")
    for each in (node, other):
        bench.writing.write(each, 0, b"abcdef")
        bench.settle(each)
    left = []
    bench.writing.when_left = lambda: left.append(1)
    assert bench.writing.evict(100)
    assert bench.staging.usage().files == 2
    assert left == [1, 1]
    bench.writing.write(node, 1, b"X")
    bench.give_up()
    assert bench.staging.usage().files == 1
    assert bench.staging.path(node.fileid).stat().st_size == 2
    assert bench.read(node) == b"aXcdef"


def test_what_was_cut_off_takes_no_room_once_that_is_durable(bench: Bench) -> None:
    node = bench.file(b"")
    bench.writing.write(node, 0, bytes(100_000))
    bench.writing.truncate(node, 0)
    early = dict(bench.writing.left)
    bench.writing.write(node, 0, b"abc")
    bench.writing.truncate(node, 2)  # what is durable may claim three bytes yet
    assert bench.writing.give_up(early) == []
    assert bench.staging.path(node.fileid).stat().st_size == 100_000
    bench.give_up()
    assert bench.staging.path(node.fileid).stat().st_size == 2
    assert bench.read(node) == b"ab"


def test_a_discarded_file_is_gone_without_a_trace(bench: Bench) -> None:
    node = bench.file(b"0")
    bench.writing.write(node, 0, b"abc")
    claim = bench.writing.claim(node.fileid)
    bench.writing.discard(node)
    bench.writing.keep(node.fileid, claim)
    bench.give_up()
    assert bench.state.overlays() == {}
    assert bench.staging.usage().files == 0


# ----------------------------------------------------------------- copies


def test_a_copy_of_a_clean_file_is_its_content(bench: Bench) -> None:
    node, to = bench.file(b"012"), bench.tree.nodes.make(FileType.REG, bench.tree.root, "to")
    bench.writing.require_copy(node)
    bench.writing.clone(node, to)
    assert (to.content, to.size, bench.data.overlay(to)) == (node.content, 3, None)


def test_a_copy_of_a_written_file_needs_its_staged_bytes(bench: Bench, tmp_path: Path) -> None:
    node = bench.file(b"0123456789")
    bench.writing.write(node, 2, b"AB")
    with pytest.raises(NotYet) as caught:
        bench.writing.require_copy(node)
    need = Cloned(node.fileid, bench.version(node))
    assert caught.value.need == need
    shape = bench.writing.shape_at(need)
    assert shape is not None
    bench.writing.copies[need] = bench.staging.snapshot(node.fileid, shape.ranges, shape.size)
    bench.writing.require_copy(node)
    to = bench.file(b"", "to")
    bench.writing.clone(node, to)
    bench.writing.write(node, 0, b"xxxxxxxxxx")
    assert bench.read(to) == b"01AB456789"
    assert bench.writing.is_dirty(to)
    bench.journal.submit()
    assert bench.state.overlays()[to.fileid].is_loose
    bench.keep(to)
    assert not bench.state.overlays()[to.fileid].is_loose
    again = after_a_restart(bench, tmp_path)
    assert again.read(again.tree.root.children[b"to"]) == b"01AB456789"
    again.crash()


def test_a_copy_of_what_was_only_truncated_needs_no_staged_bytes(bench: Bench) -> None:
    node, to = bench.file(b"012345"), bench.file(b"", "to")
    bench.writing.truncate(node, 3)
    bench.writing.require_copy(node)
    bench.writing.clone(node, to)
    assert bench.read(to) == b"012"


def test_a_copy_of_another_version_is_none(bench: Bench) -> None:
    node = bench.file(b"012345")
    bench.writing.write(node, 0, b"x")
    need = Cloned(node.fileid, bench.version(node))
    bench.writing.write(node, 0, b"y")
    assert bench.writing.shape_at(need) is None


# ----------------------------------------------------------------- over restarts


def test_staged_bytes_that_are_lost_are_an_error_and_no_zeros(bench: Bench, tmp_path: Path) -> None:
    node = bench.file(b"0123456789")
    bench.writing.write(node, 2, b"AB")
    bench.keep(node)
    os.truncate(bench.staging.path(node.fileid), 3)
    with pytest.raises(CacheUnusable):
        after_a_restart(bench, tmp_path)


def test_the_write_verifier_is_the_same_only_after_a_clean_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.writing.begin(None)
    first = bench.writing.write_verifier
    bench.journal.submit()
    crashed = bench.state.meta()[MetaKey.WRITE_VERIFIER]
    bench.writing.end()
    bench.journal.submit()
    ended = bench.state.meta()[MetaKey.WRITE_VERIFIER]
    bench.writing.begin(ended)
    assert bench.writing.write_verifier == first
    bench.writing.begin(crashed)
    assert bench.writing.write_verifier != first
    second = bench.writing.write_verifier
    bench.writing.renew_verifier()
    assert bench.writing.write_verifier != second
    bench.crash()
