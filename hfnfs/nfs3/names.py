"""LOOKUP and READLINK (RFC 1813 §3.3.3, §3.3.5; on names in general §3.2)."""

import struct

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
    DirOpArgs,
    result_of,
)
from hfnfs.rpc.session import Caller
from hfnfs.rpc.xdr import decode, struct_of, wire
from hfnfs.vfs.node import Symlink
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


def readlink(export: Export, args: ReadlinkArgs, caller: Caller) -> ReadlinkOk:
    """Give what a symbolic link says."""
    node = export.node(args.symlink)
    if not isinstance(node, Symlink):
        raise InvalidArgument(f"{node!r} is no symbolic link")
    return ReadlinkOk(node.fattr3, node.target)
