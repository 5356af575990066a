"""LOOKUP and READLINK, and what changes names: CREATE MKDIR SYMLINK MKNOD REMOVE RMDIR RENAME LINK.

RFC 1813 §3.3.3, §3.3.5, §3.3.8 to §3.3.15; on names in general §3.2.
"""

import struct
from enum import IntEnum
from typing import Any, NoReturn

from hfnfs.errors import InvalidArgument
from hfnfs.nfs3.export import Export
from hfnfs.nfs3.handle import HANDLE_BYTES
from hfnfs.nfs3.status import OK
from hfnfs.nfs3.types import (
    DIR_OP_ARGS,
    FILE_HANDLE,
    HANDLE_FORMAT,
    PATH,
    POST_OP_ATTR,
    POST_OP_ATTR_FORMAT,
    SATTR3,
    SPECDATA3,
    DirOpArgs,
    Sattr3,
    SpecData3,
    result_of,
)
from hfnfs.rpc.session import Caller
from hfnfs.rpc.xdr import decode, enum_of, fixed, struct_of, union_of, wire
from hfnfs.vfs.node import FileType
from hfnfs.vfs.tree import NAME_BYTES_MAX

# A handle and a name, by the bytes that both take.
_LOOKUP = {
    found.size: found.unpack_from
    for found in (
        struct.Struct(f">{HANDLE_FORMAT}I{size}s") for size in range(0, NAME_BYTES_MAX + 4, 4)
    )
}
_LOOKUP_OK = struct.Struct(f">I{HANDLE_FORMAT}{POST_OP_ATTR_FORMAT}{POST_OP_ATTR_FORMAT}")


# ------------------------------------------------------------------ LOOKUP


@wire
class LookupOk:
    """LOOKUP3resok."""

    object: bytes  # nfs_fh3
    obj_attributes: bytes | None
    dir_attributes: bytes | None


LOOKUP_ARGS = DIR_OP_ARGS  # LOOKUP3args has nothing else
LOOKUP_OK = struct_of(
    LookupOk, object=FILE_HANDLE, obj_attributes=POST_OP_ATTR, dir_attributes=POST_OP_ATTR
)
LOOKUP_RESULT = result_of(LOOKUP_OK, POST_OP_ATTR)


def decode_lookup_args(buf: bytes | memoryview, pos: int, end: int) -> DirOpArgs:
    """Hand-packed twin of LOOKUP_ARGS."""
    unpack_at = _LOOKUP.get(end - pos)
    if unpack_at is not None:
        length, directory, name_bytes, name = unpack_at(buf, pos)
        if length == HANDLE_BYTES and name_bytes + 3 & ~3 == len(name):
            return DirOpArgs(directory, name[:name_bytes])
    return decode(LOOKUP_ARGS, buf, pos, end)


def encode_lookup_ok(result: tuple[bytes, bytes, bytes]) -> bytes:
    """Hand-packed twin of LOOKUP_OK, with its status; of what `lookup` gives."""
    handle, fattr3, directory = result
    return _LOOKUP_OK.pack(OK, HANDLE_BYTES, handle, 1, fattr3, 1, directory)


def lookup(export: Export, args: DirOpArgs, caller: Caller) -> tuple[bytes, bytes, bytes]:
    """Give the handle of a name in a directory, the packed attributes of both."""
    directory = export.node(args.dir)
    node = export.volume.tree.lookup(directory, args.name)
    return export.handle_of(node), node.fattr3, directory.fattr3


# ---------------------------------------------------------------- READLINK


@wire
class ReadlinkArgs:
    """READLINK3args."""

    symlink: bytes


@wire
class ReadlinkOk:
    """READLINK3resok."""

    symlink_attributes: bytes | None
    data: bytes  # nfspath3


READLINK_ARGS = struct_of(ReadlinkArgs, symlink=FILE_HANDLE)
READLINK_OK = struct_of(ReadlinkOk, symlink_attributes=POST_OP_ATTR, data=PATH)
READLINK_RESULT = result_of(READLINK_OK, POST_OP_ATTR)


def readlink(export: Export, args: ReadlinkArgs, caller: Caller) -> NoReturn:
    """Give what a symbolic link says; the far side has none, so nothing is one."""
    node = export.node(args.symlink)
    raise InvalidArgument(f"{node!r} is no symbolic link")


