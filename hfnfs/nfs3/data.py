"""READ (RFC 1813 §3.3.6)."""

import struct

from hfnfs.config import KIB, TRANSFER_BYTES_MAX
from hfnfs.nfs3.export import Export
from hfnfs.nfs3.handle import HANDLE_BYTES
from hfnfs.nfs3.status import OK
from hfnfs.nfs3.types import (
    DATA,
    FILE_HANDLE,
    HANDLE_FORMAT,
    POST_OP_ATTR,
    POST_OP_ATTR_FORMAT,
    result_of,
)
from hfnfs.rpc.session import Body, Caller
from hfnfs.rpc.xdr import boolean, decode, struct_of, u32, u64, wire

_READ = struct.Struct(f">{HANDLE_FORMAT}QI")  # and offset, count
_READ_OK = struct.Struct(f">I{POST_OP_ATTR_FORMAT}III")  # status, attributes, count, eof, length
# A payload up to here is joined with its head at once: that takes less than to carry parts along.
_COPIED_BYTES_MAX = 8 * KIB
_PADDING = (b"", bytes(3), bytes(2), bytes(1))  # by length modulo 4

# -------------------------------------------------------------------- READ


@wire
class ReadArgs:
    """READ3args."""

    file: bytes
    offset: int  # bytes
    count: int  # bytes


@wire
class ReadOk:
    """READ3resok."""

    file_attributes: bytes | None
    count: int  # bytes, those of data
    eof: bool
    data: bytes | memoryview


READ_ARGS = struct_of(ReadArgs, file=FILE_HANDLE, offset=u64, count=u32)
READ_OK = struct_of(ReadOk, file_attributes=POST_OP_ATTR, count=u32, eof=boolean, data=DATA)
READ_RESULT = result_of(READ_OK, POST_OP_ATTR)


def decode_read_args(buf: bytes | memoryview, pos: int, end: int) -> ReadArgs:
    """Hand-packed twin of READ_ARGS."""
    if end - pos == _READ.size:
        length, handle, offset, count = _READ.unpack_from(buf, pos)
        if length == HANDLE_BYTES:
            return ReadArgs(handle, offset, count)
    return decode(READ_ARGS, buf, pos, end)


def encode_read_ok(result: tuple[bytes, bytes | memoryview, bool]) -> Body:
    """Hand-packed twin of READ_OK, with its status; of what `read` gives.

    A large payload is handed on, not copied.
    """
    fattr3, data, eof = result
    length = len(data)
    head = _READ_OK.pack(OK, 1, fattr3, length, eof, length)
    if length <= _COPIED_BYTES_MAX:
        return b"".join((head, data, _PADDING[length & 3]))
    return [head, data, _PADDING[length & 3]] if length & 3 else [head, data]


def read(export: Export, args: ReadArgs, caller: Caller) -> tuple[bytes, bytes | memoryview, bool]:
    """Give packed attributes, up to `count` bytes of a file, and whether it ends with them.

    Never more than FSINFO's rtmax.
    """
    node = export.node(args.file)
    count = args.count
    if count > TRANSFER_BYTES_MAX:  # noqa: PLR1730  min() takes several times as long
        count = TRANSFER_BYTES_MAX
    data, eof = export.volume.data.read(node, args.offset, count)
    return node.fattr3, data, eof
