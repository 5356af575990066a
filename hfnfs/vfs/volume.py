"""One exported volume: joins its parts and adds nothing."""

from typing import NamedTuple, NoReturn

from hfnfs.errors import ReadOnlyVolume
from hfnfs.remote import Revision
from hfnfs.vfs.attributes import Attributes
from hfnfs.vfs.data import Data
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.tree import Tree


class Usage(NamedTuple):
    """What FSSTAT tells (RFC 1813 §3.3.18); bytes and files."""

    total_bytes: int
    free_bytes: int
    total_files: int
    free_files: int


class Volume:
    """What one mount exports. `id` (8 bytes) is the same for every mount of the same source."""

    def __init__(
        self, id_: bytes, revision: Revision, *, tree: Tree, data: Data, attributes: Attributes
    ) -> None:
        self.id = id_
        self.tree = tree
        self.data = data
        self.attributes = attributes
        self.node = tree.node
        self._revision = revision

    @property
    def root(self) -> Directory:
        """The directory that is mounted."""
        return self.tree.root

    def usage(self) -> Usage:
        """Bytes and files of the whole source where it tells, else of what was seen of it."""
        total_bytes = self._revision.total_bytes
        total_files = self._revision.total_files
        return Usage(
            self.tree.byte_count if total_bytes is None else total_bytes,
            0,
            self.tree.file_count if total_files is None else total_files,
            0,
        )

    def refuse_change(self) -> NoReturn:
        """Answer every attempt to change something. Raises ReadOnlyVolume."""
        raise ReadOnlyVolume("mounted read-only")
