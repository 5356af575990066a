from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.config import BLOCK_BYTES
from hfnfs.errors import RemoteCorrupt
from hfnfs.remote import ContentId, Piece
from hfnfs.transfer.assembly import Assembly
from tests.fakes.remote import Pattern

SIZE = 3 * BLOCK_BYTES + 4321
CONTENT = ContentId("git-0", SIZE)
DATA = Pattern(SIZE)[:SIZE]


def pieces_cut_at(cuts: list[int], start: int, end: int) -> list[Piece]:
    edges = [start, *sorted(cut for cut in cuts if start <= cut <= end), end]
    return [Piece(a, DATA[a:b]) for a, b in pairwise(edges)]


@given(
    first=st.integers(0, 3),
    count=st.integers(1, 4),
    before=st.integers(0, BLOCK_BYTES),
    beyond=st.integers(0, BLOCK_BYTES),
    cuts=st.lists(st.integers(0, SIZE), max_size=12),
)
def test_any_cut_of_the_stream_gives_the_same_whole_blocks(
    first: int, count: int, before: int, beyond: int, cuts: list[int]
) -> None:
    start = first * BLOCK_BYTES
    end = min(start + count * BLOCK_BYTES, SIZE)
    assembly = Assembly(CONTENT, start, end)
    taken = b""
    for piece in pieces_cut_at(cuts, max(start - before, 0), min(end + beyond, SIZE)):
        for blocks in assembly.take(piece):
            taken += blocks
            assert len(blocks) % BLOCK_BYTES == 0 or start + len(taken) == end
        come = piece.offset + len(piece.data)
        assert start + len(taken) + BLOCK_BYTES > min(come, end) or assembly.is_complete
    assert assembly.is_complete
    assert taken == DATA[start:end]


def test_whole_blocks_are_not_copied() -> None:
    assembly = Assembly(CONTENT, 0, 3 * BLOCK_BYTES)
    assert not assembly.take(Piece(0, DATA[:1000]))
    rest = DATA[1000 : 3 * BLOCK_BYTES + 7]
    first, others = assembly.take(Piece(1000, rest))
    assert (len(first), len(others)) == (BLOCK_BYTES, 2 * BLOCK_BYTES)
    assert others.obj is rest


def test_a_stream_that_stops_early_is_not_complete() -> None:
    assembly = Assembly(CONTENT, 0, BLOCK_BYTES)
    assert not assembly.take(Piece(0, DATA[: BLOCK_BYTES - 1]))
    assert not assembly.is_complete


@pytest.mark.parametrize(
    "pieces",
    [
        [Piece(BLOCK_BYTES + 1, b"x")],  # begins behind the range's start
        [Piece(0, DATA[:10]), Piece(11, b"x")],  # leaves a byte out
        [Piece(0, DATA[:10]), Piece(9, b"x")],  # gives one twice
        [Piece(0, DATA + b"x")],  # goes on behind the content's end
    ],
)
def test_pieces_that_do_not_follow_each_other_are_refused(pieces: list[Piece]) -> None:
    assembly = Assembly(CONTENT, BLOCK_BYTES, 2 * BLOCK_BYTES)
    *good, bad = pieces
    for piece in good:
        assembly.take(piece)
    with pytest.raises(RemoteCorrupt):
        assembly.take(bad)
