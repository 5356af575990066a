"""A node: one file or directory of a volume, with its attributes as RFC 1813 wants them.

There may be a million of them, so a node holds only what is its own: what it has in common with
others is in its Look, and its packed fattr3 (84 bytes) is made when it is first asked for.
"""

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from hfnfs.remote import ContentId

if TYPE_CHECKING:
    from hfnfs.vfs.directory import Directory

# fattr3 (RFC 1813 §2.5): type mode nlink uid gid | size used | rdev fsid | fileid | three times
_FATTR3 = struct.Struct(">20sQQ16sQ8s8s8s")
_OWNED = struct.Struct(">5I")
_VOLUME = struct.Struct(">2IQ")
_NFSTIME3 = struct.Struct(">II")
FATTR3_BYTES = _FATTR3.size
_FILEID_AT = 52  # in it
_U64 = struct.Struct(">Q")
_NS = 1_000_000_000
_SECONDS_MAX = 0xFFFFFFFF  # nfstime3 counts seconds in 32 bits
_USED_UNIT = 512  # bytes; `used` is told in whole ones, as du and st_blocks count
# Of a directory 1 as well, as btrfs tells: "unknown", so that nobody counts subdirectories by it,
# and a directory's attributes stay what they are when one below it comes or goes.
_NLINK = 1


class FileType(IntEnum):
    """ftype3 (RFC 1813 §2.5)."""

    REG = 1
    DIR = 2
    BLK = 3
    CHR = 4
    LNK = 5
    SOCK = 6
    FIFO = 7


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """Type, mode, owner and volume: what many nodes have in common. Equal only to itself."""

    type: FileType
    mode: int
    uid: int
    gid: int
    fsid: int
    owned: bytes = field(init=False, repr=False)  # as they lie in a fattr3
    volume: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        owned = _OWNED.pack(self.type, self.mode, _NLINK, self.uid, self.gid)
        object.__setattr__(self, "owned", owned)
        object.__setattr__(self, "volume", _VOLUME.pack(0, 0, self.fsid))


class Node:
    """One file or directory; only the rooms of vfs/ change it, and then call `changed`.

    Times are nanoseconds since 1970, sizes bytes. `cookie` is its place in the parent's listing,
    0 while that is not listed (directory.py).
    """

    __slots__ = (
        "_fattr3",
        "atime_ns",
        "content",
        "cookie",
        "ctime_ns",
        "fileid",
        "generation",
        "look",
        "mtime_ns",
        "name",
        "parent",
        "size",
    )

    def __init__(
        self, fileid: int, generation: int, look: Look, name: bytes, parent: "Directory | None"
    ) -> None:
        self.fileid = fileid
        self.generation = generation
        self.look = look
        self.name = name
        self.parent = parent
        self.cookie = 0
        self.size = 0
        self.atime_ns = self.mtime_ns = self.ctime_ns = 0
        self.content: ContentId | None = None
        self._fattr3: bytes | None = None

    @property
    def type(self) -> FileType:
        """What it is."""
        return self.look.type

    @property
    def fattr3(self) -> bytes:
        """All attributes, packed (RFC 1813 §2.5), and kept until one changes."""
        packed = self._fattr3
        if packed is None:
            packed = self._fattr3 = self.pack()
        return packed

    def pack(self) -> bytes:
        """All attributes, packed for this once."""
        look, size = self.look, self.size
        return _FATTR3.pack(
            look.owned,
            size, -(-size // _USED_UNIT) * _USED_UNIT,
            look.volume,
            self.fileid,
            _nfstime3(self.atime_ns), _nfstime3(self.mtime_ns), _nfstime3(self.ctime_ns),
        )  # fmt: skip

    def unpack(self) -> None:
        """Forget the packed attributes, to save their memory."""
        self._fattr3 = None

    def changed(self) -> None:
        """Forget what was made of the attributes; called by whoever changed one."""
        self._fattr3 = None
        if self.parent is not None:
            self.parent.forget_block(self.cookie)

    def __repr__(self) -> str:
        return f"<{self.look.type.name} {self.fileid:x} {self.name!r}>"


class Symlink(Node):
    """A symbolic link; the far side knows none."""

    __slots__ = ("target",)

    def __init__(
        self, fileid: int, generation: int, look: Look, name: bytes, parent: "Directory | None"
    ) -> None:
        super().__init__(fileid, generation, look, name, parent)
        self.target = b""


def with_fileid(fattr3: bytes, fileid: int) -> bytes:
    """The same attributes, but for the fileid."""
    return fattr3[:_FILEID_AT] + _U64.pack(fileid) + fattr3[_FILEID_AT + _U64.size :]


@lru_cache(maxsize=4096)
def _nfstime3(time_ns: int) -> bytes:
    """A nfstime3, kept within what it can say; most nodes share few of them."""
    seconds, nanoseconds = divmod(max(time_ns, 0), _NS)
    return _NFSTIME3.pack(min(seconds, _SECONDS_MAX), nanoseconds)
