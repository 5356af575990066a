"""What was changed goes to the Hub, whatever fails on the way; nothing that is ours is lost."""

import asyncio
import logging
from pathlib import Path

import pytest

from hfnfs.errors import Forbidden, QuotaReached, RemoteError, RemoteUnavailable
from hfnfs.transfer import backlog as module
from tests.transfer.bucket import content_of
from tests.transfer.flushing import Rig, ShownDesk, rig, running
from tests.until import PATIENCE_S, until

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
        entry = r.desk.outbox.home(r.desk.at("a").fileid)
        assert entry is not None
        for second in range(20):
            assert not r.desk.outbox.is_due(entry)
            r.write("a", b"%d" % second)
            r.desk.clock.advance(1.5)
            r.flush.wake()
            await asyncio.sleep(0)
        assert not r.bucket.uploads
        assert r.desk.outbox.is_due(entry)  # 30 s after the first one
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
    async with rig(tmp_path) as r:
        r.bucket.stuck_bytes = {b"stuck for ever"}
        r.write("large", b"stuck for ever")
        await r.go_on(lambda: r.bucket.uploading)
        r.write("other large", b"another that goes")
        r.write("small", b"small")
        await r.go_on(lambda: len(r.desk.outbox) == 1)
        assert r.bucket.files == {"other large": b"another that goes", "small": b"small"}


async def test_w14_small_files_that_hang_hold_up_no_small_ones_that_come_later(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path) as r:
        r.bucket.stuck_bytes = {b"stuck"}
        r.write("small", b"stuck")
        await r.go_on(lambda: r.bucket.uploading)
        r.write("other", b"goes")
        await r.go_on(lambda: len(r.desk.outbox) == 1)
        assert r.bucket.files == {"other": b"goes"}


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
