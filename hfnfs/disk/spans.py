"""Ranges of a content, cut into the blocks of its parts; pure."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from hfnfs.config import BLOCK_BYTES


class Span(NamedTuple):
    """Blocks [first, last) of part `number`, counted from the part's own beginning."""

    number: int
    first: int
    last: int


def spans(start: int, end: int, part_bytes: int) -> Iterator[Span]:
    """The blocks that have a byte of [start, end), part by part; a part is of whole blocks."""
    while start < end:
        number = start // part_bytes
        base = number * part_bytes
        stop = min(end, base + part_bytes)
        yield Span(number, (start - base) // BLOCK_BYTES, -(-(stop - base) // BLOCK_BYTES))
        start = stop


def read_across(
    read: Callable[[int, int], memoryview | None], start: int, end: int, part_bytes: int
) -> memoryview | None:
    """A range that does not lie in one part: `read` part by part, copied; None if one has none."""
    parts = []
    while start < end:
        stop = min(end, (start // part_bytes + 1) * part_bytes)
        part = read(start, stop)
        if part is None:
            return None
        parts.append(part)
        start = stop
    return memoryview(b"".join(parts))
