"""One segment: up to 512 blocks of one content, in one sparse file that is mapped for reading.

    0              HEADER_BYTES                                    HEADER_BYTES + length
    | 512 records  | block 0 | block 1 | …                | last block (may be shorter) |

A record is 8 bytes: 0 while its block is absent, else a set top bit and 63 bits of the BLAKE3 of
the block's bytes. The bytes are written first, then the record, so a process that is killed
leaves at worst an absent block, and several processes share the file without locks for reading:
two writers of one block write the same bytes. A block in this process:

    absent ──write──▶ good ◀──check── unchecked (record found in the file) ──check──▶ absent

A mapped file is never truncated, by nobody: readers would die of SIGBUS. Whoever has a segment
open holds a shared flock on it; the evictor needs an exclusive one and then unlinks the file.
Views of an unlinked file stay valid. Writing and checking go through the descriptor, as touching
a hole of a mapping on a full tmpfs is a SIGBUS too.
"""

import errno
import fcntl
import mmap
import os
import stat
import struct
import time
from typing import Final

from blake3 import blake3

from hfnfs.config import BLOCK_BYTES
from hfnfs.errors import CacheUnusable, TryLater

SEGMENT_BLOCKS: Final = 512
SEGMENT_BYTES: Final = SEGMENT_BLOCKS * BLOCK_BYTES  # 64 MiB

_RECORD = struct.Struct(">Q")
_PRESENT = 1 << 63
HEADER_BYTES: Final = SEGMENT_BLOCKS * _RECORD.size

# An evictor holds its lock for the time of one unlink.
_ATTEMPTS_MAX = 200
_ATTEMPT_S = 0.005


class Segment:
    """An open segment. Reading its `view` needs no lock; the rest may run in threads.

    `good` has a byte for each block: 1 when its bytes are known to be right. `users` and `used`
    belong to the owner of the table of open segments.
    """

    __slots__ = ("_fd", "_wrong", "blocks", "good", "length", "used", "users", "view")

    def __init__(self, fd: int, length: int) -> None:
        self._fd = fd
        self.length = length  # bytes of content in it
        self.blocks = -(-length // BLOCK_BYTES)
        self.good = bytearray(self.blocks)
        self._wrong: set[int] = set()  # blocks; the disk may not let their records be cleared
        self.users = 0  # threads that work with the descriptor just now
        self.used = False  # read from since it was last touched
        mapping = mmap.mmap(fd, HEADER_BYTES + length, prot=mmap.PROT_READ)
        self.view = memoryview(mapping)[HEADER_BYTES:]

    def present(self, first: int, last: int) -> list[bool]:
        """Whether each of the blocks [first, last) is here, checked or not."""
        if self.good.find(0, first, last) < 0:
            return [True] * (last - first)
        records = self._records(first, last)
        return [
            self.good[block] == 1 or (record != 0 and block not in self._wrong)
            for block, record in enumerate(records, first)
        ]

    def write(self, first: int, data: memoryview) -> None:
        """Keep the bytes of whole blocks from `first` on; good ones are left alone."""
        last = first + -(-len(data) // BLOCK_BYTES)
        assert len(data) == min(last * BLOCK_BYTES, self.length) - first * BLOCK_BYTES, "whole ones"
        begin = first
        while begin < last:
            if self.good[begin]:
                begin += 1
                continue
            end = self.good.find(1, begin, last)
            end = last if end < 0 else end
            at = (begin - first) * BLOCK_BYTES
            self._write(begin, end, data[at : (end - first) * BLOCK_BYTES])
            begin = end

    def _write(self, first: int, last: int, data: memoryview) -> None:
        """All blocks [first, last): in two calls, however many they are."""
        starts = range(0, len(data), BLOCK_BYTES)
        records = [_checksum(data[start : start + BLOCK_BYTES]) for start in starts]
        _pwrite_all(self._fd, data, HEADER_BYTES + first * BLOCK_BYTES)
        packed = struct.pack(f">{len(records)}Q", *records)
        _pwrite_all(self._fd, packed, first * _RECORD.size)
        self.good[first:last] = b"\1" * (last - first)

    def check(self, first: int, last: int) -> None:
        """Compare the bytes of the blocks [first, last) with their records; blocks.

        That also brings them into memory. A block whose bytes are wrong becomes absent.
        """
        for block, record in enumerate(self._records(first, last), first):
            if not record or self.good[block] or block in self._wrong:
                continue
            start = block * BLOCK_BYTES
            size = min(BLOCK_BYTES, self.length - start)
            if _checksum(os.pread(self._fd, size, HEADER_BYTES + start)) == record:
                self.good[block] = 1
            else:
                self._wrong.add(block)
                _pwrite_all(self._fd, bytes(_RECORD.size), block * _RECORD.size)

    def touch(self) -> None:
        """Tell the evictors of all processes that this segment is in use."""
        self.used = False
        try:
            os.utime(self._fd)
        except OSError as error:
            if error.errno != errno.EROFS:  # then nobody can evict it
                raise

    def is_unlinked(self) -> bool:
        """Whether the file has lost its name, so that nobody else will ever see it."""
        return os.fstat(self._fd).st_nlink == 0

    def close(self) -> None:
        """Give the descriptor and its lock back; the mapping lives as long as its views."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)  # the mapping has a duplicate of the descriptor
        os.close(self._fd)

    def _records(self, first: int, last: int) -> tuple[int, ...]:
        size = (last - first) * _RECORD.size
        raw = os.pread(self._fd, size, first * _RECORD.size)
        return struct.unpack(f">{last - first}Q", raw.ljust(size, b"\0"))


def open_segment(path: str, length: int, *, create: bool) -> Segment | None:
    """Open the segment at `path` with `length` bytes of content, and lock it against eviction.

    Without `create` None says that there is none, or that it is being evicted. With `create` an
    eviction is waited for: only in a thread. A file that is too short is made longer (what it
    lost then reads as zeros, and fails its check). Raises OSError, CacheUnusable, TryLater.
    """
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    for _ in range(_ATTEMPTS_MAX):
        try:
            fd = os.open(path, flags, 0o600)
        except FileNotFoundError:
            if create:
                raise
            return None
        segment = _locked(fd, path, length)
        if segment is not None or not create:
            return segment
        time.sleep(_ATTEMPT_S)
    raise TryLater(f"{path}: another process keeps it locked")


def remove_segment(path: str) -> bool:
    """Unlink the segment at `path` unless someone has it open; whether it is gone."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(fd).st_nlink > 0:
            os.unlink(path)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def _locked(fd: int, path: str, length: int) -> Segment | None:
    """The segment of the file just opened; None if an evictor has it. Owns fd."""
    try:
        segment = _adopted(fd, path, length)
    except BaseException:
        os.close(fd)
        raise
    if segment is None:
        os.close(fd)
    return segment


def _adopted(fd: int, path: str, length: int) -> Segment | None:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return None
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise CacheUnusable(f"{path}: not a regular file")
    if status.st_nlink == 0:
        return None
    if status.st_size < HEADER_BYTES + length:
        os.ftruncate(fd, HEADER_BYTES + length)
    return Segment(fd, length)


def _checksum(data: bytes | memoryview) -> int:
    """A block's record."""
    return int(_RECORD.unpack(blake3(data).digest(length=_RECORD.size))[0]) | _PRESENT


def _pwrite_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of data; a disk that fills up half-way ends in OSError."""
    written = os.pwrite(fd, data, offset)
    while written < len(data):
        written += os.pwrite(fd, memoryview(data)[written:], offset + written)
