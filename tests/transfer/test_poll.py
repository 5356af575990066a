"""What others change in a bucket is shown, and never instead of what we changed since."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pytest

from hfnfs.errors import (
    FeedUnavailable,
    Forbidden,
    RateLimited,
    RemoteUnavailable,
)
from hfnfs.remote import (
    Changed,
    FeedEvent,
    Kind,
    Ready,
    RemoteEntry,
    Reset,
    Revision,
)
from hfnfs.transfer.listings import Listings
from hfnfs.transfer.poll import FEED_AGAIN_S, RETRY_S, TICK_S, Poll, Rhythm
from hfnfs.vfs.attributes import Attributes
from hfnfs.vfs.data import Data
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.node import FileType, Node
from hfnfs.vfs.tree import Freshness, Tree
from hfnfs.vfs.volume import Volume
from tests.fakes.clock import FakeClock
from tests.fakes.remote import FakeRemote
from tests.fakes.volume import MemoryExtents
from tests.until import until
from tests.vfs.builders import APPEARANCE

INTERVAL_S = 30.0
NEVER = float("nan")  # neither before nor after anything


class Bucket(FakeRemote):
    """Others change it: each change is another revision."""

    immutable = False

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(files)
        self.token = 0
        self.failing: dict[str, Exception] = {}  # listings, by directory

    async def revision(self) -> Revision:
        await self._request("revision", "")
        return Revision(str(self.token), 0)

    async def list(self, directory: str) -> Any:
        listing = await super().list(directory)
        if directory in self.failing:
            raise self.failing[directory]
        return listing

    def put(self, **files: bytes | None) -> None:
        self.change({name.replace("__", "/"): data for name, data in files.items()})

    def change(self, files: Mapping[str, bytes | None]) -> None:
        self.token += 1
        for path, data in files.items():
            self.files.pop(path, None)
            if data is not None:
                self.files[path] = data

    def listed(self) -> Sequence[str]:
        return [of for method, of in self.asked if method == "list"]

    def revisions(self) -> int:
        return [method for method, _ in self.asked].count("revision")


class Ours:
    """vfs.ours.Claims: what is held here, and until when others' answers are older."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.settled: dict[str, float] = {}

    def claims(self, directory: str, asked_at: float) -> set[str]:
        split = [path.rpartition("/") for path in (*self.held, *self.settled)]
        return {
            n for d, _, n in split if d == directory and self.claim(f"{d}/{n}"[not d :], asked_at)
        }

    def claim(self, path: str, asked_at: float) -> bool:
        return path in self.held or self.settled.get(path, NEVER) >= asked_at


Told: TypeAlias = FeedEvent | Exception


class FakeFeed:
    """A feed that tells what the test puts into it."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Told] = asyncio.Queue()
        self.begun = 0

    async def changes(self, since: str) -> AsyncGenerator[FeedEvent, None]:
        self.begun += 1
        while True:
            told = await self.queue.get()
            if isinstance(told, Exception):
                raise told
            yield told


class _Pause:
    """Somebody waits for time to pass."""

    def __init__(self, until: float, *, is_tick: bool) -> None:
        self.until = until
        self.is_tick = is_tick
        self.over = asyncio.Event()


async def turns() -> None:
    """Turns of the loop in which all that need not wait is done."""
    for _ in range(50):
        await asyncio.sleep(0)


class Side:
    """A tree, a bucket, and what keeps them alike. Time passes only in `passes`."""

    def __init__(self, tasks: asyncio.TaskGroup, files: dict[str, bytes], **how: Any) -> None:
        self.clock = FakeClock()
        self.remote = Bucket(files)
        self.ours = Ours()
        tree = Tree(
            APPEARANCE, Freshness(10.0, 3), boot_verifier=b"bootboot", clock=self.clock,
            claims=self.ours,
        )  # fmt: skip
        self.volume = Volume(
            b"volume01", Revision("0", 0), tree=tree, data=Data(MemoryExtents()),
            attributes=Attributes(read_only=True),
        )  # fmt: skip
        self.tree = tree
        self.listings = Listings(
            self.remote, tree, clock=self.clock, tasks=tasks, stall_timeout_s=60.0
        )
        self.feed = FakeFeed()
        rhythm = Rhythm(
            how.get("interval_s", INTERVAL_S), how.get("at_once", 4), self.clock, self._pause
        )
        self.poll = Poll(
            self.remote, self.volume, self.listings,
            changes=self.feed.changes if how.get("feed") else None, rhythm=rhythm,
        )  # fmt: skip
        self.pauses: list[_Pause] = []

    async def _pause(self, seconds: float) -> None:
        pause = _Pause(self.clock.now() + seconds, is_tick=seconds == TICK_S)
        self.pauses.append(pause)
        try:
            await pause.over.wait()
        finally:
            self.pauses.remove(pause)

    async def passes(self, seconds: float) -> None:
        """Let time pass, and let all be done that this makes due."""
        end = self.clock.now() + seconds
        while True:
            await self.quiet()
            first = min(self.pauses, key=lambda pause: pause.until)
            if first.until > end:
                break
            self.clock.advance(max(first.until - self.clock.now(), 0.0))
            first.over.set()
            await until(lambda: first not in self.pauses)  # noqa: B023  # awaited in its turn
        self.clock.advance(end - self.clock.now())

    async def quiet(self) -> None:
        """Wait until there is nothing to do but to let time pass."""
        await until(lambda: any(pause.is_tick for pause in self.pauses))
        await turns()

    async def tell(self, *events: Told) -> None:
        for event in events:
            self.feed.queue.put_nowait(event)
        await until(self.feed.queue.empty)
        await turns()

    def told(self, *paths: str) -> Changed:
        """What the feed would tell of those paths now."""
        return Changed({p: self.entry(p) if p in self.remote.files else None for p in paths})

    def entry(self, path: str) -> RemoteEntry:
        entry = self.remote._entry(path)
        assert entry.kind is Kind.FILE
        return entry

    async def look(self, *directories: str) -> None:
        for path in directories:
            await self.listings.listed(self.directory(path).fileid, self.clock.now())

    def directory(self, path: str) -> Directory:
        node = self.tree.at(path)
        assert isinstance(node, Directory), path
        return node

    def names(self, path: str = "") -> set[str]:
        return {name.decode() for name in self.directory(path).children}

    def node(self, path: str) -> Node:
        node = self.tree.at(path)
        assert node is not None, path
        return node


FILES = {"a": b"1", "b": b"22", "sub/c": b"333", "sub/deep/d": b"4444", "other/e": b"5"}


@asynccontextmanager
async def side_of(files: dict[str, bytes] = FILES, **how: Any) -> AsyncIterator[Side]:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks, dict(files), **how)
        running = tasks.create_task(side.poll.run())
        await side.quiet()
        yield side
        running.cancel()


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


@pytest.mark.xfail(
    strict=True, reason="Tree._leave_ours takes a name of another kind for one of ours"
)
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


@pytest.mark.xfail(
    strict=True, reason="Tree._leave_ours takes a name of another kind for one of ours"
)
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
