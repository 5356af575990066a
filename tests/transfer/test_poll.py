"""What others change in a bucket is shown, and never instead of what we changed since."""

import asyncio
import logging
from typing import Any

import pytest

from hfnfs.errors import (
    Forbidden,
    RateLimited,
    RemoteUnavailable,
)
from hfnfs.transfer.poll import RETRY_S, TICK_S
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.node import FileType
from tests.transfer.polling import INTERVAL_S, Bucket, side_of, turns
from tests.until import until

# ------------------------------------------------------------------- asking now and then


async def test_new_changed_and_deleted_files_are_shown_without_anybody_asking() -> None:
    async with side_of() as side:
        await side.look("", "sub")
        kept = side.node("a").fileid
        side.remote.put(a=b"longer", b=None, new=b"n", sub__c2=b"x")
        await side.passes(INTERVAL_S + TICK_S)
        assert side.names() == {"a", "new", "sub", "other"}
        assert (side.node("a").fileid, side.node("a").size) == (kept, 6)
        assert side.names("sub") == {"c", "deep", "c2"}
        assert side.volume.revision.token == "1"


async def test_while_nothing_changes_nothing_is_listed() -> None:
    async with side_of() as side:
        await side.look("", "sub", "other")
        before = len(side.remote.listed())
        await side.passes(10 * INTERVAL_S)
        assert len(side.remote.listed()) == before
        assert 9 <= side.remote.revisions() <= 10


async def test_what_nobody_has_looked_at_is_not_listed() -> None:
    async with side_of() as side:
        await side.look("", "sub")
        side.remote.asked.clear()
        side.remote.put(other__f=b"1")
        await side.passes(INTERVAL_S + TICK_S)
        assert sorted(side.remote.listed()) == ["", "sub"]


async def test_single_names_that_were_asked_for_are_asked_for_again() -> None:
    async with side_of() as side:
        await side.listings.named(side.tree.root.fileid, b"a")
        await side.listings.named(side.tree.root.fileid, b"none")
        side.remote.asked.clear()
        side.remote.put(a=b"longer", none=b"now")
        await side.passes(INTERVAL_S + TICK_S)
        assert (side.node("a").size, side.node("none").size) == (6, 3)
        assert side.remote.listed() == []
        assert [of for method, of in side.remote.asked if method == "find"] == ["a none"]


async def test_directories_in_use_are_listed_first_and_a_few_at_a_time() -> None:
    files = {f"d{n}/f": b"" for n in range(20)}
    async with side_of(files, at_once=3) as side:
        await side.look("", *(f"d{n}" for n in range(20)))
        for n in range(20):
            side.directory(f"d{n}").is_used = n in {7, 13}
        side.tree.root.is_used = False
        side.remote.asked.clear()
        side.remote.put(d1__g=b"")
        side.remote.gate.close()
        at = side.clock.now()
        side.remote.gate.let_through(1)
        turning = asyncio.ensure_future(side.passes(INTERVAL_S + TICK_S))
        await until(lambda: side.remote.gate.waiting == 3)
        await turns()
        assert side.remote.gate.waiting == 3
        assert set(side.remote.listed()[:2]) == {"d7", "d13"}
        side.remote.gate.open()
        await turning
        assert side.clock.now() >= at
        assert len(side.remote.listed()) == 21


