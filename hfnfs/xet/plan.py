"""A reconstruction: from which chunks of which xorbs a range of a file is put together; pure.

The CAS answers a query for bytes [start, end) of a file with *terms*, in file order, each a row
of chunks of one xorb, and with *fetches*, signed ranges of bytes that hold rows of chunks. Every
term lies within one fetch; several may share it. The first and the last term are whole chunks, so
that they may begin before `start` and reach beyond `end`.

`Plan` checks all of that before a byte is fetched; `Assembly` puts the decoded chunks, which
arrive fetch by fetch, into file order and checks their lengths against the plan.
"""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias

from hfnfs.errors import RemoteCorrupt
from hfnfs.xet.chunk import CHUNK_BYTES_MAX, HEADER_BYTES, PAYLOAD_BYTES_MAX
from hfnfs.xet.runs import Run

XORB_CHUNKS_MAX = 8192
XORB_BYTES_MAX = 2**32  # far above the format's 64 MiB of uncompressed bytes
TERMS_MAX = 1 << 16
CHUNKS_MAX = 1 << 18  # of a plan, repeated ones counted each time

_HASH = re.compile(r"[0-9a-f]{64}")


class Fetch(NamedTuple):
    """A signed range of bytes: chunks [first, last) of a xorb. To be requested verbatim."""

    url: str
    start: int  # bytes [start, end) of what the URL names
    end: int
    first: int
    last: int


class Term(NamedTuple):
    """Chunks [first, last) of the fetch with that number, `length` bytes when decoded."""

    fetch: int
    first: int
    last: int
    length: int


@dataclass(frozen=True, slots=True)
class Plan:
    """How to get bytes [offset, offset + length) of a file."""

    offset: int
    length: int
    terms: tuple[Term, ...]
    fetches: tuple[Fetch, ...]


class Chunks(NamedTuple):
    """Decoded chunks at their place in the file."""

    offset: int
    data: memoryview


_Place: TypeAlias = tuple[int, int]  # of a chunk: its fetch's number, and its own in the xorb


def parse(answer: Mapping[str, Any], start: int, end: int, size: int) -> Plan:
    """The plan in an answer of either version for bytes [start, end) of a file of `size` bytes.

    Raises RemoteCorrupt unless all of it fits together and covers the range.
    """
    fetches, rows = _fetches(answer)
    terms = [_term(raw, fetches, rows) for raw in _list(answer, "terms", TERMS_MAX)]
    skip = _number(answer, "offset_into_first_range", start)
    if not terms or skip >= terms[0].length:
        raise RemoteCorrupt(f"reconstruction does not begin at {start}")
    ends = list(accumulate((term.length for term in terms), initial=start - skip))
    needed = bisect_left(ends, end)  # terms behind the range are of no use
    if needed == len(ends) or ends[-1] > size:
        raise RemoteCorrupt(
            f"reconstruction of bytes {start}-{end} gives {ends[0]}-{ends[-1]} of {size}"
        )
    if sum(term.last - term.first for term in terms[:needed]) > CHUNKS_MAX:
        raise RemoteCorrupt("reconstruction has too many chunks")
    return Plan(ends[0], ends[needed] - ends[0], tuple(terms[:needed]), tuple(fetches))


