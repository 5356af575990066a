"""A mount without a kernel: the parts of a server as app.py joins them, over a faked far side."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from hfnfs.config import MountConfig
from hfnfs.disk.eviction import evict
from hfnfs.disk.extents import DiskExtents
from hfnfs.disk.names import KeptNames
from hfnfs.disk.records import DiskRecords
from hfnfs.nfs3.access import Access
from hfnfs.nfs3.client import NfsClient
from hfnfs.nfs3.export import Export
from hfnfs.nfs3.handle import HandleMaker
from hfnfs.nfs3.mountd import Mounts, ProgramMount3
from hfnfs.nfs3.program import ProgramNfs3
from hfnfs.nfs3.waiting import Waiting
from hfnfs.remote import Remote, Revision
from hfnfs.rpc.server import RpcServer
from hfnfs.transfer.fetch import Fetcher
from hfnfs.transfer.kept import KeptRemote
from hfnfs.transfer.listings import Listings
from hfnfs.transfer.pager import RemotePager
from hfnfs.transfer.verify import Verifier
from hfnfs.vfs.attributes import Appearance, Attributes
from hfnfs.vfs.data import Data
from hfnfs.vfs.tree import Freshness, Tree
from hfnfs.vfs.volume import Volume
from tests.fakes.clock import FakeClock
from tests.until import PATIENCE_S, until

TTL_S = 10.0
VOLUME_ID = b"8 bytes."


@dataclass
class Mount:
    """What a client holds, and what a test may do behind its back."""

    client: NfsClient
    port: int
    root: bytes
    blocks: Path
    extents: DiskExtents
    fetcher: Fetcher
    verifier: Verifier

    def evict_everything(self) -> None:
        """Leave no block in the cache that nobody is using."""
        self.extents.tidy()
        self.extents.tidy()  # what was read since the last time is closed at the second
        evict(self.blocks, 1 << 60, lambda path: True)

    async def verify(self) -> None:
        """Have everything compared with its hash that came whole."""
        await until(lambda: not self.fetcher._flying)
        for _ in range(2):
            await self.verifier.round()

    def kept(self) -> list[Path]:
        """Files of the cache that have bytes: segments of contents, and names."""
        files = [*self.blocks.glob("*/*"), *_names_beside(self.blocks).glob("*")]
        return [path for path in files if path.stat().st_size]

    def spoil(self, seed: int) -> None:
        """Alter a byte of every cached file, as a failing disk would."""
        for path in self.kept():
            data = bytearray(path.read_bytes())
            data[seed % len(data)] ^= 0xFF
            path.write_bytes(data)

    def cut(self, seed: int) -> None:
        """Take the end off every cached file, as a crash may."""
        for path in self.kept():
            os.truncate(path, seed % path.stat().st_size)


def _names_beside(blocks: Path) -> Path:
    return blocks.with_name("names")


@asynccontextmanager
async def mounted(remote: Remote, blocks: Path, clock: FakeClock) -> AsyncIterator[Mount]:
    """Serve `remote` with what the cache in `blocks` has, and connect to it."""
    config = MountConfig(source="test", cache_dir=blocks, stall_timeout_s=PATIENCE_S)
    extents = DiskExtents(blocks, 1 << 30)
    appearance = Appearance(7, 0, 0, 0o444, 0o555, modified_ns=5_000_000_000)
    freshness = Freshness(TTL_S, lookups_before_listing=2)
    tree = Tree(appearance, freshness, boot_verifier=b"bootboot", clock=clock)
    volume = Volume(
        VOLUME_ID,
        Revision("", 0),
        tree=tree,
        data=Data(extents),
        attributes=Attributes(read_only=True),
    )
    names = KeptNames(DiskRecords(_names_beside(blocks)))
    revision = (await remote.revision()).token if remote.immutable else ""
    remote = KeptRemote(remote, names, revision=revision, folder="", clock=clock)
    verifier = Verifier(extents)
    async with asyncio.TaskGroup() as tasks:
        fetcher = Fetcher(
            remote,
            verifier.watched(),
            config,
            tasks,
            clock=clock,
            tripwires=volume.data.tripwires,
        )
        pager = RemotePager(
            fetcher=fetcher,
            listings=Listings(remote, tree, clock=clock, tasks=tasks, stall_timeout_s=PATIENCE_S),
            extents=extents,
            tasks=tasks,
        )
        waiting = Waiting(pager, attempts_max=16, deadline_s=PATIENCE_S, hold_deadline_s=PATIENCE_S)
        access = Access()
        export = Export(volume, HandleMaker(bytes(32), VOLUME_ID))
        nfs = ProgramNfs3(export, access=access, waiting=waiting)
        mount = ProgramMount3(Mounts(export, [], access), access=access, waiting=waiting)
        server = RpcServer([nfs, mount], tasks=tasks)
        port = await server.start("127.0.0.1", 0)
        client = await NfsClient.connect("127.0.0.1", port, timeout_s=PATIENCE_S)
        try:
            yield Mount(client, port, await client.mount(), blocks, extents, fetcher, verifier)
        finally:
            await client.close()
            await server.close()
    extents.close()
