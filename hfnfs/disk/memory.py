"""Remote bytes kept in memory alone, for a mount that shall leave nothing on the disk.

Contents are cut into slabs of a MiB, each a mapping of its own: what a client reads at once lies
in one piece, memory is taken only for blocks that are there, and a slab that is let go is given
back to the system when the last view of it is. Beyond the budget the slabs go that were not read
for longest; those that are pinned stay.

`read` takes no lock; all else may be called from the event loop and from threads at once.
"""

import mmap
import threading
from collections import Counter
from functools import partial
from typing import Final, TypeAlias

from hfnfs.config import BLOCK_BYTES, TRANSFER_BYTES_MAX
from hfnfs.disk.layout import VolumeState, passing_state
from hfnfs.disk.names import KeptNames, KnownSources
from hfnfs.disk.records import MemoryRecords, Records
from hfnfs.disk.spans import read_across, spans
from hfnfs.remote import ContentId

SLAB_BYTES: Final = TRANSFER_BYTES_MAX
# Of names: a million files are about 60 MiB.
_NAMES_BYTES_MAX: Final = 64 * 1024 * 1024
_SOURCES_BYTES_MAX: Final = 64 * 1024
_NOTHING = memoryview(b"")

_Key: TypeAlias = tuple[str, int, int]  # a content's key and size, the slab's number


class MemoryCache:
    """What disk.layout.CacheLayout gives, with nothing behind it."""

    def __init__(self) -> None:
        self._sources = KnownSources(MemoryRecords(_SOURCES_BYTES_MAX))
        self._hashed = MemoryRecords(_SOURCES_BYTES_MAX)
        self._names = KeptNames(MemoryRecords(_NAMES_BYTES_MAX))

    def sources(self) -> KnownSources:
        """What the names that users type were found to mean."""
        return self._sources

    def names(self, source: str) -> KeptNames:
        """What was seen in the one source of this mount."""
        return self._names

    def hashed_blobs(self) -> Records:
        """Which hash blobs of other programs were found to have."""
        return self._hashed

    def volume_state(self, source: str) -> VolumeState:
        """A state for this mount alone."""
        return passing_state(source)


