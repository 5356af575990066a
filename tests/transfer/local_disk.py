"""A volume's writing on a real staging directory and a real state."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hfnfs.disk import staging as staging_module
from hfnfs.disk.pieces import lost, put_back
from hfnfs.disk.snapshot import sync_bytes
from hfnfs.disk.staged_file import LITTLE_BYTES_MAX
from hfnfs.disk.staging import Staging
from hfnfs.disk.state import State
from hfnfs.remote import ContentId
from hfnfs.transfer.durable import LocalPager
from hfnfs.vfs.data import Data
from hfnfs.vfs.journal import Journal
from hfnfs.vfs.node import FileType, Node
from hfnfs.vfs.tree import Freshness, Tree
from hfnfs.vfs.writing import Bounds, Writing
from tests.fakes.clock import FakeClock
from tests.until import PATIENCE_S
from tests.vfs.builders import APPEARANCE
from tests.vfs.writers import AllExtents, RecordingKeeper

BYTES_MAX = 256 * 1024
MUCH = b"m" * (LITTLE_BYTES_MAX + 1)  # more than is kept in the state


class Disk:
    """A volume's writing on a real disk."""

    def __init__(self, home: Path, tasks: asyncio.TaskGroup, unsynced_bytes_max: int) -> None:
        clock = FakeClock()
        self.db = State(home / "state")
        self.kept = self.db.load()
        self.staging = Staging(home / "staging", BYTES_MAX)
        known = {overlay.fileid for overlay in self.kept.overlays}
        missing = self.staging.open(known).missing
        assert not lost(self.kept.overlays, self.kept.pieces, missing)
        put_back(self.staging, self.kept.pieces, known)
        self.tree = Tree(APPEARANCE, Freshness(1e9, 3), boot_verifier=b"bootboot", clock=clock)
        self.data = Data(AllExtents(), self.staging)
        journal = Journal(self.db)
        self.writing = Writing(
            self.tree, self.data, journal, RecordingKeeper(), clock, Bounds(unsynced_bytes_max)
        )
        self.writing.pieces.restored(self.kept.pieces)
        journal.submit()
        self.hurried = 0
        self.pager = LocalPager(self.writing, self.staging, self.db, journal, tasks, self.hurry)
        self.db.start(self.pager.told)
        self.journal = journal

    def hurry(self) -> None:
        self.hurried += 1

    def file(self, name: str) -> Node:
        node = self.tree.nodes.make(FileType.REG, self.tree.root, name)
        self.tree.root.put({name.encode(): node})
        return node

    async def commit(self, node: Node) -> None:
        async with self.pager.meet(self.writing.durable(node)):
            pass

    def settle(self, node: Node) -> None:
        data = bytes(self.data.read(node, 0, node.size + 1)[0])
        extents = self.data._extents
        assert isinstance(extents, AllExtents)
        content = ContentId(f"git-{node.fileid:x}", len(data))
        extents.contents[content] = data
        self.writing.settle(node, self.writing.durable(node).version, content)


@asynccontextmanager
async def a_disk(home: Path, unsynced_bytes_max: int = 1 << 30) -> AsyncIterator[Disk]:
    disk = None
    try:
        async with asyncio.TaskGroup() as tasks:
            disk = Disk(home, tasks, unsynced_bytes_max)
            running = tasks.create_task(disk.pager.run())
            try:
                yield disk
            finally:
                running.cancel()
    finally:
        if disk is not None:
            await asyncio.to_thread(disk.db.close)
            disk.staging.close()


def with_gate(monkeypatch: pytest.MonkeyPatch, before: Callable[[], None]) -> None:
    """Let syncs do something before."""
    sync = sync_bytes

    def gated(fd: int) -> None:
        before()
        sync(fd)

    monkeypatch.setattr(staging_module, "sync_bytes", gated)


def held_syncs(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Let syncs wait: an event that one has begun, and one that lets them go on."""
    began, go_on = threading.Event(), threading.Event()

    def before() -> None:
        began.set()
        assert go_on.wait(PATIENCE_S)

    with_gate(monkeypatch, before)
    return began, go_on


def lose_the_power(home: Path) -> None:
    """Nothing is left of what was staged and not synced."""
    for path in (home / "staging").iterdir():
        if path.is_file():
            path.unlink()
