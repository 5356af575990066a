"""A small NFS version 3 client over the same codecs as the server.

It mounts, walks and reads; the demo uses it where the machine cannot mount, and tests call the
server with it. One connection, handles as bytes, attributes unpacked.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from hfnfs.config import MIB
from hfnfs.errors import HfnfsError
from hfnfs.nfs3 import attrs, data, info, listing, mountd, names
from hfnfs.nfs3.mountd import MOUNT_PROGRAM, MOUNT_VERSION, Exported, MntArgs, MountStatus
from hfnfs.nfs3.program import NFS_PROGRAM, NFS_VERSION, PROCEDURES
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.types import FATTR3, DirOpArgs, Fattr3
from hfnfs.rpc.client import RpcClient
from hfnfs.rpc.message import Credential
from hfnfs.rpc.xdr import Codec, decode, encode, void
from hfnfs.vfs.node import FileType

PAGE_BYTES = 64 * 1024
READ_BYTES = MIB
# JUKEBOX says "later": asked again this often and no oftener, then it is an error.
JUKEBOX_DELAY_S = 0.5
JUKEBOX_ROUNDS_MAX = 60

_NUMBER_OF = {row.name: number for number, row in enumerate(PROCEDURES)}


class NotOk(HfnfsError):
    """The server answered with a status other than OK."""

    def __init__(self, procedure: str, status: Status | MountStatus) -> None:
        super().__init__(f"{procedure}: {status.name}")
        self.status = status


class Found(NamedTuple):
    """One entry met on a walk."""

    path: bytes  # below where the walk began
    handle: bytes
    attributes: Fattr3


class NfsClient:
    """One mount of an NFS version 3 server, without a kernel."""

    def __init__(self, rpc: RpcClient) -> None:
        """Use connect."""
        self._rpc = rpc

    @classmethod
    async def connect(
        cls, host: str, port: int, *, credential: Credential | None = None, timeout_s: float = 30.0
    ) -> "NfsClient":
        """Connect to NFS and MOUNT on one port. Raises NoAnswer."""
        return cls(await RpcClient.connect(host, port, credential=credential, timeout_s=timeout_s))

    async def close(self) -> None:
        """End the connection."""
        await self._rpc.close()

    # -------------------------------------------------------------- MOUNT

    async def mount(self, path: bytes = b"/") -> bytes:
        """Give the handle of an exported path. Raises NotOk."""
        arguments = encode(mountd.MNT_ARGS, MntArgs(path))
        status, result = decode(mountd.MNT_RESULT, await self._mount_call(1, arguments))
        if status is not MountStatus.OK:
            raise NotOk("MNT", status)
        handle: bytes = result.fhandle
        return handle

    async def unmount(self, path: bytes = b"/") -> None:
        """Tell the server that a path is no longer mounted."""
        arguments = encode(mountd.MNT_ARGS, MntArgs(path))
        decode(void, await self._mount_call(3, arguments))

    async def exports(self) -> list[Exported]:
        """Give what can be mounted."""
        return decode(mountd.EXPORT_LIST, await self._mount_call(5, b""))

    async def _mount_call(self, procedure: int, arguments: bytes) -> bytes:
        return await self._rpc.call(MOUNT_PROGRAM, MOUNT_VERSION, procedure, arguments)

    # ---------------------------------------------------------------- NFS

    async def getattr(self, handle: bytes) -> Fattr3:
        """Give all attributes of an object."""
        arguments = encode(attrs.GETATTR_ARGS, attrs.GetattrArgs(handle))
        ok = await self._call("GETATTR", arguments, attrs.GETATTR_RESULT)
        return decode(FATTR3, ok.obj_attributes)

    async def lookup(self, directory: bytes, name: bytes) -> bytes:
        """Give the handle of a name in a directory."""
        arguments = encode(names.LOOKUP_ARGS, DirOpArgs(directory, name))
        handle: bytes = (await self._call("LOOKUP", arguments, names.LOOKUP_RESULT)).object
        return handle

    async def access(self, handle: bytes, wanted: int) -> int:
        """Give those of the ACCESS3 bits that this caller has."""
        arguments = encode(attrs.ACCESS_ARGS, attrs.AccessArgs(handle, wanted))
        granted: int = (await self._call("ACCESS", arguments, attrs.ACCESS_RESULT)).access
        return granted

    async def read(self, handle: bytes, offset: int, count: int) -> data.ReadOk:
        """Give up to count bytes of a file from offset, and whether they end it."""
        arguments = encode(data.READ_ARGS, data.ReadArgs(handle, offset, count))
        ok: data.ReadOk = await self._call("READ", arguments, data.READ_RESULT)
        return ok

    async def read_all(self, handle: bytes) -> AsyncIterator[bytes]:
        """Give all bytes of a file, piece by piece."""
        offset = 0
        while True:
            piece = await self.read(handle, offset, READ_BYTES)
            yield bytes(piece.data)
            offset += piece.count
            if piece.eof:
                return
            if not piece.count:
                raise NotOk("READ of nothing before the end", Status.IO)

    async def readdirplus(self, directory: bytes) -> AsyncIterator[listing.EntryPlus]:
        """Give all entries of a directory, page by page, "." and ".." among them."""
        cookie, verifier = 0, bytes(8)
        while True:
            args = listing.ReaddirplusArgs(directory, cookie, verifier, PAGE_BYTES, PAGE_BYTES)
            arguments = encode(listing.READDIRPLUS_ARGS, args)
            page: listing.ReaddirplusOk = await self._call(
                "READDIRPLUS", arguments, listing.READDIRPLUS_RESULT
            )
            for entry in page.entries:
                yield entry
                cookie = entry.cookie
            if page.eof:
                return
            if not page.entries:
                raise NotOk("READDIRPLUS of nothing before the end", Status.IO)
            verifier = page.cookieverf

    async def walk(self, directory: bytes, path: bytes = b"") -> AsyncIterator[Found]:
        """Give everything below a directory, each directory before what is in it."""
        todo = [(directory, path)]
        while todo:
            directory, path = todo.pop()
            found = [found async for found in self._children(directory, path)]
            for child in found:
                yield child
            todo.extend(
                (child.handle, child.path)
                for child in reversed(found)
                if child.attributes.type is FileType.DIR
            )

    async def _children(self, directory: bytes, path: bytes) -> AsyncIterator[Found]:
        async for entry in self.readdirplus(directory):
            if entry.name in (b".", b".."):
                continue
            handle = entry.name_handle or await self.lookup(directory, entry.name)
            packed = entry.name_attributes
            attributes = await self.getattr(handle) if packed is None else decode(FATTR3, packed)
            yield Found(path + b"/" + entry.name if path else entry.name, handle, attributes)

    async def fsstat(self, handle: bytes) -> info.FsstatOk:
        """Say how full the volume is."""
        arguments = encode(info.FSSTAT_ARGS, info.FsstatArgs(handle))
        ok: info.FsstatOk = await self._call("FSSTAT", arguments, info.FSSTAT_RESULT)
        return ok

    async def fsinfo(self, handle: bytes) -> info.FsinfoOk:
        """Say what the server likes to be asked."""
        arguments = encode(info.FSINFO_ARGS, info.FsinfoArgs(handle))
        ok: info.FsinfoOk = await self._call("FSINFO", arguments, info.FSINFO_RESULT)
        return ok

    async def _call(self, name: str, arguments: bytes, codec: Codec[tuple[Status, Any]]) -> Any:
        """Give what a procedure answers with status OK. Raises NotOk, NoAnswer, CallRejected."""
        for _ in range(JUKEBOX_ROUNDS_MAX):
            results = await self._rpc.call(NFS_PROGRAM, NFS_VERSION, _NUMBER_OF[name], arguments)
            status, result = decode(codec, results)
            if status is Status.OK:
                return result
            if status is not Status.JUKEBOX:
                break
            await asyncio.sleep(JUKEBOX_DELAY_S)
        raise NotOk(name, status)
