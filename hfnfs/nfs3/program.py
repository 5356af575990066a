"""The table of NFS version 3: 22 procedures, each a row (RFC 1813 §3.3)."""

from collections.abc import Callable
from typing import Any, TypeVar

from hfnfs.nfs3 import again, attrs, data, info, listing, names, naming, setting, writing
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
from hfnfs.nfs3.types import Decoder, declared
from hfnfs.rpc.session import Caller
from hfnfs.rpc.xdr import Codec, void
from hfnfs.vfs.needs import Held

A = TypeVar("A")
R = TypeVar("R")
M = TypeVar("M", naming.CreateArgs, naming.MkdirArgs, naming.SymlinkArgs)

NFS_PROGRAM = 100003
NFS_VERSION = 3


def _asks(
    name: str, args: Codec[A], run: Callable[[Export, A, Caller], R], ok: Codec[R], handle: str
) -> Procedure[Export, A, R]:
    """Give the row of a procedure that changes nothing, encoded as declared."""
    return Procedure(name, declared(args), run, encode_ok(ok), failure(post_op_attr(handle)))


def _changes(
    name: str,
    decode: Decoder[A],
    run: Callable[[Export, A, Caller], Held[R]],
    encode: Callable[[R], bytes],
    again: Callable[[Export, A, Caller], R],
    *trailers: Trailer,
) -> Procedure[Export, A, R]:
    """Give the row of a procedure that must not run twice."""
    return Procedure(name, decode, run, encode, failure(*trailers), again=again)


def _made(
    name: str, decode: Decoder[M], run: Callable[[Export, M, Caller], Held[naming.MadeOk]]
) -> Procedure[Export, M, naming.MadeOk]:
    """Give the row of CREATE and its kin."""
    return _changes(name, decode, run, naming.encode_made_ok, again.made, wcc_data("where.dir"))


def _removed(
    name: str, run: Callable[[Export, naming.RemoveArgs, Caller], Held[naming.RemoveOk]]
) -> Procedure[Export, naming.RemoveArgs, naming.RemoveOk]:
    """Give the row of REMOVE and RMDIR."""
    decode, encode = naming.decode_remove_args, naming.encode_remove_ok
    return _changes(name, decode, run, encode, again.removed, wcc_data("object.dir"))


PROCEDURES: tuple[Procedure[Export, Any, Any], ...] = (
    Procedure("NULL", declared(void), info.null, lambda _: b""),
    Procedure(
        "GETATTR",
        attrs.decode_getattr_args,
        attrs.getattr_,
        attrs.encode_getattr_ok,
        failure(),
    ),
    _changes(
        "SETATTR",
        setting.decode_setattr_args,
        setting.setattr_,
        setting.encode_setattr_ok,
        again.was_set,
        wcc_data("object"),
    ),
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
    Procedure(
        "WRITE",
        writing.decode_write_args,
        writing.write,
        writing.encode_write_ok,
        failure(wcc_data("file")),
        keep=writing.keep_write_args,
    ),
    _made("CREATE", naming.decode_create_args, naming.create),
    _made("MKDIR", declared(naming.MKDIR_ARGS), naming.mkdir),
    _made("SYMLINK", declared(naming.SYMLINK_ARGS), naming.symlink),
    Procedure(
        "MKNOD",
        declared(naming.MKNOD_ARGS),
        naming.mknod,
        encode_ok(naming.MADE_OK),
        failure(wcc_data("where.dir")),
    ),
    _removed("REMOVE", naming.remove),
    _removed("RMDIR", naming.rmdir),
    _changes(
        "RENAME",
        declared(naming.RENAME_ARGS),
        naming.rename,
        encode_ok(naming.RENAME_WCC),
        again.renamed,
        wcc_data("from_.dir"),
        wcc_data("to.dir"),
    ),
    _changes(
        "LINK",
        declared(naming.LINK_ARGS),
        naming.link,
        encode_ok(naming.LINK_WCC),
        again.linked,
        post_op_attr("file"),
        wcc_data("link.dir"),
    ),
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
    Procedure(
        "COMMIT",
        writing.decode_commit_args,
        writing.commit,
        writing.encode_commit_ok,
        failure(wcc_data("file")),
    ),
)


class ProgramNfs3(Table[Export]):
    """NFS version 3 over one export."""

    number = NFS_PROGRAM
    versions = (NFS_VERSION, NFS_VERSION)
    rows = PROCEDURES
