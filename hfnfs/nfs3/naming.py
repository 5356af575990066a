"""What changes names: CREATE MKDIR SYMLINK MKNOD REMOVE RMDIR RENAME LINK.

RFC 1813 §3.3.8 to §3.3.15. Each finds what its handles mean, lets the volume do it, and tells the
attributes that its directories had before and have after; the answer is held until it is durable.
"""

import struct
from enum import IntEnum
from typing import Any, NoReturn

from hfnfs.errors import NotSupported, WrongType
from hfnfs.nfs3.export import Export
from hfnfs.nfs3.handle import HANDLE_BYTES
from hfnfs.nfs3.owners import made_by, wanted_of
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.types import (
    DIR_OP_ARGS,
    FILE_HANDLE,
    HANDLE_FORMAT,
    PATH,
    POST_OP_ATTR,
    POST_OP_ATTR_FORMAT,
    POST_OP_FILE_HANDLE,
    SATTR3,
    SPECDATA3,
    WCC_ATTR_BYTES,
    WCC_DATA,
    DirOpArgs,
    Sattr3,
    SpecData3,
    WccData,
    changed_from,
    encode_wcc_ok,
    result_of,
)
from hfnfs.nfs3.unpacking import Unusual, by_hand, dir_op_at, sattr_at, u32_at
from hfnfs.rpc.session import Caller
from hfnfs.rpc.xdr import enum_of, fixed, struct_of, union_of, wire
from hfnfs.vfs.attributes import Wanted
from hfnfs.vfs.needs import Held
from hfnfs.vfs.node import FileType, Node

CREATE_VERIFIER_BYTES = 8
_MADE_OK = struct.Struct(
    f">II{HANDLE_FORMAT}{POST_OP_ATTR_FORMAT}I{WCC_ATTR_BYTES}s{POST_OP_ATTR_FORMAT}"
)
# An exclusive CREATE has no room for attributes; the client sets them by a call that follows it.
_NOBODY_ELSES = Wanted(mode=0o600)

# ------------------------------------------------------- CREATE and its kin


class CreateMode(IntEnum):
    """createmode3."""

    UNCHECKED = 0
    GUARDED = 1
    EXCLUSIVE = 2


_WITH_ATTRIBUTES = {int(mode): mode for mode in (CreateMode.UNCHECKED, CreateMode.GUARDED)}


@wire
class CreateArgs:
    """CREATE3args; `how` carries a Sattr3, for EXCLUSIVE a verifier of 8 bytes."""

    where: DirOpArgs
    how: tuple[CreateMode, Sattr3 | bytes]


@wire
class MkdirArgs:
    """MKDIR3args."""

    where: DirOpArgs
    attributes: Sattr3


@wire
class SymlinkData:
    """symlinkdata3."""

    symlink_attributes: Sattr3
    symlink_data: bytes  # nfspath3


@wire
class SymlinkArgs:
    """SYMLINK3args."""

    where: DirOpArgs
    symlink: SymlinkData


@wire
class DeviceData:
    """devicedata3."""

    dev_attributes: Sattr3
    spec: SpecData3


@wire
class MknodArgs:
    """MKNOD3args; `what` carries DeviceData, Sattr3 (SOCK, FIFO) or nothing (no special file)."""

    where: DirOpArgs
    what: tuple[FileType, Any]


@wire
class MadeOk:
    """CREATE3resok, MKDIR3resok, SYMLINK3resok and MKNOD3resok, which are the same."""

    obj: bytes | None  # nfs_fh3
    obj_attributes: bytes | None
    dir_wcc: WccData


CREATE_HOW = union_of(
    enum_of(CreateMode),
    {
        CreateMode.UNCHECKED: SATTR3,
        CreateMode.GUARDED: SATTR3,
        CreateMode.EXCLUSIVE: fixed(CREATE_VERIFIER_BYTES),
    },
)


def _create_at(buf: bytes | memoryview, pos: int) -> tuple[CreateArgs, int]:
    where, pos = dir_op_at(buf, pos)
    mode, pos = u32_at(buf, pos)
    if mode not in _WITH_ATTRIBUTES:
        raise Unusual
    attributes, pos = sattr_at(buf, pos)
    return CreateArgs(where, (_WITH_ATTRIBUTES[mode], attributes)), pos


