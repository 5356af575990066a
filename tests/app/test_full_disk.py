"""A disk that is full: what was answered for is there, and it goes on as soon as there is room."""

import errno
import os
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from hfnfs.config import KIB, MIB
from hfnfs.disk import headroom, schema, snapshot
from hfnfs.disk.headroom import Headroom
from hfnfs.nfs3.client import NotOk
from hfnfs.nfs3.status import Status
from hfnfs.vfs import outbox
from tests.app.bucket import AT_ONCE, UPLOAD, Bucket, Mount, eventually
from tests.live.trees import noise
from tests.until import until

FILE = noise(64 * KIB, seed=7)
ROOM_BYTES = 10 * len(FILE)  # beyond what is left for others


class SmallDisk:
    """One that holds so many staged bytes."""

    def __init__(self, staging: Callable[[], Path]) -> None:
        self.bytes = ROOM_BYTES
        self._staging = staging

    def free(self, _fd: int) -> int:
        files = self._staging().iterdir()
        return self.bytes - sum(path.stat().st_blocks * 512 for path in files if path.is_file())


@pytest.fixture
def disk(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> SmallDisk:
    disk = SmallDisk(lambda: bucket.volume / "staging")
    monkeypatch.setattr(headroom, "_free", disk.free)
    return disk


async def saved_until_full(mount: Mount) -> dict[str, bytes]:
    """What was saved before there was no room."""
    saved: dict[str, bytes] = {}
    for number in range(100):
        path = f"f{number}"
        try:
            await mount.save(path, FILE)
        except NotOk as refused:
            if refused.status is not Status.NOSPC:
                raise
            return saved | {path: b""}  # it was made
        saved[path] = FILE
    raise AssertionError("it is never full")


async def test_a_file_of_whose_rest_there_is_no_room_for_a_copy_waits_and_fetches_nothing(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is written is little, and the rest is still on the Hub."""
    room = 2 * MIB
    monkeypatch.setattr(headroom, "_free", lambda _fd: room)
    monkeypatch.setattr(headroom, "_reserve", lambda _fd: 0)
    monkeypatch.setattr(outbox, "RETRY_S_MIN", 0.01)
    monkeypatch.setattr(outbox, "RETRY_S_MAX", 0.01)
    base = noise(3 * MIB, seed=5)
    await bucket.put({"a": base})
    async with bucket.mounted(**AT_ONCE) as mount:
        bucket.hub.counters.clear()
        await mount.client.write(await mount.at("a"), 8, b"ours")
        await until(lambda: "a is not on the Hub yet, and kept" in caplog.text)
        assert bucket.hub.counters.requests["xorb"] == 0
        assert list((bucket.volume / "staging" / "snapshots").iterdir()) == []
        room = 4 * MIB
        await bucket.until_it_has({"a": base[:8] + b"ours" + base[12:]})


@pytest.mark.usefixtures("disk")
async def test_a_disk_that_is_full_of_what_the_hub_has_takes_more(bucket: Bucket) -> None:
    expected = {}
    async with bucket.mounted(**AT_ONCE) as mount:
        for turn in range(5):
            for number in range(6):
                path = f"{turn}-{number}"
                await mount.save(path, FILE)
                expected[path] = FILE
            await mount.drained()
        assert await mount.tree() == expected
    assert await bucket.files() == expected


async def test_while_nothing_can_be_recorded_nothing_is_changed_and_then_all_goes_on(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bucket.mounted() as mount:
        made = await mount.save("a", FILE)
        with monkeypatch.context() as full:
            full.setattr(schema, "apply", refuse)
            with pytest.raises(NotOk) as first:
                await mount.remove("a")  # by which it is found out
            before = await mount.paths()
            with pytest.raises(NotOk) as refused:
                await mount.mkdir("d")
            with pytest.raises(NotOk):
                await mount.set("", mode=0o700)
            assert {first.value.status, refused.value.status} == {Status.NOSPC}
            assert await mount.paths() == before
        await eventually(partial(made_directory, mount, "e"), expected=True)
        shown = await mount.tree()
    async with bucket.mounted() as mount:
        assert await mount.tree() == shown == {"e": None}
        with pytest.raises(NotOk):
            await mount.read_by(made)


def refuse(*_args: object) -> None:
    """As SQLite does on a full disk."""
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise error


async def made_directory(mount: Mount, path: str) -> bool:
    await mount.mkdir(path)
    return True


async def test_a_disk_that_is_full_of_what_the_hub_lacks_refuses_more_and_goes_on_with_room(
    bucket: Bucket, disk: SmallDisk
) -> None:
    async with bucket.mounted() as mount:
        saved = await saved_until_full(mount)
        assert len(saved) > 5
        assert await mount.tree() == saved
        await mount.rename("f0", "g0")
        saved["g0"] = saved.pop("f0")
        await mount.remove("f1")
        del saved["f1"]
        disk.bytes *= 2
        await mount.save("more", FILE)
        saved["more"] = FILE
    async with bucket.mounted() as mount:
        assert await mount.tree() == saved
        await mount.drained()
    assert await bucket.files() == saved


async def test_a_file_for_whose_copy_there_is_no_room_goes_to_the_hub_all_the_same(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def require_copy(_headroom: object, _count: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(snapshot, "_clone", lambda *_args: False)
    monkeypatch.setattr(Headroom, "require_copy", require_copy)
    large = noise(3 * MIB, seed=5)
    async with bucket.mounted(**AT_ONCE) as mount:
        uploads = bucket.hub.faults.add(UPLOAD, hold=True)
        await mount.save("a", large)
        await until(lambda: not uploads.count)  # it is read, and waits for the Hub
        await mount.write("a", 0, b"not torn")
        bucket.hub.faults.clear()
        await mount.drained()
    sent = [data for _, data in await bucket.history() if data]
    assert sent == [b"not torn" + large[8:]]
