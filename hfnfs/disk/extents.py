"""Remote bytes kept on the local disk: the block cache, shared by all processes of a user.

Contents are cut into segments (segment.py), one file each: `blocks/<2 hex>/<key>.<size>.<n>`.
`read` takes no lock: it finds the open segment in a table, looks at its blocks' good bytes and
slices its mapping. All else may be called from the event loop and from threads at once; the
table and the pins are guarded by one lock that is never held while bytes are moved.
"""

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from blake3 import blake3

from hfnfs.config import BLOCK_BYTES
from hfnfs.disk.errors import disk_errors
from hfnfs.disk.eviction import evict, is_key, segments_on_disk
from hfnfs.disk.segment import SEGMENT_BYTES, Segment, open_segment
from hfnfs.disk.spans import read_across, spans
from hfnfs.errors import CacheUnusable, NoSpace, RemoteCorrupt
from hfnfs.remote import ContentId

# Each takes two descriptors, and 64 MiB of addresses at most.
SEGMENTS_OPEN_MAX: Final = 128
# The disk is looked at again after this part of the budget was added by this process; every
# process may pass the budget by as much.
_PART_BETWEEN_LOOKS: Final = 16
_PART_LEFT_WHEN_FULL: Final = 64
_PART_FREED: Final = 10  # when the budget is passed, this part of it is freed at once
_NOTHING = memoryview(b"")

_Key: TypeAlias = tuple[str, int, int]  # a content's key and size, the segment's number


