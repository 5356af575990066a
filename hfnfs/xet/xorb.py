"""A xorb: a row of chunks, named by their hashes; and the footer behind it where it is stored.

Clients upload the chunks alone; a footer behind them is read, and must be true. The stored form
ends in a footer, so that chunks are found without unpacking all of them:

    "XETBLOB" u8=1 xorb hash[32]
    "XBLBHSH" u8=0 u32 n, n x chunk hash[32]
    "XBLBBND" u8=1 u32 n, n x u32 packed end, n x u32 unpacked end
    u32 n, u32 distance of the hashes from the end, u32 of the bounds, 16 bytes of zero
    u32 length of all of the above
"""

import os
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO, NamedTuple

from hfnfs.errors import WireError
from hfnfs.xet import chunk, hashes
from hfnfs.xet.hashes import HASH_BYTES, Sized

XORB_BYTES_MAX = 64 * 1024 * 1024  # uncompressed
XORB_CHUNKS_MAX = 8192
# Packed: a chunk that does not shrink is stored as it is.
PACKED_BYTES_MAX = XORB_BYTES_MAX + XORB_CHUNKS_MAX * chunk.HEADER_BYTES

_IDENT = b"XETBLOB\x01"
_HASHES_IDENT = b"XBLBHSH\x00"
_BOUNDS_IDENT = b"XBLBBND\x01"
_FOOTER_BYTES = 92  # and 40 for each chunk
_CHUNK_FOOTER_BYTES = HASH_BYTES + 4 + 4
_LENGTH = struct.Struct("<I")
_TAIL = struct.Struct("<III16x")


class PackedChunk(NamedTuple):
    """One chunk of a xorb as `walk` meets it."""

    end: int  # where the next chunk's header begins
    data: bytes  # unpacked


@dataclass(frozen=True, slots=True)
class XorbIndex:
    """Which chunks a xorb has and where they lie. Chunk ranges are half open."""

    chunks: tuple[Sized, ...]
    packed_ends: tuple[int, ...]
    unpacked_ends: tuple[int, ...]

    @property
    def hash(self) -> bytes:
        """The xorb's name."""
        return hashes.xorb_hash(self.chunks)

    def packed(self, start: int, end: int) -> tuple[int, int]:
        """Bytes [from, to) of the xorb that hold chunks [start, end)."""
        return (self.packed_ends[start - 1] if start else 0), self.packed_ends[end - 1]

    def length(self, start: int, end: int) -> int:
        """Unpacked bytes of chunks [start, end)."""
        return self.unpacked_ends[end - 1] - self.starts_at(start)

    def starts_at(self, number: int) -> int:
        """Unpacked bytes before a chunk."""
        return self.unpacked_ends[number - 1] if number else 0

    def chunk_at(self, unpacked: int) -> int:
        """The number of the chunk that holds this unpacked byte."""
        return bisect_right(self.unpacked_ends, unpacked)


def walk(file: BinaryIO) -> Iterator[PackedChunk]:
    """All chunks from the file's position on, unpacked, until its end or a footer.

    Raises WireError when they are cut, malformed, too many, or unpack to more than a xorb holds.
    """
    count = end = unpacked = 0
    while (raw := file.read(chunk.HEADER_BYTES)) and raw != _IDENT:
        header = chunk.read_header(raw)
        data = chunk.decode(header, file.read(header.payload_bytes))
        count, end, unpacked = count + 1, end + header.chunk_bytes, unpacked + len(data)
        if count > XORB_CHUNKS_MAX or unpacked > XORB_BYTES_MAX:
            raise WireError("xorb has too many chunks or unpacks to too many bytes")
        yield PackedChunk(end, data)
    if raw:
        file.seek(-len(raw), os.SEEK_CUR)


def index_by_unpacking(file: BinaryIO) -> XorbIndex:
    """Hash every chunk from the file's position on: what the xorb truly holds.

    Raises WireError, also for a footer that says anything else.
    """
    chunks, ends = [], []
    for end, data in walk(file):
        chunks.append(Sized(hashes.chunk_hash(data), len(data)))
        ends.append(end)
    if not chunks:
        raise WireError("xorb has no chunks")
    index = index_of(chunks, ends)
    footer = file.read(_FOOTER_BYTES + _CHUNK_FOOTER_BYTES * XORB_CHUNKS_MAX + _LENGTH.size)
    if footer and footer != pack_footer(index):
        raise WireError("xorb's footer is not of its chunks")
    return index


def index_of(chunks: Sequence[Sized], packed_ends: Sequence[int]) -> XorbIndex:
    """The index of a xorb of `chunks` that end, packed, at `packed_ends`."""
    return XorbIndex(
        tuple(chunks), tuple(packed_ends), tuple(accumulate(part.size for part in chunks))
    )


def pack_footer(index: XorbIndex) -> bytes:
    """The footer and its length, to be written behind the chunks."""
    count = len(index.chunks)
    number = _LENGTH.pack(count)
    bounds = struct.pack(f"<{2 * count}I", *index.packed_ends, *index.unpacked_ends)
    bounds = _BOUNDS_IDENT + number + bounds
    body = _HASHES_IDENT + number + b"".join(part.hash for part in index.chunks)
    bounds_distance = len(bounds) + _TAIL.size
    tail = _TAIL.pack(count, len(body) + bounds_distance, bounds_distance)
    footer = _IDENT + index.hash + body + bounds + tail
    return footer + _LENGTH.pack(len(footer))


def read_footer(file: BinaryIO) -> XorbIndex:
    """The index from the footer at the end of a stored xorb, checked in itself.

    Where chunks end in the packed bytes is believed; decoding them tells. Raises WireError when
    there is no footer, or its hashes do not give the xorb's name.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - _LENGTH.size, 0))
    raw = file.read(_LENGTH.size)
    length = _LENGTH.unpack(raw)[0] if len(raw) == _LENGTH.size else 0
    count = (length - _FOOTER_BYTES) // _CHUNK_FOOTER_BYTES
    start = size - _LENGTH.size - length
    if not 0 < count <= XORB_CHUNKS_MAX or start < 0:
        raise WireError("xorb has no footer")
    file.seek(start)
    footer = file.read(length + _LENGTH.size)
    at = len(_IDENT) + HASH_BYTES + len(_HASHES_IDENT) + _LENGTH.size
    raws = [footer[at + HASH_BYTES * i : at + HASH_BYTES * (i + 1)] for i in range(count)]
    at += HASH_BYTES * count + len(_BOUNDS_IDENT) + _LENGTH.size
    numbers = struct.unpack_from(f"<{2 * count}I", footer, at)
    ends = numbers[count:]
    sizes = [end - before for end, before in zip(ends, (0, *ends), strict=False)]
    index = index_of([Sized(*pair) for pair in zip(raws, sizes, strict=True)], numbers[:count])
    if pack_footer(index) != footer or index.packed_ends[-1] != start:
        raise WireError("xorb's footer contradicts itself")
    return index
