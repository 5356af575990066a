"""What others change in a bucket, and how it goes with what is changed here."""

import asyncio
from functools import partial
from typing import Any

import pytest

from hfnfs.config import MIB
from hfnfs.localhub.hub import Source
from hfnfs.nfs3.client import NotOk
from hfnfs.nfs3.status import Status
from hfnfs.transfer import poll
from tests.app.bucket import AT_ONCE, BATCH, UPLOAD, Bucket, Shown, eventually
from tests.live.trees import noise
from tests.until import until

# By the feed alone: without it nothing would be asked for in a test's time.
FED: dict[str, Any] = {"poll_interval_s": 3600.0, "metadata_ttl_s": 3600.0}
POLLED: dict[str, Any] = {"poll_interval_s": 0.01, "metadata_ttl_s": 3600.0}


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """What others change is looked for without rest."""
    monkeypatch.setattr(poll, "TICK_S", 0.01)
    monkeypatch.setattr(poll, "RETRY_S", 0.01)


def unfed(bucket: Bucket) -> None:
    """A Hub that tells nobody what changes."""
    bucket.hub.faults.add("/events", status=404, count=None)


@pytest.mark.parametrize("is_fed", [True, False])
async def test_what_others_change_is_shown_to_who_looks_again(bucket: Bucket, is_fed: bool) -> None:
    if not is_fed:
        unfed(bucket)
    await bucket.put({"a": b"old", "gone": b"1", "d/f": b"2", "kind": b"file"})
    async with bucket.mounted(**FED if is_fed else POLLED) as mount:
        handle = await mount.at("a")
        assert len(await mount.tree()) == 5
        await bucket.delete("gone", "d/f", "kind")
        await bucket.put({"a": b"changed", "new/b": b"3", "kind/of": b"directory"})
        expected = {
            "a": b"changed", "new": None, "new/b": b"3", "kind": None, "kind/of": b"directory"
        }  # fmt: skip
        await eventually(mount.paths, set(expected))
        await eventually(partial(mount.read, "a"), b"changed")
        assert await mount.tree() == expected
        assert await mount.read_by(handle) == b"old"


@pytest.mark.parametrize("is_fed", [True, False])
async def test_w18_what_was_removed_or_moved_here_stays_so_when_all_is_listed_again(
    bucket: Bucket, is_fed: bool
) -> None:
    if not is_fed:
        unfed(bucket)
    await bucket.put({"a": b"1", "b": b"2", "d/c": b"3", "e/f": b"4"})
    async with bucket.mounted(**FED if is_fed else POLLED) as mount:
        await mount.paths()
        await mount.remove("a")
        await mount.rename("b", "moved")
        await mount.remove("d/c")
        await mount.rmdir("d")
        await mount.rename("e", "g")
        for number in range(3):
            await bucket.put({f"sign{number}": b"", f"g/sign{number}": b""})
            await eventually(partial(mount.has, f"sign{number}"), expected=True)
            await eventually(partial(mount.has, f"g/sign{number}"), expected=True)
            shown = {path for path in await mount.paths() if "sign" not in path}
            assert shown == {"moved", "g", "g/f"}
        async with bucket.sending(mount, BATCH):
            await bucket.put({"last": b""})
            await eventually(partial(mount.has, "last"), expected=True)
            shown = {path for path in await mount.paths() if "sign" not in path}
            assert shown == {"moved", "g", "g/f", "last"}
    left = {path for path in await bucket.files() if "sign" not in path}
    assert left == {"moved", "g/f", "last"}


async def test_w18_a_file_that_was_a_directory_for_a_moment_keeps_what_is_written_to_it(
    bucket: Bucket,
) -> None:
    unfed(bucket)
    await bucket.put({"a": b""})
    async with bucket.mounted(**POLLED) as mount:
        await mount.remove("a")
        await mount.mkdir("a")
        await mount.rmdir("a")
        await mount.save("a", b"ours")
        await bucket.put({"sign": b""})
        await eventually(partial(mount.has, "sign"), expected=True)
        assert await mount.read("a") == b"ours"
        await mount.drained()
    assert await bucket.files() == {"a": b"ours", "sign": b""}


