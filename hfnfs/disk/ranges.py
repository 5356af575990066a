"""A set of half-open ranges [start, end) of bytes: which parts of a file are here; pure.

Kept as two sorted lists, ranges that touch are one. Finding is a bisection, changing moves the
tail of the lists. Packed, a range is two LEB128 numbers, its distance from the one before and its
length: some four bytes. Packed bytes are checked for form only; a checksum is the keeper's job.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Final

from hfnfs.errors import CacheUnusable

OFFSET_MAX: Final = 2**63 - 1  # the furthest end, as of files
# What pack and unpack take: 4 GiB written in every second block of 4 KiB are half of that.
RANGES_MAX: Final = 1 << 20


class Ranges:
    """Ranges of bytes; not hashable, as it changes."""

    __slots__ = ("_ends", "_starts", "total")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.total = 0  # bytes in all ranges
        for start, end in ranges:
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        """Put in all of [start, end)."""
        assert 0 <= start <= end <= OFFSET_MAX, "not a range of a file"
        if start == end:
            return
        if self._ends and self._starts[-1] <= start <= self._ends[-1]:  # one write after another
            self.total += max(end - self._ends[-1], 0)
            self._ends[-1] = max(end, self._ends[-1])
            return
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        if first < last:  # it touches these, and all of them become one
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
        self._replace(first, last, [start], [end])

    def remove(self, start: int, end: int) -> None:
        """Take out all of [start, end)."""
        first = bisect_right(self._ends, start)
        last = bisect_left(self._starts, end)
        if start >= end or first >= last:
            return
        starts, ends = [], []
        if self._starts[first] < start:
            starts.append(self._starts[first])
            ends.append(start)
        if self._ends[last - 1] > end:
            starts.append(end)
            ends.append(self._ends[last - 1])
        self._replace(first, last, starts, ends)

    def truncate(self, size: int) -> None:
        """Take out everything from `size` on."""
        self.remove(size, OFFSET_MAX)

    def update(self, others: Iterable[tuple[int, int]]) -> None:
        """Put in all of these."""
        for start, end in others:
            self.add(start, end)

    def subtract(self, others: Iterable[tuple[int, int]]) -> None:
        """Take out all of these."""
        for start, end in others:
            self.remove(start, end)

    def covers(self, start: int, end: int) -> bool:
        """Whether all of [start, end) is in; so is nothing."""
        if start >= end:
            return True
        at = bisect_right(self._starts, start) - 1
        return at >= 0 and self._ends[at] >= end

    def intersect(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of [start, end) that are in, in order; nothing may change meanwhile."""
        first = bisect_right(self._ends, start)
        for at in range(first, max(first, bisect_left(self._starts, end))):
            part = max(start, self._starts[at]), min(end, self._ends[at])
            if part[0] < part[1]:
                yield part

    def gaps(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of [start, end) that are not in, in order; nothing may change meanwhile."""
        for part_start, part_end in self.intersect(start, end):
            if start < part_start:
                yield start, part_start
            start = part_end
        if start < end:
            yield start, end

    def copy(self) -> "Ranges":
        """Another set of the same ranges."""
        twin = Ranges()
        twin._starts, twin._ends = self._starts.copy(), self._ends.copy()
        twin.total = self.total
        return twin

    def pack(self) -> bytes:
        """As few bytes; only for up to RANGES_MAX ranges."""
        assert len(self) <= RANGES_MAX, "the keeper of the set keeps it smaller"
        packed = bytearray()
        before = 0
        for start, end in self:
            _put(packed, start - before)
            _put(packed, end - start)
            before = end
        return bytes(packed)

    @classmethod
    def unpack(cls, packed: bytes) -> "Ranges":
        """The set that was packed. Raises CacheUnusable for what pack cannot have made."""
        ranges = cls()
        end = at = 0
        while at < len(packed):
            gap, at = _take(packed, at)
            length, at = _take(packed, at)
            touches = gap == 0 and ranges
            start, end = end + gap, end + gap + length
            if touches or not length or end > OFFSET_MAX or len(ranges) == RANGES_MAX:
                raise CacheUnusable(f"packed ranges: none can end at byte {at}")
            ranges._append(start, end)
        return ranges

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # object's is a method; equal sets may change

    def __repr__(self) -> str:
        return f"Ranges({list(self)})"

    def _append(self, start: int, end: int) -> None:
        """Put in a range that begins after the last one ends."""
        self._starts.append(start)
        self._ends.append(end)
        self.total += end - start

    def _replace(self, first: int, last: int, starts: list[int], ends: list[int]) -> None:
        """Put these ranges in the place of those numbered [first, last)."""
        self.total += sum(ends) - sum(starts)
        if first < last:
            self.total -= sum(self._ends[first:last]) - sum(self._starts[first:last])
        self._starts[first:last] = starts
        self._ends[first:last] = ends


def _put(packed: bytearray, number: int) -> None:
    """Append a number as LEB128: seven bits a byte, lowest first, the top bit: more follow."""
    while number > 0x7F:
        packed.append(number & 0x7F | 0x80)
        number >>= 7
    packed.append(number)


def _take(packed: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where the next one begins."""
    number = shift = 0
    for place in range(at, min(at + 9, len(packed))):  # nine bytes hold OFFSET_MAX
        byte = packed[place]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            if not byte and place > at:
                break  # a shorter form says the same
            return number, place + 1
        shift += 7
    raise CacheUnusable(f"packed ranges: no number at byte {at}")
