"""Another revision of the far side, shown in one step."""

from collections.abc import Mapping
from typing import TypeAlias

from hfnfs.remote import Listing, RemoteEntry
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.tree import Tree

# What a directory has there: all of it, or under some names; None: just what is shown.
There: TypeAlias = Listing | Mapping[bytes, RemoteEntry | None] | None


def switch(tree: Tree, there: Mapping[int, There]) -> None:
    """Show another revision, of which `there` tells what some directories have, by fileid.

    Nothing older is shown from then on: the others are not listed any more, so they are asked for
    when somebody wants them. For a volume in which nothing is ours.
    """
    for directory in _parents_first(tree):
        if tree.node_by_fileid(directory.fileid) is not directory:
            continue  # it went with the one above
        if directory.fileid not in there:
            tree.forget(directory)
            continue
        has = there[directory.fileid]
        if has is None:
            continue
        is_listed = directory.listed_at is not None
        if isinstance(has, Listing) != is_listed:
            tree.forget(directory)  # it was listed, or dropped, meanwhile
        elif isinstance(has, Listing):
            tree.apply_listing(directory, has)
        else:
            _show_names(tree, directory, has)


def _parents_first(tree: Tree) -> list[Directory]:
    found = [tree.root]
    for directory in found:
        found += [node for node in directory.children.values() if isinstance(node, Directory)]
    return found


def _show_names(tree: Tree, directory: Directory, has: Mapping[bytes, RemoteEntry | None]) -> None:
    """Show names in a directory that is not listed; of others nothing is known any more."""
    tree.discard(directory)
    directory.asked.clear()
    unknown = [
        node
        for name, node in directory.children.items()
        if name not in has and not isinstance(node, Directory)
    ]
    tree.drop_names(directory, unknown)
    for name, entry in has.items():
        tree.apply_found(directory, name, entry)
