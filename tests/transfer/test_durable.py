"""The local disk's part in waiting: with a real staging directory and a real state."""

import asyncio
import errno
import threading
from pathlib import Path

import pytest

from hfnfs.disk import staging as staging_module
from hfnfs.disk.schema import Change, Key, MetaKey, OverlayRecord
from hfnfs.errors import CacheUnusable, HfnfsError, NoSpace, RemoteUnavailable
from hfnfs.vfs.needs import Cloned, Journaled, NotYet, StagingRoom, Synced
from hfnfs.vfs.node import Node
from tests.disk.failing import failing
from tests.transfer.local_disk import BYTES_MAX, MUCH, Disk, a_disk, held_syncs, with_gate
from tests.until import until


async def test_what_was_committed_is_in_the_state_and_on_the_disk(tmp_path: Path) -> None:
    async with a_disk(tmp_path) as disk:
        node = disk.file("f")
        disk.writing.write(node, 0, MUCH)
        await disk.commit(node)
        assert disk.staging.unsynced() == []
        disk.writing.write(node, len(MUCH), b" and not")
        fileid = node.fileid
    async with a_disk(tmp_path) as disk:
        (record,) = disk.kept.overlays
        assert disk.kept.pieces == ()
        assert (record.fileid, list(record.ranges)) == (fileid, [(0, len(MUCH))])
        assert record.size == len(MUCH)
        assert disk.staging.read(fileid, 0, len(MUCH)) == MUCH


