import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import WireError
from hfnfs.xet import chunk
from hfnfs.xet.runs import RunReader

CHANCE = random.Random(3)
CHUNKS = [
    CHANCE.randbytes(9000),
    b"the same words again and again " * 900,
    bytes(4 * 5001 + 3),
    b"".join(CHANCE.randbytes(2) + b"\x3c\x3d" for _ in range(8191)) + b"x",
    b"z",
] * 3
RAW = b"".join(map(chunk.encode, CHUNKS))


@given(
    cuts=st.lists(st.integers(0, len(RAW)), max_size=12),
    bytes_max=st.sampled_from([1, 10_000, 60_000, 1 << 20]),
)
def test_any_cut_and_any_bound_give_the_same_chunks(cuts: list[int], bytes_max: int) -> None:
    reader, got = RunReader(), []
    edges = [0, *sorted(cuts), len(RAW)]
    for start, end in pairwise(edges):
        reader.feed(RAW[start:end])
        while reader.has_chunk:
            run = reader.take(bytes_max)
            assert sum(run.lengths[:-1]) < bytes_max
            begin = 0
            for length in run.lengths:
                got.append(bytes(run.data[begin : begin + length]))
                begin += length
            assert begin == len(run.data)
    assert reader.is_between_chunks
    assert got == CHUNKS


def test_a_cut_chunk_waits_for_its_rest() -> None:
    reader = RunReader()
    reader.feed(RAW[:100])
    assert not reader.has_chunk
    assert not reader.is_between_chunks


def test_what_unpacks_to_a_lot_is_given_in_parts() -> None:
    zeros = chunk.encode(bytes(chunk.CHUNK_BYTES_MAX))
    reader = RunReader()
    reader.feed(zeros * 500)
    lengths = []
    while reader.has_chunk:
        lengths.append(len(reader.take(1 << 20).data))
    assert sum(lengths) == 500 * chunk.CHUNK_BYTES_MAX
    assert max(lengths) < (1 << 20) + chunk.CHUNK_BYTES_MAX


@pytest.mark.parametrize("bad", [b"\x01" * 8, chunk.encode(b"x" * 999)[:9] + b"\xff" * 99])
def test_what_is_no_chunk_is_refused(bad: bytes) -> None:
    reader = RunReader()
    reader.feed(chunk.encode(b"good") + bad)
    with pytest.raises(WireError):
        reader.take(1 << 20)
