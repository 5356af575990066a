import asyncio
from collections.abc import Awaitable
from itertools import pairwise

import pytest

from hfnfs.disk.names import KeptNames
from hfnfs.disk.records import MemoryRecords
from hfnfs.errors import (
    NoEntry,
    RemoteCorrupt,
    RemoteEntryMissing,
    RemoteUnavailable,
    StaleHandle,
)
from hfnfs.remote import Kind, Listing, RemoteEntry
from hfnfs.transfer.kept import KeptRemote
from hfnfs.transfer.listings import Listings
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.needs import Listed, Named, NotYet
from hfnfs.vfs.node import FileType, Node
from hfnfs.vfs.tree import Freshness, Tree
from tests.fakes.clock import FakeClock
from tests.fakes.remote import FakeRemote
from tests.until import until
from tests.vfs.builders import APPEARANCE, entries_after

FILES = {"a": b"1", "b": b"22", "sub/c": b"333", "sub/deep/d": b"4444", "é": b"5"}


class Side:
    """A tree over a far side, with what makes it meet its needs."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        ttl_s: float = 10.0,
        patience_s: float = 60.0,
        nodes_soft_max: int = 1000,
    ):
        self.tasks = tasks
        self.clock = FakeClock()
        self.remote = FakeRemote(FILES)
        freshness = Freshness(ttl_s, 3, nodes_soft_max)
        self.tree = Tree(APPEARANCE, freshness, boot_verifier=b"bootboot", clock=self.clock)
        self.listings = Listings(
            self.remote, self.tree, clock=self.clock, tasks=tasks, stall_timeout_s=patience_s
        )

    @property
    def root(self) -> int:
        return self.tree.root.fileid

    async def lookup(self, name: bytes, directory: Node | None = None) -> Node:
        """As a LOOKUP does: ask the tree, meet what it needs, ask again."""
        for _ in range(8):
            try:
                return self.tree.lookup(directory or self.tree.root, name)
            except NotYet as not_yet:
                match not_yet.need:
                    case Named(fileid, wanted):
                        await self.listings.named(fileid, wanted)
                    case Listed(fileid, not_before):
                        await self.listings.listed(fileid, not_before)
        raise AssertionError("never met")


async def refused(work: Awaitable[None], error: type[Exception]) -> None:
    with pytest.raises(error):
        await work


async def test_many_callers_share_one_listing() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        for _ in range(100):
            tasks.create_task(side.listings.listed(side.root, side.clock.now()))
    assert side.remote.asked == [("list", "")]
    assert {name for _, name, _ in entries_after(side.tree.root, 0)} == {
        b".", b"..", b"a", b"b", b"sub", "é".encode(),
    }  # fmt: skip


async def test_a_listing_that_flew_before_we_asked_is_not_ours() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        side.remote.gate.close()
        tasks.create_task(side.listings.listed(side.root, side.clock.now()))
        await until(lambda: side.remote.gate.waiting == 1)
        side.clock.advance(5)
        tasks.create_task(side.listings.listed(side.root, side.clock.now() - 10))  # old enough
        late = [
            tasks.create_task(side.listings.listed(side.root, side.clock.now())) for _ in range(9)
        ]
        side.remote.files["new"] = b""
        side.remote.gate.open()
        await until(lambda: all(task.done() for task in late))
    assert side.remote.asked == [("list", "")] * 2
    assert (await side.lookup(b"new")).size == 0


async def test_directories_below_are_listed_by_their_path() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        sub = await side.lookup(b"sub")
        deep = await side.lookup(b"deep", sub)
        await side.listings.listed(deep.fileid, side.clock.now())
        assert (await side.lookup(b"d", deep)).size == 4
    assert side.remote.asked[-1] == ("list", "sub/deep")


async def test_a_name_is_asked_for_without_listing() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        assert (await side.lookup(b"b")).size == 2
        assert (await side.lookup(b"b")).size == 2
        with pytest.raises(NoEntry):
            await side.lookup(b"nothing")
        with pytest.raises(NoEntry):
            await side.lookup(b"nothing")
    assert side.remote.asked == [("find", "b"), ("find", "nothing")]


async def test_after_a_few_names_the_directory_is_listed_once() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        for n in range(20):
            with pytest.raises(NoEntry):
                await side.lookup(b"no-%d" % n)
        await side.lookup("é".encode())
    assert [method for method, _ in side.remote.asked] == ["find"] * 3 + ["list"]


@pytest.mark.parametrize("name", [b"sub", b"a"])
async def test_a_far_side_that_does_not_know_is_listed(name: bytes) -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        side.remote.finds = name == b"sub"  # which it leaves out, as it is a directory
        await side.lookup(name)
    assert side.remote.asked == [("find", name.decode()), ("list", "")]


async def test_names_asked_while_a_request_flies_go_together_in_the_next() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        side.remote.gate.close()
        tasks.create_task(side.listings.named(side.root, b"a"))
        await until(lambda: side.remote.gate.waiting == 1)
        for name in (b"b", b"x", b"y", b"b"):
            tasks.create_task(side.listings.named(side.root, name))
        for _ in range(9):
            await asyncio.sleep(0)
        assert side.remote.asked == [("find", "a")]
        side.remote.gate.open()
    assert side.remote.asked == [("find", "a"), ("find", "b x y")]


async def test_a_request_for_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hfnfs.transfer.listings._BATCH_NAMES_MAX", 4)
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        for n in range(10):
            tasks.create_task(side.listings.named(side.root, b"n%d" % n))
    assert [len(names.split()) for _, names in side.remote.asked] == [4, 4, 2]


async def test_a_name_joins_a_listing_that_flies() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        side.remote.gate.close()
        tasks.create_task(side.listings.listed(side.root, side.clock.now()))
        await until(lambda: side.remote.gate.waiting == 1)
        found = tasks.create_task(side.lookup(b"a"))
        for _ in range(9):
            await asyncio.sleep(0)
        side.remote.gate.open()
    assert found.result().size == 1
    assert side.remote.asked == [("list", "")]


@pytest.mark.parametrize("name", [b"", b"x/y", b"x\0", b"\xff\xfe"])
async def test_names_that_cannot_be_are_not_asked_for(name: bytes) -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        await side.listings.named(side.root, name)
    assert side.remote.asked == []
    assert name not in side.tree.root.children


async def test_a_failed_request_fails_its_names_and_not_the_next_ones() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        side.remote.failures["find"] = [RemoteUnavailable("no")]
        side.remote.gate.close()
        first = tasks.create_task(refused(side.listings.named(side.root, b"a"), RemoteUnavailable))
        await until(lambda: side.remote.gate.waiting == 1)
        tasks.create_task(side.listings.named(side.root, b"b"))
        side.remote.gate.open()
        await until(first.done)
        assert (await side.lookup(b"b")).size == 2
    assert side.remote.asked == [("find", "a"), ("find", "b")]


async def test_a_failed_listing_fails_all_who_wait_and_the_next_tries_again() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        side.remote.failures["list"] = [RemoteUnavailable("no")]
        now = side.clock.now()
        callers = [
            tasks.create_task(refused(side.listings.listed(side.root, now), RemoteUnavailable))
            for _ in range(5)
        ]
        await until(lambda: all(caller.done() for caller in callers))
        await side.listings.listed(side.root, now)
    assert side.remote.asked == [("list", "")] * 2


@pytest.mark.parametrize("method", ["list", "find"])
async def test_a_far_side_that_says_nothing_is_given_up(method: str) -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks, patience_s=0.0)
        side.remote.gate.close()
        if method == "list":
            asking = side.listings.listed(side.root, 0)
        else:
            asking = side.listings.named(side.root, b"a")
        with pytest.raises(RemoteUnavailable, match="no answer"):
            await asking


async def test_others_are_served_while_a_large_listing_is_taken_in() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        side.remote = FakeRemote({f"file-{number}": b"" for number in range(3000)})
        side.listings = Listings(
            side.remote, side.tree, clock=side.clock, tasks=tasks, stall_timeout_s=60.0
        )
        listing = tasks.create_task(side.listings.listed(side.root, side.clock.now()))
        taken_in = [side.tree.file_count]
        while not listing.done():
            await asyncio.sleep(0)
            taken_in.append(side.tree.file_count)
    steps = [after - before for before, after in pairwise(taken_in)]
    assert sum(steps) == 3000
    assert max(steps) <= 256


async def test_nodes_that_nobody_uses_make_room_for_a_listing() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks, nodes_soft_max=1)
        for directory in ("", "sub"):
            node = side.tree.root if not directory else await side.lookup(b"sub")
            await side.listings.listed(node.fileid, side.clock.now())
        assert set(side.tree.root.children) == {b"sub"}
        assert (await side.lookup(b"a")).name == b"a"


async def test_a_directory_that_is_gone_is_stale() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        file = await side.lookup(b"a")
        for fileid in (12345, file.fileid):
            with pytest.raises(StaleHandle):
                await side.listings.listed(fileid, 0)
            with pytest.raises(StaleHandle):
                await side.listings.named(fileid, b"x")


async def test_a_directory_that_goes_while_it_is_listed_is_stale() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        sub = await side.lookup(b"sub")
        side.remote.gate.close()
        caller = tasks.create_task(refused(side.listings.listed(sub.fileid, 0), StaleHandle))
        await until(lambda: side.remote.gate.waiting == 1)
        side.tree.apply_listing(side.tree.root, Listing("", {}))
        side.remote.gate.open()
        await until(caller.done)


# ------------------------------------------------------------ a far side that is away


NEVER = float("nan")  # neither before nor after anything


class Ours:
    """vfs.ours.Claims: names that are decided here, and until when others' answers are older."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.settled: dict[str, float] = {}

    def claims(self, directory: str, asked_at: float) -> set[str]:
        paths = [*self.held, *self.settled]
        return {
            path.rpartition("/")[2]
            for path in paths
            if path.rpartition("/")[0] == directory and self.claim(path, asked_at)
        }

    def claim(self, path: str, asked_at: float) -> bool:
        return path in self.held or self.settled.get(path, NEVER) >= asked_at


