"""The bytes of files: what a read gives.

Of a file that was written to they come from its overlay: staged bytes, the base's, and zeros. All
else is the far side's.
"""

from hfnfs.errors import InvalidArgument, IsDirectory
from hfnfs.remote import ContentId
from hfnfs.vfs.needs import Extent, NotYet, Resident, Staged
from hfnfs.vfs.node import FileType, Node
from hfnfs.vfs.overlay import Overlay, Overlays
from hfnfs.vfs.ports import Extents, Staging, Tripwires

_REG = FileType.REG  # looking it up there is slow in Python 3.11


class Data:
    """Reads files' bytes.

    Who reads ahead stretches `tripwires`, and takes down those it was told of. Who writes changes
    `overlays`; a volume without `staging` has none.
    """

    def __init__(self, extents: Extents, staging: Staging | None = None) -> None:
        self.tripwires: Tripwires = {}
        self.overlays = Overlays()
        self._extents = extents
        self.staging = staging

    def overlay(self, node: Node) -> Overlay | None:
        """What was written to a file, if it was."""
        return self.overlays.get(node.fileid)

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
        if offset >= end:
            return b"", end >= size
        content = node.content
        if self.overlays and (overlay := self.overlays.get(node.fileid)) is not None:
            return self._overlaid(node.fileid, overlay, offset, end), end == size
        if content is None:
            return b"", end >= size
        if not self.tripwires:
            data = self._extents.read(content, offset, end)
            if data is not None:
                return data, end == size
        return self._of_content(content, offset, end), end == size

    def _of_content(self, content: ContentId, start: int, end: int) -> memoryview:
        """Bytes of the far side, unless they are not here or a tripwire is."""
        if self.tripwires:
            for wire in self.tripwires.get(content.key, ()):
                if start <= wire < end:
                    raise NotYet(Extent(content, start, end))
        data = self._extents.read(content, start, end)
        if data is None:
            if self._extents.has(content, start, end):
                raise NotYet(Resident(content, start, end))
            raise NotYet(Extent(content, start, end))
        return data

    def _staged(self, fileid: int, start: int, end: int) -> bytes | memoryview:
        assert self.staging is not None, "there is no overlay without"
        data = self.staging.read_resident(fileid, start, end)
        if data is None:
            raise NotYet(Staged(fileid, start, end))
        return data

    def _overlaid(self, fileid: int, overlay: Overlay, start: int, end: int) -> bytes | memoryview:
        """Bytes of a file that was written to, put together if they come from several places.

        What lies between two parts from one place is asked for with them: so there are at most
        two places to wait for, however small the parts.
        """
        self.overlays.move_to_end(fileid)
        if overlay.ranges.covers(start, end):
            return self._staged(fileid, start, end)
        own = list(overlay.ranges.intersect(start, end))
        gaps = overlay.gaps(start, end)
        if gaps == [(start, end)]:
            return self._of_content(overlay.content, start, end)
        data = bytearray(end - start)
        if gaps:
            first, last = gaps[0][0], gaps[-1][1]
            found = self._of_content(overlay.content, first, last)
            for at, until in gaps:
                data[at - start : until - start] = found[at - first : until - first]
        if own:
            first, last = own[0][0], own[-1][1]
            staged = memoryview(self._staged(fileid, first, last))
            for at, until in own:
                data[at - start : until - start] = staged[at - first : until - first]
        return memoryview(data).toreadonly()


def _unreadable(node: Node) -> IsDirectory | InvalidArgument:
    if node.look.type is FileType.DIR:
        return IsDirectory(f"{node!r} has no bytes")
    return InvalidArgument(f"{node!r} has no bytes")