class DiskExtents:
    """vfs.ports.Extents on the local disk."""

    def __init__(
        self, blocks: Path, bytes_max: int, *, segments_open_max: int = SEGMENTS_OPEN_MAX
    ) -> None:
        self._blocks = blocks
        self._bytes_max = bytes_max
        self._segments_open_max = segments_open_max
        self._open: dict[_Key, Segment] = {}  # longest open first
        self._forgotten: set[Segment] = set()  # dropped, but threads work with them
        self._pins: Counter[_Key] = Counter()
        self._lock = threading.Lock()
        self._is_closed = False
        self._bytes_until_look = 0

    # ------------------------------------------------------------- reading

    def read(self, content: ContentId, start: int, end: int) -> memoryview | None:
        """Bytes [start, end) of the mapping; None unless all are known to be good."""
        number = start // SEGMENT_BYTES
        segment = self._open.get((content.key, content.size, number))
        if segment is None:
            return self._read_elsewhere(content, start, end) if start < end else _NOTHING
        base = number * SEGMENT_BYTES
        first = start - base
        last = end - base
        if last > SEGMENT_BYTES:
            return read_across(partial(self.read, content), start, end, SEGMENT_BYTES)
        if segment.good.find(0, first // BLOCK_BYTES, -(-last // BLOCK_BYTES)) >= 0:
            return self._read_elsewhere(content, start, end)
        segment.used = True
        return segment.view[first:last]

    def _read_elsewhere(self, content: ContentId, start: int, end: int) -> memoryview | None:
        """What is not at hand here, for who keeps bytes in another place too."""
        return None

    def has(self, content: ContentId, start: int, end: int) -> bool:
        """Whether all of [start, end) is present, perhaps unchecked."""
        return self.gap(content, start, end) is None

    def gap(self, content: ContentId, start: int, end: int) -> tuple[int, int] | None:
        """From the first absent block of [start, end) to the end of the last one."""
        first_absent = last_absent = None
        for number, first, last in spans(start, end, SEGMENT_BYTES):
            present = self._present(content, number, first, last)
            if all(present):
                continue
            base = number * SEGMENT_BYTES
            if first_absent is None:
                first_absent = base + (first + present.index(False)) * BLOCK_BYTES
            last_absent = base + (last - present[::-1].index(False)) * BLOCK_BYTES
        if first_absent is None or last_absent is None:
            return None
        return first_absent, min(last_absent, content.size)

    def _present(self, content: ContentId, number: int, first: int, last: int) -> list[bool]:
        with self._using(content, number, create=False) as segment:
            return [False] * (last - first) if segment is None else segment.present(first, last)

    def make_resident(self, content: ContentId, start: int, end: int) -> None:
        """Check what is present of [start, end), by reading it; run it in a thread."""
        for number, first, last in spans(start, end, SEGMENT_BYTES):
            with self._using(content, number, create=False) as segment:
                if segment is not None:
                    segment.check(first, last)

    # ------------------------------------------------------------- keeping

    def add(self, content: ContentId, offset: int, data: bytes | memoryview) -> None:
        """Keep whole blocks from `offset` on; run it in a thread, as the disk may be slow.

        A full disk is answered by evicting what can be, once. Raises NoSpace.
        """
        end = offset + len(data)
        assert offset % BLOCK_BYTES == 0, "whole blocks only"
        assert end % BLOCK_BYTES == 0 or end == content.size, "whole blocks only"
        self._keep_to_budget(len(data))
        try:
            self._add(content, offset, memoryview(data))
        except NoSpace:
            self._evict(max(len(data), SEGMENT_BYTES))
            self._add(content, offset, memoryview(data))

    def _add(self, content: ContentId, offset: int, data: memoryview) -> None:
        end = offset + len(data)
        for number, first, last in spans(offset, end, SEGMENT_BYTES):
            with self._using(content, number, create=True) as segment:
                assert segment is not None, "create makes it"
                at = number * SEGMENT_BYTES - offset
                segment.write(first, data[at + first * BLOCK_BYTES : at + last * BLOCK_BYTES])

    def pin(self, content: ContentId, start: int, end: int) -> None:
        """Keep the segments of [start, end) open, and thereby from every evictor."""
        with self._lock:
            for number, _, _ in spans(start, end, SEGMENT_BYTES):
                self._pins[content.key, content.size, number] += 1

    def unpin(self, content: ContentId, start: int, end: int) -> None:
        """Undo one pin of the same range."""
        with self._lock:
            for number, _, _ in spans(start, end, SEGMENT_BYTES):
                key = content.key, content.size, number
                assert self._pins[key] > 0, "unpinned more often than pinned"
                self._pins[key] -= 1
                if not self._pins[key]:
                    del self._pins[key]

    # ------------------------------------------------------------ clearing

    def forget(self, content: ContentId) -> None:
        """Drop all blocks of a content whose bytes turned out to be wrong; run it in a thread.

        Its files lose their names, so views that were given out stay what they are.
        """
        for number in range(-(-content.size // SEGMENT_BYTES)):
            path = self._path(content, number)
            with self._lock, disk_errors(path):
                segment = self._open.pop((content.key, content.size, number), None)
                if segment is not None and segment.users:
                    self._forgotten.add(segment)
                elif segment is not None:
                    segment.close()
                path.unlink(missing_ok=True)

    def tidy(self) -> None:
        """Close what was not read since the last call, so that other processes may evict it.

        To be called now and then, from a thread.
        """
        with self._lock, disk_errors(self._blocks):
            for key, segment in list(self._open.items()):
                if segment.is_unlinked() or not segment.used:
                    self._close(key, segment)
                else:
                    segment.touch()

    def close(self) -> None:
        """Give back all descriptors and locks; views that were given out stay valid.

        What a thread works with just now is closed when that thread has done.
        """
        with self._lock, disk_errors(self._blocks):
            self._is_closed = True
            for segment in self._open.values():
                if segment.used:
                    segment.touch()
                if not segment.users:
                    segment.close()
            self._open.clear()

    def _keep_to_budget(self, size: int) -> None:
        """Before `size` more bytes: look at the disk if it is time to, and evict."""
        with self._lock:
            self._bytes_until_look -= size
            if self._bytes_until_look >= 0:
                return
            # Others need not look as well while this thread does.
            self._bytes_until_look = self._bytes_max // _PART_BETWEEN_LOOKS
        with disk_errors(self._blocks):
            total = sum(segment.bytes for segment in segments_on_disk(self._blocks)) + size
        if total > self._bytes_max:
            total -= self._evict(total - self._bytes_max + self._bytes_max // _PART_FREED)
        room = min(self._bytes_max - total, self._bytes_max // _PART_BETWEEN_LOOKS)
        with self._lock:
            self._bytes_until_look = max(room, self._bytes_max // _PART_LEFT_WHEN_FULL)

    def _evict(self, bytes_wanted: int) -> int:
        with self._lock, disk_errors(self._blocks):
            for segment in self._open.values():
                if segment.used:
                    segment.touch()
        with disk_errors(self._blocks):
            return evict(self._blocks, bytes_wanted, self._let_go)

    def _let_go(self, path: str) -> bool:
        """Close our own use of the segment at `path`; whether we need it no more."""
        name, size, number = os.path.basename(path).rsplit(".", 2)
        key = name, int(size), int(number)
        with self._lock:
            segment = self._open.get(key)
            return key not in self._pins and (segment is None or self._close(key, segment))

    # ------------------------------------------------------- open segments

    @contextmanager
    def _using(self, content: ContentId, number: int, *, create: bool) -> Iterator[Segment | None]:
        """The open segment, which stays open within the block; None if there is none."""
        path = self._path(content, number)
        with disk_errors(path):
            segment = self._acquired(content, number, path, create=create)
            try:
                yield segment
            finally:
                if segment is not None:
                    self._release(segment)

    def _acquired(
        self, content: ContentId, number: int, path: Path, *, create: bool
    ) -> Segment | None:
        key = content.key, content.size, number
        with self._lock:
            segment = self._open.get(key)
            if segment is not None:
                segment.users += 1
                return segment
        if create:
            path.parent.mkdir(mode=0o700, exist_ok=True)
        length = min(SEGMENT_BYTES, content.size - number * SEGMENT_BYTES)
        opened = open_segment(str(path), length, create=create)
        if opened is None:
            return None
        with self._lock:
            if self._is_closed:
                opened.close()
                raise CacheUnusable(f"{path}: the cache was closed meanwhile")
            segment = self._open.setdefault(key, opened)
            segment.users += 1
            self._close_surplus()
        if segment is not opened:  # another thread was faster
            opened.close()
        return segment

    def _release(self, segment: Segment) -> None:
        with self._lock:
            segment.users -= 1
            if not segment.users and (self._is_closed or segment in self._forgotten):
                self._forgotten.discard(segment)
                segment.close()

    def _close_surplus(self) -> None:
        """Bound the open segments: those go first that were not read for longest."""
        for key, segment in list(self._open.items()) * 2:
            if len(self._open) <= self._segments_open_max:
                return
            if segment.used:  # a second chance, at the end of the queue
                segment.touch()
                self._open[key] = self._open.pop(key)
            elif key in self._open:
                self._close(key, segment)

    def _close(self, key: _Key, segment: Segment) -> bool:
        """Close it unless somebody needs it; whether it was closed."""
        if segment.users or key in self._pins:
            return False
        del self._open[key]
        segment.close()
        return True

    def _path(self, content: ContentId, number: int) -> Path:
        if not is_key(content.key):
            raise RemoteCorrupt(f"content key {content.key[:140]!r} is not what the Hub gives")
        fanout = blake3(content.key.encode()).hexdigest(length=1)
        return self._blocks / fanout / f"{content.key}.{content.size}.{number}"
