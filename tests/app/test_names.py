"""Names in a bucket: saved over, moved, linked, kept here alone."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hfnfs.nfs3.client import NotOk
from hfnfs.nfs3.status import Status
from hfnfs.vfs.node import FileType
from tests.app.bucket import NAME, Bucket, eventually
from tests.live.trees import noise

BIG = noise(300_000, seed=6)
JUNK = (".DS_Store", "._a", "Thumbs.db", "desktop.ini")


def sent_to_storage(bucket: Bucket) -> bool:
    """Whether bytes were."""
    kinds = ("xorb_grant", "xorb_put", "xorb_upload", "shard_upload")
    return any(bucket.hub.counters.requests[kind] for kind in kinds)


async def test_a_file_that_is_saved_as_editors_do_is_never_missing_on_the_hub(
    bucket: Bucket,
) -> None:
    """Written beside it and renamed over it; and the backup's way: moved away first."""
    await bucket.put({"a": b"old", "b": b"old"})
    async with bucket.mounted() as mount:
        await mount.save("a.tmp", b"new")
        await mount.rename("a.tmp", "a")
        await mount.rename("b", "b~")
        await mount.save("b", b"new")
        await mount.remove("b~")
        assert await mount.tree() == {"a": b"new", "b": b"new"}
        await mount.drained()
        assert await mount.tree() == {"a": b"new", "b": b"new"}
    history = await bucket.history()
    assert sorted(history) == [(name, data) for name in "ab" for data in (b"new", b"old")]


async def test_names_that_change_places_move_no_data(bucket: Bucket) -> None:
    await bucket.put({"a": BIG, "b": b"b", "d/c": b"c"})
    bucket.hub.counters.clear()
    async with bucket.mounted() as mount:
        await mount.rename("a", "x")
        await mount.rename("b", "a")
        await mount.rename("x", "b")
        await mount.rename("d", "e")
        await mount.mkdir("d")
        await mount.rename("e/c", "d/c2")
        await mount.rename("e", "d/e")
        await mount.drained()
        assert await mount.tree() == {
            "a": b"b", "b": BIG, "d": None, "d/c2": b"c", "d/e": None
        }  # fmt: skip
    assert await bucket.files() == {"a": b"b", "b": BIG, "d/c2": b"c"}
    assert not sent_to_storage(bucket)


async def test_a_link_is_a_copy_for_which_no_data_is_sent(bucket: Bucket) -> None:
    await bucket.put({"a": BIG})
    async with bucket.mounted() as mount:
        bucket.hub.counters.clear()
        await mount.link("a", "b")
        assert not bucket.hub.counters.requests["xorb"]
        await mount.drained()
        assert not sent_to_storage(bucket)
        await mount.write("b", 0, b"b")
        await mount.link("b", "c")
        await mount.write("b", 0, b"B")
        await mount.drained()
        expected = {"a": BIG, "b": b"B" + BIG[1:], "c": b"b" + BIG[1:]}
        assert await mount.tree() == expected == await bucket.files()
        bucket.hub.counters.clear()
        await mount.link("b", "d")  # all of it was written here, and sent
        await mount.drained()
        assert not sent_to_storage(bucket)
        assert await bucket.files() == expected | {"d": expected["b"]}


@pytest.mark.parametrize("kind", [FileType.FIFO, FileType.SOCK, FileType.CHR, FileType.BLK])
async def test_what_no_bucket_can_hold_is_not_supported(bucket: Bucket, kind: FileType) -> None:
    async with bucket.mounted() as mount:
        with pytest.raises(NotOk) as refused:
            await mount.client.mknod(mount.root, b"a", kind)
        assert refused.value.status is Status.NOTSUPP
        assert await mount.tree() == {}


async def test_w44_what_clients_and_systems_leave_about_is_kept_and_never_on_the_hub(
    bucket: Bucket,
) -> None:
    await bucket.put({"open": b"open", "d/f": b"f"})
    async with bucket.mounted() as mount:
        for name in JUNK:
            await mount.save(f"d/{name}", b"junk")
        await mount.rename("open", ".nfs000123")  # removed while a program has it open
        await mount.save("temporary", b"made")
        await mount.rename("temporary", "d/.DS_Store")
        await mount.save("._b", b"was junk")
        await mount.rename("._b", "b")
        await mount.drained()
        assert await mount.read(".nfs000123") == b"open"
        shown = {"b", "d", "d/f", ".nfs000123", *(f"d/{name}" for name in JUNK)}
        assert await mount.paths() == shown
    async with bucket.mounted() as mount:
        assert await mount.paths() == shown
        assert await mount.read("d/.DS_Store") == b"made"
        await mount.remove(".nfs000123")
        await mount.drained()
    assert {path for path, _ in await bucket.history()} == {"open", "d/f", "b"}
    assert await bucket.files() == {"d/f": b"f", "b": b"was junk"}


async def test_without_the_filter_systems_files_go_to_the_hub_and_clients_do_not(
    bucket: Bucket,
) -> None:
    async with bucket.mounted(filter_os_files=False) as mount:
        for name in (*JUNK, ".nfs000123"):
            await mount.save(name, b"junk")
        await mount.drained()
    assert await bucket.files() == dict.fromkeys(JUNK, b"junk")