class Assembly:
    """Puts chunks into file order; each fetch is asked for once.

    Chunks that are used again, or later than they come, are kept until then: never more bytes
    than the plan's length.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._order = [(t.fetch, chunk) for t in plan.terms for chunk in range(t.first, t.last)]
        self._given = 0  # of _order
        self._uses = Counter(self._order)  # still to come
        self._kept: dict[_Place, bytes] = {}
        self._kept_bytes = 0
        self._offset = plan.offset
        self._term_ends = self._ends()
        self._term_end, self._left = next(self._term_ends)

    @property
    def offset(self) -> int:
        """All bytes of the plan before this one were given."""
        return self._offset

    @property
    def wanted(self) -> int | None:
        """The number of the fetch that the next byte needs; None: all were given."""
        return self._order[self._given][0] if self._given < len(self._order) else None

    def take(self, fetch: int, first: int, run: Run) -> list[Chunks]:
        """What now can be given, in file order, because the chunks from `first` on came.

        Raises RemoteCorrupt when lengths are not what the plan says.
        """
        out = []
        count = self._count_due(fetch, first, len(run.lengths))
        begin = sum(run.lengths[:count])
        if count:  # nearly always all of them: they go on as they came
            out.append(Chunks(self._offset, run.data[:begin]))
            for length in run.lengths[:count]:
                self._give(length)
            out += self._due()
        for chunk, length in enumerate(run.lengths[count:], first + count):
            if (fetch, chunk) in self._uses:
                self._keep((fetch, chunk), bytes(run.data[begin : begin + length]))
                out += self._due()
            begin += length
        return out

    def _count_due(self, fetch: int, first: int, count: int) -> int:
        """How many of the chunks from `first` on are due just now, in that order, and only now."""
        due = self._order[self._given : self._given + count]
        for number, place in enumerate(due):
            if place != (fetch, first + number) or self._uses[place] != 1:
                return number
        return len(due)

    def _due(self) -> Iterator[Chunks]:
        """What was kept for now."""
        while self._given < len(self._order):
            place = self._order[self._given]
            data = self._kept.get(place)
            if data is None:
                return
            if self._uses[place] == 1:
                del self._kept[place]
                self._kept_bytes -= len(data)
            yield Chunks(self._offset, memoryview(data))
            self._give(len(data))

    def _keep(self, place: _Place, data: bytes) -> None:
        """All that is kept is still to be given, so it cannot be more than what is left."""
        self._kept[place] = data
        self._kept_bytes += len(data)
        if self._kept_bytes > self._plan.offset + self._plan.length - self._offset:
            raise RemoteCorrupt("chunks are longer than the terms they belong to")

    def _give(self, length: int) -> None:
        """Count the chunk that is due as given."""
        place = self._order[self._given]
        self._given += 1
        self._uses[place] -= 1
        if not self._uses[place]:
            del self._uses[place]
        self._offset += length
        self._left -= 1
        if self._offset > self._term_end or (not self._left and self._offset != self._term_end):
            raise RemoteCorrupt(f"a term ends at {self._offset}, not at {self._term_end}")
        if not self._left and self._given < len(self._order):
            self._term_end, self._left = next(self._term_ends)

    def _ends(self) -> Iterator[tuple[int, int]]:
        """Where each term ends in the file, and how many chunks it has."""
        end = self._plan.offset
        for term in self._plan.terms:
            end += term.length
            yield end, term.last - term.first


# ---------------------------------------------------------------------- parsing

_Rows = dict[str, list[int]]  # by xorb, the numbers of its fetches


def _fetches(answer: Mapping[str, Any]) -> tuple[list[Fetch], _Rows]:
    version_2 = "xorbs" in answer
    xorbs = answer.get("xorbs" if version_2 else "fetch_info")
    if not isinstance(xorbs, dict):
        raise RemoteCorrupt("reconstruction says nothing of xorbs")
    fetches: list[Fetch] = []
    rows: _Rows = {}
    for xorb, ranges in xorbs.items():
        if not _HASH.fullmatch(xorb) or not isinstance(ranges, list):
            raise RemoteCorrupt(f"reconstruction names {str(xorb)[:80]!r} as a xorb")
        found = _fetches_2(ranges) if version_2 else _fetches_1(ranges)
        rows[xorb] = []
        for fetch in found:
            if len(fetches) >= TERMS_MAX:
                raise RemoteCorrupt("reconstruction has too many ranges")
            rows[xorb].append(len(fetches))
            fetches.append(fetch)
    return fetches, rows


def _fetches_1(ranges: list[Any]) -> Iterator[Fetch]:
    for raw in ranges:
        yield _fetch(_text(raw, "url"), _object(raw, "range"), _object(raw, "url_range"))


def _fetches_2(urls: list[Any]) -> Iterator[Fetch]:
    for raw in urls:
        url = _text(raw, "url")
        for each in _list(raw, "ranges", TERMS_MAX):
            yield _fetch(url, _object(each, "chunks"), _object(each, "bytes"))


def _fetch(url: str, chunks: Mapping[str, Any], span: Mapping[str, Any]) -> Fetch:
    """Chunk ranges end before `end`, ranges of bytes with it."""
    first, last = _number(chunks, "start", XORB_CHUNKS_MAX), _number(chunks, "end", XORB_CHUNKS_MAX)
    start, end = _number(span, "start", XORB_BYTES_MAX), _number(span, "end", XORB_BYTES_MAX) + 1
    count = last - first
    least, most = count * (HEADER_BYTES + 1), count * (HEADER_BYTES + PAYLOAD_BYTES_MAX)
    if count <= 0 or not least <= end - start <= most:
        raise RemoteCorrupt(f"chunks {first}-{last} cannot lie in bytes {start}-{end}")
    if not url.startswith(("http://", "https://")):
        raise RemoteCorrupt("a xorb's URL is not one to fetch from")
    return Fetch(url, start, end, first, last)


def _term(raw: Any, fetches: list[Fetch], rows: _Rows) -> Term:
    span = _object(raw, "range")
    first, last = _number(span, "start", XORB_CHUNKS_MAX), _number(span, "end", XORB_CHUNKS_MAX)
    count = last - first
    length = _number(raw, "unpacked_length", XORB_CHUNKS_MAX * CHUNK_BYTES_MAX)
    if count <= 0 or not count <= length <= count * CHUNK_BYTES_MAX:
        raise RemoteCorrupt(f"chunks {first}-{last} cannot have {length} bytes")
    for number in rows.get(_text(raw, "hash"), []):
        if fetches[number].first <= first and last <= fetches[number].last:
            return Term(number, first, last, length)
    raise RemoteCorrupt(f"no range holds chunks {first}-{last} of a term")


def _object(raw: Any, key: str) -> Mapping[str, Any]:
    value = raw.get(key) if isinstance(raw, dict) else None
    if not isinstance(value, dict):
        raise RemoteCorrupt(f"reconstruction lacks an object {key!r}")
    return value


def _list(raw: Any, key: str, count_max: int) -> list[Any]:
    value = raw.get(key) if isinstance(raw, dict) else None
    if not isinstance(value, list) or len(value) > count_max:
        raise RemoteCorrupt(f"reconstruction lacks a list {key!r} of at most {count_max}")
    return value


def _text(raw: Any, key: str) -> str:
    value = raw.get(key) if isinstance(raw, dict) else None
    if not isinstance(value, str):
        raise RemoteCorrupt(f"reconstruction lacks a text {key!r}")
    return value


def _number(raw: Any, key: str, most: int) -> int:
    value = raw.get(key) if isinstance(raw, dict) else None
    if type(value) is not int or not 0 <= value <= most:
        raise RemoteCorrupt(f"reconstruction lacks a number {key!r} of at most {most}")
    return value
