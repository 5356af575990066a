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
from hfnfs.rpc.message import AuthSys
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

    async def save(self, path: str, data: bytes) -> None:
        """Write a new file, in a new directory, and have it safe on the disk."""
        ...

    async def rename(self, old: str, new: str) -> None:
        """Give a file another path."""
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

    async def save(self, path: str, data: bytes) -> None:
        """Write a new file, in a new directory, and have it safe on the disk."""
        await asyncio.to_thread(self._save, os.path.join(self._root, path), data)

    def _save(self, path: str, data: bytes) -> None:
        os.mkdir(os.path.dirname(path))
        with open(path, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())

    async def rename(self, old: str, new: str) -> None:
        """Give a file another path."""
        old, new = (os.path.join(self._root, path) for path in (old, new))
        await asyncio.to_thread(os.rename, old, new)


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

    async def save(self, path: str, data: bytes) -> None:
        """Write a new file, in a new directory, and have it safe on the disk."""
        above, directory = await self._home(path.rpartition("/")[0])
        home = (await self._client.mkdir(above, directory)).handle
        name = path.rpartition("/")[2].encode()
        made = await self._client.create(home, name, guarded=True)
        await self._client.write_all(made.handle, 0, data)

    async def rename(self, old: str, new: str) -> None:
        """Give a file another path."""
        await self._client.rename(*await self._home(old), *await self._home(new))

    async def _home(self, path: str) -> tuple[bytes, bytes]:
        """The handle of a path's directory, and its name there."""
        *above, name = path.encode().split(b"/")
        handle = self._root
        for each in above:
            handle = await self._client.lookup(handle, each)
        return handle, name


@asynccontextmanager
async def over_nfs(host: str, port: int, export: str) -> AsyncIterator[ClientLook]:
    """Connect, and mount in NFS's sense of the word."""
    credential = AuthSys(0, b"demo", os.getuid(), os.getgid(), [])
    client = await NfsClient.connect(host, port, credential=credential)
    try:
        root = await client.mount(export.encode())
        yield ClientLook(client, root)
        await client.unmount(export.encode())
    finally:
        await client.close()
