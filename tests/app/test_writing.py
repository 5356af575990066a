"""What is written to files of a bucket: what is there at once, after COMMIT, and on the Hub."""

import asyncio
import hashlib
import os
import threading
from functools import partial
from typing import Any

import pytest

from hfnfs.disk import snapshot, staging
from hfnfs.disk.schema import Change, Key, PutPiece
from hfnfs.disk.staged_file import LITTLE_BYTES_MAX
from hfnfs.disk.state import State
from hfnfs.errors import HfnfsError
from hfnfs.nfs3.client import NotOk
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.writing import Stable
from tests.app.bucket import AT_ONCE, Bucket, eventually
from tests.live.readback import Kept
from tests.live.trees import noise
from tests.until import PATIENCE_S, until

LONG_AGO_NS = 1_000_000_000_123 * 10**6
BASE = noise(300_000, seed=8)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# ------------------------------------------------------------ above what the Hub has


async def test_w7_a_file_that_others_replaced_is_cut_and_written_as_theirs(
    bucket: Bucket,
) -> None:
    async with bucket.mounted() as mount:
        await mount.save("cut", b"ours, which is staged")
        await mount.save("grown", b"ours, which is staged")
        await mount.save("written", b"ours, which is staged")
        await mount.drained()
        names = ("cut", "grown", "written")
        await bucket.put(dict.fromkeys(names, b"THEIRS, later"))
        for name in names:
            await eventually(partial(mount.read, name), b"THEIRS, later")
        await mount.set("cut", size=6)
        await mount.set("grown", size=15)
        await mount.write("written", 6, b"!")
        ours = {"cut": b"THEIRS", "grown": b"THEIRS, later\0\0", "written": b"THEIRS! later"}
        assert await mount.tree() == ours
        await mount.drained()
        assert await bucket.files() == ours


async def test_w8_what_is_not_written_of_a_file_stays_as_the_hub_has_it(bucket: Bucket) -> None:
    await bucket.put({"middle": BASE, "end": BASE, "cut": BASE, "grown": BASE})
    async with bucket.mounted() as mount:
        bucket.hub.counters.clear()
        await mount.write("middle", 150_000, b"written")
        await mount.write("end", len(BASE), b"appended")
        await mount.set("cut", size=100_000)
        await mount.write("grown", len(BASE) + 1000, b"far")
        assert not bucket.hub.counters.requests["xorb"], "nothing is fetched to be written over"
        expected: dict[str, Any] = {
            "middle": BASE[:150_000] + b"written" + BASE[150_007:],
            "end": BASE + b"appended",
            "cut": BASE[:100_000],
            "grown": BASE + bytes(1000) + b"far",
        }
        await mount.drained()
        assert await mount.tree() == expected
    kept = await bucket.read_back()
    assert {path: file.sha256 for path, file in kept.items()} == {
        path: digest(data) for path, data in expected.items()
    }


