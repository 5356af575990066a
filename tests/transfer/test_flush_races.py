"""What users and others change while a flush is on its way ends as the last one said."""

import asyncio
from pathlib import Path

import pytest

from hfnfs.errors import RemoteError
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
