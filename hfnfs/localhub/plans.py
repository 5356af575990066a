"""Reconstruction: which chunks of which xorbs give a range of a file. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from hfnfs.xet.shard import Term
from hfnfs.xet.xorb import XorbIndex


@dataclass(frozen=True, slots=True)
class Plan:
    """What a client needs to make a range of a file."""

    skip: int  # bytes of the first term that come before the range
    terms: tuple[Term, ...]  # trimmed to whole chunks; the last may reach beyond the range
    fetches: dict[bytes, list[tuple[int, int]]]  # of each xorb: disjoint chunk ranges, ascending


def plan(
    terms: Sequence[Term], index_of: Callable[[bytes], XorbIndex], start: int, end: int
) -> Plan:
    """The plan for bytes [start, end) of the file that `terms` make up."""
    ends = list(accumulate(term.length for term in terms))
    trimmed: list[Term] = []
    skip = 0
    for term, term_end in zip(terms, ends, strict=True):
        term_start = term_end - term.length
        if term_end <= start or term_start >= end:
            continue
        part, before = _trimmed(
            term,
            index_of(term.xorb),
            max(start - term_start, 0),
            min(end - term_start, term.length),
        )
        if not trimmed:
            skip = before
        trimmed.append(part)
    return Plan(skip, tuple(trimmed), _fetches(trimmed))


def _trimmed(term: Term, index: XorbIndex, start: int, end: int) -> tuple[Term, int]:
    """The chunks of a term that hold its bytes [start, end), and how many bytes come before."""
    base = index.starts_at(term.start)
    first = index.chunk_at(base + start)
    after = index.chunk_at(base + end - 1) + 1
    part = Term(term.xorb, first, after, index.length(first, after))
    return part, base + start - index.starts_at(first)


def _fetches(terms: Sequence[Term]) -> dict[bytes, list[tuple[int, int]]]:
    fetches: dict[bytes, list[tuple[int, int]]] = {}
    for term in sorted(terms, key=lambda term: (term.start, term.end)):
        ranges = fetches.setdefault(term.xorb, [])
        if ranges and term.start <= ranges[-1][1]:
            ranges[-1] = (ranges[-1][0], max(ranges[-1][1], term.end))
        else:
            ranges.append((term.start, term.end))
    return fetches