def recalling(side: Side, claims: Ours | None = None) -> None:
    """Let the side's far side be a bucket whose names are kept, and give it a new tree."""
    side.remote.immutable = False
    kept = KeptRemote(
        side.remote, KeptNames(MemoryRecords(1 << 20)), revision="", folder="", clock=side.clock
    )
    freshness = Freshness(10.0, 3, 1000)
    side.tree = Tree(
        APPEARANCE, freshness, boot_verifier=b"bootboot", clock=side.clock, claims=claims
    )
    side.listings = Listings(
        kept, side.tree, clock=side.clock, tasks=side.tasks, stall_timeout_s=60.0
    )


GONE = RemoteUnavailable("no answer")


async def test_while_nobody_answers_names_are_shown_as_they_were() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        recalling(side)
        await side.listings.listed(side.root, 0)
        await side.listings.named((await side.lookup(b"sub")).fileid, b"c")
        side.tree = Tree(
            APPEARANCE, Freshness(10.0, 3), boot_verifier=b"bootboot", clock=side.clock
        )
        side.listings._tree = side.tree
        side.remote.failures = {"list": [GONE] * 9, "find": [GONE] * 9}
        await side.listings.listed(side.root, 0)
        sub = await side.lookup(b"sub")
        assert (await side.lookup(b"c", sub)).size == 3