async def test_w22_a_listing_that_is_late_does_not_undo_our_commit(bucket: Bucket) -> None:
    unfed(bucket)
    await bucket.put({"a": b"old", "gone": b"1", "d/b": b"2"})
    async with bucket.mounted(**POLLED) as mount:
        await mount.paths()
        await mount.save("a", b"new!")
        await mount.save("d/new", b"3")
        await mount.remove("gone")
        # Of the root and of d; they will show nothing of the three changes that we are to make.
        asked = bucket.hub.faults.add("/tree", hold=True, late_by=3, count=2)
        await bucket.put({"sign": b""})
        await until(lambda: not asked.count)
        await mount.drained()
        asked.hold = False
        await eventually(partial(mount.has, "sign"), expected=True)
        assert await mount.tree() == {
            "a": b"new!", "d": None, "d/b": b"2", "d/new": b"3", "sign": b""
        }  # fmt: skip


async def test_w21_a_look_at_the_bucket_that_failed_is_repeated(bucket: Bucket) -> None:
    unfed(bucket)
    await bucket.put({"a": b"1", "d/b": b"2"})
    async with bucket.mounted(**POLLED) as mount:
        await mount.paths()
        failing = bucket.hub.faults.add("/tree", status=403, count=1)
        await bucket.put({"new": b"3", "d/new": b"4"})
        await until(lambda: not failing.count)
        await eventually(mount.paths, {"a", "d", "d/b", "new", "d/new"})


async def test_what_others_write_while_a_file_is_written_here_is_kept_beside_it(
    bucket: Bucket,
) -> None:
    await bucket.put({"a": b"base"})
    async with bucket.mounted(**FED) as mount:
        await mount.write("a", 0, b"ours")
        await bucket.put({"a": b"theirs", "sign": b""})
        await eventually(partial(mount.has, "sign"), expected=True)
        assert await mount.read("a") == b"ours"
        await mount.drained()
        assert await mount.read("a") == b"theirs"
        (ours,) = await mount.paths() - {"a", "sign"}
        assert await mount.read(ours) == b"ours"
        assert (await bucket.files())[ours] == b"ours"


async def test_what_is_evicted_from_staging_reads_as_it_was_written(bucket: Bucket) -> None:
    data = {f"f{number}": noise(MIB, seed=number) for number in range(6)}
    async with bucket.mounted(**AT_ONCE, staging_bytes_max=2 * MIB) as mount:
        for name, content in data.items():
            await mount.save(name, content)  # waits for the Hub to have some
            staged = [path.stat() for path in bucket.config.cache_dir.rglob("staging/*")]
            assert sum(each.st_blocks * 512 for each in staged) <= 4 * MIB
        await mount.drained()
        assert await mount.tree() == data
    assert await bucket.files() == data


async def test_writers_wait_while_the_hub_lacks_all_that_is_staged(bucket: Bucket) -> None:
    large = noise(2 * MIB, seed=1)
    async with bucket.mounted(staging_bytes_max=2 * MIB, serve_deadline_s=0.5) as mount:
        await mount.save("a", large)
        stuck = bucket.hub.faults.add(UPLOAD, hold=True)
        async with asyncio.TaskGroup() as tasks:
            waits = tasks.create_task(mount.save("b", b"b"))
            await until(lambda: not stuck.count)  # it is in a hurry now
            assert await mount.read("a") == large
            assert not waits.done()
            bucket.hub.faults.clear()
        await mount.drained()
    assert await bucket.files() == {"a": large, "b": b"b"}


