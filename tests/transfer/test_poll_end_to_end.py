"""The unmodified huggingface_hub changes a bucket of the local Hub, and a mount shows it."""

import asyncio
from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest

from hfnfs.clock import SystemClock
from hfnfs.localhub.background import HubThread
from hfnfs.transfer.listings import Listings
from hfnfs.transfer.poll import Poll, Rhythm
from hfnfs.vfs.attributes import Attributes
from hfnfs.vfs.data import Data
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.tree import Freshness, Tree
from hfnfs.vfs.volume import Volume
from tests.fakes.volume import MemoryExtents
from tests.hub import writing
from tests.localhub import clients
from tests.until import until
from tests.vfs.builders import APPEARANCE

CHANGE = """
add = [(data.encode(), path) for path, data in given["files"].items() if data is not None]
delete = [path for path, data in given["files"].items() if data is None]
api.batch_bucket_files(given["bucket"], add=add, delete=delete)
"""
BEFORE = {"a": b"1", "b": b"22", "c": b"3", "sub/c": b"333", "sub/deep/d": b"4444", "old/e": b"5"}
CHANGES = {
    "a": "changed",
    "b": None,
    "new/x/y": "1",
    "sub/deep/d": None,
    "sub/f": "6",
    "old/e": None,
}
AFTER = {"a": 7, "c": 1, "new": None, "sub": None, "sub/c": 3, "sub/f": 1}


@pytest.fixture
def thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubThread]:
    yield from writing.serving(tmp_path, monkeypatch)


def shown(directory: Directory, prefix: str = "") -> dict[str, int | None]:
    """Files that are shown and their sizes; directories have none."""
    found: dict[str, int | None] = {}
    for name, node in directory.children.items():
        path = prefix + name.decode()
        found[path] = None if isinstance(node, Directory) else node.size
        if isinstance(node, Directory):
            found |= shown(node, f"{path}/")
    return found


@pytest.mark.parametrize("is_fed", [True, False])
@pytest.mark.parametrize("folder", ["", "in/here"])
async def test_what_others_change_is_shown_without_being_looked_at(
    thread: HubThread, tmp_path: Path, folder: str, is_fed: bool
) -> None:
    clock, prefix = SystemClock(), f"{folder}/" if folder else ""
    thread.do(thread.hub.put(writing.BUCKET, {prefix + p: data for p, data in BEFORE.items()}))
    async with writing.connected(thread.hub, folder) as remote, asyncio.TaskGroup() as tasks:
        tree = Tree(APPEARANCE, Freshness(inf, 3), boot_verifier=b"bootboot", clock=clock)
        volume = Volume(
            b"volume01", await remote.revision(), tree=tree, data=Data(MemoryExtents()),
            attributes=Attributes(read_only=True),
        )  # fmt: skip
        listings = Listings(remote, tree, clock=clock, tasks=tasks, stall_timeout_s=60.0)
        await listings.all_listed(tree.root.fileid, clock.now())
        assert len(shown(tree.root)) == 9
        rhythm = Rhythm(0.01, 4, clock, lambda _: asyncio.sleep(0.01))
        changes = remote.changes if is_fed else None
        poll = Poll(remote, volume, listings, changes=changes, rhythm=rhythm)
        running = tasks.create_task(poll.run())
        files = {prefix + path: data for path, data in CHANGES.items()}
        home = tmp_path / "home"
        await asyncio.to_thread(
            clients.run, thread.hub, home, CHANGE, bucket=writing.BUCKET, files=files
        )
        await until(lambda: shown(tree.root) == AFTER)
        running.cancel()
