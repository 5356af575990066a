"""What was changed goes to the Hub, whatever happens on the way; nothing that is ours is lost."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hfnfs.errors import Forbidden, QuotaReached, RemoteError, RemoteUnavailable
from hfnfs.remote import ContentId
from hfnfs.transfer import batch
from hfnfs.transfer import flush as module
from hfnfs.transfer.commits import Local
from hfnfs.transfer.flush import Flush
from hfnfs.transfer.uploads import Uploads
from hfnfs.vfs.attributes import Wanted
from tests.fakes.volume import MemoryExtents
from tests.transfer.bucket import FakeBucket, content_of
from tests.until import PATIENCE_S, until
from tests.vfs.changing import Desk


class ShownDesk(Desk):
    """A desk whose far side is the bucket."""

    def content(self, path: str) -> ContentId:
        return content_of(self.hub[path])


class PinnedExtents(MemoryExtents):
    """Nothing is evicted, all is in memory."""

    def make_resident(self, content: ContentId, start: int, end: int) -> None:
        return

    def pin(self, content: ContentId, start: int, end: int) -> None:
        return

    def unpin(self, content: ContentId, start: int, end: int) -> None:
        return


class Rig:
    """A volume that takes changes, a bucket, and the flush between them."""

    def __init__(self, desk: ShownDesk, bucket: FakeBucket) -> None:
        self.desk, self.bucket = desk, bucket
        self.tickets: list[int] = []
        self.is_durable = asyncio.Event()
        self.is_durable.set()
        local = Local(
            outbox=desk.outbox,
            overlay=desk.data.overlay,
            written=desk.writing,
            conflicts=desk.naming,
            journal=desk.journal,
            keep=desk.keeper.keep,
            kept=self.kept,
        )
        self.extents = PinnedExtents()
        uploads = Uploads(bucket, desk.staging, self.extents)
        self.flush = Flush(bucket, uploads, local, desk.clock)

    async def kept(self, ticket: int) -> None:
        self.tickets.append(ticket)
        await self.is_durable.wait()

    async def go_on(self, fact: Callable[[], object]) -> None:
        """Let time pass until it is so."""
        async with asyncio.timeout(PATIENCE_S):
            while not fact():
                self.desk.clock.advance(1.0)
                self.flush.wake()
                for _ in range(20):
                    await asyncio.sleep(0)

    async def done(self) -> None:
        """Let time pass until the Hub has everything; then it shows what we show."""
        await self.go_on(lambda: not len(self.desk.outbox))
        assert not self.desk.state.model.outbox

    # -------------------------------------------------- what users do

    def write(self, path: str, data: bytes) -> None:
        """Let a file have these bytes, in the same node if there is one."""
        node = self.desk.do(self.desk.naming.create, *self.desk.split(path), Wanted(size=0)).result
        if data:
            self.desk.do(self.desk.writing.write, node, 0, data)

    def rename(self, old: str, new: str) -> None:
        self.desk.do(self.desk.naming.rename, *self.desk.split(old), *self.desk.split(new))

    def remove(self, path: str) -> None:
        self.desk.do(self.desk.naming.remove, *self.desk.split(path))

    def mkdir(self, path: str) -> None:
        self.desk.do(self.desk.naming.make_directory, *self.desk.split(path), Wanted())

    def rmdir(self, path: str) -> None:
        self.desk.do(self.desk.naming.remove_directory, *self.desk.split(path))

    def ours(self) -> dict[str, bytes]:
        return {path: data for path, data in self.desk.walk().items() if data is not None}


@asynccontextmanager
async def rig(home: Path, hub: dict[str, bytes] | None = None) -> AsyncIterator[Rig]:
    bucket = FakeBucket({} if hub is None else hub)
    desk = ShownDesk(home, {})
    desk.hub = bucket.files
    async with running(Rig(desk, bucket)) as made:
        yield made


@asynccontextmanager
async def running(made: Rig) -> AsyncIterator[Rig]:
    async with asyncio.TaskGroup() as tasks:
        loop = tasks.create_task(made.flush.run())
        try:
            yield made
        finally:
            loop.cancel()
    made.desk.staging.close()
    assert not list((made.desk.home / "snapshots").iterdir()), "a copy was left behind"


# ------------------------------------------------------------------ in general


async def test_what_is_written_is_there_with_its_date_and_stays_readable(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        r.mkdir("d")
        r.write("d/a", b"hello")
        await r.done()
        assert r.bucket.files == {"d/a": b"hello"}
        assert r.bucket.mtimes["d/a"] == r.desk.at("d/a").mtime_ns
        assert r.desk.at("d/a").content == content_of(b"hello")
        assert r.ours() == r.bucket.files
        assert not r.desk.outbox.wants(r.desk.at("d/a"))


async def test_a_change_goes_when_it_was_quiet_but_no_later_than_the_window(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        r.write("a", b"0")
        for second in range(20):
            r.write("a", b"%d" % second)
            r.desk.clock.advance(1.5)
            r.flush.wake()
            await asyncio.sleep(0)
        assert not r.bucket.uploads
        assert r.desk.outbox.due(r.desk.clock.now())  # 30 s after the first one
        await r.done()
        assert r.bucket.files == {"a": b"19"}


async def test_gaps_of_what_was_written_are_filled_from_the_base(tmp_path: Path) -> None:
    async with rig(tmp_path, {"a": b"0123456789", "b": b"0123456789abcdef"}) as r:
        r.desk.do(r.desk.writing.write, r.desk.at("a"), 3, b"xy")
        r.extents.add(content_of(b"0123456789abcdef"), 0, b"0123456789abcdef")
        r.desk.do(r.desk.writing.write, r.desk.at("b"), 18, b"!")
        await r.done()
        assert r.bucket.files == {"a": b"012xy56789", "b": b"0123456789abcdef\0\0!"}
        assert r.bucket.asked["open"] == 2  # before and after; b was in the cache


async def test_an_empty_file_needs_no_upload(tmp_path: Path) -> None:
    async with rig(tmp_path, {"full": b"x"}) as r:
        r.write("empty", b"")
        r.write("full", b"")
        await r.done()
        assert r.bucket.files == {"empty": b"", "full": b""}
        assert not r.bucket.uploads


async def test_hundreds_of_small_files_take_a_handful_of_requests(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        r.mkdir("new")
        for number in range(400):
            r.write(f"new/{number}", b"%d" % number)
            if number % 100 == 0:
                r.desk.sync()  # so many files may wait for the disk
        await r.done()
        assert len(r.bucket.files) == 400
        assert r.bucket.asked["upload"] == 1
        assert sum(r.bucket.asked.values()) <= 5


async def test_a_clean_file_or_directory_is_renamed_without_moving_bytes(tmp_path: Path) -> None:
    hub = {f"d/{name}": name.encode() for name in "abc"} | {"x": b"x"}
    async with rig(tmp_path, hub) as r:
        r.rename("x", "y")
        r.rename("d", "e")
        await r.done()
        assert r.bucket.files == {"e/a": b"a", "e/b": b"b", "e/c": b"c", "y": b"x"}
        assert not r.bucket.uploads
        assert r.ours() == r.bucket.files
        assert set(r.bucket.mtimes.values()) == {r.desk.at("y").mtime_ns}


async def test_chains_and_swaps_of_names_end_as_shown_and_nothing_is_without_a_name(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path, {"a": b"1", "b": b"2"}) as r:
        r.rename("a", "tmp")
        r.rename("b", "a")
        r.rename("tmp", "b")
        r.rename("b", "c")
        r.rename("c", "d")
        await r.done()
        assert r.bucket.files == {"a": b"2", "d": b"1"} == r.ours()


# ------------------------------------------------------------------ failures


async def test_w2_what_fails_is_tried_again_later_and_later_and_is_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with rig(tmp_path) as r:
        r.bucket.bad_paths["a"] = QuotaReached("no room")
        r.write("a", b"a")
        r.write("b", b"b")
        await r.go_on(lambda: r.bucket.asked["batch"] >= 4)
        await until(lambda: r.flush.pending() and r.flush.pending()[0].attempts)
        assert r.bucket.files == {"b": b"b"}
        (left,) = r.flush.pending()
        assert (left.path, left.error) == ("a", "no room")
        node = r.desk.at("a")
        assert isinstance(r.desk.writing.take_failure(node.fileid), QuotaReached)
        assert r.desk.writing.take_failure(node.fileid) is None
        assert len([x for x in caplog.messages if "not on the Hub yet" in x]) == 1
        r.bucket.bad_paths.clear()
        await r.done()
        assert r.bucket.files == {"a": b"a", "b": b"b"}


async def test_w2_an_upload_that_fails_is_tried_again(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        r.bucket.bad_bytes[b"a"] = Forbidden("no right")
        r.write("a", b"a")
        await r.go_on(lambda: r.flush.pending()[0].attempts >= 3)
        assert isinstance(r.desk.writing.take_failure(r.desk.at("a").fileid), Forbidden)
        r.bucket.bad_bytes.clear()
        await r.done()
        assert r.bucket.files == {"a": b"a"}


async def test_w13_one_bad_file_holds_up_no_other_nor_a_bad_delete_the_others(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path, {"old": b"old", "gone": b"gone"}) as r:
        r.bucket.bad_bytes[b"1"] = RemoteError("bad")
        r.bucket.bad_paths = {"two": RemoteError("bad"), "old": RemoteError("bad")}
        for path, data in {"one": b"1", "two": b"2", "three": b"3"}.items():
            r.write(path, data)
        r.remove("old")
        r.remove("gone")
        await r.go_on(lambda: all(each.attempts for each in r.flush.pending()))
        assert r.bucket.files == {"old": b"old", "three": b"3"}
        assert {each.path for each in r.flush.pending()} == {"one", "two", "old"}
        r.bucket.bad_bytes.clear()
        r.bucket.bad_paths.clear()
        await r.done()
        assert r.bucket.files == {"one": b"1", "two": b"2", "three": b"3"}


async def test_w14_an_upload_that_hangs_holds_up_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGE_BYTES", 10)
    monkeypatch.setattr(batch, "LARGE_BYTES", 10)
    async with rig(tmp_path) as r:
        r.bucket.stuck_bytes = {b"stuck for ever"}
        r.write("large", b"stuck for ever")
        await r.go_on(lambda: r.bucket.uploading)
        r.write("other large", b"another that goes")
        r.write("small", b"small")
        await r.go_on(lambda: len(r.desk.outbox) == 1)
        assert r.bucket.files == {"other large": b"another that goes", "small": b"small"}


async def test_while_the_hub_is_down_there_is_one_pause_and_one_word_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with rig(tmp_path) as r:
        r.bucket.down = RemoteUnavailable("no answer")
        for number in range(20):
            r.write(f"{number}", b"x%d" % number)
        await r.go_on(lambda: r.bucket.asked["revision"] >= 5)
        await until(lambda: r.flush.outage == "no answer")
        assert not any(each.attempts for each in r.flush.pending())
        assert r.bucket.asked["upload"] <= 6
        r.bucket.down = None
        await r.done()
        assert r.flush.outage == ""
        assert [record.message for record in caplog.records if record.name.endswith("outage")] == [
            "nothing goes to the Hub for now, all of it is kept: no answer",
            "the Hub can be reached again",
        ]


async def test_a_lost_answer_is_no_conflict(tmp_path: Path) -> None:
    async with rig(tmp_path, {"a": b"old"}) as r:
        r.bucket.lost = 2
        r.write("a", b"new")
        await r.go_on(lambda: r.bucket.lost == 1)
        r.write("a", b"newer")
        await r.go_on(lambda: r.bucket.lost == 0)
        r.write("a", b"newest")
        await r.done()
        assert r.bucket.files == {"a": b"newest"}
        assert r.flush.conflicts == 0


async def test_what_was_sent_is_durably_known_before_it_is(tmp_path: Path) -> None:
    async with rig(tmp_path, {"a": b"old"}) as r:
        r.is_durable.clear()
        r.write("a", b"new")
        await r.go_on(lambda: r.tickets)
        assert not r.bucket.batches
        assert r.desk.state.model.outbox[b"a"].sent == (content_of(b"new"),)
        r.is_durable.set()
        await r.done()
        assert r.bucket.files == {"a": b"new"}


async def test_a_restart_after_a_commit_whose_answer_was_lost_finds_its_own_bytes(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path, {"a": b"old"}) as r:
        r.write("a", b"new")
        r.bucket.lost = 1
        await r.go_on(lambda: r.bucket.lost == 0)
    assert r.bucket.files == {"a": b"new"}
    r.desk.staging.open([each.fileid for each in r.desk.state.snapshot().overlays])
    r.desk.sync()
    r.desk.staging.close()
    desk = ShownDesk(tmp_path, {}, r.desk.state)
    desk.hub = r.bucket.files
    async with running(Rig(desk, r.bucket)) as again:
        assert again.desk.walk() == {"a": b"new"}
        again.write("a", b"newer")
        await again.done()
        assert again.bucket.files == {"a": b"newer"}
        assert again.flush.conflicts == 0


# ------------------------------------------------------------------ in between


async def test_w3_what_is_deleted_while_it_goes_up_never_appears(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        r.bucket.upload_gate.close()
        r.write("a", b"a")
        await r.go_on(lambda: r.bucket.uploading)
        r.remove("a")
        r.bucket.upload_gate.open()
        await r.done()
        await until(lambda: not r.bucket.uploading)
        r.write("other", b"x")
        await r.done()
        assert r.bucket.files == {"other": b"x"}
        assert not any("a" in shown for shown in r.bucket.shown)


async def test_w3_what_is_deleted_while_its_name_is_sent_is_deleted_after(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        r.mkdir("d")
        r.bucket.gate.close()
        r.write("d/a", b"a")
        await r.go_on(lambda: r.bucket.gate.waiting)
        r.remove("d/a")
        r.rmdir("d")
        r.bucket.gate.open()
        await r.done()
        assert r.bucket.files == {}
        assert r.desk.walk() == {}


async def test_w4_what_is_renamed_while_it_goes_up_gets_the_new_name_alone(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path, {"a": b"old"}) as r:
        r.bucket.upload_gate.close()
        r.write("a.tmp", b"new")
        await r.go_on(lambda: r.bucket.uploading)
        r.rename("a.tmp", "a")
        r.bucket.upload_gate.open()
        await r.done()
        assert r.bucket.files == {"a": b"new"} == r.ours()
        assert not any("a.tmp" in shown for shown in r.bucket.shown)
        assert r.bucket.uploads == [[b"new"]]


async def test_w4_what_is_renamed_while_its_name_is_sent_moves_after(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        r.bucket.gate.close()
        r.write("a", b"a")
        await r.go_on(lambda: r.bucket.gate.waiting)
        r.rename("a", "b")
        r.bucket.gate.open()
        await r.done()
        assert r.bucket.files == {"b": b"a"} == r.ours()
        assert r.bucket.uploads == [[b"a"]]


async def test_w4_the_old_name_stays_until_the_new_one_is_there(tmp_path: Path) -> None:
    async with rig(tmp_path, {"a": b"a"}) as r:
        r.bucket.bad_paths["b"] = RemoteError("bad")
        r.rename("a", "b")
        await r.go_on(lambda: any(each.attempts for each in r.flush.pending()))
        assert r.bucket.files == {"a": b"a"}
        r.remove("b")
        await r.done()
        assert r.bucket.files == {}


async def test_w5_what_is_truncated_and_then_removed_is_gone_on_the_hub(tmp_path: Path) -> None:
    async with rig(tmp_path, {"a": b"a", "b": b"b"}) as r:
        r.write("a", b"")
        r.remove("a")
        r.write("b", b"")
        r.rename("b", "c")
        await r.done()
        assert r.bucket.files == {"c": b""} == r.ours()


async def test_w6_what_goes_up_is_of_one_moment_whatever_is_written_meanwhile(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path) as r:
        r.bucket.upload_gate.close()
        r.write("a", b"first version")
        await r.go_on(lambda: r.bucket.uploading)
        r.desk.do(r.desk.writing.write, r.desk.at("a"), 6, b"VERSION")
        r.bucket.gate.close()
        r.bucket.upload_gate.open()
        await r.go_on(lambda: r.bucket.gate.waiting)
        r.bucket.gate.let_through(1)
        await until(lambda: r.bucket.files)
        assert r.bucket.files == {"a": b"first version"}
        r.bucket.gate.open()
        await r.done()
        assert r.bucket.files == {"a": b"first VERSION"}


async def test_w6_a_copy_of_a_file_that_is_being_written_is_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig(tmp_path) as r:
        r.write("a", b"0000")
        node, copy = r.desk.at("a"), r.desk.staging.snapshot
        loop, writes = asyncio.get_running_loop(), iter([b"1111"])

        async def write() -> None:
            for data in writes:
                r.desk.do(r.desk.writing.write, node, 0, data)

        def slow_copy(*args: object) -> object:
            asyncio.run_coroutine_threadsafe(write(), loop).result(PATIENCE_S)
            return copy(*args)  # type: ignore[arg-type]  # as it was called

        monkeypatch.setattr(r.desk.staging, "snapshot", slow_copy)
        await r.done()
        assert r.bucket.uploads == [[b"1111"]]


async def test_w19_a_file_that_goes_up_is_read_and_written_at_once(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        r.bucket.upload_gate.close()
        r.write("a", b"a")
        await r.go_on(lambda: r.bucket.uploading)
        met = len(r.desk.met)
        assert r.desk.read("a") == b"a"
        r.write("a", b"b")
        assert r.desk.read("a") == b"b"
        assert len(r.desk.met) == met
        r.bucket.upload_gate.open()
        await r.done()
        assert r.bucket.files == {"a": b"b"}


# ------------------------------------------------------------------ others


async def test_w15_changed_here_and_there_both_are_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with rig(tmp_path, {"a": b"base"}) as r:
        r.write("a", b"ours")
        r.bucket.files["a"] = b"theirs"
        await r.done()
        (other,) = set(r.bucket.files) - {"a"}
        assert other.startswith("a.conflict-")
        assert r.bucket.files == {"a": b"theirs", other: b"ours"} == r.ours()
        assert r.bucket.uploads == [[b"ours"]]
        assert r.flush.conflicts == 1
        assert [x for x in caplog.messages if other in x]


async def test_w15_made_here_and_there_both_are_kept_a_directory_too(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        r.desk.walk()
        r.write("a", b"ours")
        r.write("b", b"ours too")
        r.bucket.files |= {"a": b"theirs", "b/c": b"theirs too"}
        await r.done()
        assert r.bucket.files["a"] == b"theirs"
        names = {path.partition(".")[0]: path for path in r.bucket.files if ".conflict-" in path}
        assert r.bucket.files[names["a"]] == b"ours"
        assert r.bucket.files[names["b"]] == b"ours too"
        assert r.ours() == r.bucket.files


async def test_w15_deleted_there_and_changed_here_ours_stays(tmp_path: Path) -> None:
    async with rig(tmp_path, {"a": b"base"}) as r:
        r.write("a", b"ours")
        del r.bucket.files["a"]
        await r.done()
        assert r.bucket.files == {"a": b"ours"} == r.ours()


async def test_w15_deleted_here_and_changed_there_theirs_is_shown_again(tmp_path: Path) -> None:
    async with rig(tmp_path, {"a": b"base", "b": b"base"}) as r:
        r.remove("a")
        r.remove("b")
        r.bucket.files["a"] = b"theirs"
        del r.bucket.files["b"]
        await r.done()
        assert r.bucket.files == {"a": b"theirs"} == r.ours()


async def test_w15_the_same_change_here_and_there_is_none(tmp_path: Path) -> None:
    async with rig(tmp_path, {"a": b"base"}) as r:
        r.write("a", b"same")
        r.bucket.files["a"] = b"same"
        await r.done()
        assert r.bucket.files == {"a": b"same"}
        assert r.flush.conflicts == 0


async def test_w18_what_is_removed_stays_so_in_every_listing_before_the_hub_knows(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path, {"a": b"a", "d/b": b"b", "e/c": b"c"}) as r:
        r.remove("a")
        r.remove("d/b")
        r.rmdir("d")
        r.rename("e", "f")
        for _ in range(3):
            r.desk.clock.advance(11.0)  # no listing is young any more
            assert r.desk.walk() == {"f": None, "f/c": b"c"}
        r.bucket.gate.close()
        await r.go_on(lambda: r.bucket.gate.waiting)
        r.desk.clock.advance(11.0)
        assert r.desk.walk() == {"f": None, "f/c": b"c"}
        r.bucket.gate.open()
        await r.done()
        assert r.bucket.files == {"f/c": b"c"}


# ------------------------------------------------------------------ the end


async def test_draining_sends_all_at_once_and_names_what_is_left(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        r.write("a", b"a")
        r.write("b", b"b")
        assert await r.flush.drain(PATIENCE_S) == []
        assert r.bucket.files == {"a": b"a", "b": b"b"}
        r.bucket.bad_paths["c"] = RemoteError("bad")
        r.write("c", b"c")
        r.write("d", b"d")
        left = await r.flush.drain(0.5)
        assert [(each.path, each.error) for each in left] == [("c", "bad")]
        assert r.bucket.files == {"a": b"a", "b": b"b", "d": b"d"}


async def test_who_stops_amid_an_upload_leaves_no_copy_and_goes_on_after_a_restart(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path) as r:
        r.bucket.upload_gate.close()
        r.write("a", b"a")
        r.desk.sync()
        await r.go_on(lambda: r.bucket.uploading)
    assert r.bucket.uploading == 0
    r.bucket.upload_gate.open()
    desk = ShownDesk(tmp_path, {}, r.desk.state)
    desk.hub = r.bucket.files
    async with running(Rig(desk, r.bucket)) as again:
        await again.done()
        assert again.bucket.files == {"a": b"a"}
