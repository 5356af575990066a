"""Which names of a volume are decided here, and not by what the far side lists.

Those are the names of nodes that are `local` (shown whatever is listed), and those that the claims
hold: what the far side still lacks of our changes, or was told of after it was asked. A directory
that is local and has nothing of ours in it gives way to a file of the far side.
"""

from collections.abc import Callable, Collection
from typing import Protocol

from hfnfs.vfs.directory import Directory
from hfnfs.vfs.node import Node


class Claims(Protocol):
    """Which names we know better; times are monotonic seconds."""

    def claims(self, directory: str, asked_at: float) -> Collection[str]:
        """The names in a directory that a listing asked for at that time does not decide."""
        ...

    def claim(self, path: str, asked_at: float) -> bool:
        """Whether this is one of them."""
        ...


class Ours:
    """Of a volume that takes changes."""

    def __init__(self, claims: Claims) -> None:
        self.local: set[Node] = set()
        self._claims = claims

    def decides(
        self, directory: Directory, name: bytes, asked_at: float, *, is_file: bool = False
    ) -> bool:
        """Whether it is decided here what a name stands for, or that it stands for nothing.

        `is_file`: the far side has a file of that name.
        """
        node = directory.children.get(name)
        if (
            node is not None
            and node in self.local
            and not (is_file and self._is_bare(node, asked_at))
        ):
            return True
        path = path_in(directory, name)
        return path is not None and self._claims.claim(path, asked_at)

    def names(
        self, directory: Directory, asked_at: float, is_file: Callable[[bytes], bool]
    ) -> set[bytes]:
        """The names in a directory that a listing asked for at that time does not decide.

        `is_file`: whether it has a file of that name.
        """
        names = {name.encode() for name in self._claims.claims(path_of(directory), asked_at)}
        if self.local:
            names.update(
                name
                for name, node in directory.children.items()
                if node in self.local and not (is_file(name) and self._is_bare(node, asked_at))
            )
        return names

    def _is_bare(self, node: Node, asked_at: float) -> bool:
        """Whether it is a directory that holds nothing which the far side does not have."""
        if not isinstance(node, Directory):
            return False
        below: list[Node] = [node]
        while below:
            inner = below.pop()
            if isinstance(inner, Directory):
                if self._claims.claims(path_of(inner), asked_at):
                    return False
                below += inner.children.values()
            elif inner in self.local:
                return False
        return True

    def hold(self, directory: Directory) -> list[Directory]:
        """Show a directory whatever the far side lists, as something in it is ours.

        Gives those of it and the ones above that were not held before.
        """
        held: list[Directory] = []
        above: Directory | None = directory
        while above is not None and above.parent is not None and above not in self.local:
            self.local.add(above)
            held.append(above)
            above = above.parent
        return held


def path_of(node: Node) -> str:
    """Path below the root, without a leading slash; "" for the root."""
    names = []
    while node.parent is not None:
        names.append(node.name)
        node = node.parent
    return b"/".join(reversed(names)).decode()


def path_in(directory: Directory, name: bytes) -> str | None:
    """The path of a name in a directory; None for one that is no UTF-8, which those there are."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return None
    base = path_of(directory)
    return f"{base}/{text}" if base else text
