"""What to do to a directory so that it shows a new listing."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from hfnfs.remote import Kind, RemoteEntry
from hfnfs.vfs.node import FileType, Node

_TYPE_OF = {Kind.FILE: FileType.REG, Kind.DIRECTORY: FileType.DIR}


class Changes(NamedTuple):
    """What some entries change in what is shown."""

    names: list[bytes]  # of the entries, in their order
    appeared: list[tuple[bytes, RemoteEntry]]  # names that are not shown
    replaced: list[tuple[Node, RemoteEntry]]  # same name and kind, other bytes or date
    gone: list[Node]  # shown under a name that appeared as one of another kind


def changes(shown: Mapping[bytes, Node], entries: Iterable[RemoteEntry]) -> Changes:
    """What to do to a directory that shows `shown` so that it shows `entries` as well; pure."""
    names: list[bytes] = []
    appeared: list[tuple[bytes, RemoteEntry]] = []
    replaced: list[tuple[Node, RemoteEntry]] = []
    gone: list[Node] = []
    for entry in entries:
        name = entry.name.encode()
        names.append(name)
        node = shown.get(name)
        if node is None:
            appeared.append((name, entry))
        elif node.look.type is not _TYPE_OF[entry.kind]:
            gone.append(node)
            appeared.append((name, entry))
        elif differs(node, entry):
            replaced.append((node, entry))
    return Changes(names, appeared, replaced, gone)


def differs(node: Node, entry: RemoteEntry) -> bool:
    """Whether a shown node of the entry's kind has other bytes or another date than it."""
    return node.content != entry.content or (
        entry.mtime_ns is not None and node.mtime_ns != entry.mtime_ns
    )


class Draft:
    """A listing on its way into a directory: made ready slice by slice, then shown at once."""

    __slots__ = ("fresh", "gone", "names", "replaced", "unnumbered")

    def __init__(self) -> None:
        self.names: set[bytes] = set()  # all that is in it
        self.fresh: dict[bytes, Node] = {}  # nodes of names that are not shown yet
        self.replaced: list[tuple[Node, RemoteEntry]] = []
        self.gone: list[Node] = []
        self.unnumbered: list[Node] = []  # to be given their places when it is shown

    def take(self, found: Changes, made: Mapping[bytes, Node]) -> None:
        """Add what a slice of the listing changes, and the nodes made of what appeared."""
        self.names.update(found.names)
        self.fresh.update(made)
        self.replaced += found.replaced
        self.gone += found.gone
