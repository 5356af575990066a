"""What a bucket's feed tells is shown, and never instead of what we changed since."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from hfnfs.errors import (
    FeedUnavailable,
)
from hfnfs.remote import (
    Changed,
    Ready,
    Reset,
)
from hfnfs.transfer.poll import FEED_AGAIN_S, TICK_S
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.node import FileType
from tests.transfer.polling import INTERVAL_S, Bucket, side_of
from tests.until import until

# ------------------------------------------------------------------------------ the feed


async def test_what_is_told_is_shown_without_a_request() -> None:
    async with side_of(feed=True) as side:
        await side.look("", "sub")
        await side.tell(Ready())
        await side.passes(TICK_S)
        assert side.remote.revisions() == 1, "once, to catch up"
        side.remote.asked.clear()
        verifier, mtime_ns = side.tree.root.verifier, side.tree.root.mtime_ns
        side.remote.put(a=b"longer", b=None, new=b"n", sub__c2=b"x")
        await side.tell(side.told("a", "b", "new", "sub/c2"))
        assert side.names() == {"a", "new", "sub", "other"}
        assert side.node("a").size == 6
        assert side.node("new").cookie, "it has a place in the listing"
        assert side.names("sub") == {"c", "deep", "c2"}
        assert side.tree.root.verifier == verifier
        assert side.tree.root.mtime_ns > mtime_ns
        assert side.remote.asked == []


async def test_what_was_changed_before_the_feed_began_is_caught_up_with() -> None:
    async with side_of(feed=True) as side:
        await side.look("")
        side.remote.put(b=None)
        await side.tell(Ready())
        await side.passes(TICK_S)
        assert side.names() == {"a", "sub", "other"}


async def test_what_is_told_of_what_nobody_has_looked_at_is_ignored() -> None:
    async with side_of(feed=True) as side:
        await side.tell(Ready())
        await side.passes(TICK_S)
        await side.look("")
        side.remote.asked.clear()
        side.remote.change({"sub/new": b"1", "other/x/y": b"1"})
        await side.tell(side.told("sub/new", "other/x/y", "other/gone"))
        await side.passes(2 * TICK_S)
        assert side.names("sub") == side.names("other") == set()
        assert side.remote.listed() == []


async def test_w23_told_changes_of_kind_and_new_directories_between_are_shown() -> None:
    async with side_of(feed=True) as side:
        await side.look("", "sub", "other")
        await side.tell(Ready())
        changes = {"a": None, "a/in": b"1", "other/e": None, "other": b"file", "x/y/z": b"1"}
        side.remote.change(changes)
        await side.tell(side.told("a", "a/in", "other", "x/y/z", "other/e"))
        await side.passes(2 * TICK_S)
        assert isinstance(side.node("a"), Directory)
        assert isinstance(side.node("x"), Directory)
        assert side.node("other").type is FileType.REG


async def test_w23_a_directory_whose_last_file_goes_is_shown_no_more() -> None:
    async with side_of(feed=True) as side:
        await side.look("", "sub", "sub/deep", "other")
        await side.tell(Ready())
        gone = {"sub/c": None, "sub/deep/d": None}
        side.remote.change(gone)
        await side.tell(side.told(*gone))
        await side.passes(2 * TICK_S)
        assert side.names() == {"a", "b", "other"}


@pytest.mark.parametrize("is_clear", [True, False], ids=["told in full", "told in part"])
async def test_w23_a_file_that_is_told_takes_the_place_of_an_empty_directory_of_ours(
    *, is_clear: bool
) -> None:
    async with side_of(feed=True) as side:
        await side.look("")
        side.make_directory("mine")
        side.make_directory("sub2")
        side.ours.held.add("sub2/file")
        await side.tell(Ready())
        await side.passes(TICK_S)
        side.remote.put(mine=b"theirs", sub2=b"theirs, too")
        told = side.told("mine", "sub2")
        await side.tell(told if is_clear else Changed({}, frozenset(told.entries)))
        await side.passes(2 * TICK_S)
        assert side.node("mine").type is FileType.REG
        assert isinstance(side.node("sub2"), Directory), "something in it is ours"


async def test_a_directory_that_others_have_stays_beside_a_file_of_its_name() -> None:
    async with side_of(feed=True) as side:
        await side.look("")
        await side.tell(Ready())
        await side.passes(TICK_S)
        side.remote.asked.clear()
        await side.tell(Changed({"sub": replace(side.entry("a"), name="sub")}))
        await side.passes(TICK_S)
        assert isinstance(side.node("sub"), Directory)
        assert side.remote.listed() == []


async def test_what_is_told_in_part_is_asked_for() -> None:
    async with side_of(feed=True) as side:
        await side.look("")
        await side.tell(Ready())
        side.remote.put(a=b"longer")
        await side.tell(Changed({}, frozenset({"a", "sub/c"})))
        await side.passes(2 * TICK_S)
        assert side.node("a").size == 6
        assert ("find", "a") in side.remote.asked


async def test_w22_an_echo_of_our_own_commit_costs_nothing() -> None:
    async with side_of(feed=True) as side:
        await side.look("")
        await side.tell(Ready())
        await side.passes(TICK_S)
        side.remote.asked.clear()
        side.ours.held.add("a")
        side.remote.put(a=b"longer")
        await side.tell(side.told("a"))
        await side.passes(TICK_S)
        assert side.node("a").size == 1, "while it is ours nobody else decides"
        side.tree.nodes.fill(side.node("a"), side.entry("a"))  # settled, with what was sent
        side.ours.held.clear()
        side.ours.settled["a"] = side.clock.now()
        await side.passes(2 * TICK_S)
        assert side.node("a").size == 6
        assert [method for method, _ in side.remote.asked if method != "revision"] == []


async def test_w22_what_is_told_late_does_not_undo_our_commit() -> None:
    async with side_of(feed=True) as side:
        await side.look("")
        await side.tell(Ready())
        old = side.told("a")
        side.remote.put(a=b"longer")
        side.tree.nodes.fill(side.node("a"), side.entry("a"))
        side.ours.settled["a"] = side.clock.now()
        side.clock.advance(0.5)
        await side.tell(old)
        assert side.node("a").size == 6
        await side.passes(2 * TICK_S)
        assert side.node("a").size == 6
        assert ("find", "a") in side.remote.asked, "it was asked for how it is"


async def test_w22_what_others_change_right_after_our_commit_is_found() -> None:
    async with side_of(feed=True) as side:
        await side.look("")
        await side.tell(Ready())
        side.ours.held.add("a")
        side.remote.put(a=b"theirs, and longer")
        await side.tell(side.told("a"))  # before our commit was answered
        await side.passes(TICK_S)
        side.ours.held.clear()
        side.ours.settled["a"] = side.clock.now()
        await side.passes(2 * TICK_S)
        assert side.node("a").size == 18


async def test_doubts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hfnfs.transfer.told._DOUBTS_MAX", 3)
    files = {f"f{n}": b"" for n in range(9)}
    async with side_of(files, feed=True) as side:
        await side.look("")
        await side.tell(Ready())
        side.ours.settled = dict.fromkeys(files, side.clock.now())
        side.remote.change(dict.fromkeys(files, b"more"))
        await side.tell(side.told(*files))
        await side.passes(2 * TICK_S)
        assert {side.node(name).size for name in files} == {4}


async def test_a_gap_in_the_feed_has_all_listed_again() -> None:
    async with side_of(feed=True) as side:
        await side.look("", "sub")
        await side.tell(Ready())
        side.remote.put(a=None, sub__c=None)
        await side.tell(Reset("too old"))
        await side.passes(2 * TICK_S)
        assert side.names() == {"b", "sub", "other"}
        assert side.names("sub") == {"deep"}


async def test_a_feed_that_is_given_up_is_asked_for_later_and_the_revision_meanwhile() -> None:
    async with side_of(feed=True) as side:
        await side.look("")
        await side.tell(Ready())
        await side.passes(TICK_S)
        await side.tell(FeedUnavailable("no more"))
        side.remote.put(a=None)
        await side.passes(TICK_S)
        assert "a" not in side.names(), "what the feed may have missed is looked for at once"
        side.remote.put(b=None)
        await side.passes(INTERVAL_S + TICK_S)
        assert "b" not in side.names()
        assert side.feed.begun == 1
        await side.passes(FEED_AGAIN_S)
        assert side.feed.begun == 2
        await side.tell(Ready())
        side.remote.put(new=b"1")
        await side.tell(side.told("new"))
        assert "new" in side.names()


async def test_a_change_told_while_an_older_listing_is_on_its_way_is_not_lost() -> None:
    async with side_of(feed=True) as side:
        await side.look("")
        await side.tell(Ready())
        await side.passes(TICK_S)
        answer = await Bucket.list(side.remote, "")
        go_on = asyncio.Event()
        real, answers = Bucket.list, [answer]

        async def late(directory: str) -> Any:
            if answers:
                await go_on.wait()
                return answers.pop()
            return await real(side.remote, directory)

        side.remote.list = late  # type: ignore[method-assign]  # an answer that was made before
        looking = asyncio.ensure_future(
            side.listings.listed(side.tree.root.fileid, side.clock.now())
        )
        await until(lambda: side.listings.is_asking(side.tree.root.fileid))
        side.remote.put(new=b"1")
        await side.tell(side.told("new"))
        go_on.set()
        await looking
        await side.passes(2 * TICK_S)
        assert "new" in side.names()


async def test_df_follows_the_bucket_while_the_feed_is_followed() -> None:
    async with side_of(feed=True) as side:
        await side.look("")
        await side.tell(Ready())
        await side.passes(TICK_S)
        side.remote.put(new=b"1")
        await side.tell(side.told("new"))
        side.remote.asked.clear()
        await side.passes(3 * INTERVAL_S)
        assert side.volume.revision.token == "1"
        assert side.remote.asked == [("revision", "")], "once, as nothing else was told"
