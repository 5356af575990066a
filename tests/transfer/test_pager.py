import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hfnfs.config import BLOCK_BYTES, GIB, MIB, MountConfig
from hfnfs.disk.extents import DiskExtents
from hfnfs.disk.memory import MemoryExtents
from hfnfs.disk.overflow import OverflowingExtents
from hfnfs.errors import RemoteUnavailable
from hfnfs.transfer.fetch import Fetcher
from hfnfs.transfer.listings import Listings
from hfnfs.transfer.pager import RemotePager
from hfnfs.vfs.data import Data
from hfnfs.vfs.needs import Extent, Listed, Named, NotYet, Pager, Resident
from hfnfs.vfs.node import Node
from hfnfs.vfs.tree import Freshness, Tree
from tests.disk.failing import CacheDisk
from tests.fakes.clock import FakeClock
from tests.fakes.remote import FakeRemote, Pattern
from tests.until import until
from tests.vfs.builders import APPEARANCE

SIZE = 3 * MIB + 11


class Mount:
    """All of the read side but the wire."""

    def __init__(self, extents: DiskExtents, tmp_path: Path, tasks: asyncio.TaskGroup) -> None:
        clock = FakeClock()
        self.extents = extents
        self.remote = FakeRemote({"f": Pattern(SIZE)})
        self.tree = Tree(APPEARANCE, Freshness(10.0, 3), boot_verifier=b"bootboot", clock=clock)
        self.data = Data(extents)
        config = MountConfig("me/repo", tmp_path)
        self.pager: Pager = RemotePager(
            fetcher=Fetcher(
                self.remote, extents, config, tasks, clock=clock, tripwires=self.data.tripwires
            ),
            listings=Listings(
                self.remote, self.tree, clock=clock, tasks=tasks, stall_timeout_s=60.0
            ),
            extents=extents,
            tasks=tasks,
        )

    async def node(self) -> Node:
        async with self.pager.meet(Named(self.tree.root.fileid, b"f")):
            return self.tree.lookup(self.tree.root, b"f")

    async def read(self, node: Node, offset: int, count: int) -> tuple[bytes, list[type]]:
        """Bytes, and the kinds of needs that had to be met."""
        met: list[type] = []
        async with asyncio.timeout(100):
            while True:
                try:
                    return bytes(self.data.read(node, offset, count)[0]), met
                except NotYet as not_yet:
                    met.append(type(not_yet.need))
                    async with self.pager.meet(not_yet.need):
                        pass


@pytest.fixture
def extents(tmp_path: Path) -> Iterator[DiskExtents]:
    (tmp_path / "blocks").mkdir()
    made = DiskExtents(tmp_path / "blocks", GIB)
    yield made
    assert not made._pins, "pins left"
    made.close()


@pytest.fixture
def cache_disk(monkeypatch: pytest.MonkeyPatch) -> CacheDisk:
    """What the block cache writes to, with room."""
    return CacheDisk(monkeypatch)


