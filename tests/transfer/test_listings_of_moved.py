"""Listings of directories that are renamed while they are asked for."""

import asyncio

import pytest

from hfnfs.vfs.directory import Directory
from tests.fakes.remote import FakeRemote
from tests.transfer.test_listings import Ours, Side, recalling
from tests.until import until


async def moved_while_asked(side: Side, *, single_name: bool) -> Directory:
    """ "sub" becomes "moved", here and on the far side, between its listing and the answer."""
    await side.listings.listed(side.root, 0)
    sub = side.tree.root.children[b"sub"]
    assert isinstance(sub, Directory)
    side.remote.gate.close()
    asked = (
        side.listings.named(sub.fileid, b"c")
        if single_name
        else side.listings.listed(sub.fileid, side.clock.now())
    )
    answer = side.tasks.create_task(asked)
    await until(lambda: side.remote.gate.waiting == 1)
    side.tree.move(sub, side.tree.root, b"moved")
    assert side.tree.ours is not None
    side.tree.ours.local.add(sub)
    side.remote.gate.open()
    await answer
    return sub


@pytest.mark.parametrize("single_name", [True, False])
async def test_what_was_at_the_old_path_is_not_shown_at_the_new_one(single_name: bool) -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        recalling(side, Ours())
        sub = await moved_while_asked(side, single_name=single_name)
        assert not sub.children


async def test_a_large_listing_comes_to_nothing_when_its_directory_moves() -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks)
        side.remote = FakeRemote({f"sub/{number}": b"" for number in range(2000)})
        recalling(side, Ours())
        await side.listings.listed(side.root, 0)
        sub = side.tree.root.children[b"sub"]
        assert isinstance(sub, Directory)
        listing = tasks.create_task(side.listings.listed(sub.fileid, side.clock.now()))
        await until(lambda: sub.draft is not None)
        side.tree.move(sub, side.tree.root, b"moved")
        assert side.tree.ours is not None
        side.tree.ours.local.add(sub)
        await listing
        assert not sub.children
        assert sub.listed_at is not None
