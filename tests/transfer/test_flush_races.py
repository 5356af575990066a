"""What users and others change while a flush is on its way ends as the last one said."""

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hfnfs.disk import staging
from hfnfs.errors import CacheUnusable, RemoteError
from hfnfs.remote import EMPTY, Put
from hfnfs.transfer import copies
from hfnfs.vfs.outbox import Flight
from tests.disk.failing import failing
from tests.transfer.flushing import rig
from tests.until import PATIENCE_S, until

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


async def test_what_went_up_before_a_file_was_emptied_never_comes_after(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        r.bucket.upload_gate.close()
        r.write("new", b"long ago")
        r.rename("new", "a")  # as editors save
        await r.go_on(lambda: r.bucket.uploading)
        r.write("a", b"")
        await r.done()  # it needs no upload
        r.desk.do(r.desk.writing.write, r.desk.at("a"), 0, b"now")
        r.bucket.upload_gate.open()
        await r.done()
        assert r.bucket.files == {"a": b"now"}
        puts = [each for batch in r.bucket.batches for each in batch if isinstance(each, Put)]
        assert [put.content.size for put in puts] == [0, len(b"now")]
        r.write("new", b"anew")
        r.rename("new", "a")
        await r.done()
        assert r.bucket.files == {"a": b"anew"}, "what we had sent passed for somebody else's"


async def test_w3_what_is_deleted_right_before_its_name_is_sent_never_appears(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path) as r:
        r.is_durable.clear()
        r.write("a", b"a")
        await r.go_on(lambda: r.tickets)
        r.remove("a")
        r.is_durable.set()
        await r.done()
        assert not any("a" in shown for shown in r.bucket.shown)


async def test_what_is_dropped_between_being_chosen_and_being_sent_is_left_alone(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path) as r:
        r.write("a", b"")
        r.write("b", b"")
        chosen = []
        for path in ("a", "b"):
            entry = r.desk.outbox.home(r.desk.at(path).fileid)
            assert entry is not None
            chosen.append((entry, Flight(entry.node, 1, EMPTY, 0, 0)))
        r.remove("a")
        await r.flush._commits.send(chosen)
        assert r.bucket.files == {"b": b""}
        assert len(r.desk.outbox) == 1  # the flight was of an older stamp
        await r.done()


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


async def test_w6_a_file_that_is_written_without_pause_goes_up_as_it_was_at_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig(tmp_path) as r:
        r.write("a", b"begun")
        node, loop, versions = r.desk.at("a"), asyncio.get_running_loop(), {b"begun"}

        async def write() -> None:
            offset, seen = len(versions) % 7, bytes(r.desk.data.read(node, 0, 100)[0])
            data = b"%03d" % len(versions)
            r.desk.do(r.desk.writing.write, node, offset, data)
            versions.add((seen.ljust(offset, b"\0")[:offset] + data) + seen[offset + 3 :])

        def written_on(work: Callable[..., object]) -> Callable[..., object]:
            def slow(*args: object) -> object:
                asyncio.run_coroutine_threadsafe(write(), loop).result(PATIENCE_S)
                result = work(*args)
                asyncio.run_coroutine_threadsafe(write(), loop).result(PATIENCE_S)
                return result

            return slow

        for name in ("snapshot", "copy_again"):
            monkeypatch.setattr(r.desk.staging, name, written_on(getattr(r.desk.staging, name)))
        await r.done()
        ((data,),) = r.bucket.uploads
        assert data in versions
        assert r.bucket.files == {"a": data} == r.ours()


async def test_what_is_written_faster_than_it_is_copied_is_told_and_goes_up_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with rig(tmp_path) as r:
        with monkeypatch.context() as patch:
            patch.setattr(copies, "LAST_BYTES_MAX", -1)  # no piece is short enough
            r.write("a", b"a")
            await r.go_on(lambda: "is written to all the time" in caplog.text)
            assert r.bucket.uploads == []
        await r.done()
        assert r.bucket.files == {"a": b"a"}


async def test_what_is_cut_and_written_while_it_is_copied_goes_up_as_it_is_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig(tmp_path, {"a": b"0123456789"}) as r:
        node, copy = r.desk.at("a"), r.desk.staging.snapshot
        r.desk.do(r.desk.writing.write, node, 4, b"abcdef")
        loop, changes = asyncio.get_running_loop(), iter([True])

        async def change() -> None:
            for _ in changes:
                r.desk.do(r.desk.writing.truncate, node, 5)
                r.desk.do(r.desk.writing.write, node, 8, b"X")
                r.desk.do(r.desk.writing.truncate, node, 10)

        def slow_copy(*args: object) -> object:
            made = copy(*args)  # type: ignore[arg-type]  # as it was called
            asyncio.run_coroutine_threadsafe(change(), loop).result(PATIENCE_S)
            return made

        monkeypatch.setattr(r.desk.staging, "snapshot", slow_copy)
        await r.done()
        assert r.bucket.uploads == [[b"0123a\0\0\0X\0"]]


async def test_what_is_removed_while_it_is_copied_does_not_go_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig(tmp_path) as r:
        r.write("a", b"a")
        copy, loop = r.desk.staging.snapshot, asyncio.get_running_loop()

        async def remove() -> None:
            r.remove("a")

        def slow_copy(*args: object) -> object:
            asyncio.run_coroutine_threadsafe(remove(), loop).result(PATIENCE_S)
            return copy(*args)  # type: ignore[arg-type]  # as it was called

        monkeypatch.setattr(r.desk.staging, "snapshot", slow_copy)
        await r.done()
        await until(lambda: not r.flush._going)
        assert r.bucket.uploads == []


async def test_bytes_that_did_not_reach_the_disk_are_held_back_until_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig(tmp_path) as r:
        r.write("a", b"perhaps lost")
        r.write("b", b"good")
        node = r.desk.at("a")
        with monkeypatch.context() as patch:
            patch.setattr(staging, "sync_bytes", failing(errno.EIO))
            with pytest.raises(CacheUnusable):
                r.desk.staging.sync(node.fileid)
        await r.go_on(lambda: any(each.attempts > 1 for each in r.flush.pending()))
        await r.go_on(lambda: r.bucket.files)
        assert r.bucket.files == {"b": b"good"}
        (pending,) = r.flush.pending()
        assert os.strerror(errno.EIO) in pending.error
        r.desk.do(r.desk.writing.write, node, 0, b"written anew")
        await r.done()
        assert r.bucket.files == {"a": b"written anew", "b": b"good"}


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


async def test_w15_a_file_in_the_place_of_a_directory_hides_nothing_that_others_put_there(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path, {"d/a": b"old", "e/a": b"old", "e/i/a": b"old", "f/a": b"old"}) as r:
        for path in ("d/a", "e/i/a", "e/a", "f/a"):
            r.remove(path)
        for directory in ("d", "e/i", "e", "f"):
            r.rmdir(directory)
        for path in ("d", "e", "f"):
            r.write(path, path.encode())
        r.bucket.files["d/x"] = b"theirs"
        r.bucket.files["e/i/a"] = b"newer than ours"
        await r.done()
        at = {path[0]: path for path in r.bucket.files if ".conflict-" in path}
        assert r.bucket.files == {
            "d/x": b"theirs", at["d"]: b"d", "e/i/a": b"newer than ours", at["e"]: b"e", "f": b"f",
        }  # fmt: skip
        r.desk.clock.advance(11.0)
        assert r.ours() == r.bucket.files


async def test_w15_a_file_where_we_have_a_directory_lets_ours_be_set_aside_with_all_in_it(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path, {"e/a": b"old"}) as r:
        for directory in ("d", "d/i"):
            r.mkdir(directory)
        for path in ("d/i/a", "d/b", "d/i/private"):
            r.write(path, path.encode())
        r.write("e/b", b"in one that they have given up")
        del r.bucket.files["e/a"]
        r.bucket.files |= {"d": b"theirs", "e": b"theirs too"}
        await r.done()
        at = {path[0]: path.partition("/")[0] for path in r.bucket.files if ".conflict-" in path}
        assert r.flush.conflicts == 2
        assert r.bucket.files["d"] == b"theirs"
        assert r.bucket.files["e"] == b"theirs too"
        assert r.bucket.files[f"{at['d']}/i/a"] == b"d/i/a"
        assert r.bucket.files[f"{at['d']}/b"] == b"d/b"
        assert r.bucket.files[f"{at['e']}/b"] == b"in one that they have given up"
        r.desk.clock.advance(11.0)
        assert r.ours() == r.bucket.files | {f"{at['d']}/i/private": b"d/i/private"}


async def test_a_directory_in_the_place_of_a_file_that_we_removed_is_no_conflict(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path, {"d": b"old"}) as r:
        r.remove("d")
        r.mkdir("d")
        r.write("d/a", b"new")
        await r.done()
        assert r.bucket.files == {"d/a": b"new"} == r.ours()
        assert r.flush.conflicts == 0


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
