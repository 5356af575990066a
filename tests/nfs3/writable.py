"""Our own client, over the wire, on a volume that takes changes; the far side is in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from hfnfs.nfs3.access import Access
from hfnfs.nfs3.client import NfsClient
from hfnfs.nfs3.export import Export
from hfnfs.nfs3.handle import HandleMaker
from hfnfs.nfs3.mountd import Mounts, ProgramMount3
from hfnfs.nfs3.program import ProgramNfs3
from hfnfs.nfs3.waiting import Waiting
from hfnfs.remote import Revision
from hfnfs.rpc.message import AuthSys
from hfnfs.rpc.server import RpcServer
from hfnfs.vfs.attributes import Attributes
from hfnfs.vfs.needs import Cloned, Durable, Journaled, Need, Then
from hfnfs.vfs.volume import Changes, Volume
from tests.fakes.volume import VOLUME_ID
from tests.vfs.changing import Desk

KEY = bytes(range(32))
ROOT = AuthSys(1, b"box", 0, 0, [])


class Pager:
    """Meets every need at once."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    @asynccontextmanager
    async def meet(self, need: Need) -> AsyncIterator[None]:
        desk = self._desk
        match need:
            case Cloned(fileid):
                shape = desk.writing.shape_at(need)
                assert shape is not None
                copy = desk.staging.snapshot(fileid, shape.ranges, shape.size)
                desk.writing.copies[need] = copy
            case _:
                desk.meet(need)
        yield

    def when_met(self, need: Durable | Journaled, then: Then) -> None:
        if isinstance(need, Durable):  # else: the state in memory is as durable as it gets
            self._desk.sync()
        then(None)


class Mounted(NamedTuple):
    """A client, what it mounted, and what that stands on."""

    client: NfsClient
    root: bytes
    desk: Desk


@asynccontextmanager
async def served(desk: Desk) -> AsyncIterator[int]:
    """Serve a desk's volume; the port."""
    volume = Volume(
        VOLUME_ID,
        Revision("", 0),
        tree=desk.tree,
        data=desk.data,
        attributes=Attributes(read_only=False),
        changes=Changes(desk.naming, desk.setting, desk.writing),
    )
    export = Export(volume, HandleMaker(KEY, VOLUME_ID))
    waiting = Waiting(Pager(desk), attempts_max=16, deadline_s=20.0, hold_deadline_s=20.0)
    access = Access()
    nfs = ProgramNfs3(export, access=access, waiting=waiting, journal=desk.journal)
    mountd = ProgramMount3(Mounts(export, [], access), access=access, waiting=waiting)
    async with asyncio.TaskGroup() as tasks:
        server = RpcServer([nfs, mountd], tasks=tasks)
        try:
            yield await server.start("127.0.0.1", 0)
        finally:
            await server.close()


@asynccontextmanager
async def mounted(home: Path | Desk, hub: dict[str, bytes] | None = None) -> AsyncIterator[Mounted]:
    """Serve what a far side has, or a desk that was there before, and connect to it as root."""
    desk = home if isinstance(home, Desk) else Desk(home, hub or {})
    async with served(desk) as port:
        client = await NfsClient.connect("127.0.0.1", port, credential=ROOT)
        try:
            yield Mounted(client, await client.mount(), desk)
        finally:
            await client.close()
    if desk is not home:
        desk.staging.close()
