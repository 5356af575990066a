"""The bytes of files: what a read gives."""

from hfnfs.errors import InvalidArgument, IsDirectory
from hfnfs.vfs.needs import Extent, NotYet, Resident
from hfnfs.vfs.node import FileType, Node
from hfnfs.vfs.ports import Extents, Tripwires

_REG = FileType.REG  # looking it up there is slow in Python 3.11


class Data:
    """Owner of files' bytes; so far all of them are the far side's.

    Who reads ahead stretches `tripwires`, and takes down those it was told of.
    """

    def __init__(self, extents: Extents) -> None:
        self.tripwires: Tripwires = {}
        self._extents = extents

    def read(self, node: Node, offset: int, count: int) -> tuple[bytes | memoryview, bool]:
        """Up to `count` bytes from `offset` (bytes), and whether the file ends with them (eof).

        Fewer than `count` only at the file's end.

        Raises IsDirectory, InvalidArgument (no regular file), NotYet.
        """
        if node.look.type is not _REG:
            raise _unreadable(node)
        size = node.size
        end = offset + count
        if end > size:  # noqa: PLR1730  min() takes several times as long
            end = size
        content = node.content
        if offset >= end or content is None:
            return b"", end >= size
        if self.tripwires:
            for wire in self.tripwires.get(content.key, ()):
                if offset <= wire < end:
                    raise NotYet(Extent(content, offset, end))
        data = self._extents.read(content, offset, end)
        if data is None:
            if self._extents.has(content, offset, end):
                raise NotYet(Resident(content, offset, end))
            raise NotYet(Extent(content, offset, end))
        return data, end == size


def _unreadable(node: Node) -> IsDirectory | InvalidArgument:
    if node.look.type is FileType.DIR:
        return IsDirectory(f"{node!r} has no bytes")
    return InvalidArgument(f"{node!r} has no bytes")
