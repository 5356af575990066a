"""How much more may be staged before the disk is full.

A part of the file system is left free: what was changed is to be recorded there (state.db), and
copied for uploads, or nothing would ever get to the Hub and make room. How much is free is asked
for now and then, as that is known to be enough for a while.
"""

import errno
import os
from typing import Final

from hfnfs.config import MIB

RESERVE_BYTES_MAX: Final = 64 * MIB
_RESERVE_PART: Final = 16  # of the file system, at most
_UNSEEN_PART: Final = 4  # of what is free, others may take the rest meanwhile


class Headroom:
    """Of the file system of an open directory."""

    def __init__(self) -> None:
        self._fd = -1
        self._allowed = 0  # bytes that may be written without looking again
        self._is_refused = False  # the system had no room for something, and nothing went since

    def open(self, directory_fd: int) -> None:
        """Take the file system of that directory."""
        self._fd = directory_fd

    def is_low(self, count: int) -> bool:
        """Whether so many bytes more would leave too little free."""
        if count <= self._allowed:
            return False
        free = _free(self._fd)
        self._allowed = max(free, 0) // _UNSEEN_PART
        return free < count

    def is_short(self, count: int) -> bool:
        """Whether something should go first, if anything can."""
        return self._is_refused or self.is_low(count)

    def require_copy(self, count: int) -> None:
        """Raise OSError for a copy that would take more than half of what is left for others.

        Before it is begun: it would take all of it until it fails.
        """
        if count > _reserve(self._fd) // 2 and _free(self._fd) < count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def taken(self, count: int) -> None:
        """So many bytes were written."""
        self._allowed -= count

    def refused(self) -> None:
        """The system had no room, whatever it says of it: there may be a quota."""
        self._is_refused = True

    def freed(self) -> None:
        """Something was removed."""
        self._is_refused = False
        self._allowed = 0


def _free(fd: int) -> int:
    """Bytes beyond the reserve; less than 0: so many are missing."""
    system = os.fstatvfs(fd)
    return system.f_bavail * system.f_frsize - _reserve(fd)


def _reserve(fd: int) -> int:
    """Bytes that are left free of a file system."""
    system = os.fstatvfs(fd)
    return min(RESERVE_BYTES_MAX, system.f_blocks * system.f_frsize // _RESERVE_PART)