CREATE_ARGS = struct_of(CreateArgs, where=DIR_OP_ARGS, how=CREATE_HOW)
MKDIR_ARGS = struct_of(MkdirArgs, where=DIR_OP_ARGS, attributes=SATTR3)
SYMLINK_DATA = struct_of(SymlinkData, symlink_attributes=SATTR3, symlink_data=PATH)
SYMLINK_ARGS = struct_of(SymlinkArgs, where=DIR_OP_ARGS, symlink=SYMLINK_DATA)
DEVICE_DATA = struct_of(DeviceData, dev_attributes=SATTR3, spec=SPECDATA3)
MKNOD_DATA = union_of(
    enum_of(FileType),
    {
        FileType.CHR: DEVICE_DATA,
        FileType.BLK: DEVICE_DATA,
        FileType.SOCK: SATTR3,
        FileType.FIFO: SATTR3,
    },
    default=None,
)
MKNOD_ARGS = struct_of(MknodArgs, where=DIR_OP_ARGS, what=MKNOD_DATA)
MADE_OK = struct_of(MadeOk, obj=POST_OP_FILE_HANDLE, obj_attributes=POST_OP_ATTR, dir_wcc=WCC_DATA)
MADE_RESULT = result_of(MADE_OK, WCC_DATA)
decode_create_args = by_hand(_create_at, CREATE_ARGS)


def encode_made_ok(made: MadeOk) -> bytes:
    """Hand-packed twin of MADE_OK, with its status, of one with all its parts."""
    wcc = made.dir_wcc
    return _MADE_OK.pack(
        Status.OK, 1, HANDLE_BYTES, made.obj, 1, made.obj_attributes, 1, wcc.before, 1, wcc.after
    )


def create(export: Export, args: CreateArgs, caller: Caller) -> Held[MadeOk]:
    """Make a regular file, or take the one that is there if the mode of making allows that."""
    directory, name = export.node(args.where.dir), args.where.name
    naming = export.volume.changes.naming
    before = directory.fattr3
    mode, how = args.how
    if isinstance(how, bytes):
        wanted = made_by(caller, directory, _NOBODY_ELSES, is_directory=False)
        held = naming.create_exclusive(directory, name, how, wanted)
    else:
        wanted = made_by(caller, directory, wanted_of(how), is_directory=False)
        held = naming.create(directory, name, wanted, guarded=mode is CreateMode.GUARDED)
    return _made(export, directory, before, held)


def mkdir(export: Export, args: MkdirArgs, caller: Caller) -> Held[MadeOk]:
    """Make a directory."""
    directory = export.node(args.where.dir)
    naming = export.volume.changes.naming
    before = directory.fattr3
    wanted = made_by(caller, directory, wanted_of(args.attributes), is_directory=True)
    held = naming.make_directory(directory, args.where.name, wanted)
    return _made(export, directory, before, held)


def symlink(export: Export, args: SymlinkArgs, caller: Caller) -> Held[MadeOk]:
    """Make a symbolic link."""
    directory, link = export.node(args.where.dir), args.symlink
    naming = export.volume.changes.naming
    before = directory.fattr3
    wanted = made_by(caller, directory, wanted_of(link.symlink_attributes), is_directory=False)
    held = naming.make_symlink(directory, args.where.name, link.symlink_data, wanted)
    return _made(export, directory, before, held)


def mknod(export: Export, args: MknodArgs, caller: Caller) -> NoReturn:
    """Refuse to make a special file: nothing could be kept of it but the name."""
    export.node(args.where.dir)
    _ = export.volume.changes
    kind, what = args.what
    if what is None:
        raise WrongType(f"MKNOD makes no {kind.name}")
    raise NotSupported(f"there is no {kind.name} here")


def _made(export: Export, directory: Node, before: bytes, held: Held[Node]) -> Held[MadeOk]:
    node = held.result
    wcc = changed_from(before, directory.fattr3)
    return Held(MadeOk(export.handle_of(node), node.fattr3, wcc), held.until)


