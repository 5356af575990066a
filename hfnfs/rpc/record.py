"""Record marking (RFC 5531 §11): messages on a byte stream, cut and put together.

Each message is a record: one or more fragments, each after a mark of four bytes that holds its
length and whether it is the last. What we send is always one fragment (a client spends several
times as much on several); what we get may be in any number of them.

Nothing is copied that need not be. A reader owns the memory that the socket receives into and
points out the records in it; a writer hands large parts to the socket as they came.

    receive buffer:  | done | record | record | part of a rec|   free   |
                            ^start                           ^filled
"""

import struct
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice

from hfnfs.errors import WireError

LAST_FRAGMENT = 0x8000_0000
LENGTH_BITS = 0x7FFF_FFFF
MARK_BYTES = 4
# What one receive asks for while nothing large is under way: hundreds of small calls.
RECEIVE_BYTES = 64 * 1024
# Fragments that carry nothing, of one record: senders make one at most, to end it.
EMPTY_FRAGMENTS_MAX = 16
# Parts up to here are joined with their neighbours: one more piece costs the kernel about as much.
JOINED_BYTES_MAX = 16 * 1024
# Pieces that one sendmsg takes (IOV_MAX of Linux and macOS).
PIECES_MAX = 1024

_MARK = struct.Struct(">I")
# The marks of records that are joined, by their length: a megabyte, made in two milliseconds.
_MARKS = [_MARK.pack(LAST_FRAGMENT | length) for length in range(JOINED_BYTES_MAX + 1)]


class RecordReader:
    """Finds the records in received bytes, without moving them.

    The stream goes on in the memory that `space` gives; tell `received` how much came, then take
    the complete `records`. They are good until the next `space`. A record that is larger than a
    receive is received exactly to its end, so that what follows it need not be moved.
    """

    def __init__(self, record_bytes_max: int) -> None:
        self._record_bytes_max = record_bytes_max
        self._start = 0  # of what `records` has not given yet
        self._filled = 0  # end of what was received
        self._wanted = 0  # where the fragment that waits for its rest will end
        self._fragments = bytearray()  # of a record whose last one is still to come
        self._empty_fragments = 0
        self._allocate(2 * RECEIVE_BYTES)

    def space(self) -> memoryview:
        """Give the memory that the next bytes of the stream belong into; never empty."""
        if self._start == self._filled:
            self._start = self._filled = self._wanted = 0
        end = max(self._wanted, self._filled + RECEIVE_BYTES)
        if end > len(self._memory):
            end -= self._start
            self._make_room(end)
            end = min(end, len(self._memory))
        return self._memory[self._filled : end]

    def received(self, count: int) -> None:
        """Note that the first count bytes of `space` have come."""
        self._filled += count

    def records(self) -> Iterator[tuple[memoryview, int, int]]:
        """Give the complete records that were not given yet, oldest first: (memory, start, end).

        Raises WireError for a record longer than record_bytes_max, as soon as its mark says so:
        the stream cannot go on from there.
        """
        readable, filled = self._readable, self._filled
        length_max, fragments = self._record_bytes_max, self._fragments
        while (start := self._start + MARK_BYTES) <= filled:
            (mark,) = _MARK.unpack_from(readable, start - MARK_BYTES)
            end = start + (mark & LENGTH_BITS)
            if end - start + len(fragments) > length_max:
                raise WireError(f"a record of more than {length_max} bytes")
            if end > filled:
                self._wanted = end
                return
            self._start = end
            if fragments or mark < LAST_FRAGMENT:
                self._collect(start, end)
                if mark < LAST_FRAGMENT:
                    continue
                yield self._collected()
            else:
                self._empty_fragments = 0
                yield readable, start, end

    def _collect(self, start: int, end: int) -> None:
        """Put a fragment aside until its record is complete."""
        if start == end:
            self._empty_fragments += 1
            if self._empty_fragments > EMPTY_FRAGMENTS_MAX:
                raise WireError(f"more than {EMPTY_FRAGMENTS_MAX} empty fragments in a record")
        self._fragments += self._readable[start:end]

    def _collected(self) -> tuple[memoryview, int, int]:
        """Give the record whose fragments are all there."""
        record = bytes(self._fragments)
        self._fragments.clear()
        self._empty_fragments = 0
        return memoryview(record), 0, len(record)

    def _make_room(self, end: int) -> None:
        """Move what is unfinished to the front and see to it that there is free memory behind it.

        The memory grows with what has come, not with what a mark announces.
        """
        unfinished = self._readable[self._start : self._filled]
        if end > len(self._memory) and len(unfinished) * 2 > len(self._memory):
            self._allocate(min(end, 2 * len(self._memory)))
        self._memory[: len(unfinished)] = unfinished
        self._wanted = max(0, self._wanted - self._start)
        self._start, self._filled = 0, len(unfinished)

    def _allocate(self, size: int) -> None:
        self._memory = memoryview(bytearray(size))
        self._readable = self._memory.toreadonly()


class RecordWriter:
    """Records on their way out: small parts of a turn in one piece, large ones as they came."""

    def __init__(self) -> None:
        self.unsent = 0  # bytes
        self._small: list[bytes | memoryview] = []  # newer than the pieces, not joined yet
        self._pieces: deque[bytes | memoryview] = deque()

    def add(self, head: bytes, body: bytes | list[bytes | memoryview] = b"") -> None:
        """Append a record: head, and body behind it."""
        if isinstance(body, bytes) and (length := len(head) + len(body)) <= JOINED_BYTES_MAX:
            self._small += (_MARKS[length], head, body)
        else:
            length = len(head) + self._add_parts(head, [body] if isinstance(body, bytes) else body)
        self.unsent += MARK_BYTES + length

    def _add_parts(self, head: bytes, parts: Sequence[bytes | memoryview]) -> int:
        """Append a record of several parts; gives the bytes of the parts."""
        length = sum(map(len, parts))
        self._small += (_MARK.pack(LAST_FRAGMENT | len(head) + length), head)
        if length <= JOINED_BYTES_MAX:
            self._small += parts
            return length
        for part in parts:
            if len(part) > JOINED_BYTES_MAX:
                self._join()
                self._pieces.append(part)
            else:
                self._small.append(part)
        return length

    def pieces(self) -> list[bytes | memoryview]:
        """Give what is to be sent next, in order; at most what one sendmsg takes."""
        self._join()
        return list(islice(self._pieces, PIECES_MAX))

    def sent(self, count: int) -> None:
        """Note that the first count bytes of `pieces` are on their way."""
        self.unsent -= count
        while count:
            piece = self._pieces.popleft()
            if len(piece) > count:
                self._pieces.appendleft(memoryview(piece)[count:])
                return
            count -= len(piece)

    def _join(self) -> None:
        if joined := b"".join(self._small):
            self._pieces.append(joined)
        self._small.clear()