async def test_all_who_wait_share_a_sync_and_later_ones_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on, syncs = threading.Event(), threading.Event(), []

    def before() -> None:
        syncs.append(1)
        began.set()
        assert go_on.wait(100)

    with_gate(monkeypatch, before)
    async with a_disk(tmp_path) as disk:
        node = disk.file("f")
        disk.writing.write(node, 0, MUCH)
        first = [asyncio.ensure_future(disk.commit(node)) for _ in range(3)]
        await until(began.is_set)
        disk.writing.write(node, 1, MUCH)
        second = [asyncio.ensure_future(disk.commit(node)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(each.done() for each in first + second)
        go_on.set()
        for each in first + second:
            await each
        assert len(syncs) == 2


async def test_what_is_asked_to_be_durable_in_one_turn_is_kept_at_once(tmp_path: Path) -> None:
    async with a_disk(tmp_path) as disk:
        node, other = disk.file("f"), disk.file("g")
        disk.writing.write(other, 0, b"other")
        told: list[Exception | None] = []
        for offset in range(8):
            disk.writing.write(node, offset, b"x")
            disk.pager.when_met(disk.writing.durable(node), told.append)
        disk.pager.when_met(disk.writing.durable(other), told.append)
        ticket = disk.journal.submit()
        assert not told
        await until(lambda: len(told) == 9)
        assert told == [None] * 9
        assert disk.journal.submit() == ticket + 2  # one for each file


async def test_who_waits_for_a_file_is_told_why_its_sync_failed_and_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_disk(tmp_path) as disk:
        node, other = disk.file("f"), disk.file("g")
        monkeypatch.setattr(staging_module, "sync_bytes", failing(errno.ENOSPC))
        disk.writing.write(node, 0, MUCH)
        disk.writing.write(other, 0, b"little")
        told: list[Exception | None] = []
        disk.pager.when_met(disk.writing.durable(node), told.append)
        disk.pager.when_met(disk.writing.durable(other), told.append)
        await until(lambda: len(told) == 2)
        assert {type(error) for error in told} == {NoSpace, type(None)}


async def test_who_waits_for_a_sync_is_told_if_the_server_ends_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = held_syncs(monkeypatch)
    told: list[Exception | None] = []

    async def end_while_it_waits(disk: Disk, node: Node) -> None:
        async with asyncio.TaskGroup() as tasks:
            disk.pager._tasks = tasks
            disk.pager.when_met(disk.writing.durable(node), told.append)
            await until(began.is_set)
            raise OSError("something else went wrong")

    async with a_disk(tmp_path) as disk:
        node = disk.file("f")
        disk.writing.write(node, 0, MUCH)
        with pytest.raises(ExceptionGroup):
            await end_while_it_waits(disk, node)
        assert [type(error) for error in told] == [CacheUnusable]
        go_on.set()


async def test_a_failed_sync_fails_the_commit_until_written_again_and_moves_the_verifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_disk(tmp_path) as disk:
        await disk.pager.begin(None)
        verifier = disk.writing.write_verifier
        node = disk.file("f")
        disk.writing.write(node, 0, MUCH)
        with monkeypatch.context() as patch:
            patch.setattr(staging_module, "sync_bytes", failing(errno.ENOSPC))
            with pytest.raises(NoSpace):
                await disk.commit(node)
        moved = disk.writing.write_verifier
        assert moved != verifier
        with pytest.raises(NoSpace):
            await disk.commit(node)
        assert disk.writing.write_verifier == moved
        assert not any(record.ranges for record in _records(disk))
        disk.writing.write(node, 0, MUCH)
        await disk.commit(node)


def _records(disk: Disk) -> list[OverlayRecord]:
    return [disk.data.overlays[fileid].record(fileid) for fileid in disk.data.overlays]


async def test_a_file_that_is_given_up_during_its_sync_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on = held_syncs(monkeypatch)
    async with a_disk(tmp_path) as disk:
        node = disk.file("f")
        disk.writing.write(node, 0, MUCH)
        committing = asyncio.ensure_future(disk.commit(node))
        await until(began.is_set)
        disk.writing.discard(node)
        go_on.set()
        await committing
        await until(lambda: disk.staging.usage().files == 0)
        await until(lambda: not list((tmp_path / "staging" / "snapshots").iterdir()))


async def test_a_failed_upload_fails_one_commit_that_is_durable_all_the_same(
    tmp_path: Path,
) -> None:
    async with a_disk(tmp_path) as disk:
        node = disk.file("f")
        disk.writing.write(node, 0, b"abc")
        disk.writing.fail(node, RemoteUnavailable("down"))
        with pytest.raises(RemoteUnavailable):
            await disk.commit(node)
        assert disk.writing.lacking() == []
        await disk.commit(node)


async def test_who_waits_for_a_ticket_hears_that_the_state_cannot_be_written(
    tmp_path: Path,
) -> None:
    async with a_disk(tmp_path) as disk:
        later = disk.journal.submit() + 1
        waiting = asyncio.ensure_future(disk.pager.journaled(later))
        await asyncio.sleep(0)
        disk.pager.told(later, CacheUnusable("no more"))
        with pytest.raises(CacheUnusable):
            await waiting
        async with disk.pager.meet(Journaled(0)):
            pass


async def test_syncing_goes_on_until_writers_have_room(tmp_path: Path) -> None:
    async with a_disk(tmp_path, unsynced_bytes_max=100) as disk:
        node = disk.file("f")
        disk.writing.when_unsynced = lambda _need: None
        disk.writing.write(node, 0, bytes(101))
        with pytest.raises(NotYet) as caught:
            disk.writing.write(node, 101, b"x")
        assert caught.value.need == Synced(100)
        async with disk.pager.meet(Synced(100)):
            disk.writing.write(node, 101, b"x")


async def test_syncing_begins_before_writers_have_to_wait(tmp_path: Path) -> None:
    async with a_disk(tmp_path, unsynced_bytes_max=100) as disk:
        node = disk.file("f")
        disk.writing.write(node, 0, bytes(60))
        disk.writing.write(node, 60, bytes(10))
        await until(lambda: disk.staging.unsynced_bytes == 0)


async def test_a_sync_that_fails_for_room_is_told_to_who_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(staging_module, "sync_bytes", failing(errno.EIO))
    async with a_disk(tmp_path, unsynced_bytes_max=100) as disk:
        node = disk.file("f")
        disk.writing.write(node, 0, bytes(101))
        verifier = disk.writing.write_verifier
        async with disk.pager.meet(Synced(100)):
            assert disk.writing.write_verifier != verifier
        assert "did not reach the disk" in caplog.text
        with pytest.raises(CacheUnusable):
            await disk.commit(node)


async def test_room_is_made_of_what_the_hub_has(tmp_path: Path) -> None:
    async with a_disk(tmp_path) as disk:
        sent, unsent = disk.file("sent"), disk.file("unsent")
        disk.writing.write(sent, 0, b"s" * (BYTES_MAX // 2))
        disk.writing.write(unsent, 0, b"u" * (BYTES_MAX // 2))
        disk.settle(sent)
        async with disk.pager.meet(StagingRoom(4096)):
            disk.writing.write(unsent, BYTES_MAX // 2, b"u" * 4096)
        assert disk.hurried == 0
        assert disk.data.read(sent, 0, 3) == (b"sss", False)
        assert not disk.staging.path(sent.fileid).exists()


async def test_where_nothing_can_be_evicted_the_hub_is_hurried_and_waited_for(
    tmp_path: Path,
) -> None:
    async with a_disk(tmp_path) as disk:
        node = disk.file("f")
        disk.writing.write(node, 0, bytes(BYTES_MAX))

        async def write_more() -> None:
            async with disk.pager.meet(StagingRoom(4096)):
                disk.writing.write(node, BYTES_MAX, bytes(4096))

        writing = asyncio.ensure_future(write_more())
        await until(lambda: disk.hurried)
        assert not writing.done()
        disk.settle(node)
        await writing
        assert node.size == BYTES_MAX + 4096


async def test_who_waits_for_room_is_woken_when_a_copy_is_gone(tmp_path: Path) -> None:
    async with a_disk(tmp_path) as disk:
        node = disk.file("f")
        disk.writing.write(node, 0, bytes(BYTES_MAX // 2))
        ranges = disk.data.overlays[node.fileid].ranges
        copy = disk.staging.snapshot(node.fileid, ranges, node.size)

        async def write_more() -> None:
            async with disk.pager.meet(StagingRoom(4096)):
                disk.writing.write(node, BYTES_MAX // 2, bytes(4096))

        writing = asyncio.ensure_future(write_more())
        await until(lambda: disk.hurried)
        assert not writing.done()
        await asyncio.to_thread(copy.discard)
        await writing


async def test_what_is_in_doubt_is_read_from_the_hub_where_it_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_disk(tmp_path, unsynced_bytes_max=100) as disk:
        sent, later, unsent = disk.file("sent"), disk.file("later"), disk.file("unsent")
        for node in (sent, later, unsent):
            disk.writing.write(node, 0, node.name)
        disk.settle(sent)
        monkeypatch.setattr(staging_module, "sync_bytes", failing(errno.EIO))
        disk.writing.write(unsent, 100, b"!")  # so many are unsynced that all are synced
        disk.writing.when_unsynced(Synced(0))
        await until(lambda: not disk.staging.unsynced())
        disk.settle(later)
        assert "did not reach the disk" in caplog.text
        assert sent.fileid not in disk.data.overlays
        assert later.fileid not in disk.data.overlays
        assert unsent.fileid in disk.data.overlays
        assert disk.data.read(sent, 0, 9) == (b"sent", True)
        await until(lambda: disk.staging.usage().files == 1)


async def test_no_copy_is_made_of_what_is_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_disk(tmp_path) as disk:
        node = disk.file("f")
        disk.writing.write(node, 0, MUCH)
        with monkeypatch.context() as patch:
            patch.setattr(staging_module, "sync_bytes", failing(errno.EIO))
            with pytest.raises(CacheUnusable):
                await disk.commit(node)
        need = Cloned(node.fileid, disk.writing.durable(node).version)
        with pytest.raises(CacheUnusable):
            async with disk.pager.meet(need):
                pass
        assert disk.staging.usage().snapshot_bytes == 0
        disk.writing.write(node, 0, MUCH)
        await disk.commit(node)
        async with disk.pager.meet(Cloned(node.fileid, disk.writing.durable(node).version)):
            assert disk.writing.copies


async def test_staged_bytes_are_read_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_disk(tmp_path) as disk:
        node = disk.file("f")
        disk.writing.write(node, 0, b"abc")
        with monkeypatch.context() as patch:
            patch.setattr(disk.staging, "read_resident", lambda *_args: None)
            with pytest.raises(NotYet) as caught:
                disk.data.read(node, 0, 3)
        need = caught.value.need
        async with disk.pager.meet(need):  # type: ignore[arg-type]  # a Staged
            assert disk.data.read(node, 0, 3) == (b"abc", True)
        disk.writing.discard(node)
        await until(lambda: disk.staging.usage().files == 0)
        async with disk.pager.meet(need):  # type: ignore[arg-type]  # so is this
            pass


async def test_a_copy_is_there_until_it_was_taken_or_is_not_wanted(tmp_path: Path) -> None:
    async with a_disk(tmp_path) as disk:
        node, to = disk.file("f"), disk.file("to")
        disk.writing.write(node, 0, b"abc")
        need = Cloned(node.fileid, disk.writing.durable(node).version)
        async with disk.pager.meet(need):
            assert disk.staging.usage().snapshot_bytes > 0
        assert disk.writing.copies == {}
        assert disk.staging.usage().snapshot_bytes == 0
        async with disk.pager.meet(need):
            disk.writing.require_copy(node)
            disk.writing.clone(node, to)
        await disk.commit(to)
        assert disk.data.read(to, 0, 3) == (b"abc", True)
        disk.writing.write(node, 0, b"x")
        async with disk.pager.meet(need):
            assert disk.writing.copies == {}


async def test_the_verifier_is_kept_only_over_a_clean_end(tmp_path: Path) -> None:
    async with a_disk(tmp_path) as disk:
        await disk.pager.begin(None)
        verifier = disk.writing.write_verifier
        node = disk.file("f")
        disk.writing.write(node, 0, b"abc")
        await disk.pager.end()
        assert disk.writing.lacking() == []
    async with a_disk(tmp_path) as disk:
        await disk.pager.begin(disk.kept.meta.get(MetaKey.WRITE_VERIFIER))
        assert disk.writing.write_verifier == verifier
    async with a_disk(tmp_path) as disk:  # no end: as after a crash
        await disk.pager.begin(disk.kept.meta.get(MetaKey.WRITE_VERIFIER))
        assert disk.writing.write_verifier != verifier


async def test_a_failing_disk_keeps_the_verifier_from_being_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_disk(tmp_path) as disk:
        await disk.pager.begin(None)
        disk.writing.write(disk.file("f"), 0, MUCH)
        monkeypatch.setattr(staging_module, "sync_bytes", failing(errno.EIO))
        with pytest.raises(HfnfsError):
            await disk.pager.end()
    async with a_disk(tmp_path) as disk:
        assert disk.kept.meta[MetaKey.WRITE_VERIFIER] == b""


async def test_what_is_being_given_up_at_the_end_is_gone_before_all_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_disk(tmp_path) as disk:
        began, go_on, unlink = threading.Event(), threading.Event(), disk.staging.unlink

        def gated(aside: list[Path]) -> None:
            began.set()
            assert go_on.wait(100)
            unlink(aside)

        monkeypatch.setattr(disk.staging, "unlink", gated)
        node, other = disk.file("f"), disk.file("other")
        for each in (node, other):
            disk.writing.write(each, 0, b"abc")
        disk.writing.discard(node)
        await until(began.is_set)
        disk.writing.discard(other)
        ending = asyncio.ensure_future(disk.pager.end())
        await asyncio.sleep(0)
        assert not ending.done()
        go_on.set()
        await ending
        assert disk.staging.usage().files == 0
        assert not list((tmp_path / "staging" / "snapshots").iterdir())


async def test_staged_bytes_stay_until_it_is_durable_that_they_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_disk(tmp_path) as disk:
        node = disk.file("f")
        disk.writing.write(node, 0, b"abc")
        await disk.commit(node)
        began, go_on, write = threading.Event(), threading.Event(), disk.db._write

        def gated(changes: dict[Key, Change]) -> HfnfsError | None:
            began.set()
            assert go_on.wait(100)
            return write(changes)

        monkeypatch.setattr(disk.db, "_write", gated)
        disk.writing.discard(node)
        await until(began.is_set)
        for _ in range(100):
            await asyncio.sleep(0)
        assert disk.staging.path(node.fileid).exists()
        go_on.set()
        await until(lambda: not disk.staging.path(node.fileid).exists())


async def test_who_is_cancelled_waits_for_its_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, go_on, over = threading.Event(), threading.Event(), []
    async with a_disk(tmp_path) as disk:
        unlink = disk.staging.unlink

        def gated(aside: list[Path]) -> None:
            began.set()
            assert go_on.wait(100)
            unlink(aside)
            over.append(True)

        monkeypatch.setattr(disk.staging, "unlink", gated)
        node = disk.file("f")
        disk.writing.write(node, 0, b"abc")
        disk.writing.discard(node)
        await until(began.is_set)
        (giving_up,) = [each for each in asyncio.all_tasks() if "fetch None" in each.get_name()]
        giving_up.cancel()
        await asyncio.sleep(0)
        assert not giving_up.done()
        go_on.set()
        await asyncio.wait([giving_up])
        assert over
