"""Files that tell how they will be read: safetensors, GGUF and parquet, known by their bytes. Pure.

What a loader reads first is its file's index: the head of a safetensors or GGUF file, the foot of
a parquet file. The index is asked for in pieces that grow, each a round trip; who knows its size
asks for it at once. After that a loader of tensors takes all of them, in an order of its own
that looks random, so a tensor file that is being walked is wanted as a whole.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

from hfnfs.config import KIB, MIB

# What has to be seen of a file's beginning and end to know it.
HEAD_BYTES = 16
FOOT_BYTES = 8

# The format's own bound on a safetensors header; indexes beyond ours are fetched as they are read.
_SAFETENSORS_HEADER_MAX = 100_000_000
INDEX_BYTES_MAX = 32 * MIB
# GGUF does not say how long its head is; a tokenizer of 250,000 words with scores takes 10 MB.
_GGUF_HEAD_BYTES = 12 * MIB
_GGUF_VERSIONS = (1, 2, 3)
# Covers the footer of most parquet files without knowing its size.
_PARQUET_FOOT_BYTES = 64 * KIB

_U64_LE = struct.Struct("<Q")
_U32_LE = struct.Struct("<I")


class Span(NamedTuple):
    """Bytes [start, end) of a file."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a file: where its index lies, and whether it is loaded as a whole."""

    name: str
    index: Span
    is_tensors: bool


def known_by_head(head: bytes | memoryview, size: int) -> Known | None:
    """What a file of `size` bytes is that begins with `head` (HEAD_BYTES); None: no idea."""
    if len(head) < HEAD_BYTES:
        return None
    magic = bytes(head[:4])
    if magic == b"GGUF":
        version = _U32_LE.unpack_from(head, 4)[0]
        index = Span(0, min(size, _GGUF_HEAD_BYTES))
        return Known("GGUF", index, True) if version in _GGUF_VERSIONS else None
    if magic == b"PAR1":
        return Known("parquet", Span(max(0, size - _PARQUET_FOOT_BYTES), size), False)
    length = _U64_LE.unpack_from(head)[0]
    if 2 <= length <= min(_SAFETENSORS_HEADER_MAX, size - 8) and head[8] == ord("{"):
        return Known("safetensors", Span(0, min(8 + length, INDEX_BYTES_MAX)), True)
    return None


def footer(foot: bytes | memoryview, size: int) -> Span | None:
    """Where the footer of a parquet file lies that ends with `foot` (FOOT_BYTES)."""
    if len(foot) < FOOT_BYTES or bytes(foot[4:8]) != b"PAR1":
        return None
    start = size - FOOT_BYTES - _U32_LE.unpack_from(foot)[0]
    return Span(start, size) if start >= 4 and size - start <= INDEX_BYTES_MAX else None
