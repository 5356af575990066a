"""The table of NFS version 3: 22 procedures, each a row (RFC 1813 §3.3)."""

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from hfnfs.nfs3 import attrs, data, info, listing, names
from hfnfs.nfs3.export import Export
from hfnfs.nfs3.serving import (
    Procedure,
    Table,
    Trailer,
    encode_ok,
    failure,
    post_op_attr,
    wcc_data,
)
from hfnfs.nfs3.types import declared
from hfnfs.rpc.session import Caller
from hfnfs.rpc.xdr import Codec, void

A = TypeVar("A")
R = TypeVar("R")

NFS_PROGRAM = 100003
NFS_VERSION = 3


def _never(result: NoReturn) -> bytes:
    raise AssertionError("no change succeeds in a read-only volume")


def _asks(
    name: str, args: Codec[A], run: Callable[[Export, A, Caller], R], ok: Codec[R], handle: str
) -> Procedure[Export, A, R]:
    """Give the row of a procedure that changes nothing, encoded as declared."""
    return Procedure(name, declared(args), run, encode_ok(ok), failure(post_op_attr(handle)))


def _changes(
    name: str, args: Codec[A], run: Callable[[Export, A, Caller], NoReturn], *trailers: Trailer
) -> Procedure[Export, A, NoReturn]:
    """Give the row of a procedure that must not run twice."""
    return Procedure(name, declared(args), run, _never, failure(*trailers), runs_once=True)


PROCEDURES: tuple[Procedure[Export, Any, Any], ...] = (
    Procedure("NULL", declared(void), info.null, lambda _: b""),
    Procedure(
        "GETATTR",
        attrs.decode_getattr_args,
        attrs.getattr_,
        attrs.encode_getattr_ok,
        failure(),
    ),
    _changes("SETATTR", attrs.SETATTR_ARGS, attrs.setattr_, wcc_data("object")),
    Procedure(
        "LOOKUP",
        names.decode_lookup_args,
        names.lookup,
        names.encode_lookup_ok,
        failure(post_op_attr("dir")),
    ),
    Procedure(
        "ACCESS",
        attrs.decode_access_args,
        attrs.access,
        attrs.encode_access_ok,
        failure(post_op_attr("object")),
    ),
    _asks("READLINK", names.READLINK_ARGS, names.readlink, names.READLINK_OK, "symlink"),
    Procedure(
        "READ",
        data.decode_read_args,
        data.read,
        data.encode_read_ok,
        failure(post_op_attr("file")),
    ),
    Procedure("WRITE", data.decode_write_args, data.write, _never, failure(wcc_data("file"))),
    _changes("CREATE", names.CREATE_ARGS, names.create, wcc_data("where.dir")),
    _changes("MKDIR", names.MKDIR_ARGS, names.create, wcc_data("where.dir")),
    _changes("SYMLINK", names.SYMLINK_ARGS, names.create, wcc_data("where.dir")),
    _changes("MKNOD", names.MKNOD_ARGS, names.create, wcc_data("where.dir")),
    _changes("REMOVE", names.REMOVE_ARGS, names.remove, wcc_data("object.dir")),
    _changes("RMDIR", names.REMOVE_ARGS, names.remove, wcc_data("object.dir")),
    _changes("RENAME", names.RENAME_ARGS, names.rename, wcc_data("from_.dir"), wcc_data("to.dir")),
    _changes("LINK", names.LINK_ARGS, names.link, post_op_attr("file"), wcc_data("link.dir")),
    Procedure(
        "READDIR",
        declared(listing.READDIR_ARGS),
        listing.readdir,
        listing.encode_page,
        failure(post_op_attr("dir")),
    ),
    Procedure(
        "READDIRPLUS",
        listing.decode_readdirplus_args,
        listing.readdirplus,
        listing.encode_page,
        failure(post_op_attr("dir")),
    ),
    _asks("FSSTAT", info.FSSTAT_ARGS, info.fsstat, info.FSSTAT_OK, "fsroot"),
    _asks("FSINFO", info.FSINFO_ARGS, info.fsinfo, info.FSINFO_OK, "fsroot"),
    _asks("PATHCONF", info.PATHCONF_ARGS, info.pathconf, info.PATHCONF_OK, "object"),
    Procedure("COMMIT", declared(data.COMMIT_ARGS), data.commit, _never, failure(wcc_data("file"))),
)


class ProgramNfs3(Table[Export]):
    """NFS version 3 over one export."""

    number = NFS_PROGRAM
    versions = (NFS_VERSION, NFS_VERSION)
    rows = PROCEDURES
