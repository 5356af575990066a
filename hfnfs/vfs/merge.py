"""What to do to a directory so that it shows a new listing; pure."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

from hfnfs.remote import Kind, RemoteEntry
from hfnfs.vfs.node import FileType, Node


class Appeared(NamedTuple):
    """A name that was not shown."""

    entry: RemoteEntry


class Replaced(NamedTuple):
    """The same name and kind with other bytes or another date."""

    node: Node
    entry: RemoteEntry


class Vanished(NamedTuple):
    """A name that is gone, or has become a node of another kind (then Appeared follows)."""

    node: Node


Change: TypeAlias = Appeared | Replaced | Vanished

_TYPE_OF = {Kind.FILE: FileType.REG, Kind.DIRECTORY: FileType.DIR}


def changes(shown: Mapping[bytes, Node], after: Mapping[str, RemoteEntry]) -> Iterator[Change]:
    """What to do to a directory that shows `shown` so that it shows `after`, in after's order."""
    names = set()
    for entry in after.values():
        name = entry.name.encode()
        names.add(name)
        node = shown.get(name)
        if node is None:
            yield Appeared(entry)
        elif node.type is not _TYPE_OF[entry.kind]:
            yield Vanished(node)
            yield Appeared(entry)
        elif differs(node, entry):
            yield Replaced(node, entry)
    for name, node in shown.items():
        if name not in names:
            yield Vanished(node)


def differs(node: Node, entry: RemoteEntry) -> bool:
    """Whether a shown node of the entry's kind has other bytes or another date than it."""
    return node.content != entry.content or (
        entry.mtime_ns is not None and node.mtime_ns != entry.mtime_ns
    )