class _Slab:
    """A MiB of a content; `good` has a byte for each block, 1 when it is there."""

    __slots__ = ("_room", "good", "is_used", "view")

    def __init__(self, length: int) -> None:
        self.good = bytearray(-(-length // BLOCK_BYTES))
        self.is_used = True  # read or written since it was last passed over
        self._room = memoryview(mmap.mmap(-1, length))
        self.view = self._room.toreadonly()

    @property
    def block_count(self) -> int:
        """Blocks that are there."""
        return self.good.count(1)

    def fill(self, first: int, last: int, data: memoryview) -> None:
        """Put those of the blocks that are absent: of the others, views may be out."""
        for block in range(first, last):
            if not self.good[block]:
                part = data[(block - first) * BLOCK_BYTES :][:BLOCK_BYTES]
                start = block * BLOCK_BYTES
                self._room[start : start + len(part)] = part
                self.good[block] = 1
        self.is_used = True


class MemoryExtents:
    """vfs.ports.Extents in memory."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._blocks = 0
        self._slabs: dict[_Key, _Slab] = {}  # passed over longest ago first
        self._pins: Counter[_Key] = Counter()
        self._lock = threading.Lock()

    @property
    def bytes_max(self) -> int:
        """The budget."""
        return self._bytes_max

    @property
    def bytes_kept(self) -> int:
        """What the blocks take that are here now."""
        return self._blocks * BLOCK_BYTES

    # ------------------------------------------------------------- reading

    def read(self, content: ContentId, start: int, end: int) -> memoryview | None:
        """Bytes [start, end), or None unless all of them are here."""
        if start >= end:
            return _NOTHING
        number = start // SLAB_BYTES
        slab = self._slabs.get((content.key, content.size, number))
        if slab is None:
            return None
        base = number * SLAB_BYTES
        if end - base > SLAB_BYTES:
            return read_across(partial(self.read, content), start, end, SLAB_BYTES)
        start -= base
        end -= base
        if slab.good.find(0, start // BLOCK_BYTES, -(-end // BLOCK_BYTES)) >= 0:
            return None
        slab.is_used = True
        return slab.view[start:end]

    def has(self, content: ContentId, start: int, end: int) -> bool:
        """Whether all of [start, end) is here."""
        return self.gap(content, start, end) is None

    def gap(self, content: ContentId, start: int, end: int) -> tuple[int, int] | None:
        """From the first absent block of [start, end) to the end of the last one."""
        absent = [
            number * SLAB_BYTES + block * BLOCK_BYTES
            for number, first, last in spans(start, end, SLAB_BYTES)
            for block in self._absent(content, number, first, last)
        ]
        if not absent:
            return None
        return absent[0], min(absent[-1] + BLOCK_BYTES, content.size)

    def _absent(self, content: ContentId, number: int, first: int, last: int) -> list[int]:
        slab = self._slabs.get((content.key, content.size, number))
        return [n for n in range(first, last) if slab is None or not slab.good[n]]

    def make_resident(self, content: ContentId, start: int, end: int) -> None:
        """Nothing to do: what is here is in memory and was checked."""

    # ------------------------------------------------------------- keeping

    def add(self, content: ContentId, offset: int, data: bytes | memoryview) -> None:
        """Keep whole blocks from `offset` on."""
        end = offset + len(data)
        assert offset % BLOCK_BYTES == 0, "whole blocks only"
        assert end % BLOCK_BYTES == 0 or end == content.size, "whole blocks only"
        view = memoryview(data)
        with self._lock:
            for number, first, last in spans(offset, end, SLAB_BYTES):
                slab = self._slab(content, number)
                before = slab.block_count
                slab.fill(first, last, view[number * SLAB_BYTES + first * BLOCK_BYTES - offset :])
                self._blocks += slab.block_count - before
            self._keep_to_budget()

    def _slab(self, content: ContentId, number: int) -> _Slab:
        key = content.key, content.size, number
        slab = self._slabs.get(key)
        if slab is None:
            length = min(SLAB_BYTES, content.size - number * SLAB_BYTES)
            slab = self._slabs[key] = _Slab(length)
        return slab

    def pin(self, content: ContentId, start: int, end: int) -> None:
        """Keep what lies in [start, end) from eviction."""
        with self._lock:
            for number, _, _ in spans(start, end, SLAB_BYTES):
                self._pins[content.key, content.size, number] += 1

    def unpin(self, content: ContentId, start: int, end: int) -> None:
        """Undo one pin of the same range."""
        with self._lock:
            for number, _, _ in spans(start, end, SLAB_BYTES):
                key = content.key, content.size, number
                assert self._pins[key] > 0, "unpinned more often than pinned"
                self._pins[key] -= 1
                if not self._pins[key]:
                    del self._pins[key]
            self._keep_to_budget()

    # ------------------------------------------------------------ clearing

    def forget(self, content: ContentId) -> None:
        """Drop all blocks of a content whose bytes turned out to be wrong."""
        with self._lock:
            for key in [key for key in self._slabs if key[:2] == (content.key, content.size)]:
                self._blocks -= self._slabs.pop(key).block_count

    def tidy(self) -> None:
        """Nothing to do: no other process waits for what is kept here."""

    def drop_unread(self) -> None:
        """Let go of what was not read since the last call, pins excepted."""
        with self._lock:
            for key in list(self._slabs):
                self._pass_over(key)

    def close(self) -> None:
        """Let go of everything; views that were given out stay valid."""
        with self._lock:
            self._slabs.clear()
            self._blocks = 0

    def _keep_to_budget(self) -> None:
        """Let slabs go, each after a second chance if it was used since the last round."""
        if self.bytes_kept <= self._bytes_max:
            return
        for key in list(self._slabs) * 2:
            self._pass_over(key)
            if self.bytes_kept <= self._bytes_max:
                return

    def _pass_over(self, key: _Key) -> None:
        """Let it go if it was not used since it was last passed over, unless it is pinned."""
        slab = self._slabs.get(key)
        if slab is None or key in self._pins:
            return
        del self._slabs[key]
        if slab.is_used:
            slab.is_used = False
            self._slabs[key] = slab
        else:
            self._blocks -= slab.block_count
