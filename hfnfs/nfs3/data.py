"""READ, WRITE, COMMIT (RFC 1813 §3.3.6, §3.3.7, §3.3.21)."""

import struct
from enum import IntEnum
from typing import NoReturn

from hfnfs.config import TRANSFER_BYTES_MAX
from hfnfs.errors import WireError
from hfnfs.nfs3.handle import Export
from hfnfs.nfs3.types import (
    DATA,
    FILE_HANDLE,
    POST_OP_ATTR,
    STATUS_OK,
    handle_at,
    pack_post_op_attr,
    require_end,
    result_of,
)
from hfnfs.rpc.session import Body, Caller
from hfnfs.rpc.xdr import boolean, enum_of, struct_of, u32, u64, wire

_OFFSET_COUNT = struct.Struct(">QI")
_WRITE_REST = struct.Struct(">QIiI")  # offset, count, stable, length of the data
_READ_TAIL = struct.Struct(">III")  # count, eof, length of the data
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
    handle, pos = handle_at(buf, pos)
    require_end(pos + _OFFSET_COUNT.size, end)
    return ReadArgs(handle, *_OFFSET_COUNT.unpack_from(buf, pos))


def encode_read_ok(result: ReadOk) -> Body:
    """Hand-packed twin of READ_OK, after its status; the payload is handed on, not copied."""
    data = result.data
    length = len(data)
    head = (
        STATUS_OK
        + pack_post_op_attr(result.file_attributes)
        + _READ_TAIL.pack(result.count, result.eof, length)
    )
    return [head, data, _PADDING[length & 3]] if length & 3 else [head, data]


def read(export: Export, args: ReadArgs, caller: Caller) -> ReadOk:
    """Give up to `count` bytes of a file, never more than FSINFO's rtmax."""
    node = export.node(args.file)
    count = min(args.count, TRANSFER_BYTES_MAX)
    piece = export.volume.data.read(node, args.offset, count)
    return ReadOk(node.fattr3, len(piece.data), piece.eof, piece.data)


# ------------------------------------------------------------------- WRITE


class Stable(IntEnum):
    """stable_how: how durable written bytes are when the call is answered."""

    UNSTABLE = 0
    DATA_SYNC = 1
    FILE_SYNC = 2


@wire
class WriteArgs:
    """WRITE3args."""

    file: bytes
    offset: int  # bytes
    count: int  # bytes, those of data
    stable: Stable
    data: bytes


WRITE_ARGS = struct_of(
    WriteArgs, file=FILE_HANDLE, offset=u64, count=u32, stable=enum_of(Stable), data=DATA
)


def decode_write_args(buf: bytes | memoryview, pos: int, end: int) -> WriteArgs:
    """Hand-packed twin of WRITE_ARGS."""
    handle, pos = handle_at(buf, pos)
    offset, count, stable, length = _WRITE_REST.unpack_from(buf, pos)
    start = pos + _WRITE_REST.size
    require_end(start + (length + 3 & ~3), end)
    if length > TRANSFER_BYTES_MAX:
        raise WireError(f"{length} bytes to write; the most is {TRANSFER_BYTES_MAX}")
    if not Stable.UNSTABLE <= stable <= Stable.FILE_SYNC:
        raise WireError(f"{stable} is no stable_how")
    return WriteArgs(handle, offset, count, Stable(stable), bytes(buf[start : start + length]))


def write(export: Export, args: WriteArgs, caller: Caller) -> NoReturn:
    """Put bytes into a file."""
    export.node(args.file)
    export.volume.refuse_change()


# ------------------------------------------------------------------ COMMIT


@wire
class CommitArgs:
    """COMMIT3args; a count of 0 reaches to the file's end."""

    file: bytes
    offset: int  # bytes
    count: int  # bytes


COMMIT_ARGS = struct_of(CommitArgs, file=FILE_HANDLE, offset=u64, count=u32)


def commit(export: Export, args: CommitArgs, caller: Caller) -> NoReturn:
    """Make written bytes durable."""
    export.node(args.file)
    export.volume.refuse_change()