# ------------------------------------------------------------ REMOVE, RMDIR


@wire
class RemoveArgs:
    """REMOVE3args and RMDIR3args."""

    object: DirOpArgs


@wire
class RemoveOk:
    """REMOVE3resok and RMDIR3resok."""

    dir_wcc: WccData


REMOVE_ARGS = struct_of(RemoveArgs, object=DIR_OP_ARGS)
REMOVE_OK = struct_of(RemoveOk, dir_wcc=WCC_DATA)
REMOVE_RESULT = result_of(REMOVE_OK, WCC_DATA)


def _remove_at(buf: bytes | memoryview, pos: int) -> tuple[RemoveArgs, int]:
    object_, pos = dir_op_at(buf, pos)
    return RemoveArgs(object_), pos


decode_remove_args = by_hand(_remove_at, REMOVE_ARGS)


def encode_remove_ok(removed: RemoveOk) -> bytes:
    """Hand-packed twin of REMOVE_OK, with its status."""
    return encode_wcc_ok(removed.dir_wcc)


def remove(export: Export, args: RemoveArgs, caller: Caller) -> Held[RemoveOk]:
    """Remove a name that is no directory's."""
    directory = export.node(args.object.dir)
    naming = export.volume.changes.naming
    before = directory.fattr3
    held = naming.remove(directory, args.object.name)
    return Held(RemoveOk(changed_from(before, directory.fattr3)), held.until)


def rmdir(export: Export, args: RemoveArgs, caller: Caller) -> Held[RemoveOk]:
    """Remove an empty directory."""
    directory = export.node(args.object.dir)
    naming = export.volume.changes.naming
    before = directory.fattr3
    held = naming.remove_directory(directory, args.object.name)
    return Held(RemoveOk(changed_from(before, directory.fattr3)), held.until)


# ------------------------------------------------------------- RENAME, LINK


@wire
class RenameArgs:
    """RENAME3args."""

    from_: DirOpArgs
    to: DirOpArgs


@wire
class RenameWcc:
    """What both results of RENAME carry."""

    fromdir_wcc: WccData
    todir_wcc: WccData


@wire
class LinkArgs:
    """LINK3args."""

    file: bytes
    link: DirOpArgs


@wire
class LinkWcc:
    """What both results of LINK carry."""

    file_attributes: bytes | None
    linkdir_wcc: WccData


RENAME_ARGS = struct_of(RenameArgs, from_=DIR_OP_ARGS, to=DIR_OP_ARGS)
RENAME_WCC = struct_of(RenameWcc, fromdir_wcc=WCC_DATA, todir_wcc=WCC_DATA)
RENAME_RESULT = result_of(RENAME_WCC, RENAME_WCC)
LINK_ARGS = struct_of(LinkArgs, file=FILE_HANDLE, link=DIR_OP_ARGS)
LINK_WCC = struct_of(LinkWcc, file_attributes=POST_OP_ATTR, linkdir_wcc=WCC_DATA)
LINK_RESULT = result_of(LINK_WCC, LINK_WCC)


def rename(export: Export, args: RenameArgs, caller: Caller) -> Held[RenameWcc]:
    """Give an object another name, perhaps in another directory."""
    source, target = export.node(args.from_.dir), export.node(args.to.dir)
    naming = export.volume.changes.naming
    source_before, target_before = source.fattr3, target.fattr3
    held = naming.rename(source, args.from_.name, target, args.to.name)
    wcc = RenameWcc(
        changed_from(source_before, source.fattr3), changed_from(target_before, target.fattr3)
    )
    return Held(wcc, held.until)


def link(export: Export, args: LinkArgs, caller: Caller) -> Held[LinkWcc]:
    """Give a file one more name."""
    node, directory = export.node(args.file), export.node(args.link.dir)
    naming = export.volume.changes.naming
    before = directory.fattr3
    held = naming.link(node, directory, args.link.name)
    return Held(LinkWcc(node.fattr3, changed_from(before, directory.fattr3)), held.until)