@pytest.mark.parametrize("read_only", [True, False])
async def test_a_bucket_that_is_read_only_takes_no_change(bucket: Bucket, read_only: bool) -> None:
    await bucket.put({"a": b"1"})
    async with bucket.mounted(read_only=read_only) as mount:
        changes = [
            mount.save("new", b"1"),
            mount.write("a", 0, b"2"),
            mount.set("a", mode=0o600),
            mount.mkdir("d"),
            mount.symlink("l", "a"),
            mount.link("a", "b"),
            mount.rename("a", "c"),
            mount.remove("c"),
        ]
        refusals = []
        for change in changes:
            try:
                await change
            except NotOk as error:
                refusals.append(error.status)
        assert set(refusals) == ({Status.ROFS} if read_only else set())
        assert len(refusals) == (len(changes) if read_only else 0)
        assert await mount.has("a") is read_only


async def test_df_shows_the_quota_and_what_is_left_of_it(bucket: Bucket) -> None:
    await bucket.put({"a": bytes(300)})
    async with bucket.mounted(quota_bytes=1000) as mount:
        await mount.save("b", bytes(200))
        stat = await mount.client.fsstat(mount.root)
        assert (stat.tbytes, stat.fbytes, stat.abytes) == (1000, 500, 500)
        await mount.drained()
        await mount.remove("a")
        with pytest.raises(NotOk) as refused:
            await mount.write("b", 200, bytes(1000))
        assert refused.value.status is Status.DQUOT
        await mount.save("b", bytes(700))


async def test_what_is_moved_to_the_trash_leaves_the_hub_and_can_come_back(bucket: Bucket) -> None:
    await bucket.put({"a": BIG})
    async with bucket.mounted() as mount:
        await mount.mkdir(".Trashes")
        await mount.rename("a", ".Trashes/a")
        await mount.drained()
        assert await bucket.files() == {}
        await mount.rename(".Trashes/a", "b")
        await mount.drained()
        assert await mount.read("b") == BIG
    assert await bucket.files() == {"b": BIG}


async def test_the_quota_holds_also_for_what_was_sent_since_the_bucket_was_asked(
    bucket: Bucket,
) -> None:
    await bucket.put({"a": bytes(300)})
    async with bucket.mounted(quota_bytes=1000, poll_interval_s=0.0) as mount:
        await mount.save("b", bytes(600))
        await mount.drained()
        assert (await mount.client.fsstat(mount.root)).fbytes == 100
        with pytest.raises(NotOk) as refused:
            await mount.write("b", 600, bytes(101))
        assert refused.value.status is Status.DQUOT


async def test_files_made_in_a_folder_of_the_bucket_stay_in_it(bucket: Bucket) -> None:
    await bucket.put({"run/1/a": b"1", "run/10/b": b"2", "c": b"3"})
    async with bucket.mounted(source=f"{NAME}/run/1") as mount:
        assert await mount.tree() == {"a": b"1"}
        await mount.save("new", b"4")
        await mount.rename("a", "moved")
        await mount.drained()
        assert await mount.tree() == {"moved": b"1", "new": b"4"}
    expected = {"run/1/moved": b"1", "run/1/new": b"4", "run/10/b": b"2", "c": b"3"}
    assert await bucket.files() == expected


async def test_names_that_differ_by_little_or_look_like_something_else_are_names(
    bucket: Bucket, tmp_path: Path
) -> None:
    names = [
        "a", "A", "\N{LATIN SMALL LETTER E WITH ACUTE}", "e\N{COMBINING ACUTE ACCENT}", "x" * 255,
        "new\nline", "tab\t", "a b ", "a#b", "a?b=c", "a%2Fb", "a\\b", "a+b&c;d", "[*]", "...", "~",
    ]  # fmt: skip
    async with bucket.mounted() as mount:
        for name in names:
            await mount.mkdir(name)
            await mount.save(f"{name}/in", name.encode())
            await mount.save(f"{name}/{name}", b"twice")
        await mount.drained()
    expected = {f"{name}/in": name.encode() for name in names}
    expected |= {f"{name}/{name}": b"twice" for name in names}
    assert await bucket.files() == expected
    shown = expected | dict.fromkeys(names)
    async with bucket.mounted(cache_dir=tmp_path / "another") as mount:
        assert await mount.tree() == shown
        await mount.mkdir("moved")
        for name in names:
            await mount.write(f"{name}/in", 0, b"written")
            await mount.rename(name, f"moved/{name}")
        await mount.drained()
        moved = {f"moved/{path}": data for path, data in expected.items()}
        moved |= {f"moved/{name}/in": b"written" + name.encode()[7:] for name in names}
        assert await bucket.files() == moved
        assert {path: data for path, data in (await mount.tree()).items() if data} == moved


async def test_a_bucket_and_a_folder_of_it_are_somebody_else_to_each_other(
    bucket: Bucket,
) -> None:
    await bucket.put({"run/a": b"1", "c": b"3"})
    fed: dict[str, Any] = {"poll_interval_s": 3600.0, "metadata_ttl_s": 3600.0}
    async with (
        bucket.mounted(**fed) as whole,
        bucket.mounted(source=f"{NAME}/run", **fed) as folder,
    ):
        assert set(await whole.paths()) == {"run", "run/a", "c"}
        assert set(await folder.paths()) == {"a"}
        await folder.save("new", b"2")
        await folder.drained()
        await eventually(partial(whole.has, "run/new"), expected=True)
        await whole.save("run/a", b"of the whole")
        await folder.save("a", b"of the folder")
        await whole.drained()
        await folder.drained()
    files = await bucket.files()
    assert files["run/a"] == b"of the whole"
    assert sorted(files.values()) == [b"2", b"3", b"of the folder", b"of the whole"]
