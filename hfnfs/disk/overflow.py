"""The block cache on a disk that may take no more: what it refuses is kept in memory.

A reader needs no room on the disk, so it is not to fail for want of it: the disk may be full of
what others wrote, have a quota, be read-only or broken. Everything is read from both places. In
memory the usual bound holds (memory.py); on the disk nothing changes.

    disk ──refused──▶ memory, TRY_EVERY_S ──▶ disk, once ──taken──▶ disk
                         ▲                         │
                         └─────────refused─────────┘

It is said once that it begins, and once that it is over: after QUIET_S without a refusal, as a
disk with a little room takes the one block and refuses the other.

A DiskExtents itself, not a wrapper of one: bytes that are on the disk are read by the same call.
"""

import logging
from functools import partial
from math import inf
from pathlib import Path
from typing import Final

from hfnfs.clock import Clock
from hfnfs.config import BLOCK_BYTES, MIB
from hfnfs.disk.extents import DiskExtents
from hfnfs.disk.memory import MemoryExtents
from hfnfs.disk.spans import read_across
from hfnfs.errors import CacheUnusable, HfnfsError, NoSpace
from hfnfs.remote import ContentId

TRY_EVERY_S: Final = 1.0  # each time our own segments are looked through for some to evict
QUIET_S: Final = 10.0

_REFUSALS: Final = (NoSpace, CacheUnusable)

_log = logging.getLogger(__name__)


class OverflowingExtents(DiskExtents):
    """vfs.ports.Extents on the local disk, and in memory beyond it."""

    def __init__(self, blocks: Path, bytes_max: int, memory: MemoryExtents, clock: Clock) -> None:
        super().__init__(blocks, bytes_max)
        self._memory = memory
        self._clock = clock
        self._left_alone_until = self._refused_at = -inf  # monotonic seconds
        self._is_overflowing = False  # it was said that it begins, and not that it is over

    @property
    def bytes_max(self) -> int:
        """What can be kept just now."""
        return self._memory.bytes_max if self._is_overflowing else self._bytes_max

    # ------------------------------------------------------------- reading

    def _read_elsewhere(self, content: ContentId, start: int, end: int) -> memoryview | None:
        """What is not all on the disk: from memory, or block by block from both."""
        if not self._memory.bytes_kept:
            return None
        data = self._memory.read(content, start, end)
        if data is None and start // BLOCK_BYTES != (end - 1) // BLOCK_BYTES:
            data = read_across(partial(self.read, content), start, end, BLOCK_BYTES)
        return data

    def gap(self, content: ContentId, start: int, end: int) -> tuple[int, int] | None:
        """From the first block of [start, end) that is nowhere to the end of the last one."""
        gap = self._gap_on_disk(content, start, end)
        while gap is not None and self._memory.bytes_kept:
            # A block at its edge may be in memory, and the next one on the disk, and so on.
            within = self._memory.gap(content, *gap)
            if within is None or within == gap:
                return within
            gap = self._gap_on_disk(content, *within)
        return gap

    def _gap_on_disk(self, content: ContentId, start: int, end: int) -> tuple[int, int] | None:
        """On a disk that cannot be looked at there is nothing."""
        try:
            return super().gap(content, start, end)
        except _REFUSALS as error:
            self._refused(error)
        first = start // BLOCK_BYTES * BLOCK_BYTES
        return first, min(-(-end // BLOCK_BYTES) * BLOCK_BYTES, content.size)

    def make_resident(self, content: ContentId, start: int, end: int) -> None:
        """Check what is present of [start, end), by reading it; run it in a thread."""
        try:
            super().make_resident(content, start, end)
        except _REFUSALS:
            if self.has(content, start, end):  # who reads would be sent here again
                raise

    # ------------------------------------------------------------- keeping

    def add(self, content: ContentId, offset: int, data: bytes | memoryview) -> None:
        """Keep whole blocks from `offset` on, wherever there is room; run it in a thread."""
        if self._clock.now() >= self._left_alone_until:
            try:
                super().add(content, offset, data)
            except _REFUSALS as error:
                self._left_alone_until = self._clock.now() + TRY_EVERY_S
                self._refused(error)
            else:
                self._taken()
                return
        self._memory.add(content, offset, data)

    def _refused(self, error: HfnfsError) -> None:
        """Say so, if it begins. Raises the error where it is that the cache was closed."""
        with self._lock:
            if self._is_closed:
                raise error
            self._refused_at = self._clock.now()
            begins = not self._is_overflowing
            self._is_overflowing = True
        if begins:
            _log.warning(
                "the disk of the cache takes no more, so what is read is kept in memory "
                "(%d MiB at most) until it does: %s",
                self._memory.bytes_max // MIB,
                error,
            )

    def _taken(self) -> None:
        if not self._is_overflowing:
            return
        with self._lock:
            is_over = self._is_overflowing and self._clock.now() >= self._refused_at + QUIET_S
            if is_over:
                self._is_overflowing = False
        if is_over:
            _log.warning("the disk of the cache takes what is read again")

    def pin(self, content: ContentId, start: int, end: int) -> None:
        """Keep what there is and will be of [start, end) from eviction, here and there."""
        super().pin(content, start, end)
        self._memory.pin(content, start, end)

    def unpin(self, content: ContentId, start: int, end: int) -> None:
        """Undo one pin of the same range."""
        super().unpin(content, start, end)
        self._memory.unpin(content, start, end)

    # ------------------------------------------------------------ clearing

    def forget(self, content: ContentId) -> None:
        """Drop all blocks of a content whose bytes turned out to be wrong; run it in a thread."""
        self._memory.forget(content)
        super().forget(content)

    def tidy(self) -> None:
        """Let go of what was not read since the last call, where it is in others' way."""
        if not self._is_overflowing:
            self._memory.drop_unread()
        super().tidy()

    def close(self) -> None:
        """Give everything back; views that were given out stay valid."""
        try:
            super().close()
        finally:
            self._memory.close()
