"""The bytes of files: what a read gives."""

from typing import NamedTuple

from hfnfs.errors import InvalidArgument, IsDirectory
from hfnfs.vfs.needs import Extent, NotYet, Resident
from hfnfs.vfs.node import FileType, Node
from hfnfs.vfs.ports import Extents, Tripwires


class Piece3(NamedTuple):
    """What READ gives (RFC 1813 §3.3.6)."""

    data: bytes | memoryview
    eof: bool


class Data:
    """Owner of files' bytes; so far all of them are the far side's.

    Who reads ahead stretches `tripwires`, and takes down those it was told of.
    """

    def __init__(self, extents: Extents) -> None:
        self.tripwires: Tripwires = {}
        self._extents = extents

    def read(self, node: Node, offset: int, count: int) -> Piece3:
        """Up to `count` bytes from `offset` (bytes); fewer only at the file's end.

        Raises IsDirectory, InvalidArgument (no regular file), NotYet.
        """
        if node.type is not FileType.REG:
            raise _unreadable(node)
        size = node.size
        end = min(offset + count, size)
        content = node.content
        if offset >= end or content is None:
            return Piece3(b"", end >= size)
        for wire in self.tripwires.get(content.key, ()):
            if offset <= wire < end:
                raise NotYet(Extent(content, offset, end))
        data = self._extents.read(content, offset, end)
        if data is None:
            if self._extents.has(content, offset, end):
                raise NotYet(Resident(content, offset, end))
            raise NotYet(Extent(content, offset, end))
        return Piece3(data, end == size)


def _unreadable(node: Node) -> IsDirectory | InvalidArgument:
    if node.type is FileType.DIR:
        return IsDirectory(f"{node!r} has no bytes")
    return InvalidArgument(f"{node!r} has no bytes")