async def test_while_nobody_answers_what_is_shown_stays() -> None:
    async with asyncio.TaskGroup() as tasks:
        side, claims = Side(tasks), Ours()
        recalling(side, claims)
        await side.listings.listed(side.root, 0)
        sub = await side.lookup(b"sub")
        await side.lookup(b"c", sub)
        assert isinstance(sub, Directory)
        for directory in (side.tree.root, sub):  # made here, and on the Hub for an hour
            ours = side.tree.nodes.make(FileType.REG, directory, side.tree.path(directory) + "new")
            ours.name = b"new"
            side.tree.adopt(directory, ours)
        side.clock.advance(3600)
        side.remote.failures = {"list": [GONE] * 9, "find": [GONE] * 9}
        await side.listings.listed(side.root, side.clock.now())
        assert b"new" in side.tree.root.children
        assert await side.lookup(b"new")
        for name in (b"new", b"c"):
            await side.listings.named(sub.fileid, name)
        assert {b"new", b"c"} <= sub.children.keys()
        with pytest.raises(RemoteUnavailable):
            await side.listings.renewed(side.root, side.clock.now())


# ---------------------------------------------------------------- what is ours to decide


async def test_w22_what_was_asked_before_our_commit_does_not_undo_it() -> None:
    async with asyncio.TaskGroup() as tasks:
        side, claims = Side(tasks), Ours()
        recalling(side, claims)
        await side.listings.listed(side.root, 0)
        side.remote.gate.close()
        listing = tasks.create_task(side.listings.listed(side.root, side.clock.now()))
        await until(lambda: side.remote.gate.waiting == 1)
        side.clock.advance(1)
        ours = side.tree.nodes.make(FileType.REG, side.tree.root, "new")
        side.tree.adopt(side.tree.root, ours)
        claims.settled["new"] = side.clock.now()
        side.remote.gate.open()
        await listing
        assert side.tree.root.children[b"new"] is ours
        side.clock.advance(1)
        await side.listings.listed(side.root, side.clock.now())
        assert b"new" not in side.tree.root.children, "what is asked later says how it is"


