"""What is there after `kill -9`, and what goes on from there."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from functools import partial

import pytest

from hfnfs.nfs3.client import NotOk
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.writing import Stable
from tests.app.bucket import BATCH, UPLOAD, Bucket, Mount, Shown, eventually, ns
from tests.live.trees import noise
from tests.until import until

LONG_AGO_NS = 1_000_000_000_123 * 10**6
BIG = noise(400_000, seed=4)
MANY = 1500


def signed(fileid: int) -> int:
    """As SQLite has it."""
    return fileid - (1 << 64 if fileid >> 63 else 0)


async def test_w1_what_was_answered_as_stable_outlives_a_kill_and_reaches_the_hub(
    bucket: Bucket,
) -> None:
    await bucket.put({"base": BIG, "gone": b"1", "old/moved": b"2", "cut": BIG})
    async with bucket.in_a_process() as mount:
        await mount.save("new", BIG)
        await mount.write("base", 100_000, b"written")
        await mount.remove("gone")
        await mount.rename("old/moved", "moved")
        await mount.rmdir("old")
        await mount.set("cut", size=100)
        await mount.mkdir("empty")
        await mount.symlink("link", "new")
        await mount.set("new", mode=0o640, mtime_ns=LONG_AGO_NS)
        made = await mount.client.create(mount.root, b"stable")
        await mount.client.write(made.handle, 0, b"stable", Stable.FILE_SYNC)
        handles = [made.handle, await mount.at("new"), await mount.at("empty")]
        before = await mount.tree()
    files = {
        "base": BIG[:100_000] + b"written" + BIG[100_007:],
        "cut": BIG[:100],
        "moved": b"2",
        "new": BIG,
        "stable": b"stable",
    }
    assert before == {**files, "empty": None, "link": "new"}
    assert set(await bucket.files()) == {"base", "gone", "old/moved", "cut"}
    async with bucket.mounted() as mount:
        assert await mount.tree() == before
        assert [await mount.at(path) for path in ("stable", "new", "empty")] == handles
        assert (await mount.stat("new")).mode == 0o640
        await mount.drained()
        assert await mount.tree() == before
    assert await bucket.files() == files
    assert (await bucket.read_back())["new"].mtime_ms == LONG_AGO_NS // 10**6


async def test_little_that_was_answered_as_stable_outlives_the_power(bucket: Bucket) -> None:
    """Of what was staged and not synced nothing is left, not even a name."""
    await bucket.put({"base": BIG})
    async with bucket.in_a_process() as mount:
        made = (await mount.client.create(mount.root, b"new")).handle
        await mount.client.write(made, 0, b"stable", Stable.FILE_SYNC)
        await mount.client.write(made, 3, b"ringer", Stable.FILE_SYNC)
        await mount.write("base", 100_000, b"written")
    (staging,) = bucket.config.cache_dir.glob("volumes/*/staging")
    staged = [path for path in staging.iterdir() if path.is_file()]
    assert len(staged) == 2
    for path in staged:
        path.unlink()
    files = {"new": b"staringer", "base": BIG[:100_000] + b"written" + BIG[100_007:]}
    for _ in range(2):
        async with bucket.mounted() as mount:
            assert await mount.tree() == files
    async with bucket.mounted() as mount:
        await mount.drained()
    assert await bucket.files() == files


async def test_w9_after_a_kill_the_verifier_makes_clients_write_again(bucket: Bucket) -> None:
    async with bucket.in_a_process() as mount:
        file = (await mount.client.create(mount.root, b"a")).handle
        before = (await mount.client.write(file, 0, b"loose")).verf
    async with bucket.in_a_process() as mount:
        again = (await mount.client.write(file, 0, b"loose")).verf
        assert again != before
        assert await mount.client.commit(file) == again
    async with bucket.mounted() as mount:
        assert await mount.read_by(file) == b"loose"


async def test_a_batch_that_was_answered_by_nobody_is_no_conflict_after_a_kill(
    bucket: Bucket,
) -> None:
    """The Hub took it, and we died before we knew."""
    await bucket.put({"a": b"base"})
    async with bucket.in_a_process() as mount:
        await mount.save("a", b"ours")
    bucket.hub.faults.add(BATCH, cut_after=0)
    unheard = bucket.hub.faults.add(BATCH, hold=True)
    async with bucket.in_a_process("--flush-debounce-ms", "0"):  # it sends what was left
        await until(lambda: not unheard.count)
        assert await bucket.files() == {"a": b"ours"}
    bucket.hub.faults.clear()
    async with bucket.mounted() as mount:
        await mount.save("a", b"later")
        await mount.drained()
        assert await mount.tree() == {"a": b"later"} == await bucket.files()


def named(shown: Iterable[str], directory: str) -> int:
    return sum(path.startswith(f"{directory}/f") for path in shown)


async def test_a_directory_that_is_renamed_moves_no_data_and_goes_on_after_a_kill(
    bucket: Bucket,
) -> None:
    files = {f"old/f{number:04}": b"%d" % number for number in range(MANY)}
    await bucket.put({**files, "old/sub/deep": BIG, "other": b"stays"})
    bucket.hub.counters.clear()
    second = bucket.hub.faults.add(BATCH, after=1, hold=True)
    async with bucket.in_a_process("--flush-debounce-ms", "0") as mount:
        await mount.mkdir("new")
        handle = await mount.at("old")
        await mount.rename("old", "new/name")
        assert await mount.at("new/name") == handle
        await until(lambda: not second.count)
    bucket.hub.faults.clear()
    half = await bucket.files()
    assert named(half, "old") == MANY, "all stays until it is elsewhere"
    assert 0 < named(half, "new/name") < MANY
    async with bucket.mounted() as mount:
        assert not await mount.has("old")
        await mount.drained()
        assert named(await mount.paths(), "new/name") == MANY
    moved = {f"new/name{path[3:]}": data for path, data in files.items()}
    assert await bucket.files() == {**moved, "new/name/sub/deep": BIG, "other": b"stays"}
    assert not sent_to_storage(bucket)


def sent_to_storage(bucket: Bucket) -> dict[str, int]:
    """Requests that bring bytes to the storage."""
    kinds = ("xorb_grant", "xorb_put", "xorb_upload", "shard_upload")
    return {kind: count for kind in kinds if (count := bucket.hub.counters.requests[kind])}


async def test_what_the_hub_cannot_hold_is_there_after_every_restart(bucket: Bucket) -> None:
    await bucket.put({"theirs": b"1", "d/f": b"2"})
    kept: Shown = {"theirs": b"1", "d": None, "d/f": b"2", "empty": None, "empty/er": None}
    kept |= {"d/link": "../theirs"}
    async with bucket.in_a_process() as mount:
        await mount.mkdir("empty")
        await mount.mkdir("empty/er")
        await mount.symlink("d/link", "../theirs")
        await mount.set("theirs", mode=0o600, uid=12, gid=34)
        await mount.set("d/f", atime_ns=LONG_AGO_NS)
        await mount.set("d", mode=0o2770, mtime_ns=LONG_AGO_NS)
        await mount.set("d/link", uid=56)
        looks = await looks_of(mount)
    for _ in range(2):
        async with bucket.mounted() as mount:
            assert await mount.tree() == kept
            assert await looks_of(mount) == looks
            await mount.drained()
            await bucket.put({"d/other": b"3"})  # whereupon all is listed again
            await eventually(partial(mount.has, "d/other"), expected=True)
            await bucket.delete("d/other")
            await eventually(partial(mount.has, "d/other"), expected=False)
            assert await mount.tree() == kept
    assert await bucket.files() == {"theirs": b"1", "d/f": b"2"}


async def looks_of(mount: Mount) -> list[object]:
    """What chmod, chown and utimes have set."""
    theirs, d, f, link = [await mount.stat(path) for path in ("theirs", "d", "d/f", "d/link")]
    assert (theirs.mode, theirs.uid, theirs.gid) == (0o600, 12, 34)
    assert (d.mode, ns(f.atime), link.uid) == (0o2770, LONG_AGO_NS, 56)
    return [theirs.mtime, f.mtime, link.mtime, link.atime]


async def test_a_handle_of_what_was_removed_is_stale_also_after_a_restart(bucket: Bucket) -> None:
    async with bucket.in_a_process() as mount:
        first = await mount.save("a", b"first")
        await mount.remove("a")
        second = await mount.save("a", b"second")
        assert first != second
    async with bucket.mounted() as mount:
        assert await mount.read_by(second) == b"second"
        with pytest.raises(NotOk) as refused:
            await mount.client.getattr(first)
        assert refused.value.status is Status.STALE


# ---------------------------------------------------- while it ends, while it starts


async def test_killed_while_it_sends_at_its_end_the_next_mount_sends_the_rest(
    bucket: Bucket,
) -> None:
    await bucket.put({"gone": b"1", "theirs": b"2"})
    held = bucket.hub.faults.add(BATCH, hold=True)
    async with bucket.in_a_process() as mount:
        port = mount.port
        await mount.save("a", BIG)
        await mount.remove("gone")
        mount.tell_to_end()
        await until(lambda: not held.count)
        await mount.save("late", b"written while it sends")
        await mount.rename("a", "b")
        handle = await mount.at("b")
    bucket.hub.faults.clear()
    async with bucket.mounted() as mount:
        assert mount.served is not None
        assert (mount.served.port, mount.served.resumed) == (port, True)
        assert await mount.read_by(handle) == BIG
        await mount.drained()
    expected = {"theirs": b"2", "b": BIG, "late": b"written while it sends"}
    assert await bucket.files() == expected


async def test_killed_at_any_step_of_its_start_it_has_lost_nothing(bucket: Bucket) -> None:
    await bucket.put({"base": BIG, "gone": b"1", "old/moved": b"2"})
    held = bucket.hub.faults.add(UPLOAD, hold=True)
    async with bucket.in_a_process() as mount:
        port = mount.port
        await mount.save("new", BIG)
        await mount.write("base", 100_000, b"written")
        await mount.client.write(await mount.at("base"), len(BIG), b"loose")
        await mount.client.write((await mount.client.create(mount.root, b"f")).handle, 0, b"loose")
        await mount.remove("gone")
        await mount.rename("old", "other")
        await mount.symlink("link", "new")
        handle = await mount.at("new")
        mount.tell_to_end()
        await until(lambda: not held.count)  # there are copies for uploads
    bucket.hub.faults.clear()
    assert await bucket.killed_starts() > 5
    async with bucket.mounted() as mount:
        assert mount.port == port
        assert await mount.at("new") == handle
        shown = await mount.tree()
        files = {
            "base": BIG[:100_000] + b"written" + BIG[100_007:],
            "f": b"",
            "new": BIG,
            "other/moved": b"2",
        }
        assert shown == {**files, "link": "new", "other": None}
        await mount.drained()
        assert not list(bucket.lost.iterdir())
    assert await bucket.files() == files


# ------------------------------------------------------------------------ what it leaves


async def test_what_was_never_committed_leaves_nothing_behind_after_a_kill(bucket: Bucket) -> None:
    for _ in range(2):
        async with bucket.in_a_process() as mount:
            kept = await mount.save("kept", b"kept")
            made = (await mount.client.create(mount.root, b"loose")).handle
            await mount.client.write(made, 0, BIG)
            await mount.client.write(kept, 4, b" and more")
        async with bucket.mounted() as mount:
            assert await mount.tree() == {"kept": b"kept", "loose": b""}
            await mount.remove("loose")
            await mount.remove("kept")
    assert not list(bucket.lost.iterdir())


async def test_a_link_that_was_being_made_when_the_power_failed_does_not_stand_in_the_way(
    bucket: Bucket,
) -> None:
    """Its record was on the disk, and its name among the staged files was not."""
    async with bucket.in_a_process() as mount:
        await mount.save("file", BIG)
        await mount.link("file", "link")
        fileid = (await mount.stat("link")).fileid
    with closing(sqlite3.connect(bucket.volume / "state.db", isolation_level=None)) as database:
        database.execute("UPDATE overlay SET is_loose = 1 WHERE fileid = ?", (signed(fileid),))
    (bucket.volume / "staging" / f"{fileid:016x}").unlink()
    async with bucket.in_a_process() as mount:
        assert await mount.tree() == {"file": BIG, "link": b""}
        await mount.client.write(await mount.at("link"), 0, b"never synced")
    async with bucket.mounted() as mount:
        assert await mount.tree() == {"file": BIG, "link": b""}
        await mount.drained()
    assert await bucket.files() == {"file": BIG, "link": b""}


async def test_bytes_whose_records_were_taken_away_are_kept(bucket: Bucket) -> None:
    async with bucket.in_a_process() as mount:
        await mount.save("a", BIG)
    (bucket.volume / "state.db").unlink()
    (bucket.volume / "state.db-wal").unlink()
    for _ in range(2):
        async with bucket.mounted() as mount:
            assert await mount.tree() == {}
    assert [path.read_bytes() for path in bucket.lost.iterdir()] == [BIG]
