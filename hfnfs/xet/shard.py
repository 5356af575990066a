"""Shards: which chunks of which xorbs make up files. Every record has 48 bytes, little-endian.

    header      tag[32] u64 version=2 u64 footer length (0 in uploads)
    per file    file hash[32] u32 flags u32 n u64 0
                n x term: xorb hash[32] u32 0 u32 unpacked bytes u32 first chunk u32 chunk after
                flags bit 31: n x verification hash[32] 16 x 0;  bit 30: sha256[32] 16 x 0
    bookend     ff x 32, 16 x 0
    per xorb    xorb hash[32] u32 flags u32 n u32 unpacked bytes u32 packed bytes
                n x chunk: hash[32] u32 unpacked offset u32 unpacked bytes u32 flags u32 0
    bookend

An upload ends there. The answer to a deduplication query goes on with lookup tables and a footer
of 200 bytes.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from hfnfs.errors import WireError
from hfnfs.xet.hashes import HASH_BYTES, NO_HASH, Buffer, Sized, from_hex, to_hex
from hfnfs.xet.xorb import XORB_BYTES_MAX, XORB_CHUNKS_MAX

RECORD_BYTES = 48
SHARD_BYTES_MAX = 64 * 1024 * 1024  # of an upload

_TAG = b"HFRepoMetaData\0" + bytes.fromhex("556967456a7b815783a5bdd95ccdd14aa9")
_VERSION = 2
_HEADER = struct.Struct("<32sQQ")
_FILE = struct.Struct("<32sII8x")
_TERM = struct.Struct("<32sIIII")
_HASH = struct.Struct("<32s16x")
_XORB = struct.Struct("<32sIIII")
_CHUNK = struct.Struct("<32sIII4x")
_BOOKEND = b"\xff" * HASH_BYTES + bytes(16)
_WITH_VERIFICATION = 1 << 31
_WITH_SHA256 = 1 << 30
_DEDUP_CANDIDATE = 1 << 31

_LOOKUP = struct.Struct("<QI")
_CHUNK_LOOKUP = struct.Struct("<QII")
_FOOTER = struct.Struct("<Q 8Q 32s QQ 48x QQQ Q")


@dataclass(frozen=True, slots=True)
class Term:
    """Chunks [start, end) of a xorb: a piece of a file."""

    xorb: bytes
    start: int
    end: int
    length: int  # unpacked bytes


@dataclass(frozen=True, slots=True)
class ShardFile:
    """A file as an uploader describes it."""

    hash: bytes
    terms: tuple[Term, ...]
    verification: tuple[bytes, ...] | None = None  # one hash per term
    sha256: str | None = None  # hex digits

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return sum(term.length for term in self.terms)


@dataclass(frozen=True, slots=True)
class ShardXorb:
    """A xorb's chunks as an uploader, or the answer to a query, describes them."""

    hash: bytes
    chunks: tuple[Sized, ...]


@dataclass(frozen=True, slots=True)
class Shard:
    """Files, and the xorbs that the uploader made for them."""

    files: tuple[ShardFile, ...]
    xorbs: tuple[ShardXorb, ...]


def read(raw: Buffer) -> Shard:
    """Read an upload or the front part of a stored shard. Raises WireError."""
    records = _Records(raw)
    tag, version, footer = _HEADER.unpack(records.take())
    if tag != _TAG or version != _VERSION:
        raise WireError("not a shard, or of an unknown version")
    files, xorbs = tuple(_read_files(records)), tuple(_read_xorbs(records))
    if not footer and records.rest:
        raise WireError(f"{records.rest} bytes follow the shard")
    return Shard(files, xorbs)


def pack_upload(shard: Shard) -> bytes:
    """The shard as clients upload it."""
    return _HEADER.pack(_TAG, _VERSION, 0) + _packed_files(shard) + _packed_xorbs(shard)


