"""Another revision of the far side, shown in one step."""

from collections.abc import Mapping
from typing import TypeAlias

from hfnfs.remote import Listing, RemoteEntry
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.tree import Tree

# What a directory has there: all of it, or under some names; None: just what is shown.
There: TypeAlias = Listing | Mapping[bytes, RemoteEntry | None] | None


def switch(tree: Tree, there: Mapping[int, There], now_ns: int) -> None:
    """Show another revision, of which `there` tells what some directories have, by fileid.

    Nothing older is shown from then on: the others are not listed any more, so they are asked for
    when somebody wants them. For a volume in which nothing is ours.
    """
    for directory in _parents_first(tree):
        if tree.node_by_fileid(directory.fileid) is not directory:
            continue  # it went with the one above
        if directory.fileid not in there:
            _unlist(tree, directory, now_ns)
            continue
        has = there[directory.fileid]
        if isinstance(has, Listing):
            tree.apply_listing(directory, has)
        elif has is not None and directory.listed_at is None:
            _show_names(tree, directory, has)
        elif has is not None:
            _unlist(tree, directory, now_ns)  # it was listed meanwhile


def _parents_first(tree: Tree) -> list[Directory]:
    found = [tree.root]
    for directory in found:
        found += [node for node in directory.children.values() if isinstance(node, Directory)]
    return found


def _show_names(tree: Tree, directory: Directory, has: Mapping[bytes, RemoteEntry | None]) -> None:
    """Show names in a directory that is not listed; of others nothing is known any more."""
    _discard(tree, directory)
    directory.asked.clear()
    unknown = [
        node
        for name, node in directory.children.items()
        if name not in has and not isinstance(node, Directory)
    ]
    for node in unknown:
        directory.remove(node.name)
    tree.nodes.drop(unknown)
    for name, entry in has.items():
        tree.apply_found(directory, name, entry)


def _unlist(tree: Tree, directory: Directory, now_ns: int) -> None:
    """Drop what is shown, and let clients ask again; handles stay good where there is a file."""
    _discard(tree, directory)
    directory.asked.clear()
    tree.nodes.drop(
        directory.keep_only(lambda node: isinstance(node, Directory) or node in tree.pinned)
    )
    directory.mtime_ns = max(now_ns, directory.mtime_ns + 1)
    tree.stamp(directory)
    for told in tree.when_gone:
        told()


def _discard(tree: Tree, directory: Directory) -> None:
    """Give up a listing of the old revision that is being taken in."""
    draft, directory.draft = directory.draft, None
    if draft is not None:
        shown = directory.children
        tree.nodes.drop(node for name, node in draft.fresh.items() if shown.get(name) is not node)