async def test_w22_a_name_that_was_asked_for_before_our_commit_does_not_undo_it() -> None:
    async with asyncio.TaskGroup() as tasks:
        side, claims = Side(tasks), Ours()
        recalling(side, claims)
        side.remote.gate.close()
        answer = tasks.create_task(side.listings.named(side.root, b"new"))
        await until(lambda: side.remote.gate.waiting == 1)
        side.clock.advance(1)
        ours = side.tree.nodes.make(FileType.REG, side.tree.root, "new")
        side.tree.adopt(side.tree.root, ours)
        claims.settled["new"] = side.clock.now()
        side.remote.gate.open()
        await answer
        assert side.tree.root.children[b"new"] is ours


async def test_a_directory_that_only_we_have_lists_as_empty() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        recalling(side, Ours())
        mine = side.tree.nodes.make(FileType.DIR, side.tree.root, "mine")
        side.tree.adopt(side.tree.root, mine)
        assert side.tree.ours is not None
        side.tree.ours.local.add(mine)
        await side.listings.listed(mine.fileid, 0)
        assert isinstance(mine, Directory)
        assert mine.listed_at is not None


async def test_w23_a_directory_that_is_gone_from_the_hub_is_shown_no_more() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        sub = await side.lookup(b"sub")
        deep = await side.lookup(b"deep", sub)
        side.remote.files = {"a": b"1"}
        await refused(side.listings.listed(deep.fileid, side.clock.now()), RemoteEntryMissing)
        assert b"sub" not in side.tree.root.children
        with pytest.raises(StaleHandle):
            side.tree.node(deep.fileid, sub.fileid, 0)


async def test_a_directory_whose_names_cannot_be_shown_is_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        sub = await side.lookup(b"sub")
        listed = side.remote.list

        async def unshowable(directory: str) -> Listing:
            if directory:
                raise RemoteEntryMissing(directory)
            return await listed(directory)

        monkeypatch.setattr(side.remote, "list", unshowable)
        await side.listings.listed(sub.fileid, side.clock.now())
        assert side.tree.root.children[b"sub"] is sub
        assert isinstance(sub, Directory)
        assert not sub.children


# ----------------------------------------------------------------- all that is below


async def test_all_below_a_directory_is_listed_a_few_at_a_time() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        side.remote.files = {f"{n}/{m}/{k}": b"" for n in range(3) for m in range(5) for k in "ab"}
        side.remote.gate.close()
        everything = tasks.create_task(side.listings.all_listed(side.root, side.clock.now()))
        most = 0
        while not everything.done():
            for _ in range(20):  # turns, in which all that may ask does
                await asyncio.sleep(0)
            most = max(most, side.remote.gate.waiting)
            side.remote.gate.let_through(side.remote.gate.waiting)
        assert len(side.remote.asked) == 1 + 3 + 15
        assert most == 4
        assert len(side.tree.files_below(side.tree.root)) == 30
        await side.listings.all_listed(side.root, side.clock.now() - 1)
        assert len(side.remote.asked) == 1 + 3 + 15, "all of it is young"


async def test_a_directory_below_that_goes_meanwhile_is_no_failure() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        await side.listings.listed(side.root, side.clock.now())
        del side.remote.files["sub/c"], side.remote.files["sub/deep/d"]
        await side.listings.all_listed(side.root, side.clock.now() - 1)
        assert b"sub" not in side.tree.root.children


async def test_a_failure_below_is_raised_as_itself() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        await side.listings.listed(side.root, side.clock.now())
        side.remote.failures["list"] = [RemoteUnavailable("no")]
        with pytest.raises(RemoteUnavailable):
            await side.listings.all_listed(side.root, side.clock.now() - 1)


async def test_an_entry_of_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)

        async def lie(paths: list[str]) -> dict[str, RemoteEntry | None]:
            return {path: RemoteEntry("other", Kind.DIRECTORY) for path in paths}

        monkeypatch.setattr(side.remote, "find", lie)
        with pytest.raises(RemoteCorrupt):
            await side.listings.named(side.root, b"a")
