"""⏳ Two ways to look at a volume: through the kernel's mount, or with our own NFS client.

Calls on the mount run in threads, for it is this very process that answers them; and only calls
that give the interpreter's lock back while they wait (no mmap, for one).
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple, Protocol

from hfnfs.config import MIB
from hfnfs.nfs3.client import Found, NfsClient
from hfnfs.vfs.node import FileType


class Seen(NamedTuple):
    """A file of the volume."""

    path: str
    size: int  # bytes


class Look(Protocol):
    """A volume, however it is reached."""

    async def files(self) -> list[Seen]:
        """All files, in the order of their paths."""
        ...

    async def read(self, path: str, offset: int, count: int) -> bytes:
        """Bytes of a file."""
        ...

    async def sha256(self, path: str) -> str:
        """The hash of all of a file, in hex."""
        ...


class MountLook:
    """The volume as any program sees it, at its mount point."""

    def __init__(self, mount_point: str) -> None:
        self._root = mount_point

    async def files(self) -> list[Seen]:
        """All files, in the order of their paths."""
        return await asyncio.to_thread(self._walk)

    def _walk(self) -> list[Seen]:
        paths = [
            os.path.join(directory, name)
            for directory, _, names in os.walk(self._root)
            for name in names
        ]
        return sorted(Seen(os.path.relpath(p, self._root), os.stat(p).st_size) for p in paths)

    async def read(self, path: str, offset: int, count: int) -> bytes:
        """Bytes of a file."""
        return await asyncio.to_thread(self._pread, path, offset, count)

    def _pread(self, path: str, offset: int, count: int) -> bytes:
        fd = os.open(os.path.join(self._root, path), os.O_RDONLY)
        try:
            return os.pread(fd, count, offset)
        finally:
            os.close(fd)

    async def sha256(self, path: str) -> str:
        """The hash of all of a file, in hex."""
        return await asyncio.to_thread(self._hash, path)

    def _hash(self, path: str) -> str:
        digest = hashlib.sha256()
        fd = os.open(os.path.join(self._root, path), os.O_RDONLY)
        try:
            while data := os.read(fd, MIB):
                digest.update(data)
        finally:
            os.close(fd)
        return digest.hexdigest()


class ClientLook:
    """The volume over NFS, without a mount."""

    def __init__(self, client: NfsClient, root: bytes) -> None:
        self._client = client
        self._root = root
        self._found: dict[str, Found] = {}

    async def files(self) -> list[Seen]:
        """All files, in the order of their paths."""
        self._found = {
            found.path.decode(): found
            async for found in self._client.walk(self._root)
            if found.attributes.type is not FileType.DIR
        }
        return sorted(Seen(path, found.attributes.size) for path, found in self._found.items())

    async def read(self, path: str, offset: int, count: int) -> bytes:
        """Bytes of a file that `files` showed."""
        return bytes((await self._client.read(self._found[path].handle, offset, count)).data)

    async def sha256(self, path: str) -> str:
        """The hash of all of a file that `files` showed, in hex."""
        digest = hashlib.sha256()
        async for data in self._client.read_all(self._found[path].handle):
            digest.update(data)
        return digest.hexdigest()


@asynccontextmanager
async def over_nfs(host: str, port: int, export: str) -> AsyncIterator[ClientLook]:
    """Connect, and mount in NFS's sense of the word."""
    client = await NfsClient.connect(host, port)
    try:
        root = await client.mount(export.encode())
        yield ClientLook(client, root)
        await client.unmount(export.encode())
    finally:
        await client.close()
