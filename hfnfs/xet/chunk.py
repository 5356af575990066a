"""Xet's chunks: an 8-byte header and a payload that may be compressed; a xorb is a row of them.

    u8 version = 0 · u24le payload bytes · u8 scheme · u24le uncompressed bytes

The schemes are none, an LZ4 frame, and an LZ4 frame over the bytes grouped by their index modulo
4 ("BG4"), which brings the exponents of floating point numbers together.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

import lz4.frame
import numpy as np

from hfnfs.errors import WireError
from hfnfs.xet.hashes import Buffer

HEADER_BYTES = 8
CHUNK_BYTES_MAX = 128 * 1024  # uncompressed
PAYLOAD_BYTES_MAX = 2 * CHUNK_BYTES_MAX

_GROUPS = 4  # of BG4


class Scheme(IntEnum):
    """How a payload is compressed."""

    NONE = 0
    LZ4 = 1
    BG4_LZ4 = 2


class ChunkHeader(NamedTuple):
    """What stands before a payload; checked against the format's bounds."""

    payload_bytes: int
    scheme: Scheme
    length: int  # uncompressed bytes

    @property
    def chunk_bytes(self) -> int:
        """Header and payload."""
        return HEADER_BYTES + self.payload_bytes

    def packed(self) -> bytes:
        """The 8 bytes."""
        words = self.payload_bytes << 8 | self.scheme << 32 | self.length << 40
        return words.to_bytes(HEADER_BYTES, "little")


def read_header(buf: Buffer, pos: int = 0) -> ChunkHeader:
    """The chunk header at buf[pos:]. Raises WireError."""
    raw = buf[pos : pos + HEADER_BYTES]
    if len(raw) < HEADER_BYTES:
        raise WireError("chunk header is cut")
    words = int.from_bytes(raw, "little")
    version, payload = words & 0xFF, words >> 8 & 0xFFFFFF
    scheme, length = words >> 32 & 0xFF, words >> 40
    if version != 0:
        raise WireError(f"chunk version {version} is unknown")
    if scheme > Scheme.BG4_LZ4:
        raise WireError(f"chunk compression scheme {scheme} is unknown")
    if not 0 < length <= CHUNK_BYTES_MAX or not 0 < payload <= PAYLOAD_BYTES_MAX:
        raise WireError(f"chunk of {length} bytes in {payload} is out of bounds")
    if scheme == Scheme.NONE and length != payload:
        raise WireError(f"uncompressed chunk says {length} bytes and has {payload}")
    return ChunkHeader(payload, Scheme(scheme), length)


def decode(header: ChunkHeader, payload: Buffer) -> bytes:
    """The chunk's bytes, exactly header.length of them. Raises WireError.

    Never takes more memory than the header says, whatever the payload would unpack to.
    """
    out = bytearray(header.length)
    decode_into(header, payload, memoryview(out))
    return bytes(out)


def decode_into(header: ChunkHeader, payload: Buffer, out: memoryview) -> None:
    """Write the chunk's bytes to `out`, which has exactly header.length of them. Raises WireError.

    Lets other threads run while it unpacks.
    """
    if len(payload) != header.payload_bytes:
        raise WireError(f"chunk payload has {len(payload)} bytes, not {header.payload_bytes}")
    if header.scheme is Scheme.NONE:
        out[:] = payload
    elif header.scheme is Scheme.LZ4:
        out[:] = _unpack(payload, header.length)
    else:
        _ungroup(_unpack(payload, header.length), out)


def encode(data: Buffer) -> bytes:
    """Header and payload of a chunk, in the scheme that makes it smallest.

    BG4 is only tried where LZ4 alone gains nothing to speak of: it is for numbers, not text.
    """
    if not 0 < len(data) <= CHUNK_BYTES_MAX:
        raise ValueError(f"a chunk cannot have {len(data)} bytes")
    scheme, payload = Scheme.NONE, bytes(data)
    for candidate, packed in ((Scheme.LZ4, data), (Scheme.BG4_LZ4, _group(data))):
        compressed = lz4.frame.compress(packed, store_size=False)
        if len(compressed) < len(payload):
            scheme, payload = candidate, compressed
        if len(payload) < len(data) * 3 // 4:
            break
    return ChunkHeader(len(payload), scheme, len(data)).packed() + payload


class ChunkReader:
    """Takes a row of chunks as it arrives, in pieces of any size, and gives them decoded.

    Holds at most one chunk that is not complete, besides what was fed.
    """

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def is_between_chunks(self) -> bool:
        """Whether everything fed was given: the stream may end here."""
        return not self._buffer

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """The chunks that `data` completes, decoded one at a time as they are taken.

        Chunks not taken before the next call are given then. The iterator raises WireError.
        """
        self._buffer += data
        return self._complete()

    def _complete(self) -> Iterator[bytes]:
        buffer = self._buffer
        while len(buffer) >= HEADER_BYTES:
            header = read_header(buffer)
            if len(buffer) < header.chunk_bytes:
                return
            payload = bytes(memoryview(buffer)[HEADER_BYTES : header.chunk_bytes])
            del buffer[: header.chunk_bytes]
            yield decode(header, payload)


def _unpack(payload: Buffer, length: int) -> bytes:
    """Decompress one LZ4 frame that holds `length` bytes and nothing after it.

    The object is 2.5 times as fast as lz4.frame.decompress: the frames do not say their size.
    """
    decompressor = lz4.frame.LZ4FrameDecompressor()
    try:
        data: bytes = decompressor.decompress(payload, max_length=length)
    except RuntimeError as error:
        raise WireError(f"chunk is no LZ4 frame: {error}") from None
    if len(data) != length or not decompressor.eof or decompressor.unused_data:
        raise WireError(f"chunk does not unpack to {length} bytes")
    return data


def _group(data: Buffer) -> bytes:
    """Bytes 0, 4, 8 …, then 1, 5, 9 …, then 2, 6, 10 … and 3, 7, 11 … of `data`."""
    flat = np.frombuffer(data, np.uint8)
    return b"".join(flat[i::_GROUPS].tobytes() for i in range(_GROUPS))


def _ungroup(data: bytes, out: memoryview) -> None:
    """Undo _group."""
    grouped = np.frombuffer(data, np.uint8)
    flat = np.frombuffer(out, np.uint8)
    start = 0
    for i in range(_GROUPS):
        target = flat[i::_GROUPS]
        target[:] = grouped[start : start + len(target)]
        start += len(target)