async def test_a_read_is_met_and_then_a_hit(extents: DiskExtents, tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        mount = Mount(extents, tmp_path, tasks)
        node = await mount.node()
        data, met = await mount.read(node, 1000, 5 * BLOCK_BYTES)
        assert data == Pattern(SIZE)[1000 : 1000 + 5 * BLOCK_BYTES]
        assert met == [Extent]
        assert (await mount.read(node, 1000, 5 * BLOCK_BYTES))[1] == []


async def test_after_a_restart_bytes_are_checked_and_not_fetched(
    extents: DiskExtents, tmp_path: Path
) -> None:
    async with asyncio.TaskGroup() as tasks:
        mount = Mount(extents, tmp_path, tasks)
        await mount.read(await mount.node(), 0, SIZE)
    again = DiskExtents(tmp_path / "blocks", GIB)
    async with asyncio.TaskGroup() as tasks:
        mount = Mount(again, tmp_path, tasks)
        data, met = await mount.read(await mount.node(), 0, SIZE)
        assert data == Pattern(SIZE)[0:SIZE]
        assert met == [Resident]
        assert mount.remote.opened == []
    again.close()


async def test_a_corrupt_block_is_fetched_again(extents: DiskExtents, tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        mount = Mount(extents, tmp_path, tasks)
        await mount.read(await mount.node(), 0, SIZE)
    extents.close()
    (segment,) = (path for path in (tmp_path / "blocks").glob("??/*"))
    with segment.open("r+b") as file:
        file.seek(4096 + 2 * BLOCK_BYTES + 5)
        file.write(b"#")
    again = DiskExtents(tmp_path / "blocks", GIB)
    async with asyncio.TaskGroup() as tasks:
        mount = Mount(again, tmp_path, tasks)
        data, met = await mount.read(await mount.node(), 0, MIB)
        assert data == Pattern(SIZE)[0:MIB]
        assert met == [Resident, Extent]
        assert mount.remote.opened == [("f", 2 * BLOCK_BYTES, 3 * BLOCK_BYTES)]
    again.close()


async def test_a_read_of_bytes_on_the_disk_and_in_memory_is_met(
    extents: DiskExtents, tmp_path: Path, cache_disk: CacheDisk
) -> None:
    async with asyncio.TaskGroup() as tasks:
        mount = Mount(extents, tmp_path, tasks)
        await mount.read(await mount.node(), 0, 3 * BLOCK_BYTES)
    extents.close()
    memory = MemoryExtents(2 * BLOCK_BYTES)
    again = OverflowingExtents(tmp_path / "blocks", GIB, memory, FakeClock())
    cache_disk.fill()
    async with asyncio.TaskGroup() as tasks:
        mount = Mount(again, tmp_path, tasks)
        node = await mount.node()
        async with mount.pager.meet(Extent(mount.remote.content("f"), 0, MIB)):
            assert again.has(mount.remote.content("f"), 0, MIB)
            assert mount.remote.opened == [("f", 3 * BLOCK_BYTES, MIB)]
            data, met = await mount.read(node, 0, MIB)
            assert data == Pattern(SIZE)[0:MIB]
            assert met == [Resident]
            assert memory.bytes_kept == MIB - 3 * BLOCK_BYTES  # pinned, beyond the bound
        assert memory.bytes_kept <= 2 * BLOCK_BYTES
        # Each round's bytes stay for the next, however little can be kept.
        async with AsyncExitStack() as pinned:
            for offset in range(0, SIZE - MIB, MIB // 2):
                for _ in range(3):
                    try:
                        data = bytes(mount.data.read(node, offset, MIB)[0])
                        break
                    except NotYet as not_yet:
                        await pinned.enter_async_context(mount.pager.meet(not_yet.need))
                assert data == Pattern(SIZE)[offset : offset + MIB]
    assert not again._pins
    assert not memory._pins
    again.close()


async def test_equal_checks_are_done_once(
    extents: DiskExtents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[tuple[int, int]] = []
    monkeypatch.setattr(extents, "make_resident", lambda _, *range_: checked.append(range_))
    async with asyncio.TaskGroup() as tasks:
        mount = Mount(extents, tmp_path, tasks)
        content = mount.remote.content("f")

        async def meet() -> None:
            async with mount.pager.meet(Resident(content, 0, MIB)):
                pass

        for _ in range(50):
            tasks.create_task(meet())
    assert checked == [(0, MIB)]


@pytest.mark.parametrize("kind", [Extent, Resident])
async def test_bytes_are_pinned_until_the_block_is_left(
    extents: DiskExtents, tmp_path: Path, kind: type[Extent] | type[Resident]
) -> None:
    async with asyncio.TaskGroup() as tasks:
        mount = Mount(extents, tmp_path, tasks)
        async with mount.pager.meet(kind(mount.remote.content("f"), 0, 1)):
            assert extents._pins
        # the flight's own pin ends with the flight; the fixture sees that none is left


async def test_a_failure_unpins(extents: DiskExtents, tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        mount = Mount(extents, tmp_path, tasks)
        mount.remote.failures["open"] = [RemoteUnavailable("no")]
        with pytest.raises(RemoteUnavailable):
            await mount.read(await mount.node(), 0, 1)


async def test_a_cancelled_wait_unpins(extents: DiskExtents, tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        mount = Mount(extents, tmp_path, tasks)
        node = await mount.node()
        mount.remote.pieces_gate.close()
        reader = tasks.create_task(mount.read(node, 0, 1))
        await until(lambda: mount.remote.pieces_gate.waiting == 1)
        assert extents._pins
        reader.cancel()
        await asyncio.sleep(0)
        mount.remote.pieces_gate.open()


async def test_listings_are_met(extents: DiskExtents, tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        mount = Mount(extents, tmp_path, tasks)
        async with mount.pager.meet(Listed(mount.tree.root.fileid, 0.0)):
            assert mount.tree.lookup(mount.tree.root, b"f").size == SIZE
