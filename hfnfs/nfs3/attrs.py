"""GETATTR and ACCESS (RFC 1813 §3.3.1, §3.3.4)."""

import struct

from hfnfs.nfs3.export import Export
from hfnfs.nfs3.handle import HANDLE_BYTES
from hfnfs.nfs3.status import OK
from hfnfs.nfs3.types import (
    FILE_HANDLE,
    HANDLE_FORMAT,
    PACKED_FATTR3,
    POST_OP_ATTR,
    POST_OP_ATTR_FORMAT,
    STATUS_OK,
    result_of,
)
from hfnfs.rpc.session import Caller
from hfnfs.rpc.xdr import decode, struct_of, u32, wire

_GETATTR = struct.Struct(f">{HANDLE_FORMAT}")
_ACCESS = struct.Struct(f">{HANDLE_FORMAT}I")  # and the bits asked for
_ACCESS_OK = struct.Struct(f">I{POST_OP_ATTR_FORMAT}I")  # status, attributes, bits granted


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
    if end - pos == _GETATTR.size:
        length, handle = _GETATTR.unpack_from(buf, pos)
        if length == HANDLE_BYTES:
            return GetattrArgs(handle)
    return decode(GETATTR_ARGS, buf, pos, end)


def encode_getattr_ok(fattr3: bytes) -> bytes:
    """Hand-packed twin of GETATTR_OK, with its status."""
    return STATUS_OK + fattr3


def getattr_(export: Export, args: GetattrArgs, caller: Caller) -> bytes:
    """Give all attributes of an object, packed."""
    return export.node(args.object).fattr3


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
    if end - pos == _ACCESS.size:
        length, handle, access_ = _ACCESS.unpack_from(buf, pos)
        if length == HANDLE_BYTES:
            return AccessArgs(handle, access_)
    return decode(ACCESS_ARGS, buf, pos, end)


def encode_access_ok(result: tuple[bytes, int]) -> bytes:
    """Hand-packed twin of ACCESS_OK, with its status; of packed attributes and granted bits."""
    fattr3, granted = result
    return _ACCESS_OK.pack(OK, 1, fattr3, granted)


def access(export: Export, args: AccessArgs, caller: Caller) -> tuple[bytes, int]:
    """Say which of the ACCESS3 bits asked for the caller has; packed attributes first."""
    node = export.node(args.object)
    return node.fattr3, export.access(caller, node) & args.access
