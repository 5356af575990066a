"""Our own NFS client as a worker of load.py needs it."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hfnfs.nfs3.client import NfsClient
from hfnfs.nfs3.writing import Stable
from hfnfs.rpc.message import AuthSys
from hfnfs.vfs.attributes import Wanted
from hfnfs.vfs.node import FileType
from tests.live.ledger import Seen

NEW_FILE, NEW_DIRECTORY = Wanted(mode=0o644), Wanted(mode=0o755)


class Nfs:
    """One mount of the server on a port of this machine."""

    def __init__(self, client: NfsClient, root: bytes) -> None:
        self.client = client
        self.root = root

    @classmethod
    @asynccontextmanager
    async def on(cls, port: int) -> AsyncIterator["Nfs"]:
        us = AuthSys(0, b"test", os.getuid(), os.getgid(), [])
        client = await NfsClient.connect("127.0.0.1", port, credential=us)
        try:
            yield cls(client, await client.mount())
        finally:
            await client.close()

    async def create(self, directory: bytes, name: bytes) -> bytes:
        return (await self.client.create(directory, name, NEW_FILE, guarded=True)).handle

    async def mkdir(self, directory: bytes, name: bytes) -> bytes:
        return (await self.client.mkdir(directory, name, NEW_DIRECTORY)).handle

    async def remove(self, directory: bytes, name: bytes) -> None:
        await self.client.remove(directory, name)

    async def rmdir(self, directory: bytes, name: bytes) -> None:
        await self.client.rmdir(directory, name)

    async def rename(self, source: tuple[bytes, bytes], target: tuple[bytes, bytes]) -> None:
        await self.client.rename(*source, *target)

    async def truncate(self, file: bytes, size: int) -> None:
        await self.client.setattr(file, Wanted(size=size))

    async def write(self, file: bytes, offset: int, data: bytes, *, stable: bool) -> bytes:
        how = Stable.FILE_SYNC if stable else Stable.UNSTABLE
        ok = await self.client.write(file, offset, data, how)
        assert (ok.count, ok.committed >= how) == (len(data), True)
        return ok.verf

    async def commit(self, file: bytes) -> bytes:
        return await self.client.commit(file)

    async def read(self, file: bytes) -> bytes:
        return b"".join([piece async for piece in self.client.read_all(file)])

    async def see(self, directory: bytes) -> Seen:
        seen = {}
        async for found in self.client.walk(directory):
            is_file = found.attributes.type is not FileType.DIR
            data = await self.read(found.handle) if is_file else None
            seen[found.path.decode()] = (found.handle, data)
        return seen
