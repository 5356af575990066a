"""Little that is committed goes into the state with its bytes, and is synced when nobody waits."""

import asyncio
import errno
from pathlib import Path

import pytest

from hfnfs.disk import staging as staging_module
from hfnfs.errors import CacheUnusable
from hfnfs.transfer import durable as durable_module
from hfnfs.vfs.needs import Cloned, Synced
from tests.disk.failing import failing
from tests.transfer.local_disk import MUCH, a_disk, held_syncs, lose_the_power
from tests.until import until


async def test_little_is_committed_with_its_bytes_and_outlives_the_power(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_disk(tmp_path) as disk:
        monkeypatch.setattr(staging_module, "sync_bytes", failing(errno.EIO))
        node, other = disk.file("f"), disk.file("other")
        for start, data in ((0, b"aaaa"), (2, b"bbbb"), (4096, b"far"), (1, b"c")):
            disk.writing.write(node, start, data)
            await disk.commit(node)
        disk.writing.write(other, 0, b"other")
        await disk.commit(other)
        fileids = node.fileid, other.fileid
    monkeypatch.undo()
    lose_the_power(tmp_path)
    for _ in range(2):  # the second time they are on the disk
        async with a_disk(tmp_path) as disk:
            assert {each.fileid for each in disk.kept.overlays} == {*fileids}
            assert disk.staging.read(fileids[0], 0, 6) == b"acbbbb"
            assert disk.staging.read(fileids[0], 4096, 4099) == b"far"
            assert disk.staging.read(fileids[1], 0, 5) == b"other"
            assert disk.staging.unsynced() == []
    assert disk.kept.pieces == ()


async def test_what_was_synced_is_held_no_more_and_never_put_over_newer_bytes(
    tmp_path: Path,
) -> None:
    async with a_disk(tmp_path) as disk:
        node = disk.file("f")
        disk.writing.write(node, 0, b"old")
        await disk.commit(node)
        assert disk.writing.pieces.bytes == 3
        disk.writing.write(node, 0, MUCH)
        await disk.commit(node)
        assert disk.writing.pieces.bytes == 0
        fileid = node.fileid
    async with a_disk(tmp_path) as disk:
        assert disk.kept.pieces == ()
        assert disk.staging.read(fileid, 0, 3) == MUCH[:3]


async def test_what_comes_while_a_file_is_synced_is_still_held_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_disk(tmp_path) as disk:
        node = disk.file("f")
        disk.writing.write(node, 0, b"old")
        await disk.commit(node)
        began, go_on = held_syncs(monkeypatch)
        disk.writing.when_unsynced(Synced(0))
        await until(began.is_set)
        disk.writing.write(node, 0, b"new")
        committing = asyncio.ensure_future(disk.commit(node))
        await asyncio.sleep(0)
        monkeypatch.undo()
        go_on.set()
        await committing
        await until(lambda: disk.writing.pieces.last(node.fileid) != 1)
        fileid = node.fileid
    async with a_disk(tmp_path) as disk:
        held = [(each.start, each.bytes) for each in disk.kept.pieces]
        assert held in ([], [(0, b"new")])  # as it was synced again, or is held
        assert disk.staging.read(fileid, 0, 3) == b"new"


async def test_of_what_is_given_up_nothing_is_held(tmp_path: Path) -> None:
    async with a_disk(tmp_path) as disk:
        node = disk.file("f")
        disk.writing.write(node, 0, b"abc")
        await disk.commit(node)
        disk.writing.discard(node)
        await disk.pager.journaled(disk.journal.submit())
        assert disk.writing.pieces.bytes == len(disk.writing.pieces) == 0
    async with a_disk(tmp_path) as disk:
        assert disk.kept.pieces == ()


async def test_what_is_held_of_too_many_files_is_synced_while_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable_module, "_HELD_FILES_MAX", 2)
    async with a_disk(tmp_path) as disk:
        for name in ("a", "b", "c"):
            node = disk.file(name)
            disk.writing.write(node, 0, name.encode())
            await disk.commit(node)
        await until(lambda: not disk.staging.unsynced() and not disk.writing.pieces.bytes)
    async with a_disk(tmp_path) as disk:
        assert disk.kept.pieces == ()


async def test_what_could_not_be_synced_behind_is_held_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(durable_module, "_HELD_FILES_MAX", 0)
    async with a_disk(tmp_path) as disk:
        node = disk.file("f")
        with monkeypatch.context() as patch:
            patch.setattr(staging_module, "sync_bytes", failing(errno.EIO))
            disk.writing.write(node, 0, b"abc")
            await disk.commit(node)
            await until(lambda: "did not reach the disk" in caplog.text)
        disk.writing.write(node, 10, b"more")
        with pytest.raises(CacheUnusable):
            await disk.commit(node)
        fileid = node.fileid
    lose_the_power(tmp_path)
    async with a_disk(tmp_path) as disk:
        assert disk.staging.read(fileid, 0, 3) == b"abc"


async def test_a_copy_of_little_has_its_bytes_in_the_state(tmp_path: Path) -> None:
    async with a_disk(tmp_path) as disk:
        node, to = disk.file("f"), disk.file("to")
        disk.writing.write(node, 0, b"abc")
        async with disk.pager.meet(Cloned(node.fileid, disk.writing.durable(node).version)):
            disk.writing.clone(node, to)
        await disk.commit(to)
        fileid = to.fileid
    lose_the_power(tmp_path)  # also of its name
    async with a_disk(tmp_path) as disk:
        assert disk.staging.read(fileid, 0, 3) == b"abc"
