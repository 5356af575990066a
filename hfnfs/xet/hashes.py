"""Xet's hashes: how they are printed, and the trees of them that name chunks, xorbs and files.

A hash is 32 bytes here, as it lies in shards; the Hub and the CAS write it as a string of 64 hex
digits in an order of their own (`to_hex`, `from_hex`). All of them are keyed BLAKE3.
"""

import re
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from blake3 import blake3

from hfnfs.errors import WireError

HASH_BYTES = 32
NO_HASH = bytes(HASH_BYTES)  # the file hash of an empty file

Buffer: TypeAlias = bytes | bytearray | memoryview

_CHUNK_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
_NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
_TERM_KEY = bytes.fromhex("7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3")
_FILE_KEY = bytes(32)

_WORDS = struct.Struct("<4Q")
_LAST_WORD = struct.Struct("<Q")
_HEX = re.compile(r"[0-9a-f]{64}\Z")

# A node of the tree has at least 3 children, where there are as many, and at most 9. It ends
# after the first one, from the third on, whose hash says so: on average 4 more.
_CHILDREN_MIN = 3
_CHILDREN_MAX = 9
_CUT_MODULUS = 4


class Sized(NamedTuple):
    """A chunk, or a node of the tree over chunks."""

    hash: bytes
    size: int  # uncompressed bytes below it


def to_hex(raw: bytes) -> str:
    """The string of 64 hex digits by which the Hub and the CAS call a hash."""
    return "%016x%016x%016x%016x" % _WORDS.unpack(raw)  # noqa: UP031 -- 4 times as fast


def from_hex(text: str) -> bytes:
    """The 32 bytes behind such a string. Raises WireError."""
    if not _HEX.match(text):
        raise WireError(f"{text[:80]!r} is no Xet hash")
    return _WORDS.pack(*(int(text[i : i + 16], 16) for i in range(0, 64, 16)))


def chunk_hash(data: Buffer) -> bytes:
    """Names a chunk by its uncompressed bytes."""
    return blake3(data, key=_CHUNK_KEY).digest()


def xorb_hash(chunks: Sequence[Sized]) -> bytes:
    """Names a xorb by all its chunks, in order."""
    return _root(chunks)


def file_hash(chunks: Sequence[Sized]) -> bytes:
    """Names a file by all its chunks, in order; the Hub calls it xetHash."""
    if not chunks:
        return NO_HASH
    return blake3(_root(chunks), key=_FILE_KEY).digest()


def term_hash(chunk_hashes: Iterable[bytes]) -> bytes:
    """Proves that the uploader of a shard has the chunks of a term ("verification")."""
    return blake3(b"".join(chunk_hashes), key=_TERM_KEY).digest()


def _root(nodes: Sequence[Sized]) -> bytes:
    """The hash at the top of the tree; a single chunk is its own."""
    if not nodes:
        return NO_HASH
    while len(nodes) > 1:
        nodes = list(_level_above(nodes))
    return nodes[0].hash


def _level_above(nodes: Sequence[Sized]) -> Iterable[Sized]:
    start = 0
    while start < len(nodes):
        end = _end_of_group(nodes, start)
        yield _parent(nodes[start:end])
        start = end


def _end_of_group(nodes: Sequence[Sized], start: int) -> int:
    limit = min(start + _CHILDREN_MAX, len(nodes))
    for i in range(start + _CHILDREN_MIN - 1, limit):
        if _LAST_WORD.unpack_from(nodes[i].hash, 24)[0] % _CUT_MODULUS == 0:
            return i + 1
    return limit


def _parent(children: Sequence[Sized]) -> Sized:
    lines = "".join(f"{to_hex(child.hash)} : {child.size}\n" for child in children)
    total = sum(child.size for child in children)
    return Sized(blake3(lines.encode("ascii"), key=_NODE_KEY).digest(), total)
