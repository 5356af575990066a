"""A repo of the local Hub gets new commits, and a mount of a branch follows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path

from hfnfs.clock import SystemClock
from hfnfs.disk.layout import open_cache
from hfnfs.hub.source import parse
from hfnfs.localhub.hub import LocalHub
from hfnfs.remote import ContentId, Remote
from hfnfs.transfer.branch import Follow
from hfnfs.transfer.listings import Listings
from hfnfs.transfer.opening import Opened, Opening
from hfnfs.transfer.poll import Rhythm
from hfnfs.vfs.attributes import Attributes
from hfnfs.vfs.data import Data
from hfnfs.vfs.tree import Freshness, Tree
from hfnfs.vfs.volume import Volume
from tests.fakes.volume import MemoryExtents
from tests.hub.fakes import Clock, account_at, http_at
from tests.vfs.builders import APPEARANCE

REPO = "org/m"


class Mounted:
    """A repo as it is mounted, without a server."""

    def __init__(self, opened: Opened, tasks: asyncio.TaskGroup) -> None:
        clock = SystemClock()
        self.remote: Remote = opened.remote
        self.tree = Tree(APPEARANCE, Freshness(inf, 3), boot_verifier=b"bootboot", clock=clock)
        self.volume = Volume(
            b"volume01", opened.revision, tree=self.tree, data=Data(MemoryExtents()),
            attributes=Attributes(read_only=True),
        )  # fmt: skip
        self.listings = Listings(
            opened.remote, self.tree, clock=clock, tasks=tasks, stall_timeout_s=60.0
        )
        assert opened.branch is not None
        self.follow = Follow(opened.branch, self.volume, Rhythm(30.0, 4, clock, asyncio.sleep))

    async def walk(self) -> dict[str, bytes]:
        await self.listings.all_listed(self.tree.root.fileid, -inf)
        files = self.tree.files_below(self.tree.root)
        return {self.tree.path(node): await self.read(node.content) for node in files}

    async def read(self, content: ContentId | None) -> bytes:
        assert content is not None
        pieces = self.remote.open(content, 0, content.size)
        return b"".join([bytes(piece.data) async for piece in pieces])


@asynccontextmanager
async def mounted(hub: LocalHub, directory: Path, text: str) -> AsyncIterator[Mounted]:
    clock = Clock()
    async with http_at(clock) as http, asyncio.TaskGroup() as tasks:
        cache = open_cache(directory / "cache")
        opening = Opening(account_at(hub.endpoint, clock, None), http, cache, clock)
        yield Mounted(await opening.open(parse(text), offline=False), tasks)


async def test_w20_the_revision_that_is_mounted_is_followed_and_no_other(tmp_path: Path) -> None:
    async with LocalHub(tmp_path / "hub", clock=Clock()) as hub:
        await hub.create_repo("model", REPO)
        first = await hub.commit("model", REPO, {"a": b"1", "sub/b": b"22"})
        await hub.commit("model", REPO, {"pr": b"1"}, revision="refs/pr/1")
        async with mounted(hub, tmp_path, f"{REPO}@refs/pr/1") as mount:
            before = await mount.walk()
            await hub.commit("model", REPO, {"main": b"only"})
            await mount.follow.turn()
            assert await mount.walk() == before
            await hub.commit(
                "model", REPO, {"sub/b": b"changed", "new/x": b"1"}, revision="refs/pr/1"
            )
            await mount.follow.turn()
            assert await mount.walk() == {**before, "sub/b": b"changed", "new/x": b"1"}
        async with http_at(Clock()) as http:
            cache = open_cache(tmp_path / "cache")
            opening = Opening(account_at(hub.endpoint, Clock(), None), http, cache, Clock())
            pinned = await opening.open(parse(f"{REPO}@{first}"), offline=False)
            assert pinned.branch is None, "a commit is what it is"
            again = await opening.open(parse(f"{REPO}@refs/pr/1"), offline=True)
            assert again.revision == mount.volume.revision, "what was adopted is remembered"
            assert again.branch is None


async def test_old_bytes_stay_readable_after_a_new_commit(tmp_path: Path) -> None:
    async with LocalHub(tmp_path / "hub", clock=Clock()) as hub:
        await hub.create_repo("model", REPO)
        await hub.commit("model", REPO, {"plain.txt": b"old plain"}, plain=True)
        await hub.commit("model", REPO, {"xet.bin": b"old xet"})
        async with mounted(hub, tmp_path, REPO) as mount:
            await mount.walk()
            old = [node.content for node in mount.tree.files_below(mount.tree.root)]
            await hub.commit("model", REPO, {"plain.txt": b"new", "xet.bin": b"newer"}, plain=True)
            await mount.follow.turn()
            assert await mount.walk() == {"plain.txt": b"new", "xet.bin": b"newer"}
            assert {await mount.read(content) for content in old} == {b"old plain", b"old xet"}
