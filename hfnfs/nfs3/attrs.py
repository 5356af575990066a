"""GETATTR, SETATTR, ACCESS (RFC 1813 §3.3.1, §3.3.2, §3.3.4)."""

import struct
from typing import NoReturn

from hfnfs.nfs3.handle import Export
from hfnfs.nfs3.types import (
    FILE_HANDLE,
    NFSTIME3,
    PACKED_FATTR3,
    POST_OP_ATTR,
    SATTR3,
    STATUS_OK,
    NfsTime3,
    Sattr3,
    handle_at,
    pack_post_op_attr,
    require_end,
    result_of,
)
from hfnfs.rpc.message import AuthSys
from hfnfs.rpc.session import Caller
from hfnfs.rpc.xdr import optional, struct_of, u32, wire
from hfnfs.vfs.node import Node

_U32 = struct.Struct(">I")


# ----------------------------------------------------------------- GETATTR


@wire
class GetattrArgs:
    """GETATTR3args."""

    object: bytes


@wire
class GetattrOk:
    """GETATTR3resok."""

    obj_attributes: bytes  # packed fattr3


GETATTR_ARGS = struct_of(GetattrArgs, object=FILE_HANDLE)
GETATTR_OK = struct_of(GetattrOk, obj_attributes=PACKED_FATTR3)
GETATTR_RESULT = result_of(GETATTR_OK, None)


def decode_getattr_args(buf: bytes | memoryview, pos: int, end: int) -> GetattrArgs:
    """Hand-packed twin of GETATTR_ARGS."""
    handle, pos = handle_at(buf, pos)
    require_end(pos, end)
    return GetattrArgs(handle)


def encode_getattr_ok(result: GetattrOk) -> bytes:
    """Hand-packed twin of GETATTR_OK, after its status."""
    return STATUS_OK + result.obj_attributes


def getattr_(export: Export, args: GetattrArgs, caller: Caller) -> GetattrOk:
    """Give all attributes of an object."""
    return GetattrOk(export.node(args.object).fattr3)


# ----------------------------------------------------------------- SETATTR


@wire
class SetattrArgs:
    """SETATTR3args; `guard` is the ctime the object must still have."""

    object: bytes
    new_attributes: Sattr3
    guard: NfsTime3 | None


SETATTR_ARGS = struct_of(
    SetattrArgs, object=FILE_HANDLE, new_attributes=SATTR3, guard=optional(NFSTIME3)
)


def setattr_(export: Export, args: SetattrArgs, caller: Caller) -> NoReturn:
    """Set attributes of an object."""
    export.node(args.object)
    export.volume.refuse_change()


# ------------------------------------------------------------------ ACCESS


@wire
class AccessArgs:
    """ACCESS3args; `access` are the ACCESS3 bits asked for."""

    object: bytes
    access: int


@wire
class AccessOk:
    """ACCESS3resok; `access` are the bits the caller has of those asked for."""

    obj_attributes: bytes | None
    access: int


ACCESS_ARGS = struct_of(AccessArgs, object=FILE_HANDLE, access=u32)
ACCESS_OK = struct_of(AccessOk, obj_attributes=POST_OP_ATTR, access=u32)
ACCESS_RESULT = result_of(ACCESS_OK, POST_OP_ATTR)


def decode_access_args(buf: bytes | memoryview, pos: int, end: int) -> AccessArgs:
    """Hand-packed twin of ACCESS_ARGS."""
    handle, pos = handle_at(buf, pos)
    require_end(pos + 4, end)
    return AccessArgs(handle, _U32.unpack_from(buf, pos)[0])


def encode_access_ok(result: AccessOk) -> bytes:
    """Hand-packed twin of ACCESS_OK, after its status."""
    return STATUS_OK + pack_post_op_attr(result.obj_attributes) + _U32.pack(result.access)


def access(export: Export, args: AccessArgs, caller: Caller) -> AccessOk:
    """Say which of the ACCESS3 bits asked for the caller has."""
    node = export.node(args.object)
    return AccessOk(node.fattr3, granted(export, node, args.access, caller))


def granted(export: Export, node: Node, wanted: int, caller: Caller) -> int:
    """Give the ACCESS3 bits of `wanted` that the caller has on a node."""
    credential = caller.credential
    if isinstance(credential, AuthSys):
        gids = (credential.gid, *credential.gids)
        return export.volume.attributes.access(node, credential.uid, gids, wanted)
    return export.volume.attributes.access(node, None, (), wanted)
