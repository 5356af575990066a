"""Rows of chunks as they arrive, decoded many at a time into one buffer.

To decode a chunk takes some 50 us and a thread's turn costs as much, so chunks go to a thread in
runs: `feed` belongs to whoever receives, `take` may be called in a thread, one at a time.
"""

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

    __slots__ = ("_fed", "_pos", "_raw")

    def __init__(self) -> None:
        self._fed: list[Buffer] = []
        self._raw = memoryview(b"")  # what `_fed` follows
        self._pos = 0  # all of _raw before it was given

    @property
    def is_between_chunks(self) -> bool:
        """Whether everything fed was given: the stream may end here."""
        return not self._fed and self._pos == len(self._raw)

    def feed(self, data: Buffer) -> None:
        """Add what has arrived."""
        self._fed.append(data)

    def take(self, bytes_max: int) -> Run | None:
        """The next whole chunks, of `bytes_max` together or one more; None: none is whole.

        Raises WireError.
        """
        if self._fed:
            self._raw = memoryview(b"".join((self._raw[self._pos :], *self._fed)))
            self._fed.clear()
            self._pos = 0
        found, total = self._whole(bytes_max)
        if not found:
            return None
        data = np.empty(total, np.uint8).data  # a bytearray would be filled with zeros first
        begin = 0
        for header in found:
            start = self._pos + HEADER_BYTES
            self._pos = start + header.payload_bytes
            end = begin + header.length
            decode_into(header, self._raw[start : self._pos], data[begin:end])
            begin = end
        return Run(data, [header.length for header in found])

    def _whole(self, bytes_max: int) -> tuple[list[ChunkHeader], int]:
        """Headers of the chunks that are there, and what they unpack to."""
        raw, pos, total = self._raw, self._pos, 0
        found = []
        while total < bytes_max and len(raw) - pos >= HEADER_BYTES:
            header = read_header(raw, pos)
            pos += header.chunk_bytes
            if pos > len(raw):
                break
            found.append(header)
            total += header.length
        return found, total
