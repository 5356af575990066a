"""MOUNT version 3 (RFC 1813 §5): the handle of an exported path.

The volume is exported as "/" and under its names, "/NAME": libnfs cannot mount a file's URL from
"/" alone, and mounts all that EXPORT lists. A path below an export leads into the volume. Who is
mounted is remembered for DUMP and means nothing else: a Linux client says UMNT before it has
unmounted, or never.
"""

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from hfnfs.errors import AccessDenied, NameTooLong, NotDirectory
from hfnfs.nfs3.access import FLAVORS, Access
from hfnfs.nfs3.export import Export
from hfnfs.nfs3.info import null
from hfnfs.nfs3.serving import Procedure, Table
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.types import FILE_HANDLE, PATH_BYTES_MAX, declared
from hfnfs.rpc.message import AuthSys
from hfnfs.rpc.session import Caller
from hfnfs.rpc.xdr import (
    encode,
    enum_of,
    linked_list_of,
    list_of,
    string,
    struct_of,
    u32,
    union_of,
    void,
    wire,
)
from hfnfs.vfs.node import FileType, Node

MOUNT_PROGRAM = 100005
MOUNT_VERSION = 3
MNT_PATH_BYTES_MAX = 1024  # MNTPATHLEN
MNT_NAME_BYTES_MAX = 255  # MNTNAMLEN
MOUNTED_MAX = 256  # remembered for DUMP; older ones are forgotten
_EXPORTS_MAX = 64
_U32 = struct.Struct(">I")


class MountStatus(IntEnum):
    """mountstat3."""

    OK = 0
    PERM = 1
    NOENT = 2
    IO = 5
    ACCES = 13
    NOTDIR = 20
    INVAL = 22
    NAMETOOLONG = 63
    NOTSUPP = 10004
    SERVERFAULT = 10006


@wire
class MntArgs:
    """The argument of MNT and UMNT."""

    dirpath: bytes


@wire
class MntOk:
    """mountres3_ok."""

    fhandle: bytes
    auth_flavors: list[int]


@wire
class Mounted:
    """mountbody: one line of DUMP."""

    hostname: bytes
    directory: bytes


@wire
class Exported:
    """exportnode: one line of EXPORT; no groups means everyone."""

    directory: bytes
    groups: list[bytes]


# A path that is too long is well-formed all the same, and gets a status.
MNT_ARGS = struct_of(MntArgs, dirpath=string(PATH_BYTES_MAX))
MNT_OK = struct_of(MntOk, fhandle=FILE_HANDLE, auth_flavors=list_of(u32, 16))
MNT_RESULT = union_of(enum_of(MountStatus), {MountStatus.OK: MNT_OK}, default=None)
MOUNTED = struct_of(
    Mounted, hostname=string(MNT_NAME_BYTES_MAX), directory=string(MNT_PATH_BYTES_MAX)
)
MOUNT_LIST = linked_list_of(MOUNTED, MOUNTED_MAX)
EXPORTED = struct_of(
    Exported,
    directory=string(MNT_PATH_BYTES_MAX),
    groups=linked_list_of(string(MNT_NAME_BYTES_MAX), _EXPORTS_MAX),
)
EXPORT_LIST = linked_list_of(EXPORTED, _EXPORTS_MAX)

MountedKey = tuple[bytes, bytes]  # host, path


