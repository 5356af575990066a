"""RFC 1813's structures drawn at random and packed field by field with xdrlib3's Packer.

This is a second reading of the RFC, next to the declarations: the two must agree.
"""

from typing import Any

from hypothesis import strategies as st
from xdrlib3 import Packer

from hfnfs.nfs3.data import ReadArgs
from hfnfs.nfs3.handle import HANDLE_BYTES
from hfnfs.nfs3.listing import ReaddirArgs, ReaddirplusArgs
from hfnfs.nfs3.naming import (
    CreateArgs,
    CreateMode,
    DeviceData,
    LinkArgs,
    MkdirArgs,
    MknodArgs,
    RenameArgs,
    SymlinkArgs,
    SymlinkData,
)
from hfnfs.nfs3.types import DirOpArgs, NfsTime3, Sattr3, SpecData3, TimeHow, WccData
from hfnfs.nfs3.writing import CommitArgs, Stable, WriteArgs
from hfnfs.vfs.node import FileType

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
OUR_HANDLES = st.binary(min_size=HANDLE_BYTES, max_size=HANDLE_BYTES)  # what is hot takes these
HANDLES = OUR_HANDLES | st.binary(max_size=64)
NAMES = st.binary(max_size=300)
PACKED_FATTRS = st.binary(min_size=84, max_size=84)
VERIFIERS = st.binary(min_size=8, max_size=8)
TIMES = st.builds(NfsTime3, U32, U32)
SET_TIMES = st.one_of(
    st.sampled_from([(TimeHow.DONT_CHANGE, None), (TimeHow.SET_TO_SERVER_TIME, None)]),
    st.tuples(st.just(TimeHow.SET_TO_CLIENT_TIME), TIMES),
)
SATTRS = st.builds(
    Sattr3, *(st.none() | U32 for _ in range(3)), st.none() | U64, SET_TIMES, SET_TIMES
)
DIR_OPS = st.builds(DirOpArgs, HANDLES, NAMES)
CREATES = st.builds(
    CreateArgs,
    DIR_OPS,
    st.tuples(st.sampled_from([CreateMode.UNCHECKED, CreateMode.GUARDED]), SATTRS)
    | st.tuples(st.just(CreateMode.EXCLUSIVE), VERIFIERS),
)
MKDIRS = st.builds(MkdirArgs, DIR_OPS, SATTRS)
SYMLINKS = st.builds(SymlinkArgs, DIR_OPS, st.builds(SymlinkData, SATTRS, NAMES))
DEVICES = st.builds(DeviceData, SATTRS, st.builds(SpecData3, U32, U32))
MKNODS = st.builds(
    MknodArgs,
    DIR_OPS,
    st.tuples(st.sampled_from([FileType.CHR, FileType.BLK]), DEVICES)
    | st.tuples(st.sampled_from([FileType.SOCK, FileType.FIFO]), SATTRS)
    | st.tuples(st.sampled_from([FileType.REG, FileType.DIR, FileType.LNK]), st.none()),
)
RENAMES = st.builds(RenameArgs, DIR_OPS, DIR_OPS)
LINKS = st.builds(LinkArgs, HANDLES, DIR_OPS)
READS = st.builds(ReadArgs, HANDLES, U64, U32)
WRITES = st.builds(
    WriteArgs, HANDLES, U64, U32, st.sampled_from(list(Stable)), st.binary(max_size=200)
)
COMMITS = st.builds(CommitArgs, HANDLES, U64, U32)
WCCS = st.builds(
    WccData, st.none() | st.binary(min_size=24, max_size=24), st.none() | PACKED_FATTRS
)
READDIRS = st.builds(ReaddirArgs, HANDLES, U64, VERIFIERS, U32)
READDIRPLUSES = st.builds(ReaddirplusArgs, HANDLES, U64, VERIFIERS, U32, U32)


class Hand(Packer):
    """A Packer that gives itself back, so that fields can be chained."""

    def u32(self, *values: int) -> "Hand":
        for value in values:
            self.pack_uint(value)
        return self

    def u64(self, *values: int) -> "Hand":
        for value in values:
            self.pack_uhyper(value)
        return self

    def opaque(self, *values: bytes) -> "Hand":
        for value in values:
            self.pack_opaque(value)
        return self

    def fixed(self, value: bytes) -> "Hand":
        self.pack_fopaque(len(value), value)
        return self

    def dir_op(self, value: DirOpArgs) -> "Hand":
        return self.opaque(value.dir, value.name)

    def post_op_attr(self, fattr3: bytes | None) -> "Hand":
        return self.u32(0) if fattr3 is None else self.u32(1).fixed(fattr3)

    def wcc(self, value: WccData) -> "Hand":
        self.u32(0) if value.before is None else self.u32(1).fixed(value.before)
        return self.post_op_attr(value.after)

    def sattr(self, value: Sattr3) -> "Hand":
        for number in (value.mode, value.uid, value.gid):
            self.u32(0) if number is None else self.u32(1, number)
        self.u32(0) if value.size is None else self.u32(1).u64(value.size)
        for how, time in (value.atime, value.mtime):
            self.u32(how)
            if time is not None:
                self.u32(time.seconds, time.nseconds)
        return self

    def bytes(self) -> Any:
        return self.get_buffer()
