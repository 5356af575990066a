"""A repo at a branch: a new commit is shown as a whole, in one step, and nothing older after it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from math import inf

import pytest

from hfnfs.errors import (
    NoEntry,
    RemoteEntryMissing,
    RemoteUnavailable,
    RevisionMissing,
    StaleHandle,
)
from hfnfs.remote import Listing, RemoteEntry, Revision
from hfnfs.transfer.branch import Branch, BranchRemote, Follow
from hfnfs.transfer.listings import Listings
from hfnfs.transfer.poll import Rhythm
from hfnfs.vfs.attributes import Attributes
from hfnfs.vfs.data import Data
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.needs import Listed, Named, NotYet
from hfnfs.vfs.node import Node
from hfnfs.vfs.tree import Freshness, Tree
from hfnfs.vfs.volume import Volume
from tests.fakes.clock import FakeClock
from tests.fakes.remote import FakeRemote
from tests.fakes.volume import MemoryExtents
from tests.until import until
from tests.vfs.builders import APPEARANCE

OLD = {"a": b"1", "b": b"22", "sub/c": b"333", "sub/deep/d": b"4444", "other/e": b"5"}
NEW = {"a": b"longer", "new": b"n", "sub/c": b"333", "sub/c2": b"x", "other": b"file"}


class Commit(FakeRemote):
    """A repo at one commit; no date of any file is known."""

    def __init__(self, name: str, files: Mapping[str, bytes]) -> None:
        super().__init__(files)
        self.name = name

    async def revision(self) -> Revision:
        return Revision(self.name, 0)

    async def list(self, directory: str) -> Listing:
        return Listing(self.name, (await super().list(directory)).entries)

    def _entry(self, path: str) -> RemoteEntry:
        entry = super()._entry(path)
        return RemoteEntry(entry.name, entry.kind, entry.content, None)


class Side:
    """A tree over a branch, of which the test says at which commit it is."""

    def __init__(self, tasks: asyncio.TaskGroup, *commits: Commit) -> None:
        self.clock = FakeClock()
        self.commits = {commit.name: commit for commit in commits}
        self.at = commits[0].name
        self.failures: list[Exception] = []
        self.remembered: list[str] = []
        self.remote = BranchRemote(commits[0])
        branch = Branch(self.remote, self._probe, self._remote_at, self._remember)
        self.tree = Tree(APPEARANCE, Freshness(inf, 3), boot_verifier=b"bootboot", clock=self.clock)
        self.volume = Volume(
            b"volume01", Revision(self.at, 0), tree=self.tree, data=Data(MemoryExtents()),
            attributes=Attributes(read_only=True),
        )  # fmt: skip
        self.listings = Listings(
            self.remote, self.tree, clock=self.clock, tasks=tasks, stall_timeout_s=60.0
        )
        self.paused: asyncio.Queue[float] = asyncio.Queue()
        self.go_on = asyncio.Semaphore(0)
        self.follow = Follow(branch, self.volume, Rhythm(30.0, 4, self.clock, self._pause))

    async def _probe(self) -> Revision:
        if self.failures:
            raise self.failures.pop(0)
        return await self.commits[self.at].revision()

    async def _remote_at(self, revision: Revision) -> Commit:
        return self.commits[revision.token]

    async def _remember(self, revision: Revision) -> None:
        self.remembered.append(revision.token)

    async def _pause(self, seconds: float) -> None:
        await self.paused.put(seconds)
        await self.go_on.acquire()

    async def look(self, *directories: str) -> None:
        for path in directories:
            await self.listings.listed(self.directory(path).fileid, self.clock.now())

    async def lookup(self, path: str) -> Node:
        """As LOOKUPs of all its parts do."""
        node: Node = self.tree.root
        for name in path.encode().split(b"/"):
            node = await self._lookup(node, name)
        return node

    async def _lookup(self, directory: Node, name: bytes) -> Node:
        for _ in range(8):
            try:
                return self.tree.lookup(directory, name)
            except NotYet as not_yet:
                match not_yet.need:
                    case Named(fileid, wanted):
                        await self.listings.named(fileid, wanted)
                    case Listed(fileid, not_before):
                        await self.listings.listed(fileid, not_before)
        raise AssertionError("never met")

    def directory(self, path: str) -> Directory:
        node = self.tree.at(path)
        assert isinstance(node, Directory), path
        return node

    def names(self, path: str = "") -> set[str]:
        return {name.decode() for name in self.directory(path).children}

    async def walk(self) -> dict[str, int]:
        """All files and their sizes, as a user finds them."""
        await self.listings.all_listed(self.tree.root.fileid, -inf)
        files = self.tree.files_below(self.tree.root)
        return {self.tree.path(node): node.size for node in files}


def sizes(files: Mapping[str, bytes]) -> dict[str, int]:
    return {path: len(data) for path, data in files.items()}


@asynccontextmanager
async def side_of(*commits: Mapping[str, bytes]) -> AsyncIterator[Side]:
    named = [Commit(f"c{number}", files) for number, files in enumerate(commits or (OLD, NEW))]
    async with asyncio.TaskGroup() as tasks:
        yield Side(tasks, *named)


async def test_w20_a_new_commit_of_the_branch_is_shown() -> None:
    async with side_of() as side:
        await side.look("", "sub", "other")
        kept = side.tree.at("a")
        side.at = "c1"
        await side.follow.turn()
        assert side.names() == {"a", "new", "sub", "other"}
        assert side.names("sub") == {"c", "c2"}
        assert side.tree.at("a") is kept
        assert await side.walk() == sizes(NEW)
        assert side.volume.revision.token == "c1"
        assert side.remembered == ["c1"]
        assert side.commits["c0"].asked.count(("list", "sub")) == 1


async def test_while_there_is_no_new_commit_nothing_is_asked() -> None:
    async with side_of() as side:
        await side.look("", "sub")
        asked = len(side.commits["c0"].asked)
        await side.follow.turn()
        assert len(side.commits["c0"].asked) == asked


async def test_a_commit_is_shown_in_one_step() -> None:
    async with side_of() as side:
        await side.look("", "sub", "other")
        side.at = "c1"
        new = side.commits["c1"]
        new.gate.close()
        turning = asyncio.ensure_future(side.follow.turn())
        seen = []
        while not turning.done():
            for _ in range(20):  # turns, in which all that may happen does
                await asyncio.sleep(0)
            seen.append((side.names(), side.tree.at("sub/c2") is not None))
            new.gate.let_through(1)
        await turning
        assert all(each == ({"a", "b", "sub", "other"}, False) for each in seen[:-1])
        assert len(seen) > 3


async def test_w21_a_commit_that_cannot_be_fetched_leaves_all_as_it_is() -> None:
    async with side_of() as side:
        await side.look("", "sub", "other")
        side.at = "c1"
        side.commits["c1"].failures["list"] = [RemoteUnavailable("away")]
        with pytest.raises(RemoteUnavailable):
            await side.follow.turn()
        assert side.names() == {"a", "b", "sub", "other"}
        assert (await side.lookup("sub/deep/d")).size == 4, "also what was not looked at"
        await side.follow.turn()
        assert await side.walk() == sizes(NEW)


async def test_an_answer_of_the_old_commit_that_comes_later_is_not_shown() -> None:
    async with side_of() as side:
        await side.look("")
        old = side.commits["c0"]
        old.gate.close()
        looking = asyncio.ensure_future(side.look("sub"))
        naming = asyncio.ensure_future(side.listings.named(side.directory("other").fileid, b"e"))
        await until(lambda: old.gate.waiting == 2)
        side.at = "c1"
        await side.follow.turn()
        old.gate.open()
        await asyncio.wait([looking, naming])
        assert looking.exception() is None
        assert isinstance(naming.exception(), StaleHandle | RemoteEntryMissing)
        assert side.names("sub") == {"c", "c2"}


async def test_a_large_listing_that_is_being_taken_in_is_given_up() -> None:
    files = {f"sub/{number}": b"" for number in range(3000)}
    async with side_of(files, {"sub/new": b"1"}) as side:
        await side.look("")
        looking = asyncio.ensure_future(side.look("sub"))
        await until(lambda: side.directory("sub").draft is not None)
        side.at = "c1"
        await side.follow.turn()
        await looking
        assert await side.walk() == {"sub/new": 1}
        assert side.tree.file_count == 1


async def test_names_that_were_asked_for_are_of_the_new_commit() -> None:
    async with side_of() as side:
        for name in ("a", "b", "new"):
            if name == "new":
                with pytest.raises(NoEntry):
                    await side.lookup(name)
            else:
                await side.lookup(name)
        side.at = "c1"
        await side.follow.turn()
        assert (await side.lookup("a")).size == 6
        assert (await side.lookup("new")).size == 1
        with pytest.raises(NoEntry):
            await side.lookup("b")
        assert [m for m, _ in side.commits["c1"].asked] == ["find"], "all of them at once"


async def test_directories_beyond_the_bound_are_listed_when_they_are_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hfnfs.transfer.branch._DIRECTORIES_MAX", 1)
    async with side_of() as side:
        await side.look("", "sub", "sub/deep", "other")
        c = side.tree.at("sub/c")
        assert c is not None
        before_ns = side.directory("sub").mtime_ns
        side.at = "c1"
        await side.follow.turn()
        assert side.directory("sub").mtime_ns > before_ns, "so that clients ask again"
        with pytest.raises(NotYet):
            side.tree.node(c.fileid, side.directory("sub").fileid, c.generation)
        assert await side.walk() == sizes(NEW)
        again = side.tree.at("sub/c")
        assert again is not None
        assert (again.fileid, again.generation) == (c.fileid, c.generation)


async def test_entries_beyond_the_bound_are_listed_when_they_are_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("hfnfs.transfer.branch._ENTRIES_MAX", 1)
    async with side_of() as side:
        await side.look("", "sub", "sub/deep", "other")
        side.at = "c1"
        await side.follow.turn()
        assert await side.walk() == sizes(NEW)


async def test_a_mounted_folder_that_a_commit_takes_away_is_empty() -> None:
    async with side_of(OLD, {}) as side:
        await side.look("", "sub")

        async def gone(directory: str) -> Listing:
            raise RemoteEntryMissing(directory)

        side.commits["c1"].list = gone  # type: ignore[method-assign]  # as of a folder
        side.at = "c1"
        await side.follow.turn()
        assert side.names() == set()


async def test_failures_are_said_once_and_end_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with side_of() as side, asyncio.TaskGroup() as tasks:
        await side.look("")
        running = tasks.create_task(side.follow.run())
        side.failures = [RevisionMissing("no such branch")] * 3
        side.at = "c1"
        for _ in range(5):
            assert await side.paused.get() == 30.0
            side.go_on.release()
        await side.paused.get()
        assert side.volume.revision.token == "c1"
        said = [r for r in caplog.records if r.levelno >= logging.WARNING]
        assert len(said) == 1
        running.cancel()