class Mounts:
    """What is exported under which paths, and who has mounted it."""

    def __init__(self, export: Export, names: Sequence[bytes], access: Access) -> None:
        """Export the volume as "/" and as "/" and each of the names ("gpt2", "me/data")."""
        self.export = export
        self.access = access
        self.paths = [b"/", *(b"/" + name for name in names)]
        self._names = [_components(name) for name in names]
        self.mounted: dict[MountedKey, None] = {}  # oldest first

    def node_at(self, path: bytes) -> Node:
        """Give the directory that a path to mount means.

        Raises NoEntry, NotDirectory, NameTooLong, NotYet.
        """
        components = _components(path)
        for export_name in self._names:
            if components[: len(export_name)] == export_name:
                del components[: len(export_name)]
                break
        node: Node = self.export.volume.root
        for name in components:
            node = self.export.volume.tree.lookup(node, name)
        if node.type is not FileType.DIR:
            raise NotDirectory(f"{path!r} is a file")
        return node

    def remember(self, key: MountedKey) -> None:
        """Note for DUMP who has mounted what, as the newest."""
        self.mounted.pop(key, None)
        if len(self.mounted) >= MOUNTED_MAX:
            del self.mounted[next(iter(self.mounted))]
        self.mounted[key] = None


# --------------------------------------------------------------- procedures


def mnt(mounts: Mounts, args: MntArgs, caller: Caller) -> MntOk:
    """Give the handle of an exported directory."""
    if len(args.dirpath) > MNT_PATH_BYTES_MAX:
        raise NameTooLong(f"a path of {len(args.dirpath)} bytes")
    if not mounts.access.may_mount(caller):
        raise AccessDenied(f"{caller.peer[0]} may not mount")
    handle = mounts.export.handle_of(mounts.node_at(args.dirpath))
    mounts.remember((_host_of(caller), args.dirpath))
    return MntOk(handle, list(FLAVORS))


def dump(mounts: Mounts, args: None, caller: Caller) -> list[Mounted]:
    """List who has mounted what, as far as it is remembered."""
    return [Mounted(*key) for key in mounts.mounted]


def umnt(mounts: Mounts, args: MntArgs, caller: Caller) -> None:
    """Forget one mount of the caller's machine."""
    mounts.mounted.pop((_host_of(caller), args.dirpath), None)


def umntall(mounts: Mounts, args: None, caller: Caller) -> None:
    """Forget all mounts of the caller's machine."""
    host = _host_of(caller)
    for key in [key for key in mounts.mounted if key[0] == host]:
        del mounts.mounted[key]


def export_(mounts: Mounts, args: None, caller: Caller) -> list[Exported]:
    """List what can be mounted."""
    return [Exported(path, []) for path in mounts.paths]


def _components(path: bytes) -> list[bytes]:
    return [name for name in path.split(b"/") if name not in (b"", b".")]


def _host_of(caller: Caller) -> bytes:
    credential = caller.credential
    if isinstance(credential, AuthSys) and credential.machine_name:
        return credential.machine_name
    return caller.peer[0].encode()


def encode_mnt_ok(result: MntOk) -> bytes:
    """Give a granted mount as it is sent."""
    return encode(MNT_RESULT, (MountStatus.OK, result))


def encode_mnt_failure(mounts: Mounts, args: MntArgs | None, status: Status) -> bytes:
    """Give a refused mount; mountstat3 has nfsstat3's numbers, but not all of them."""
    known = MountStatus._value2member_map_
    return _U32.pack(status if status in known else MountStatus.IO)


_VOID = declared(void)
PROCEDURES: tuple[Procedure[Mounts, Any, Any], ...] = (
    Procedure("NULL", _VOID, null, lambda _: b""),
    Procedure("MNT", declared(MNT_ARGS), mnt, encode_mnt_ok, encode_mnt_failure),
    Procedure("DUMP", _VOID, dump, lambda mounted: encode(MOUNT_LIST, mounted)),
    Procedure("UMNT", declared(MNT_ARGS), umnt, lambda _: b""),
    Procedure("UMNTALL", _VOID, umntall, lambda _: b""),
    Procedure("EXPORT", _VOID, export_, lambda exported: encode(EXPORT_LIST, exported)),
)


class ProgramMount3(Table[Mounts]):
    """MOUNT version 3 over one export."""

    number = MOUNT_PROGRAM
    versions = (MOUNT_VERSION, MOUNT_VERSION)
    rows = PROCEDURES
