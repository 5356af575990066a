"""One exported volume: joins its parts and adds nothing."""

from typing import TYPE_CHECKING, NamedTuple

from hfnfs.errors import ReadOnlyVolume
from hfnfs.remote import Revision
from hfnfs.vfs.attributes import Attributes
from hfnfs.vfs.data import Data
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.tree import Tree

if TYPE_CHECKING:
    from hfnfs.vfs.naming import Naming
    from hfnfs.vfs.setting import Setting
    from hfnfs.vfs.writing import Writing

# What is shown as free where nobody has set a bound: the Hub tells none.
UNBOUNDED_BYTES = 1 << 50
_UNBOUNDED_FILES = 1 << 40


class Usage(NamedTuple):
    """What FSSTAT tells (RFC 1813 §3.3.18); bytes and files."""

    total_bytes: int
    free_bytes: int
    total_files: int
    free_files: int


class Changes(NamedTuple):
    """What changes a volume."""

    naming: "Naming"
    setting: "Setting"
    writing: "Writing"
    quota_bytes: int | None = None  # what users want to be held to


class Volume:
    """What one mount exports. `id` (8 bytes) is the same for every mount of the same source."""

    def __init__(
        self,
        id_: bytes,
        revision: Revision,
        *,
        tree: Tree,
        data: Data,
        attributes: Attributes,
        changes: Changes | None = None,
    ) -> None:
        self.id = id_
        self.revision = revision  # the last one of the far side's that is shown
        self.tree = tree
        self.data = data
        self.attributes = attributes
        self.node = tree.node
        self._changes = changes

    @property
    def root(self) -> Directory:
        """The directory that is mounted."""
        return self.tree.root

    @property
    def changes(self) -> Changes:
        """What changes it. Raises ReadOnlyVolume."""
        if self._changes is None:
            raise ReadOnlyVolume("mounted read-only")
        return self._changes

    @property
    def is_read_only(self) -> bool:
        """Whether it takes no changes."""
        return self._changes is None

    def usage(self) -> Usage:
        """Bytes and files of the whole source where it tells, else of what was seen of it."""
        used_bytes, used_files = self.revision.total_bytes, self.revision.total_files
        unsent_bytes = 0 if self._changes is None else self._changes.writing.unsent_bytes
        # What the source told may be from before it had what we sent, or was told to cut off: it
        # holds no less than is shown.
        used_bytes = max(self.tree.byte_count, (used_bytes or 0) + unsent_bytes)
        used_files = self.tree.file_count if used_files is None else used_files
        if self._changes is None:
            return Usage(used_bytes, 0, used_files, 0)
        quota = self._changes.quota_bytes
        free = UNBOUNDED_BYTES if quota is None else max(quota - used_bytes, 0)
        return Usage(used_bytes + free, free, used_files + _UNBOUNDED_FILES, _UNBOUNDED_FILES)