async def test_w8_a_base_that_cannot_be_read_is_an_error_and_not_zeros_here_or_there(
    bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    await bucket.put({"a": BASE})
    async with bucket.mounted(**AT_ONCE) as mount:
        bucket.hub.faults.add("/reconstructions/", status=404, count=None)
        await mount.client.write(await mount.at("a"), 5, b"written")
        with pytest.raises(NotOk) as refused:
            await mount.read("a")
        assert refused.value.status is Status.IO, "the file is there, and can be written to"
        await until(lambda: "a is not on the Hub yet, and kept" in caplog.text)
        assert await bucket.files() == {"a": BASE}
        bucket.hub.faults.clear()
        await mount.drained()
    assert await bucket.files() == {"a": BASE[:5] + b"written" + BASE[12:]}


# ----------------------------------------------------------------------- durable

MUCH = b"m" * (LITTLE_BYTES_MAX + 1)  # more than is kept in the state


class HeldSync:
    """A disk that takes its time, and may fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go_on = threading.Event()
        self.begun = 0
        self.error: OSError | None = None
        really = snapshot.sync_bytes

        def sync_bytes(fd: int) -> None:
            self.begun += 1
            assert self.go_on.wait(PATIENCE_S)
            if self.error is not None:
                raise self.error
            really(fd)

        monkeypatch.setattr(staging, "sync_bytes", sync_bytes)


async def test_w9_a_write_is_called_stable_only_when_it_is_on_the_disk(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = HeldSync(monkeypatch)
    end = len(MUCH)
    async with bucket.mounted() as mount, asyncio.TaskGroup() as tasks:
        client = mount.client
        file = (await client.create(mount.root, b"a")).handle
        loose = await client.write(file, 0, MUCH)
        assert loose.committed is Stable.UNSTABLE
        assert not sync.begun
        commit = tasks.create_task(client.commit(file))
        writes = [
            tasks.create_task(client.write(file, end, b"+", Stable.FILE_SYNC)),
            tasks.create_task(client.write(file, end + 1, b"-", Stable.DATA_SYNC)),
        ]
        await until(lambda: sync.begun)
        assert await mount.read("a") == MUCH + b"+-"  # all were taken by now; nobody else waits
        assert not any(task.done() for task in (commit, *writes))
        sync.go_on.set()
        assert {await commit, *[(await write).verf for write in writes]} == {loose.verf}
        assert (await writes[0]).committed is Stable.FILE_SYNC
        assert (await writes[1]).committed is not Stable.UNSTABLE


async def test_w9_little_is_called_stable_only_when_the_state_has_it(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, write = threading.Event(), threading.Event(), State._write
    go_on.set()

    def held_write(state: State, changes: dict[Key, Change]) -> HfnfsError | None:
        if any(isinstance(change, PutPiece) for change in changes.values()):
            begun.set()
            assert go_on.wait(PATIENCE_S)
        return write(state, changes)

    monkeypatch.setattr(State, "_write", held_write)
    async with bucket.mounted() as mount, asyncio.TaskGroup() as tasks:
        file = (await mount.client.create(mount.root, b"a")).handle
        go_on.clear()
        writing = tasks.create_task(mount.client.write(file, 0, b"little", Stable.FILE_SYNC))
        await until(begun.is_set)
        assert await mount.read("a") == b"little"
        assert not writing.done()
        go_on.set()
        assert (await writing).committed is Stable.FILE_SYNC


@pytest.mark.parametrize("errno", ["ENOSPC", "EIO"])
async def test_w9_a_sync_that_fails_is_told_and_makes_the_client_write_again(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, errno: str
) -> None:
    sync = HeldSync(monkeypatch)
    sync.go_on.set()
    async with bucket.mounted() as mount:
        client = mount.client
        file = (await client.create(mount.root, b"a")).handle
        before = (await client.write(file, 0, MUCH)).verf
        number = getattr(__import__("errno"), errno)
        sync.error = OSError(number, os.strerror(number))
        with pytest.raises(NotOk) as refused:
            await client.commit(file)
        assert refused.value.status is (Status.NOSPC if errno == "ENOSPC" else Status.IO)
        sync.error = None
        again = (await client.write(file, 0, MUCH)).verf
        assert again != before
        assert await client.commit(file) == again
        await mount.drained()
    assert await bucket.files() == {"a": MUCH}


async def test_w9_a_sync_that_fails_for_an_upload_alone_is_told_to_who_commits_later(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The system tells it once, and who heard of it is not who wrote."""
    sync = HeldSync(monkeypatch)
    sync.go_on.set()
    async with bucket.mounted() as mount, asyncio.TaskGroup() as tasks:
        client = mount.client
        file = (await client.create(mount.root, b"a")).handle
        await client.write(file, 0, MUCH)
        sync.error = OSError(5, os.strerror(5))
        with pytest.raises(NotOk):
            await client.commit(file)
        verifier = (await client.write(file, 0, MUCH.upper())).verf
        tasks.create_task(mount.drained())
        await until(lambda: "a is not on the Hub yet, and kept" in caplog.text)
        assert sync.begun == 2, "the second time for the copy that was to go up"
        sync.error = None
        with pytest.raises(NotOk) as refused:
            await client.commit(file)
        assert refused.value.status is Status.IO
        once_more = (await client.write(file, 0, MUCH * 2)).verf
        assert once_more != verifier
        with pytest.raises(NotOk):  # of the upload, which is told once
            await client.commit(file)
        assert await client.commit(file) == once_more
    assert await bucket.files() == {"a": MUCH * 2}


@pytest.mark.parametrize("room", [0, 3])
async def test_w10_a_write_for_which_the_disk_has_no_room_is_nospc(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """A full disk takes a part of the bytes, then none."""
    left = [1 << 30]

    class FullDisk:
        """os, with a pwrite that knows of the end of the disk."""

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
            if not left[0]:
                raise OSError(28, os.strerror(28))
            count = min(left[0], len(data))
            left[0] -= count
            return os.pwrite(fd, data[:count], offset)

    monkeypatch.setattr(snapshot, "os", FullDisk())
    async with bucket.mounted() as mount:
        await mount.save("a", b"before")
        left[0] = room
        for stable in (Stable.UNSTABLE, Stable.FILE_SYNC):
            with pytest.raises(NotOk) as refused:
                await mount.client.write(await mount.at("a"), 6, b" and after", stable)
            assert refused.value.status is Status.NOSPC
        assert await mount.read("a") == b"before"
        left[0] = 1 << 30
        await mount.write("a", 6, b" and after")
        await mount.drained()
    assert await bucket.files() == {"a": b"before and after"}


# ------------------------------------------------------------------------- mtimes


async def test_w17_a_file_keeps_the_mtime_of_its_last_write_on_the_hub_and_over_mounts(
    bucket: Bucket,
) -> None:
    async with bucket.mounted() as mount:
        await mount.save("a", b"1")
        await mount.set("a", mtime_ns=LONG_AGO_NS)
        await mount.write("a", 1, b"2")
        written = await mount.mtime_ns("a")
        assert written > LONG_AGO_NS
        await mount.drained()
        assert await mount.mtime_ns("a") == written
        assert await bucket.read_back() == {"a": Kept(2, digest(b"12"), written // 10**6)}
        await mount.rename("a", "b")
        assert await mount.mtime_ns("b") == written
        await mount.drained()
        assert await bucket.read_back() == {"b": Kept(2, digest(b"12"), written // 10**6)}
        assert await mount.mtime_ns("b") == written
    async with bucket.mounted() as mount:
        assert await mount.mtime_ns("b") == written


async def test_w17_a_time_that_is_set_goes_to_the_hub_also_of_a_clean_file(bucket: Bucket) -> None:
    await bucket.put({"old": BASE})
    async with bucket.mounted() as mount:
        await mount.save("new", b"1")
        for name in ("new", "old"):
            await mount.set(name, mtime_ns=LONG_AGO_NS)
        bucket.hub.counters.clear()
        await mount.drained()
        assert bucket.hub.counters.requests["xorb_put"] == 1  # of the new one
        told = {path: file.mtime_ms for path, file in (await bucket.read_back()).items()}
        assert told == dict.fromkeys(("new", "old"), LONG_AGO_NS // 10**6)
    async with bucket.mounted() as mount:
        for name in ("new", "old"):
            assert await mount.mtime_ns(name) == LONG_AGO_NS
