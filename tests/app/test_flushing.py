"""What programs do while the Hub is slow, fails, or is being sent the same files."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from hfnfs.hub.upload import Outcome, Uploader
from hfnfs.nfs3.client import NotOk
from hfnfs.nfs3.status import Status
from hfnfs.transfer import backlog
from hfnfs.vfs import outbox
from tests.app.bucket import AT_ONCE, BATCH, UPLOAD, Bucket
from tests.live.trees import noise
from tests.until import until

# A path that no Hub takes.
BAD = "x" * 200
BAD_PATH = "/".join([BAD] * 6)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again soon."""
    monkeypatch.setattr(outbox, "RETRY_S_MIN", 0.01)
    monkeypatch.setattr(outbox, "RETRY_S_MAX", 0.01)


# --------------------------------------------------- while a file's bytes go up


async def test_w3_a_file_that_is_removed_while_it_goes_up_never_appears(bucket: Bucket) -> None:
    async with bucket.mounted() as mount:
        await mount.mkdir("d")
        await mount.save("d/a", b"a")
        async with bucket.sending(mount, UPLOAD):
            await mount.remove("d/a")
            await mount.rmdir("d")
        await mount.save("after", b"it")
        await mount.drained()
        assert await mount.tree() == {"after": b"it"}
    assert await bucket.history() == [("after", b"it")]


async def test_w3_a_file_that_is_removed_while_its_name_is_sent_is_deleted_after(
    bucket: Bucket,
) -> None:
    async with bucket.mounted() as mount:
        await mount.mkdir("d")
        await mount.save("d/a", b"a")
        async with bucket.sending(mount, BATCH):
            await mount.remove("d/a")
            await mount.rmdir("d")
            assert await mount.tree() == {}
        assert await mount.tree() == {}
    assert await bucket.history() == [("d/a", b"a"), ("d/a", None)]


async def test_w4_a_file_that_is_saved_by_renaming_while_it_goes_up_has_its_name_alone(
    bucket: Bucket,
) -> None:
    await bucket.put({"a": b"old"})
    async with bucket.mounted() as mount:
        await mount.save("a.tmp", b"new")
        async with bucket.sending(mount, UPLOAD):
            await mount.rename("a.tmp", "a")
        assert await mount.tree() == {"a": b"new"}
        assert await bucket.history() == [("a", b"old"), ("a", b"new")]
        assert bucket.hub.counters.requests["xorb_put"] == 1


async def test_w4_a_file_that_is_renamed_while_its_name_is_sent_moves_after(
    bucket: Bucket,
) -> None:
    async with bucket.mounted() as mount:
        await mount.save("a", b"a")
        async with bucket.sending(mount, BATCH):
            await mount.rename("a", "b")
        assert await mount.tree() == {"b": b"a"}
        assert await bucket.history() == [("a", b"a"), ("b", b"a"), ("a", None)]
        assert bucket.hub.counters.requests["xorb_put"] == 1


async def test_w4_a_file_that_was_private_for_a_while_goes_up_as_it_is_then(bucket: Bucket) -> None:
    async with bucket.mounted() as mount:
        await mount.save("a", b"old")
        async with bucket.sending(mount, UPLOAD):
            await mount.rename("a", "b")
            await mount.rename("b", ".nfs1")
            await mount.write(".nfs1", 0, b"new")
            await mount.rename(".nfs1", "c")
    assert await bucket.files() == {"c": b"new"}


@pytest.mark.parametrize("held", [UPLOAD, BATCH])
async def test_w6_what_is_written_while_a_file_goes_up_goes_up_after_it_and_never_mixed(
    bucket: Bucket, held: str
) -> None:
    first, second = noise(200_000, seed=1), noise(200_000, seed=2)
    async with bucket.mounted() as mount:
        await mount.save("a", first)
        async with bucket.sending(mount, held):
            await mount.write("a", 0, second[:100_000])
            await mount.write("a", 100_000, second[100_000:])
        assert await mount.read("a") == second
    assert await bucket.history() == [("a", first), ("a", second)]


