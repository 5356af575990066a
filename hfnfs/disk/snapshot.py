"""An immutable copy of a staged file, for an upload to read while the file is written on.

Where the file system shares blocks between files (btrfs, XFS) it is made at once and takes no
room. Elsewhere the staged ranges are copied, within the kernel where it can; holes stay holes.
Such a copy is of no single moment if the file is written meanwhile: who needs that compares the
file's version before and after, and may `take` what was written again. Blocks: in a thread.
"""

import errno
import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from hfnfs.disk.errors import disk_errors
from hfnfs.disk.ranges import Ranges
from hfnfs.errors import CacheUnusable

_FICLONE: Final = (
    0x40049409  # ioctl_ficlone(2); the number on every architecture of Linux we run on
)
_BYTES_A_DISK_BLOCK: Final = 512  # the unit of st_blocks
_COPY_BYTES: Final = 1 << 20
_KERNEL_COPY_BYTES: Final = 1 << 30
_CANNOT: Final = {errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS}
_ZEROS: Final = bytes(_COPY_BYTES)


class Snapshot:
    """A copy under a path of its own. `fill` its gaps, `seal` it, upload it, `discard` it."""

    def __init__(self, path: Path, fd: int, count: Callable[[int], None]) -> None:
        self.path = path
        self._fd = fd
        self._tell = count  # how many bytes more it takes on the disk (less than 0: fewer)
        self._bytes = 0
        self._is_kept = True
        self._count()

    def fill(self, offset: int, data: bytes | memoryview) -> None:
        """Put bytes of the base where nothing is staged. Raises NoSpace, CacheUnusable."""
        with disk_errors(self.path):
            pwrite_all(self._fd, data, offset)
        self._count()

    def take(self, source: int, own: Ranges) -> None:
        """Put these ranges of an open file in the place of what it has there.

        Raises NoSpace, and CacheUnusable when the file ends before they do.
        """
        with disk_errors(self.path):
            for start, end in own:
                _copy(source, self._fd, start, end)
        self._count()

    def resize(self, size: int) -> None:
        """Let it end at `size`; what is new in it is zeros. Raises NoSpace, CacheUnusable."""
        with disk_errors(self.path):
            os.ftruncate(self._fd, size)
        self._count()

    def sync(self) -> None:
        """Bring its bytes to the disk. Raises NoSpace, CacheUnusable."""
        with disk_errors(self.path):
            sync_bytes(self._fd)

    def seal(self) -> None:
        """No byte of it will change any more."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with disk_errors(self.path):
                os.fchmod(fd, 0o400)
                os.close(fd)

    def let_go(self) -> None:
        """It is somebody else's now, under another path; that may be written again."""
        fd, self._fd = self._fd, -1
        os.close(fd)
        self._forget()

    def discard(self) -> None:
        """Remove it; may be called twice, or after it was let go."""
        self.seal()
        if self._is_kept:
            with disk_errors(self.path):
                self.path.unlink(missing_ok=True)
            self._forget()

    def _forget(self) -> None:
        self._is_kept = False
        self._tell(-self._bytes)

    def _count(self) -> None:
        now = os.fstat(self._fd).st_blocks * _BYTES_A_DISK_BLOCK
        self._tell(now - self._bytes)
        self._bytes = now


def copy_staged(
    source: int, target: int, own: Ranges, size: int, require_room: Callable[[int], None]
) -> None:
    """Make the empty file `target` be `size` bytes: in `own` those of `source`, else zeros.

    `require_room` is asked for what the copy takes. Raises OSError, what that does, and
    CacheUnusable when `source` ends before `own` does.
    """
    last = max((end for _, end in own.intersect(0, size)), default=0)
    if os.fstat(source).st_size < last:
        raise CacheUnusable("a staged file is shorter than what was written to it")
    if _clone(source, target):
        os.ftruncate(target, size)
        for start, end in own.gaps(0, size):
            for data_start, data_end in _data(target, start, end):
                _zero(target, data_start, data_end)
        return
    require_room(own.total)
    os.ftruncate(target, size)
    for start, end in own.intersect(0, size):
        for data_start, data_end in _data(source, start, end):
            _copy(source, target, data_start, data_end)


def is_allocated(fd: int, start: int, end: int) -> bool:
    """Whether [start, end) was written before, so that it takes no more room to write it again.

    As far as the file system tells: where blocks are never written over (btrfs) it does.
    """
    return list(_data(fd, start, end)) == [(start, end)]


def pwrite_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of data; a disk that fills up half-way ends in OSError."""
    written = os.pwrite(fd, data, offset)
    while written < len(data):
        more = os.pwrite(fd, memoryview(data)[written:], offset + written)
        if not more:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written += more


def sync_bytes(fd: int) -> None:
    """Bring the bytes of a file, and its length, to the disk."""
    if sys.platform == "darwin":
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)  # fsync(2) leaves them in the drive's cache there
    else:
        os.fdatasync(fd)


def _clone(source: int, target: int) -> bool:
    """Let target share the blocks of source; False: this file system has no such thing."""
    if sys.platform != "linux":
        return False
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise
    return True


def _data(fd: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of [start, end) that are no holes, as far as the file system tells."""
    while start < end:
        try:
            data = os.lseek(fd, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end of the file
                return
            raise
        if data >= end:
            return
        hole = min(os.lseek(fd, data, os.SEEK_HOLE), end)
        yield data, hole
        start = hole


def _copy(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        count = _copied_by_kernel(source, target, start, end)
        if not count:
            data = os.pread(source, min(_COPY_BYTES, end - start), start)
            pwrite_all(target, data, start)
            count = len(data)
        if not count:
            raise CacheUnusable("a staged file became shorter while it was copied")
        start += count


def _copied_by_kernel(source: int, target: int, start: int, end: int) -> int:
    """How many bytes the kernel has copied; 0 when it cannot."""
    if sys.platform != "linux":
        return 0
    try:
        count = min(_KERNEL_COPY_BYTES, end - start)
        return os.copy_file_range(source, target, count, start, start)
    except OSError as error:
        if error.errno in _CANNOT:
            return 0
        raise


def _zero(fd: int, start: int, end: int) -> None:
    for offset in range(start, end, _COPY_BYTES):
        pwrite_all(fd, memoryview(_ZEROS)[: min(_COPY_BYTES, end - offset)], offset)
