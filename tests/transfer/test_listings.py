import asyncio
from collections.abc import Awaitable
from itertools import pairwise

import pytest

from hfnfs.errors import NoEntry, RemoteCorrupt, RemoteUnavailable, StaleHandle
from hfnfs.remote import Kind, Listing, RemoteEntry
from hfnfs.transfer.listings import Listings
from hfnfs.vfs.needs import Listed, Named, NotYet
from hfnfs.vfs.node import Node
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


async def test_an_entry_of_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)

        async def lie(paths: list[str]) -> dict[str, RemoteEntry | None]:
            return {path: RemoteEntry("other", Kind.DIRECTORY) for path in paths}

        monkeypatch.setattr(side.remote, "find", lie)
        with pytest.raises(RemoteCorrupt):
            await side.listings.named(side.root, b"a")