def pack_answer(xorbs: Sequence[ShardXorb], created: int, expiry: int) -> bytes:
    """What answers a deduplication query: xorbs to reuse until `expiry` (seconds since 1970)."""
    shard = Shard((), tuple(xorbs))
    head = _HEADER.pack(_TAG, _VERSION, _FOOTER.size) + _packed_files(shard)
    body = _packed_xorbs(shard)
    xorb_table, chunk_table = _lookup_tables(shard)
    xorbs_at = len(head)
    tables_at = xorbs_at + len(body)
    chunks_at = tables_at + len(xorb_table)
    footer_at = chunks_at + len(chunk_table)
    stored = sum(part.size for xorb in xorbs for part in xorb.chunks)
    footer = _FOOTER.pack(
        1,
        *(_HEADER.size, xorbs_at),
        *(tables_at, 0),
        *(tables_at, len(xorb_table) // _LOOKUP.size),
        *(chunks_at, len(chunk_table) // _CHUNK_LOOKUP.size),
        NO_HASH,
        *(created, expiry),
        *(stored, 0, stored),
        footer_at,
    )
    return head + body + xorb_table + chunk_table + footer


class _Records:
    """Takes record after record; never reads beyond what is there."""

    def __init__(self, raw: Buffer) -> None:
        self._raw = memoryview(raw)
        self._at = 0

    @property
    def rest(self) -> int:
        return len(self._raw) - self._at

    def take(self) -> memoryview:
        if self.rest < RECORD_BYTES:
            raise WireError("shard is cut")
        self._at += RECORD_BYTES
        return self._raw[self._at - RECORD_BYTES : self._at]

    def take_many(self, count: int) -> Iterator[memoryview]:
        if count > self.rest // RECORD_BYTES:
            raise WireError(f"shard says {count} records and has fewer")
        for _ in range(count):
            yield self.take()

    def take_until_bookend(self) -> Iterator[memoryview]:
        while (record := self.take()) != _BOOKEND:
            yield record


def _read_files(records: _Records) -> Iterator[ShardFile]:
    for record in records.take_until_bookend():
        name, flags, count = _FILE.unpack(record)
        terms = tuple(_read_term(raw) for raw in records.take_many(count))
        verification = None
        if flags & _WITH_VERIFICATION:
            verification = tuple(_HASH.unpack(raw)[0] for raw in records.take_many(count))
        sha256 = to_hex(_HASH.unpack(records.take())[0]) if flags & _WITH_SHA256 else None
        yield ShardFile(name, terms, verification, sha256)


def _read_term(record: memoryview) -> Term:
    name, _, length, start, end = _TERM.unpack(record)
    if not start < end <= XORB_CHUNKS_MAX or not 0 < length <= XORB_BYTES_MAX:
        raise WireError(f"term of {length} bytes in chunks [{start}, {end}) is out of bounds")
    return Term(name, start, end, length)


def _read_xorbs(records: _Records) -> Iterator[ShardXorb]:
    for record in records.take_until_bookend():
        name, _, count, unpacked, _ = _XORB.unpack(record)
        fields = [_CHUNK.unpack(raw) for raw in records.take_many(count)]
        chunks = tuple(Sized(raw, length) for raw, _, length, _ in fields)
        ends = list(accumulate((part.size for part in chunks), initial=0))
        if unpacked != ends[-1] or [offset for _, offset, _, _ in fields] != ends[:-1]:
            raise WireError("xorb's chunks in a shard do not follow each other")
        yield ShardXorb(name, chunks)


def _packed_files(shard: Shard) -> bytes:
    parts = []
    for file in shard.files:
        flags = _WITH_VERIFICATION if file.verification is not None else 0
        flags |= _WITH_SHA256 if file.sha256 is not None else 0
        parts.append(_FILE.pack(file.hash, flags, len(file.terms)))
        parts += (_TERM.pack(t.xorb, 0, t.length, t.start, t.end) for t in file.terms)
        parts += map(_HASH.pack, file.verification or ())
        if file.sha256 is not None:
            parts.append(_HASH.pack(from_hex(file.sha256)))
    return b"".join([*parts, _BOOKEND])


def _packed_xorbs(shard: Shard) -> bytes:
    parts = []
    for xorb in shard.xorbs:
        total = sum(part.size for part in xorb.chunks)
        parts.append(_XORB.pack(xorb.hash, 0, len(xorb.chunks), total, 0))
        offset = 0
        for part in xorb.chunks:
            parts.append(_CHUNK.pack(part.hash, offset, part.size, _DEDUP_CANDIDATE))
            offset += part.size
    return b"".join([*parts, _BOOKEND])


def _lookup_tables(shard: Shard) -> tuple[bytes, bytes]:
    """By the first 8 bytes of a hash, ascending: xorbs' records, and chunks in them."""
    by_xorb, by_chunk, record = [], [], 0
    for xorb in shard.xorbs:
        by_xorb.append((_first_word(xorb.hash), record))
        by_chunk += [(_first_word(part.hash), record, i) for i, part in enumerate(xorb.chunks)]
        record += 1 + len(xorb.chunks)
    return (
        b"".join(_LOOKUP.pack(*row) for row in sorted(by_xorb)),
        b"".join(_CHUNK_LOOKUP.pack(*row) for row in sorted(by_chunk)),
    )


def _first_word(raw: bytes) -> int:
    return int.from_bytes(raw[:8], "little")
