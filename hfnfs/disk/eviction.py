"""Which segments go when the cache is full: the least recently used of all processes.

A segment's mtime says when it was last written to or, by `touch`, read from. Segments that some
process has open are left alone, so the budget can be passed by what is in use.
"""

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from hfnfs.disk.segment import remove_segment

_FANOUT = re.compile(r"[0-9a-f]{2}")
_SEGMENT = re.compile(r"[a-z]+-[0-9A-Za-z]+\.[0-9]+\.[0-9]+")
_BYTES_A_DISK_BLOCK: Final = 512  # the unit of st_blocks


class OnDisk(NamedTuple):
    """A segment as the file system shows it."""

    path: str
    used_ns: int
    bytes: int  # that it takes on disk; holes take none


def is_key(key: str) -> bool:
    """Whether a content's key can be part of a segment's name."""
    return len(key) <= 128 and _SEGMENT.fullmatch(f"{key}.0.0") is not None


def segments_on_disk(blocks: Path) -> list[OnDisk]:
    """All segments in the cache, least recently used first."""
    found: list[OnDisk] = []
    for fanout in os.scandir(blocks):
        if _FANOUT.fullmatch(fanout.name) and fanout.is_dir(follow_symlinks=False):
            found += _segments_in(fanout.path)
    return sorted(found, key=lambda segment: segment.used_ns)


def evict(blocks: Path, bytes_wanted: int, let_go: Callable[[str], bool]) -> int:
    """Unlink least recently used segments until that many bytes came free; how many did.

    `let_go(path)` closes this process's own use of a segment, or says that it needs it.
    While another process evicts, nothing is done.
    """
    freed = 0
    with _sole_evictor(blocks) as alone:
        for segment in segments_on_disk(blocks) if alone else ():
            if freed >= bytes_wanted:
                break
            if let_go(segment.path) and remove_segment(segment.path):
                freed += segment.bytes
    return freed


def _segments_in(directory: str) -> Iterator[OnDisk]:
    for entry in os.scandir(directory):
        if not _SEGMENT.fullmatch(entry.name):
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:  # another process was faster
            continue
        yield OnDisk(entry.path, status.st_mtime_ns, status.st_blocks * _BYTES_A_DISK_BLOCK)


@contextmanager
def _sole_evictor(blocks: Path) -> Iterator[bool]:
    """Whether nobody else is evicting, and nobody else will until the block is left."""
    fd = os.open(blocks / "evicting", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(fd)
