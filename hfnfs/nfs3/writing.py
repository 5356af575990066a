"""WRITE and COMMIT (RFC 1813 §3.3.7, §3.3.21)."""

import struct
from enum import IntEnum
from typing import NamedTuple, Protocol

from hfnfs.config import TRANSFER_BYTES_MAX
from hfnfs.errors import InvalidArgument
from hfnfs.nfs3.export import Export
from hfnfs.nfs3.handle import HANDLE_BYTES
from hfnfs.nfs3.owners import SET_ID, disarmed, is_root
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.types import (
    FILE_HANDLE,
    HANDLE_FORMAT,
    POST_OP_ATTR_FORMAT,
    WCC_ATTR_BYTES,
    WCC_DATA,
    WRITE_VERIFIER_BYTES,
    WccData,
    result_of,
    wcc_attr_of,
)
from hfnfs.rpc.session import Caller
from hfnfs.rpc.xdr import decode, enum_of, fixed, opaque, struct_of, u32, u64, wire
from hfnfs.vfs.needs import Held

# A client that ignores FSINFO's wtmax sends what is well-formed all the same; how long a call may
# be is for rpc/ to say.
WRITTEN_BYTES_MAX = 2 * TRANSFER_BYTES_MAX

_WRITE = struct.Struct(f">{HANDLE_FORMAT}QIII")  # and offset, count, stable, length of the data
_WCC_FORMAT = f"I{WCC_ATTR_BYTES}s{POST_OP_ATTR_FORMAT}"
_WRITE_OK = struct.Struct(f">I{_WCC_FORMAT}II{WRITE_VERIFIER_BYTES}s")  # ..., count, committed
_COMMIT_OK = struct.Struct(f">I{_WCC_FORMAT}{WRITE_VERIFIER_BYTES}s")
_COMMIT = struct.Struct(f">{HANDLE_FORMAT}QI")  # and offset, count


# ------------------------------------------------------------------- WRITE


class Stable(IntEnum):
    """stable_how: how durable written bytes are when the call is answered."""

    UNSTABLE = 0
    DATA_SYNC = 1
    FILE_SYNC = 2


_STABLE = {int(stable): stable for stable in Stable}


@wire
class WriteArgs:
    """WRITE3args."""

    file: bytes
    offset: int  # bytes
    count: int  # bytes, those of data
    stable: Stable
    data: bytes | memoryview


@wire
class WriteOk:
    """WRITE3resok."""

    file_wcc: WccData
    count: int  # bytes
    committed: Stable
    verf: bytes


class Verified(Protocol):
    """Who knows the verifier; asked for last, as it tells of bytes that were lost meanwhile."""

    @property
    def write_verifier(self) -> bytes:
        """It changes whenever unstable bytes that were answered may be lost."""
        ...


class Written(NamedTuple):
    """What was written."""

    before: bytes  # packed fattr3
    after: bytes
    length: int  # bytes; a NamedTuple cannot call it count
    committed: Stable
    verified: Verified


WRITE_ARGS = struct_of(
    WriteArgs,
    file=FILE_HANDLE,
    offset=u64,
    count=u32,
    stable=enum_of(Stable),
    data=opaque(WRITTEN_BYTES_MAX),
)
WRITE_VERIFIER = fixed(WRITE_VERIFIER_BYTES)
WRITE_OK = struct_of(
    WriteOk, file_wcc=WCC_DATA, count=u32, committed=enum_of(Stable), verf=WRITE_VERIFIER
)
WRITE_RESULT = result_of(WRITE_OK, WCC_DATA)


def decode_write_args(buf: bytes | memoryview, pos: int, end: int) -> WriteArgs:
    """Hand-packed twin of WRITE_ARGS; the data is a part of buf, as long as that is good."""
    start = pos + _WRITE.size
    if start <= end:
        length, handle, offset, count, stable, data_bytes = _WRITE.unpack_from(buf, pos)
        if (
            length == HANDLE_BYTES
            and stable in _STABLE
            and start + (data_bytes + 3 & ~3) == end
            and data_bytes <= WRITTEN_BYTES_MAX
        ):
            data = buf[start : start + data_bytes]
            return WriteArgs(handle, offset, count, _STABLE[stable], data)
    return decode(WRITE_ARGS, buf, pos, end)


def keep_write_args(args: WriteArgs) -> WriteArgs:
    """Give the same arguments with data of their own."""
    return WriteArgs(args.file, args.offset, args.count, args.stable, bytes(args.data))


def encode_write_ok(result: Written) -> bytes:
    """Hand-packed twin of WRITE_OK, with its status."""
    before, after, length, committed, verified = result
    return _WRITE_OK.pack(
        Status.OK, 1, wcc_attr_of(before), 1, after, length, committed, verified.write_verifier
    )


def write(export: Export, args: WriteArgs, caller: Caller) -> Written | Held[Written]:
    """Put bytes into a file; those that are asked to be stable are held until they are."""
    node = export.node(args.file)
    writing = export.volume.changes.writing
    data = args.data
    if args.count != len(data):
        data = _counted(args)
    before = node.fattr3
    count = writing.write(node, args.offset, data)
    if node.look.mode & SET_ID and count and not is_root(caller):
        export.volume.changes.setting.set_mode(node, disarmed(node.look.mode))
    if args.stable is Stable.UNSTABLE:
        return Written(before, node.fattr3, count, Stable.UNSTABLE, writing)
    written = Written(before, node.fattr3, count, Stable.FILE_SYNC, writing)
    return Held(written, writing.durable(node))


def _counted(args: WriteArgs) -> bytes | memoryview:
    """Give the data that count says. Raises InvalidArgument if there is less."""
    if args.count > len(args.data):
        raise InvalidArgument(f"WRITE of {args.count} bytes with {len(args.data)}")
    return args.data[: args.count]


# ------------------------------------------------------------------ COMMIT


@wire
class CommitArgs:
    """COMMIT3args; a count of 0 reaches to the file's end."""

    file: bytes
    offset: int  # bytes
    count: int  # bytes


@wire
class CommitOk:
    """COMMIT3resok."""

    file_wcc: WccData
    verf: bytes


COMMIT_ARGS = struct_of(CommitArgs, file=FILE_HANDLE, offset=u64, count=u32)
COMMIT_OK = struct_of(CommitOk, file_wcc=WCC_DATA, verf=WRITE_VERIFIER)
COMMIT_RESULT = result_of(COMMIT_OK, WCC_DATA)


def decode_commit_args(buf: bytes | memoryview, pos: int, end: int) -> CommitArgs:
    """Hand-packed twin of COMMIT_ARGS."""
    if end - pos == _COMMIT.size:
        length, handle, offset, count = _COMMIT.unpack_from(buf, pos)
        if length == HANDLE_BYTES:
            return CommitArgs(handle, offset, count)
    return decode(COMMIT_ARGS, buf, pos, end)


def encode_commit_ok(result: tuple[bytes, Verified]) -> bytes:
    """Hand-packed twin of COMMIT_OK, with its status; of packed attributes, and as of Written."""
    fattr3, verified = result
    return _COMMIT_OK.pack(Status.OK, 1, wcc_attr_of(fattr3), 1, fattr3, verified.write_verifier)


def commit(export: Export, args: CommitArgs, caller: Caller) -> Held[tuple[bytes, Verified]]:
    """Make all that was written to a file durable; offset and count are hints we need not take."""
    node = export.node(args.file)
    writing = export.volume.changes.writing
    return Held((node.fattr3, writing), writing.durable(node))
