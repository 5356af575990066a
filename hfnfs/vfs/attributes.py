"""What nodes look like where the far side says nothing, and what a caller may do with them."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, NamedTuple

from hfnfs.vfs.node import FileType, Look

# ACCESS3 bits (RFC 1813 §3.3.4)
ACCESS_READ = 0x01
ACCESS_LOOKUP = 0x02
ACCESS_MODIFY = 0x04
ACCESS_EXTEND = 0x08
ACCESS_DELETE = 0x10
ACCESS_EXECUTE = 0x20

_R, _W, _X = 4, 2, 1
_ANY_X = 0o111

# In place of a time that is to be set: what the server's clock says.
SERVER_TIME: Final = -1
# What times of change are cut to in a volume that takes changes: the Hub keeps milliseconds, so
# what is set is what is read again after the next mount.
TIME_STEP_NS: Final = 1_000_000


class Wanted(NamedTuple):
    """Attributes to set; None leaves one as it is (sattr3, RFC 1813 §2.5)."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None  # bytes
    atime_ns: int | None = None  # since 1970, or SERVER_TIME
    mtime_ns: int | None = None


def in_steps(time_ns: int) -> int:
    """A time as the Hub can keep it."""
    return time_ns - time_ns % TIME_STEP_NS


@dataclass(frozen=True, slots=True)
class Appearance:
    """Owner, modes and date of what comes from the far side, which keeps none of them."""

    fsid: int
    uid: int
    gid: int
    file_mode: int
    directory_mode: int
    modified_ns: int  # date of entries that have none of their own

    def file(self) -> Look:
        """What files look like."""
        return Look(FileType.REG, self.file_mode, self.uid, self.gid, self.fsid)

    def directory(self) -> Look:
        """What directories look like."""
        return Look(FileType.DIR, self.directory_mode, self.uid, self.gid, self.fsid)

    def symlink(self) -> Look:
        """What symbolic links look like."""
        return Look(FileType.LNK, 0o777, self.uid, self.gid, self.fsid)


class Attributes:
    """Who may do what."""

    def __init__(self, *, read_only: bool) -> None:
        self._read_only = read_only

    def granted(self, look: Look, uid: int | None, gids: Collection[int]) -> int:
        """The ACCESS3 bits a caller has on a node of that look (RFC 1813 §3.3.4).

        `uid` None is a caller without a name (AUTH_NONE), who has what others have. Root reads
        and writes all, and executes what anyone may execute.
        """
        bits = _permission(look, uid, gids)
        granted = ACCESS_READ if bits & _R else 0
        if bits & _X:
            granted |= ACCESS_LOOKUP if look.type is FileType.DIR else ACCESS_EXECUTE
        if bits & _W and not self._read_only:
            granted |= ACCESS_MODIFY | ACCESS_EXTEND
            if look.type is FileType.DIR:
                granted |= ACCESS_DELETE
        return granted


def _permission(look: Look, uid: int | None, gids: Collection[int]) -> int:
    """The rwx bits that hold for a caller: of the owner, else the group, else the others."""
    mode = look.mode
    if uid == 0:
        return _R | _W | (_X if look.type is FileType.DIR or mode & _ANY_X else 0)
    if uid is not None and uid == look.uid:
        return mode >> 6 & 7
    if uid is not None and look.gid in gids:
        return mode >> 3 & 7
    return mode & 7
