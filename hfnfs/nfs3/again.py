"""What those get who ask again for a change that a server before this one made.

It died before they had its answer, so they get that of now: the same result, with attributes as
they are. What the call found wrong if it were run again, the change itself has brought about.
"""

from hfnfs.nfs3.export import Export
from hfnfs.nfs3.naming import (
    CreateArgs,
    LinkArgs,
    LinkWcc,
    MadeOk,
    MkdirArgs,
    RemoveArgs,
    RemoveOk,
    RenameArgs,
    RenameWcc,
    SymlinkArgs,
)
from hfnfs.nfs3.setting import SetattrArgs, SetattrOk
from hfnfs.nfs3.types import WccData, changed_from
from hfnfs.rpc.session import Caller


def made(export: Export, args: CreateArgs | MkdirArgs | SymlinkArgs, caller: Caller) -> MadeOk:
    """CREATE, MKDIR, SYMLINK: what has the name."""
    directory = export.node(args.where.dir)
    node = export.volume.tree.lookup(directory, args.where.name)
    return MadeOk(export.handle_of(node), node.fattr3, _wcc(directory.fattr3))


def removed(export: Export, args: RemoveArgs, caller: Caller) -> RemoveOk:
    """REMOVE, RMDIR."""
    return RemoveOk(_wcc(export.node(args.object.dir).fattr3))


def renamed(export: Export, args: RenameArgs, caller: Caller) -> RenameWcc:
    """RENAME."""
    source, target = export.node(args.from_.dir), export.node(args.to.dir)
    return RenameWcc(_wcc(source.fattr3), _wcc(target.fattr3))


def linked(export: Export, args: LinkArgs, caller: Caller) -> LinkWcc:
    """LINK."""
    node, directory = export.node(args.file), export.node(args.link.dir)
    return LinkWcc(node.fattr3, _wcc(directory.fattr3))


def was_set(export: Export, args: SetattrArgs, caller: Caller) -> SetattrOk:
    """SETATTR."""
    return SetattrOk(_wcc(export.node(args.object).fattr3))


def _wcc(fattr3: bytes) -> WccData:
    """Of what has these attributes by now; a client that kept others sees that it has to look."""
    return changed_from(fattr3, fattr3)
