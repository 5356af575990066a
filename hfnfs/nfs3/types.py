"""The types that RFC 1813's procedures share (§2.5, §2.6), each with its codec.

Attributes travel packed: a node keeps its fattr3 ready as 84 bytes, and to XDR a structure of
fixed size is no different from as many opaque bytes. FATTR3 and WCC_ATTR say what is in them.
"""

import struct
from enum import IntEnum
from functools import partial
from typing import Any, Protocol, TypeVar

from hfnfs.config import TRANSFER_BYTES_MAX
from hfnfs.nfs3.handle import HANDLE_BYTES
from hfnfs.nfs3.status import Status
from hfnfs.rpc.xdr import (
    Codec,
    decode,
    enum_of,
    fixed,
    opaque,
    optional,
    string,
    struct_of,
    u32,
    u64,
    union_of,
    wire,
)
from hfnfs.vfs.node import FATTR3_BYTES, FileType

A_co = TypeVar("A_co", covariant=True)
A = TypeVar("A")

_U32 = struct.Struct(">I")

HANDLE_BYTES_MAX = 64  # NFS3_FHSIZE
COOKIE_VERIFIER_BYTES = 8
WRITE_VERIFIER_BYTES = 8
WCC_ATTR_BYTES = 24
# Names and paths longer than a volume holds are well-formed all the same and get a status, so
# the wire takes more of them than vfs/ does.
PATH_BYTES_MAX = 4096

FILE_HANDLE = opaque(HANDLE_BYTES_MAX)
NAME = string(PATH_BYTES_MAX)  # filename3
PATH = string(PATH_BYTES_MAX)  # nfspath3
DATA = opaque(TRANSFER_BYTES_MAX)
COOKIE_VERIFIER = fixed(COOKIE_VERIFIER_BYTES)


class Decoder(Protocol[A_co]):
    """Gives the arguments that fill buf[pos:end].

    They share no memory with buf, or the row of their procedure says how to keep them.

    Raises WireError.
    """

    def __call__(self, buf: bytes | memoryview, pos: int, end: int, /) -> A_co:
        """See the class."""
        ...


def declared(codec: Codec[A]) -> Decoder[A]:
    """Give the decoder that follows a declaration."""
    return partial(decode, codec)


# ------------------------------------------------------------- attributes


@wire
class NfsTime3:
    """nfstime3: time since 1970."""

    seconds: int
    nseconds: int


NFSTIME3 = struct_of(NfsTime3, seconds=u32, nseconds=u32)


@wire
class SpecData3:
    """specdata3: the two numbers of a device."""

    specdata1: int
    specdata2: int


SPECDATA3 = struct_of(SpecData3, specdata1=u32, specdata2=u32)


@wire
class Fattr3:
    """fattr3: all attributes of an object."""

    type: FileType
    mode: int
    nlink: int
    uid: int
    gid: int
    size: int  # bytes
    used: int  # bytes
    rdev: SpecData3
    fsid: int
    fileid: int
    atime: NfsTime3
    mtime: NfsTime3
    ctime: NfsTime3


FATTR3 = struct_of(
    Fattr3,
    type=enum_of(FileType),
    mode=u32,
    nlink=u32,
    uid=u32,
    gid=u32,
    size=u64,
    used=u64,
    rdev=SPECDATA3,
    fsid=u64,
    fileid=u64,
    atime=NFSTIME3,
    mtime=NFSTIME3,
    ctime=NFSTIME3,
)
PACKED_FATTR3 = fixed(FATTR3_BYTES)
POST_OP_ATTR = optional(PACKED_FATTR3)
POST_OP_FILE_HANDLE = optional(FILE_HANDLE)


@wire
class WccAttr:
    """wcc_attr: what of the attributes tells whether an object has changed."""

    size: int
    mtime: NfsTime3
    ctime: NfsTime3


WCC_ATTR = struct_of(WccAttr, size=u64, mtime=NFSTIME3, ctime=NFSTIME3)


@wire
class WccData:
    """wcc_data: packed wcc_attr before and packed fattr3 after an operation."""

    before: bytes | None
    after: bytes | None


WCC_DATA = struct_of(WccData, before=optional(fixed(WCC_ATTR_BYTES)), after=POST_OP_ATTR)


def wcc_attr_of(fattr3: bytes) -> bytes:
    """Give the packed wcc_attr out of a packed fattr3: its size, mtime and ctime."""
    return fattr3[20:28] + fattr3[68:84]


def changed_from(before: bytes, after: bytes) -> WccData:
    """Give the wcc_data of what had the packed fattr3 `before`, and has `after` since."""
    return WccData(wcc_attr_of(before), after)


# --------------------------------------------------------------- to be set


class TimeHow(IntEnum):
    """time_how: where a time that SETATTR sets comes from."""

    DONT_CHANGE = 0
    SET_TO_SERVER_TIME = 1
    SET_TO_CLIENT_TIME = 2


SET_TIME = union_of(
    enum_of(TimeHow),
    {
        TimeHow.DONT_CHANGE: None,
        TimeHow.SET_TO_SERVER_TIME: None,
        TimeHow.SET_TO_CLIENT_TIME: NFSTIME3,
    },
)


@wire
class Sattr3:
    """sattr3: attributes to set; None leaves one as it is."""

    mode: int | None
    uid: int | None
    gid: int | None
    size: int | None
    atime: tuple[TimeHow, NfsTime3 | None]
    mtime: tuple[TimeHow, NfsTime3 | None]


SATTR3 = struct_of(
    Sattr3,
    mode=optional(u32),
    uid=optional(u32),
    gid=optional(u32),
    size=optional(u64),
    atime=SET_TIME,
    mtime=SET_TIME,
)


# ------------------------------------------------------------------- names


@wire
class DirOpArgs:
    """diropargs3: a name in a directory."""

    dir: bytes
    name: bytes


DIR_OP_ARGS = struct_of(DirOpArgs, dir=FILE_HANDLE, name=NAME)


# ----------------------------------------------------------------- results


def result_of(ok: Codec[Any], failed: Codec[Any] | None) -> Codec[tuple[Status, Any]]:
    """Give the codec of a procedure's result: its status, then what that status brings."""
    return union_of(enum_of(Status), {Status.OK: ok}, default=failed)


# --------------------------------------------- by hand, for hand-packed twins

STATUS_OK = _U32.pack(Status.OK)
PRESENT = _U32.pack(1)  # an optional value follows
ABSENT = _U32.pack(0)
# How our own handles lie on the wire. Hot procedures unpack arguments that begin with one by hand,
# in one call; whatever looks different is decoded as declared.
HANDLE_FORMAT = f"I{HANDLE_BYTES}s"
POST_OP_ATTR_FORMAT = f"I{FATTR3_BYTES}s"


def pack_post_op_attr(fattr3: bytes | None) -> bytes:
    """Hand-packed twin of POST_OP_ATTR."""
    return ABSENT if fattr3 is None else PRESENT + fattr3


def pack_wcc_data(before: bytes, after: bytes) -> bytes:
    """Hand-packed twin of WCC_DATA, of packed fattr3 before and after."""
    return PRESENT + wcc_attr_of(before) + PRESENT + after


def encode_wcc_ok(wcc: WccData) -> bytes:
    """Hand-packed twin of a result that is a wcc_data with both its parts, with its status."""
    assert wcc.before is not None
    assert wcc.after is not None
    return b"".join((STATUS_OK, PRESENT, wcc.before, PRESENT, wcc.after))