# ------------------------------------------------------- CREATE and its kin


class CreateMode(IntEnum):
    """createmode3."""

    UNCHECKED = 0
    GUARDED = 1
    EXCLUSIVE = 2


@wire
class CreateArgs:
    """CREATE3args; `how` carries a Sattr3, for EXCLUSIVE a verifier of 8 bytes."""

    where: DirOpArgs
    how: tuple[CreateMode, Sattr3 | bytes]


@wire
class MkdirArgs:
    """MKDIR3args."""

    where: DirOpArgs
    attributes: Sattr3


@wire
class SymlinkData:
    """symlinkdata3."""

    symlink_attributes: Sattr3
    symlink_data: bytes  # nfspath3


@wire
class SymlinkArgs:
    """SYMLINK3args."""

    where: DirOpArgs
    symlink: SymlinkData


@wire
class DeviceData:
    """devicedata3."""

    dev_attributes: Sattr3
    spec: SpecData3


@wire
class MknodArgs:
    """MKNOD3args; `what` carries DeviceData, Sattr3 (SOCK, FIFO) or nothing (no special file)."""

    where: DirOpArgs
    what: tuple[FileType, Any]


CREATE_HOW = union_of(
    enum_of(CreateMode),
    {
        CreateMode.UNCHECKED: SATTR3,
        CreateMode.GUARDED: SATTR3,
        CreateMode.EXCLUSIVE: fixed(8),
    },
)
CREATE_ARGS = struct_of(CreateArgs, where=DIR_OP_ARGS, how=CREATE_HOW)
MKDIR_ARGS = struct_of(MkdirArgs, where=DIR_OP_ARGS, attributes=SATTR3)
SYMLINK_DATA = struct_of(SymlinkData, symlink_attributes=SATTR3, symlink_data=PATH)
SYMLINK_ARGS = struct_of(SymlinkArgs, where=DIR_OP_ARGS, symlink=SYMLINK_DATA)
DEVICE_DATA = struct_of(DeviceData, dev_attributes=SATTR3, spec=SPECDATA3)
MKNOD_DATA = union_of(
    enum_of(FileType),
    {
        FileType.CHR: DEVICE_DATA,
        FileType.BLK: DEVICE_DATA,
        FileType.SOCK: SATTR3,
        FileType.FIFO: SATTR3,
    },
    default=None,
)
MKNOD_ARGS = struct_of(MknodArgs, where=DIR_OP_ARGS, what=MKNOD_DATA)


def create(
    export: Export, args: CreateArgs | MkdirArgs | SymlinkArgs | MknodArgs, caller: Caller
) -> NoReturn:
    """Make a file, directory, symbolic link or special file."""
    export.node(args.where.dir)
    export.volume.refuse_change()


# -------------------------------------------------- REMOVE, RMDIR, RENAME, LINK


@wire
class RemoveArgs:
    """REMOVE3args and RMDIR3args."""

    object: DirOpArgs


@wire
class RenameArgs:
    """RENAME3args."""

    from_: DirOpArgs
    to: DirOpArgs


@wire
class LinkArgs:
    """LINK3args."""

    file: bytes
    link: DirOpArgs


REMOVE_ARGS = struct_of(RemoveArgs, object=DIR_OP_ARGS)
RENAME_ARGS = struct_of(RenameArgs, from_=DIR_OP_ARGS, to=DIR_OP_ARGS)
LINK_ARGS = struct_of(LinkArgs, file=FILE_HANDLE, link=DIR_OP_ARGS)


def remove(export: Export, args: RemoveArgs, caller: Caller) -> NoReturn:
    """Remove a name: REMOVE and RMDIR."""
    export.node(args.object.dir)
    export.volume.refuse_change()


def rename(export: Export, args: RenameArgs, caller: Caller) -> NoReturn:
    """Give an object another name, perhaps in another directory."""
    export.node(args.from_.dir)
    export.node(args.to.dir)
    export.volume.refuse_change()


def link(export: Export, args: LinkArgs, caller: Caller) -> NoReturn:
    """Give a file one more name."""
    export.node(args.file)
    export.node(args.link.dir)
    export.volume.refuse_change()
