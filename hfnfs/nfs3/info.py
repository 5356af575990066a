"""NULL, FSSTAT, FSINFO, PATHCONF (RFC 1813 §3.3.0, §3.3.18 to §3.3.20)."""

from hfnfs.config import KIB, TRANSFER_BYTES_MAX
from hfnfs.nfs3.export import Export
from hfnfs.nfs3.types import (
    FILE_HANDLE,
    NFSTIME3,
    POST_OP_ATTR,
    NfsTime3,
    result_of,
)
from hfnfs.rpc.session import Caller
from hfnfs.rpc.xdr import boolean, struct_of, u32, u64, wire
from hfnfs.vfs.attributes import TIME_STEP_NS
from hfnfs.vfs.tree import NAME_BYTES_MAX

# A multiple of a page, so that what a client reads fills its page cache without remainders.
TRANSFER_MULTIPLE = 4 * KIB
# What Linux then asks READDIRPLUS for: some 300 entries, well below a millisecond to make.
DIRECTORY_BYTES_PREFERRED = 64 * KIB
FILE_BYTES_MAX = (1 << 63) - 1  # what off_t holds
COUNT_MAX = (1 << 64) - 1  # what FSSTAT tells; the far side may list more than that
FSF3_LINK = 0x01  # LINK is served, by a copy
FSF3_SYMLINK = 0x02
FSF3_HOMOGENEOUS = 0x08  # PATHCONF says the same everywhere
FSF3_CANSETTIME = 0x10  # SETATTR sets times, as finely as time_delta says
LINKS_MAX = 1  # the Hub has no second name for a file: what LINK makes is a file of its own


def null(desk: object, args: None, caller: Caller) -> None:
    """Do nothing; a client asks this to see whether anybody is there."""


# ------------------------------------------------------------------ FSSTAT


@wire
class FsstatArgs:
    """FSSTAT3args."""

    fsroot: bytes


@wire
class FsstatOk:
    """FSSTAT3resok: bytes and files, all, free, and free to the caller."""

    obj_attributes: bytes | None
    tbytes: int
    fbytes: int
    abytes: int
    tfiles: int
    ffiles: int
    afiles: int
    invarsec: int  # seconds for which this will not change


FSSTAT_ARGS = struct_of(FsstatArgs, fsroot=FILE_HANDLE)
FSSTAT_OK = struct_of(
    FsstatOk,
    obj_attributes=POST_OP_ATTR,
    tbytes=u64,
    fbytes=u64,
    abytes=u64,
    tfiles=u64,
    ffiles=u64,
    afiles=u64,
    invarsec=u32,
)
FSSTAT_RESULT = result_of(FSSTAT_OK, POST_OP_ATTR)


def fsstat(export: Export, args: FsstatArgs, caller: Caller) -> FsstatOk:
    """Say how full the volume is."""
    node = export.node(args.fsroot)
    usage = export.volume.usage()
    total_bytes, free_bytes, total_files, free_files = (min(n, COUNT_MAX) for n in usage)
    return FsstatOk(
        node.fattr3,
        tbytes=total_bytes,
        fbytes=free_bytes,
        abytes=free_bytes,
        tfiles=total_files,
        ffiles=free_files,
        afiles=free_files,
        invarsec=0,
    )


# ------------------------------------------------------------------ FSINFO


@wire
class FsinfoArgs:
    """FSINFO3args."""

    fsroot: bytes


@wire
class FsinfoOk:
    """FSINFO3resok: most, preferred and multiple of what READ and WRITE carry, in bytes."""

    obj_attributes: bytes | None
    rtmax: int
    rtpref: int
    rtmult: int
    wtmax: int
    wtpref: int
    wtmult: int
    dtpref: int
    maxfilesize: int
    time_delta: NfsTime3
    properties: int


FSINFO_ARGS = struct_of(FsinfoArgs, fsroot=FILE_HANDLE)
FSINFO_OK = struct_of(
    FsinfoOk,
    obj_attributes=POST_OP_ATTR,
    rtmax=u32,
    rtpref=u32,
    rtmult=u32,
    wtmax=u32,
    wtpref=u32,
    wtmult=u32,
    dtpref=u32,
    maxfilesize=u64,
    time_delta=NFSTIME3,
    properties=u32,
)
FSINFO_RESULT = result_of(FSINFO_OK, POST_OP_ATTR)


def fsinfo(export: Export, args: FsinfoArgs, caller: Caller) -> FsinfoOk:
    """Say what the server likes to be asked."""
    node = export.node(args.fsroot)
    if export.volume.is_read_only:
        properties, time_step_ns = FSF3_HOMOGENEOUS, 1
    else:
        properties = FSF3_HOMOGENEOUS | FSF3_LINK | FSF3_SYMLINK | FSF3_CANSETTIME
        time_step_ns = TIME_STEP_NS
    return FsinfoOk(
        node.fattr3,
        rtmax=TRANSFER_BYTES_MAX,
        rtpref=TRANSFER_BYTES_MAX,
        rtmult=TRANSFER_MULTIPLE,
        wtmax=TRANSFER_BYTES_MAX,
        wtpref=TRANSFER_BYTES_MAX,
        wtmult=TRANSFER_MULTIPLE,
        dtpref=DIRECTORY_BYTES_PREFERRED,
        maxfilesize=FILE_BYTES_MAX,
        time_delta=NfsTime3(0, time_step_ns),
        properties=properties,
    )


# ---------------------------------------------------------------- PATHCONF


@wire
class PathconfArgs:
    """PATHCONF3args."""

    object: bytes


@wire
class PathconfOk:
    """PATHCONF3resok."""

    obj_attributes: bytes | None
    linkmax: int
    name_max: int  # bytes
    no_trunc: bool  # a longer name is refused, not cut
    chown_restricted: bool
    case_insensitive: bool
    case_preserving: bool


PATHCONF_ARGS = struct_of(PathconfArgs, object=FILE_HANDLE)
PATHCONF_OK = struct_of(
    PathconfOk,
    obj_attributes=POST_OP_ATTR,
    linkmax=u32,
    name_max=u32,
    no_trunc=boolean,
    chown_restricted=boolean,
    case_insensitive=boolean,
    case_preserving=boolean,
)
PATHCONF_RESULT = result_of(PATHCONF_OK, POST_OP_ATTR)


def pathconf(export: Export, args: PathconfArgs, caller: Caller) -> PathconfOk:
    """Say what holds for names and links."""
    return PathconfOk(
        export.node(args.object).fattr3,
        linkmax=LINKS_MAX,
        name_max=NAME_BYTES_MAX,
        no_trunc=True,
        chown_restricted=True,
        case_insensitive=False,
        case_preserving=True,
    )