async def test_what_is_open_is_read_on_as_it_was_whatever_others_make_of_its_name(
    bucket: Bucket,
) -> None:
    old = noise(3 * MIB, seed=1)
    await bucket.put({"replaced": old, "removed": b"still", "d/f": b"there"})
    async with bucket.mounted(**FED) as mount:
        replaced, removed, below = [await mount.at(p) for p in ("replaced", "removed", "d/f")]
        before = await mount.client.getattr(replaced)
        await bucket.delete("removed", "d/f")
        await bucket.put({"replaced": b"new"})
        expected: Shown = {"replaced": b"new"}
        await eventually(mount.tree, expected)
        assert await mount.read_by(replaced) == old
        assert await mount.read_by(removed) == b"still"
        assert await mount.read_by(below) == b"there"
        assert await mount.client.getattr(replaced) == before
        assert await mount.tree() == expected


async def test_w15_what_is_written_to_a_file_that_others_replaced_is_kept_beside_theirs(
    bucket: Bucket,
) -> None:
    await bucket.put({"a": b"base"})
    async with bucket.mounted(**FED) as mount:
        handle = await mount.at("a")
        await bucket.put({"a": b"theirs"})
        await eventually(partial(mount.read, "a"), b"theirs")
        await mount.client.write_all(handle, 4, b" and ours")
        (beside,) = await mount.paths() - {"a"}
        assert beside.startswith("a.conflict-")
        expected = {"a": b"theirs", beside: b"base and ours"}
        assert await mount.tree() == expected
        assert await mount.read_by(handle) == b"base and ours"
        await mount.drained()
    assert await bucket.files() == expected


async def test_w15_what_is_written_to_a_file_that_others_removed_stays(bucket: Bucket) -> None:
    await bucket.put({"a": b"base", "d/gone": b"with its directory"})
    async with bucket.mounted(**FED) as mount:
        handle, below = await mount.at("a"), await mount.at("d/gone")
        await bucket.delete("a", "d/gone")
        await eventually(mount.paths, set[str]())
        await mount.client.write_all(handle, 4, b" and ours")
        with pytest.raises(NotOk) as refused:
            await mount.client.write(below, 0, b"2")
        assert refused.value.status is Status.STALE
        assert await mount.tree() == {"a": b"base and ours"}
        await mount.drained()
    assert await bucket.files() == {"a": b"base and ours"}


async def test_files_that_others_dated_in_the_year_9999_can_be_changed_and_are_kept(
    bucket: Bucket,
) -> None:
    await bucket.put({"a": b"a", "d/b": b"b"}, mtime_ns=253_402_300_799 * 10**9)
    async with bucket.mounted() as mount:
        await mount.set("a", mode=0o600)
        await mount.rename("d/b", "d/c")
        await mount.save("new", b"n")
    async with bucket.mounted() as mount:
        a = await mount.stat("a")
        assert (a.mode, a.mtime.seconds) == (0o600, 2**32 - 1)  # the last one that NFS can tell
        assert await mount.tree() == {"a": b"a", "d": None, "d/c": b"b", "new": b"n"}
        await mount.drained()
    assert await bucket.files() == {"a": b"a", "d/c": b"b", "new": b"n"}


async def test_w20_a_repo_that_is_mounted_at_a_branch_shows_its_commits_and_no_others(
    bucket: Bucket,
) -> None:
    hub, thread = bucket.hub, bucket.thread

    async def commit(files: dict[str, Source | None], revision: str) -> None:
        work = hub.commit("model", "me/x", files, revision=revision)
        await asyncio.to_thread(thread.do, work)

    thread.do(hub.create_repo("model", "me/x"))
    await commit({"a": b"1", "d/b": b"2"}, "main")
    await commit({"a": b"of dev", "d/b": b"2"}, "dev")
    source = {"source": "me/x@dev", "kind": "repo"}
    async with bucket.mounted(**source, **POLLED) as mount:
        assert await mount.tree() == {"a": b"of dev", "d": None, "d/b": b"2"}
        await commit({"a": b"of main"}, "main")
        await commit({"a": b"changed", "d/b": None, "c": b"3"}, "dev")
        await eventually(mount.paths, {"a", "c"})
        assert await mount.tree() == {"a": b"changed", "c": b"3"}
