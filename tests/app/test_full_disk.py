"""A disk that is full: what was answered for is there, and it goes on as soon as there is room."""

import asyncio
import errno
import os
import random
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from hfnfs.config import KIB, MIB
from hfnfs.disk import headroom, overflow, schema, snapshot
from hfnfs.disk.headroom import Headroom
from hfnfs.nfs3.client import NotOk
from hfnfs.nfs3.status import Status
from hfnfs.vfs import outbox
from tests.app.bucket import AT_ONCE, UPLOAD, Bucket, Mount, eventually
from tests.disk.failing import CacheDisk
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


# ------------------------------------------------------------- what is only read

REPO = "me/x"
READ = {
    "a.bin": noise(3 * MIB + 5, seed=1),
    "sub/b.bin": noise(2 * MIB, seed=2),
    "sub/c.txt": noise(70 * KIB, seed=3),
}
LATER = {"d.bin": noise(MIB + 9, seed=4), "e.txt": noise(9, seed=5)}
SHOWN = {**READ, **LATER, "sub": None}
# Half of it is for blocks: less than there is to read.
LITTLE_MEMORY = 6 * MIB


@pytest.fixture
def repo(bucket: Bucket) -> Bucket:
    """A repo of the same Hub, which is only read."""
    hub = bucket.hub
    bucket.thread.do(hub.create_repo("model", REPO))
    bucket.thread.do(hub.commit("model", REPO, {**READ, **LATER}))
    bucket.config = replace(bucket.config, source=REPO, kind="repo")
    return bucket


@pytest.fixture
def cache_disk(monkeypatch: pytest.MonkeyPatch) -> CacheDisk:
    """What the block cache writes to, tried with each block."""
    monkeypatch.setattr(overflow, "TRY_EVERY_S", 0.0)
    monkeypatch.setattr(overflow, "QUIET_S", 0.0)
    return CacheDisk(monkeypatch)


@pytest.mark.parametrize("refusal", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("bytes_left", [0, 3 * MIB])
async def test_who_reads_goes_on_when_the_disk_of_the_cache_takes_no_more(
    repo: Bucket,
    cache_disk: CacheDisk,
    caplog: pytest.LogCaptureFixture,
    refusal: int,
    bytes_left: int,
) -> None:
    cache_disk.fill(bytes_left, refusal)
    async with repo.mounted(memory_bytes_max=LITTLE_MEMORY) as mount:
        for _ in range(2):
            for path, data in READ.items():
                assert await mount.read(path) == data
        assert cache_disk.refused
        cache_disk.clear()
        for path, data in LATER.items():
            assert await mount.read(path) == data
        assert await mount.tree() == SHOWN
    said = [r.getMessage() for r in caplog.records if r.name == overflow.__name__]
    assert [os.strerror(refusal) in each for each in said] == [True, False]
    cache_disk.fill()
    async with repo.mounted(offline=True) as mount:
        for path, data in LATER.items():
            assert await mount.read(path) == data


async def test_many_read_at_once_what_the_disk_does_not_take(
    repo: Bucket, cache_disk: CacheDisk
) -> None:
    cache_disk.fill(MIB)
    chance = random.Random(1)

    async def read(mount: Mount, handle: bytes, data: bytes) -> None:
        for _ in range(20):
            start = chance.randrange(len(data))
            count = chance.choice([1, 4 * KIB, 128 * KIB, MIB])
            piece = await mount.client.read(handle, start, count)
            assert bytes(piece.data) == data[start : start + count]

    async with repo.mounted(memory_bytes_max=LITTLE_MEMORY) as mount:
        async with asyncio.TaskGroup() as tasks:
            for path, data in READ.items():
                handle = await mount.at(path)
                for _ in range(3):
                    tasks.create_task(read(mount, handle, data))
        assert await mount.tree() == SHOWN
    assert cache_disk.refused


async def test_with_cache_mode_file_no_file_is_fetched_whole_that_memory_cannot_take(
    repo: Bucket, cache_disk: CacheDisk
) -> None:
    cache_disk.fill()
    async with repo.mounted(memory_bytes_max=2 * MIB, cache_mode="file") as mount:
        assert await mount.read("sub/c.txt") == READ["sub/c.txt"]
        repo.hub.counters.clear()
        piece = await mount.client.read(await mount.at("a.bin"), 0, 9)
        assert bytes(piece.data) == READ["a.bin"][:9]
        assert not [task for task in asyncio.all_tasks() if "fetch all of" in task.get_name()]
        assert repo.hub.counters.requests["xorb"] == 1


async def test_what_is_written_over_a_file_is_read_and_sent_though_the_cache_takes_nothing(
    bucket: Bucket, cache_disk: CacheDisk
) -> None:
    cache_disk.fill()
    base = noise(3 * MIB + 7, seed=6)
    await bucket.put({"a": base, "b": base[::-1]})
    async with bucket.mounted(memory_bytes_max=LITTLE_MEMORY) as mount:
        expected = {}
        for path, was in (("a", base), ("b", base[::-1])):
            await mount.write(path, 5, b"ours")
            await mount.write(path, 2 * MIB - 2, b"and more")
            now = was[:5] + b"ours" + was[9 : 2 * MIB - 2] + b"and more" + was[2 * MIB + 6 :]
            expected[path] = now
            assert await mount.read(path) == now
        await mount.drained()
        assert await mount.tree() == expected
    assert cache_disk.refused
    assert await bucket.files() == expected
