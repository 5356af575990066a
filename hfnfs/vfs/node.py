"""A node: one file or directory of a volume, with its attributes as RFC 1813 wants them.

The packed fattr3 (84 bytes) is kept until an attribute changes, so that replies join ready bytes.
"""

import struct
from enum import IntEnum
from typing import TYPE_CHECKING

from hfnfs.remote import ContentId

if TYPE_CHECKING:
    from hfnfs.vfs.directory import Directory

# fattr3 (RFC 1813 §2.5): type mode nlink uid gid | size used | rdev | fsid fileid | three times
_FATTR3 = struct.Struct(">5I2Q2I2Q6I")
FATTR3_BYTES = _FATTR3.size
_NS = 1_000_000_000
_SECONDS_MAX = 0xFFFFFFFF  # nfstime3 counts seconds in 32 bits
_USED_UNIT = 512  # bytes; `used` is told in whole ones, as du and st_blocks count


class FileType(IntEnum):
    """ftype3 (RFC 1813 §2.5)."""

    REG = 1
    DIR = 2
    BLK = 3
    CHR = 4
    LNK = 5
    SOCK = 6
    FIFO = 7


class Node:
    """One file or directory; only the rooms of vfs/ change it, and then call `changed`.

    Times are nanoseconds since 1970, sizes bytes; `fsid` is the volume's. `cookie` is its place
    in the parent's listing, 0 while that is not listed (directory.py).
    """

    __slots__ = (
        "_fattr3",
        "atime_ns",
        "content",
        "cookie",
        "ctime_ns",
        "fileid",
        "fsid",
        "generation",
        "gid",
        "mode",
        "mtime_ns",
        "name",
        "nlink",
        "parent",
        "size",
        "type",
        "uid",
    )

    def __init__(
        self, fileid: int, generation: int, type_: FileType, name: bytes, parent: "Directory | None"
    ) -> None:
        self.fileid = fileid
        self.generation = generation
        self.type = type_
        self.name = name
        self.parent = parent
        self.cookie = 0
        self.fsid = 0
        self.mode = 0
        self.nlink = 1
        self.uid = 0
        self.gid = 0
        self.size = 0
        self.atime_ns = 0
        self.mtime_ns = 0
        self.ctime_ns = 0
        self.content: ContentId | None = None
        self._fattr3: bytes | None = None

    @property
    def fattr3(self) -> bytes:
        """All attributes, packed (RFC 1813 §2.5)."""
        packed = self._fattr3
        if packed is None:
            packed = self._fattr3 = self._pack()
        return packed

    def changed(self) -> None:
        """Forget the packed attributes; called by whoever changed one."""
        self._fattr3 = None

    def _pack(self) -> bytes:
        used = -(-self.size // _USED_UNIT) * _USED_UNIT
        return _FATTR3.pack(
            self.type, self.mode, self.nlink, self.uid, self.gid,
            self.size, used,
            0, 0,
            self.fsid, self.fileid,
            *_nfstime3(self.atime_ns), *_nfstime3(self.mtime_ns), *_nfstime3(self.ctime_ns),
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<{self.type.name} {self.fileid:x} {self.name!r}>"


def _nfstime3(time_ns: int) -> tuple[int, int]:
    """Seconds and nanoseconds, kept within what nfstime3 can say."""
    seconds, nanoseconds = divmod(max(time_ns, 0), _NS)
    return min(seconds, _SECONDS_MAX), nanoseconds
