"""Rows of chunks as they arrive, decoded many at a time into one buffer.

To decode a chunk takes some 50 us and a thread's turn costs as much, so chunks go to a thread in
runs: `feed` belongs to whoever receives, `take` may be called in a thread, one at a time.
"""

from collections import deque
from typing import NamedTuple

import numpy as np

from hfnfs.xet.chunk import HEADER_BYTES, ChunkHeader, decode_into, read_header
from hfnfs.xet.hashes import Buffer


class Run(NamedTuple):
    """Decoded chunks, one behind the other."""

    data: memoryview
    lengths: list[int]  # bytes of each chunk


class RunReader:
    """Takes a row of chunks in pieces of any size, and gives them decoded, run by run.

    Holds what was fed and not given yet; what compresses well may unpack to a lot more, so a
    run is bounded by what it unpacks to.
    """

    __slots__ = ("_fed", "_fed_bytes", "_header", "_pos")

    def __init__(self) -> None:
        self._fed: deque[memoryview] = deque()
        self._pos = 0  # all of _fed[0] before it was given
        self._fed_bytes = 0  # of _fed, behind _pos
        self._header: ChunkHeader | None = None  # of the next chunk, once it was read

    @property
    def is_between_chunks(self) -> bool:
        """Whether everything fed was given: the stream may end here."""
        return not self._fed_bytes and self._header is None

    @property
    def has_chunk(self) -> bool:
        """Whether the next chunk is whole. Raises WireError."""
        if self._header is None and self._fed_bytes >= HEADER_BYTES:
            self._header = read_header(self._next(HEADER_BYTES))
        return self._header is not None and self._header.payload_bytes <= self._fed_bytes

    def feed(self, data: Buffer) -> None:
        """Add what has arrived."""
        if data:
            self._fed.append(memoryview(data))
            self._fed_bytes += len(data)

    def take(self, bytes_max: int) -> Run:
        """The next whole chunks, of `bytes_max` together or one more. Raises WireError."""
        found: list[tuple[ChunkHeader, memoryview]] = []
        total = 0
        while total < bytes_max and self.has_chunk:
            header, self._header = self._header, None
            assert header is not None, "has_chunk reads it"
            found.append((header, self._next(header.payload_bytes)))
            total += header.length
        data = np.empty(total, np.uint8).data  # a bytearray would be filled with zeros first
        begin = 0
        for header, payload in found:
            end = begin + header.length
            decode_into(header, payload, data[begin:end])
            begin = end
        return Run(data, [header.length for header, _ in found])

    def _next(self, count: int) -> memoryview:
        """The next bytes, copied only where they came in several pieces."""
        first, begin = self._fed[0], self._pos
        self._fed_bytes -= count
        if begin + count < len(first):
            self._pos += count
            return first[begin : begin + count]
        parts, count = [first[begin:]], count - (len(first) - begin)
        self._fed.popleft()
        self._pos = 0
        while count:
            part = self._fed[0]
            if count < len(part):
                parts.append(part[:count])
                self._pos = count
                break
            parts.append(self._fed.popleft())
            count -= len(part)
        return parts[0] if len(parts) == 1 else memoryview(b"".join(parts))