@pytest.mark.parametrize("error", [RemoteUnavailable("away"), RateLimited("slowly")])
async def test_w21_a_round_that_failed_half_way_is_repeated(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async with side_of() as side:
        await side.look("", "sub", "other")
        side.remote.failing = {"sub": error, "": error}
        side.remote.put(a=None, sub__new=b"1", other__new=b"1")
        await side.passes(10 * INTERVAL_S)
        assert "new" not in side.names("sub"), "it cannot be known yet"
        assert side.names() == {"a", "b", "sub", "other"}, "a Hub that is down empties nothing"
        side.remote.failing.clear()
        await side.passes(INTERVAL_S + 2 * TICK_S)  # the revision is still the same
        assert "new" in side.names("sub")
        assert side.names() == {"b", "sub", "other"}
        said = [r for r in caplog.records if r.levelno >= logging.WARNING]
        assert len(said) == 1
        side.remote.asked.clear()
        await side.passes(3 * INTERVAL_S)
        assert side.remote.listed() == []


async def test_w21_a_directory_that_keeps_failing_holds_up_no_other() -> None:
    async with side_of() as side:
        await side.look("", "sub", "other")
        side.remote.failing = {"sub": Forbidden("not for you")}
        side.remote.put(other__new=b"1")
        await side.passes(INTERVAL_S + TICK_S)
        assert "new" in side.names("other")
        side.remote.asked.clear()
        await side.passes(5 * RETRY_S)
        assert set(side.remote.listed()) == {"sub"}
        assert 4 <= len(side.remote.listed()) <= 6


async def test_a_probe_without_an_answer_is_repeated() -> None:
    async with side_of() as side:
        await side.look("")
        side.remote.failures["revision"] = [RemoteUnavailable("away")] * 3
        side.remote.put(a=None)
        await side.passes(3 * INTERVAL_S + TICK_S)
        assert "a" in side.names()
        await side.passes(INTERVAL_S + RETRY_S)
        assert "a" not in side.names()


async def test_zero_asks_for_nothing() -> None:
    async with side_of(interval_s=0.0) as side:
        await side.look("")
        side.remote.put(a=None)
        await side.passes(1000)
        assert side.remote.revisions() == 0


async def test_w22_a_listing_that_was_asked_for_before_our_commit_does_not_undo_it() -> None:
    async with side_of() as side:
        await side.look("")
        side.remote.put(b=None)
        side.remote.gate.close()
        side.remote.gate.let_through(1)
        turning = asyncio.ensure_future(side.passes(INTERVAL_S + TICK_S))
        await until(lambda: side.remote.listed()[1:] == [""])
        mine = side.tree.nodes.make(FileType.REG, side.tree.root, "mine")
        side.tree.adopt(side.tree.root, mine)
        side.ours.settled["mine"] = side.clock.now()
        side.remote.gate.open()
        await turning
        assert side.names() == {"a", "mine", "sub", "other"}


async def test_a_listing_on_its_way_while_the_revision_changes_is_done_again() -> None:
    async with side_of() as side:
        await side.look("")
        sub = side.directory("sub").fileid
        slow: asyncio.Event = asyncio.Event()
        real = Bucket.list

        async def late(directory: str) -> Any:
            listing = await real(side.remote, directory)
            if directory == "sub" and not slow.is_set():
                await slow.wait()
            return listing

        side.remote.list = late  # type: ignore[method-assign]  # an answer that was made before
        looking = asyncio.ensure_future(side.listings.listed(sub, side.clock.now()))
        await until(lambda: "sub" in side.remote.listed())
        side.remote.put(sub__new=b"1")
        turning = asyncio.ensure_future(side.passes(INTERVAL_S + TICK_S))
        await until(lambda: side.remote.revisions() == 1)
        slow.set()
        await asyncio.gather(looking, turning)
        assert side.names("sub") == {"c", "deep", "new"}


async def test_w23_files_become_directories_and_directories_files() -> None:
    async with side_of() as side:
        await side.look("", "sub", "other")
        side.remote.change({"a": None, "a/in": b"1", "other/e": None, "other": b"file"})
        await side.passes(INTERVAL_S + TICK_S)
        assert isinstance(side.node("a"), Directory)
        assert side.node("other").type is FileType.REG


async def test_w23_directories_come_and_go() -> None:
    async with side_of() as side:
        await side.look("", "sub", "sub/deep", "other")
        side.remote.change(
            {"sub/c": None, "sub/deep/d": None, "other/e": None, "x/y/z": b"1", "other/o/p": b"1"}
        )
        await side.passes(INTERVAL_S + TICK_S)
        assert side.names() == {"a", "b", "other", "x"}
        assert side.names("other") == {"o"}
