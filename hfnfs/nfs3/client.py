"""A small NFS version 3 client over the same codecs as the server.

It mounts, walks, reads and changes; the demo uses it where the machine cannot mount, and tests
call the server with it. One connection, handles as bytes, attributes unpacked.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from hfnfs.config import MIB
from hfnfs.errors import HfnfsError
from hfnfs.nfs3 import attrs, data, info, listing, mountd, names, naming, setting, writing
from hfnfs.nfs3.mountd import MOUNT_PROGRAM, MOUNT_VERSION, Exported, MntArgs, MountStatus
from hfnfs.nfs3.program import NFS_PROGRAM, NFS_VERSION, PROCEDURES
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.types import (
    FATTR3,
    DirOpArgs,
    Fattr3,
    NfsTime3,
    Sattr3,
    SpecData3,
    TimeHow,
    WccData,
)
from hfnfs.nfs3.writing import Stable
from hfnfs.rpc.client import RpcClient
from hfnfs.rpc.message import Credential
from hfnfs.rpc.xdr import Codec, decode, encode, void
from hfnfs.vfs.attributes import SERVER_TIME, Wanted
from hfnfs.vfs.node import FileType

PAGE_BYTES = 64 * 1024
READ_BYTES = MIB
WRITE_BYTES = MIB
# JUKEBOX says "later": asked again this often and no oftener, then it is an error.
JUKEBOX_DELAY_S = 0.5
JUKEBOX_ROUNDS_MAX = 60

_NS = 1_000_000_000
_AS_IT_COMES = Wanted()
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


class Made(NamedTuple):
    """What CREATE and its kin made."""

    handle: bytes
    attributes: Fattr3


def set_time(time_ns: int | None) -> tuple[TimeHow, NfsTime3 | None]:
    """Give what sets a time (ns since 1970, or SERVER_TIME), or leaves it as it is (None)."""
    if time_ns is None:
        return TimeHow.DONT_CHANGE, None
    if time_ns == SERVER_TIME:
        return TimeHow.SET_TO_SERVER_TIME, None
    return TimeHow.SET_TO_CLIENT_TIME, NfsTime3(*divmod(time_ns, _NS))


def sattr3(wanted: Wanted) -> Sattr3:
    """Give what is wanted as SETATTR and CREATE send it."""
    times = set_time(wanted.atime_ns), set_time(wanted.mtime_ns)
    return Sattr3(wanted.mode, wanted.uid, wanted.gid, wanted.size, *times)


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

    async def readlink(self, handle: bytes) -> bytes:
        """Give what a symbolic link says."""
        arguments = encode(names.READLINK_ARGS, names.ReadlinkArgs(handle))
        target: bytes = (await self._call("READLINK", arguments, names.READLINK_RESULT)).data
        return target

    # ------------------------------------------------------------ changing

    async def setattr(
        self, handle: bytes, wanted: Wanted, *, guard: NfsTime3 | None = None
    ) -> WccData:
        """Set attributes of an object whose ctime is `guard`, if that is given."""
        args = setting.SetattrArgs(handle, sattr3(wanted), guard)
        arguments = encode(setting.SETATTR_ARGS, args)
        wcc: WccData = (await self._call("SETATTR", arguments, setting.SETATTR_RESULT)).obj_wcc
        return wcc

    async def create(
        self, directory: bytes, name: bytes, wanted: Wanted = _AS_IT_COMES, *, guarded: bool = False
    ) -> Made:
        """Make a file, or take the one that is there unless it is guarded."""
        mode = naming.CreateMode.GUARDED if guarded else naming.CreateMode.UNCHECKED
        args = naming.CreateArgs(DirOpArgs(directory, name), (mode, sattr3(wanted)))
        return await self._make("CREATE", encode(naming.CREATE_ARGS, args))

    async def create_exclusive(self, directory: bytes, name: bytes, verifier: bytes) -> Made:
        """Make a file, or take the one that was made with this verifier (8 bytes)."""
        how = (naming.CreateMode.EXCLUSIVE, verifier)
        args = naming.CreateArgs(DirOpArgs(directory, name), how)
        return await self._make("CREATE", encode(naming.CREATE_ARGS, args))

    async def mkdir(self, directory: bytes, name: bytes, wanted: Wanted = _AS_IT_COMES) -> Made:
        """Make a directory."""
        args = naming.MkdirArgs(DirOpArgs(directory, name), sattr3(wanted))
        return await self._make("MKDIR", encode(naming.MKDIR_ARGS, args))

    async def symlink(
        self, directory: bytes, name: bytes, target: bytes, wanted: Wanted = _AS_IT_COMES
    ) -> Made:
        """Make a symbolic link."""
        link = naming.SymlinkData(sattr3(wanted), target)
        args = naming.SymlinkArgs(DirOpArgs(directory, name), link)
        return await self._make("SYMLINK", encode(naming.SYMLINK_ARGS, args))

    async def mknod(self, directory: bytes, name: bytes, kind: FileType) -> Made:
        """Make a special file."""
        attributes = sattr3(_AS_IT_COMES)
        what: Any = attributes
        if kind in (FileType.CHR, FileType.BLK):
            what = naming.DeviceData(attributes, SpecData3(0, 0))
        elif kind not in (FileType.FIFO, FileType.SOCK):
            what = None
        args = naming.MknodArgs(DirOpArgs(directory, name), (kind, what))
        return await self._make("MKNOD", encode(naming.MKNOD_ARGS, args))

    async def remove(self, directory: bytes, name: bytes) -> WccData:
        """Remove a name that is no directory's."""
        return await self._remove("REMOVE", directory, name)

    async def rmdir(self, directory: bytes, name: bytes) -> WccData:
        """Remove an empty directory."""
        return await self._remove("RMDIR", directory, name)

    async def rename(
        self, directory: bytes, name: bytes, to_directory: bytes, to_name: bytes
    ) -> naming.RenameWcc:
        """Give an object another name."""
        args = naming.RenameArgs(DirOpArgs(directory, name), DirOpArgs(to_directory, to_name))
        arguments = encode(naming.RENAME_ARGS, args)
        wcc: naming.RenameWcc = await self._call("RENAME", arguments, naming.RENAME_RESULT)
        return wcc

    async def link(self, handle: bytes, directory: bytes, name: bytes) -> naming.LinkWcc:
        """Give a file one more name."""
        args = naming.LinkArgs(handle, DirOpArgs(directory, name))
        arguments = encode(naming.LINK_ARGS, args)
        wcc: naming.LinkWcc = await self._call("LINK", arguments, naming.LINK_RESULT)
        return wcc

    async def write(
        self, handle: bytes, offset: int, piece: bytes, stable: Stable = Stable.UNSTABLE
    ) -> writing.WriteOk:
        """Put bytes into a file; perhaps not all of them."""
        args = writing.WriteArgs(handle, offset, len(piece), stable, piece)
        arguments = encode(writing.WRITE_ARGS, args)
        ok: writing.WriteOk = await self._call("WRITE", arguments, writing.WRITE_RESULT)
        return ok

    async def commit(self, handle: bytes, offset: int = 0, count: int = 0) -> bytes:
        """Make what was written durable; the verifier to compare with those of the writes."""
        arguments = encode(writing.COMMIT_ARGS, writing.CommitArgs(handle, offset, count))
        verifier: bytes = (await self._call("COMMIT", arguments, writing.COMMIT_RESULT)).verf
        return verifier

    async def write_all(self, handle: bytes, offset: int, content: bytes) -> None:
        """Put all of content into a file and make it durable.

        Raises NotOk also if the server says that it may have lost some of it meanwhile.
        """
        verifiers = set()
        done = 0
        while done < len(content):
            ok = await self.write(handle, offset + done, content[done : done + WRITE_BYTES])
            if not ok.count:
                raise NotOk("WRITE of nothing", Status.IO)
            verifiers.add(ok.verf)
            done += ok.count
        if verifiers - {await self.commit(handle)}:
            raise NotOk("COMMIT after another restart", Status.IO)

    async def _make(self, procedure: str, arguments: bytes) -> Made:
        ok: naming.MadeOk = await self._call(procedure, arguments, naming.MADE_RESULT)
        if ok.obj is None or ok.obj_attributes is None:
            raise NotOk(f"{procedure} without a handle", Status.IO)
        return Made(ok.obj, decode(FATTR3, ok.obj_attributes))

    async def _remove(self, procedure: str, directory: bytes, name: bytes) -> WccData:
        arguments = encode(naming.REMOVE_ARGS, naming.RemoveArgs(DirOpArgs(directory, name)))
        wcc: WccData = (await self._call(procedure, arguments, naming.REMOVE_RESULT)).dir_wcc
        return wcc

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
