"""Arguments of frequent changes, unpacked by hand: hand-packed twins of declared codecs.

`tar x` sends CREATE and SETATTR for every file. A twin takes what clients send of it, with handles
of ours; whatever looks different raises Unusual and is decoded as declared.
"""

import struct
from collections.abc import Callable
from typing import TypeVar

from hfnfs.nfs3.handle import HANDLE_BYTES
from hfnfs.nfs3.types import (
    HANDLE_FORMAT,
    PATH_BYTES_MAX,
    Decoder,
    DirOpArgs,
    NfsTime3,
    Sattr3,
    TimeHow,
)
from hfnfs.rpc.xdr import Codec, decode

A = TypeVar("A")

_U32 = struct.Struct(">I").unpack_from
_U64 = struct.Struct(">Q").unpack_from
_TIME = struct.Struct(">II").unpack_from
_HANDLE = struct.Struct(f">{HANDLE_FORMAT}")
_DIR_OP = struct.Struct(f">{HANDLE_FORMAT}I")  # and the length of the name
_AS_IT_IS = (TimeHow.DONT_CHANGE, None)
_NOW = (TimeHow.SET_TO_SERVER_TIME, None)
_GIVEN = TimeHow.SET_TO_CLIENT_TIME


class Unusual(Exception):
    """For the declaration to decode or to refuse."""


def by_hand(
    unpack: Callable[[bytes | memoryview, int], tuple[A, int]], codec: Codec[A]
) -> Decoder[A]:
    """Give the decoder that tries `unpack`, which gives a value and where it ends, first."""

    def twin(buf: bytes | memoryview, pos: int, end: int, /) -> A:
        try:
            value, stop = unpack(buf, pos)
        except (struct.error, Unusual):
            return decode(codec, buf, pos, end)
        # What was unpacked may reach behind the arguments: then they are too short.
        return value if stop == end else decode(codec, buf, pos, end)

    return twin


def handle_at(buf: bytes | memoryview, pos: int) -> tuple[bytes, int]:
    """Give a handle of ours, and where it ends."""
    length, handle = _HANDLE.unpack_from(buf, pos)
    if length != HANDLE_BYTES:
        raise Unusual
    return handle, pos + _HANDLE.size


def dir_op_at(buf: bytes | memoryview, pos: int) -> tuple[DirOpArgs, int]:
    """Give a diropargs3, and where it ends."""
    length, directory, name_bytes = _DIR_OP.unpack_from(buf, pos)
    if length != HANDLE_BYTES or name_bytes > PATH_BYTES_MAX:
        raise Unusual
    start = pos + _DIR_OP.size
    name = bytes(buf[start : start + name_bytes])
    return DirOpArgs(directory, name), start + (name_bytes + 3 & ~3)


def u32_at(buf: bytes | memoryview, pos: int) -> tuple[int, int]:
    """Give a number, and where it ends."""
    return _U32(buf, pos)[0], pos + 4


def is_present_at(buf: bytes | memoryview, pos: int) -> tuple[bool, int]:
    """Tell whether an optional value is there, and where it would begin."""
    (there,) = _U32(buf, pos)
    if there > 1:
        raise Unusual
    return there == 1, pos + 4


def time_at(buf: bytes | memoryview, pos: int) -> tuple[NfsTime3, int]:
    """Give a nfstime3, and where it ends."""
    return NfsTime3(*_TIME(buf, pos)), pos + 8


def sattr_at(buf: bytes | memoryview, pos: int) -> tuple[Sattr3, int]:
    """Give a sattr3, and where it ends."""
    mode, pos = _optional_u32_at(buf, pos)
    uid, pos = _optional_u32_at(buf, pos)
    gid, pos = _optional_u32_at(buf, pos)
    size = None
    is_sized, pos = is_present_at(buf, pos)
    if is_sized:
        (size,) = _U64(buf, pos)
        pos += 8
    atime, pos = _set_time_at(buf, pos)
    mtime, pos = _set_time_at(buf, pos)
    return Sattr3(mode, uid, gid, size, atime, mtime), pos


def _optional_u32_at(buf: bytes | memoryview, pos: int) -> tuple[int | None, int]:
    (there,) = _U32(buf, pos)
    if not there:
        return None, pos + 4
    if there != 1:
        raise Unusual
    return _U32(buf, pos + 4)[0], pos + 8


def _set_time_at(buf: bytes | memoryview, pos: int) -> tuple[tuple[TimeHow, NfsTime3 | None], int]:
    (how,) = _U32(buf, pos)
    pos += 4
    if how == 0:
        return _AS_IT_IS, pos
    if how == 1:
        return _NOW, pos
    if how != 2:
        raise Unusual
    time, pos = time_at(buf, pos)
    return (_GIVEN, time), pos