async def test_w6_what_is_written_before_the_upload_reads_the_file_is_not_in_it(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, is_called, may_go_on = Uploader.upload, asyncio.Event(), asyncio.Event()

    async def upload(self: Uploader, paths: Sequence[Path]) -> list[Outcome]:
        is_called.set()
        await may_go_on.wait()
        return await really(self, paths)

    monkeypatch.setattr(Uploader, "upload", upload)
    first, second = noise(200_000, seed=1), noise(200_000, seed=2)
    async with bucket.mounted() as mount, asyncio.TaskGroup() as tasks:
        await mount.save("a", first)
        tasks.create_task(mount.drained())
        await is_called.wait()
        await mount.write("a", 0, second)
        may_go_on.set()
    assert await bucket.history() == [("a", first), ("a", second)]


async def test_w19_a_file_that_goes_up_is_opened_read_and_written_meanwhile(
    bucket: Bucket,
) -> None:
    async with bucket.mounted() as mount:
        await mount.save("a", b"a")
        async with bucket.sending(mount, UPLOAD):
            assert await mount.read("a") == b"a"
            await mount.save("a", b"other")
            assert await mount.read("a") == b"other"
            await mount.rename("a", "b")
            await mount.link("b", "c")
            assert await mount.tree() == {"b": b"other", "c": b"other"}
    assert await bucket.files() == {"b": b"other", "c": b"other"}


async def test_w5_a_file_that_is_cut_and_then_removed_or_renamed_leaves_nothing(
    bucket: Bucket,
) -> None:
    await bucket.put({"a": b"a", "b": b"b"})
    async with bucket.mounted() as mount:
        await mount.set("a", size=0)
        await mount.remove("a")
        await mount.set("b", size=0)
        await mount.rename("b", "c")
        assert await mount.tree() == {"c": b""}
        await mount.drained()
        assert await mount.tree() == {"c": b""} == await bucket.files()


async def test_a_name_that_is_made_removed_and_made_again_has_what_was_said_last(
    bucket: Bucket,
) -> None:
    await bucket.put({"b": b"theirs"})
    async with bucket.mounted() as mount:
        await mount.save("a", b"first")
        async with bucket.sending(mount, BATCH):
            for name in ("a", "b"):
                await mount.remove(name)
                await mount.save(name, b"second")
            await mount.remove("a")
            await mount.mkdir("a")
            await mount.save("a/below", b"third")
        expected = {"a/below": b"third", "b": b"second"}
        assert await mount.tree() == {"a": None, **expected}
    assert await bucket.files() == expected


# ------------------------------------------------------------- while the Hub fails


@pytest.mark.usefixtures("hasty")
async def test_w2_a_file_that_the_hub_refuses_is_told_at_commit_and_tried_until_it_is_taken(
    bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    async with bucket.mounted(**AT_ONCE) as mount:
        refusing = bucket.hub.faults.add(BATCH, status=403, count=None)
        file = (await mount.client.create(mount.root, b"a")).handle
        await mount.client.write(file, 0, b"a")
        await until(lambda: "a is not on the Hub yet, and kept" in caplog.text)
        with pytest.raises(NotOk) as refused:
            await mount.client.commit(file)
        assert refused.value.status is Status.IO
        assert await mount.read("a") == b"a"
        refusing.count = 0
        await bucket.until_it_has({"a": b"a"})
        await mount.client.commit(file)


async def test_w2_a_failure_is_told_once_and_nothing_is_lost_by_it(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox, "RETRY_S_MIN", 3600.0)
    monkeypatch.setattr(outbox, "RETRY_S_MAX", 3600.0)
    async with bucket.mounted() as mount:
        file = await mount.save("a", b"a")
        bucket.hub.faults.add(BATCH, status=403)
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(mount.drained())
            await until(lambda: "a is not on the Hub yet, and kept" in caplog.text)
            with pytest.raises(NotOk) as refused:
                await mount.client.commit(file)
            assert refused.value.status is Status.IO
            await mount.client.commit(file)
            assert not sending.done()
            await mount.write("a", 1, b"b")
            await mount.drained()
    assert await bucket.files() == {"a": b"ab"}


async def test_w13_what_others_have_deleted_before_us_is_deleted(bucket: Bucket) -> None:
    await bucket.put({"a": b"1", "b": b"2", "d/c": b"3"})
    async with bucket.mounted() as mount:
        for path in ("a", "b", "d/c"):
            await mount.remove(path)
        await bucket.delete("a", "d/c")
        await mount.drained()
        assert await mount.paths() == {"d"}
    assert await bucket.files() == {}


@pytest.mark.usefixtures("hasty")
async def test_w13_what_the_hub_refuses_holds_up_no_other_file_nor_delete(
    bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    await bucket.put({"gone": b"1", "stays": b"2"})
    async with bucket.mounted() as mount, asyncio.TaskGroup() as tasks:
        for depth in range(1, 6):
            await mount.mkdir("/".join([BAD] * depth))
        await mount.save(BAD_PATH, b"too long a path for any Hub")
        await mount.save("good", b"3")
        await mount.remove("gone")
        tasks.create_task(mount.drained())
        await bucket.until_it_has({"stays": b"2", "good": b"3"})
        await until(lambda: "is not on the Hub yet, and kept" in caplog.text)
        await mount.save("later", b"4")
        await mount.remove("stays")
        await bucket.until_it_has({"good": b"3", "later": b"4"})
        assert await mount.read(BAD_PATH) == b"too long a path for any Hub"
        await mount.rename(BAD_PATH, "short")
    assert await bucket.files() == {
        "good": b"3", "later": b"4", "short": b"too long a path for any Hub"
    }  # fmt: skip


@pytest.mark.usefixtures("hasty")
async def test_w14_an_upload_that_hangs_holds_up_no_other_and_is_begun_anew(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "LARGE_BYTES", 100_000)
    defaults = Uploader.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "stall_timeout_s", 1.0)
    large = noise(200_000, seed=3)
    async with bucket.mounted(**AT_ONCE) as mount:
        stuck = bucket.hub.faults.add(UPLOAD, hold=True)  # for ever
        await mount.save("large", large)
        await until(lambda: not stuck.count)
        await mount.save("small", b"small")
        await bucket.until_it_has({"small": b"small", "large": large})
        assert stuck.hold


async def test_w15_a_file_that_others_changed_too_is_kept_twice(
    bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    await bucket.put({"a": b"base"})
    async with bucket.mounted() as mount:
        await mount.write("a", 0, b"ours")
        await bucket.put({"a": b"theirs"})
        await mount.drained()
        (other,) = set(await bucket.files()) - {"a"}
        assert re.fullmatch(r"a\.conflict-[\w.-]+-\d{8}T\d{6}Z", other)
        expected = {"a": b"theirs", other: b"ours"}
        assert await mount.tree() == expected == await bucket.files()
        assert [text for text in caplog.messages if other in text]


async def test_a_new_file_that_nobody_writes_to_in_time_is_empty_on_the_hub_first(
    bucket: Bucket,
) -> None:
    async with bucket.mounted(**AT_ONCE) as mount:
        made = await mount.client.create(mount.root, b"a")
        await bucket.until_it_has({"a": b""})
        await mount.client.write_all(made.handle, 0, b"written later")
        await bucket.until_it_has({"a": b"written later"})
