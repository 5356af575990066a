import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import WireError
from hfnfs.xet import chunk, hashes, xorb
from hfnfs.xet.hashes import Sized

DATAS = st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=30)


def packed(datas: list[bytes]) -> bytes:
    return b"".join(map(chunk.encode, datas))


def index_of(raw: bytes) -> xorb.XorbIndex:
    return xorb.index_by_unpacking(io.BytesIO(raw))


@given(DATAS)
def test_unpacking_finds_every_chunk_where_it_lies(datas: list[bytes]) -> None:
    raw = packed(datas)
    index = index_of(raw)
    assert index.chunks == tuple(Sized(hashes.chunk_hash(d), len(d)) for d in datas)
    assert index.hash == hashes.xorb_hash(index.chunks)
    for number, data in enumerate(datas):
        start, end = index.packed(number, number + 1)
        assert raw[start:end] == chunk.encode(data)
    assert index.length(0, len(datas)) == sum(map(len, datas))


@given(DATAS, st.integers(0))
def test_the_chunk_of_an_unpacked_byte_is_found(datas: list[bytes], position: int) -> None:
    whole = b"".join(datas)
    at = position % len(whole)
    index = index_of(packed(datas))
    number = index.chunk_at(at)
    assert index.starts_at(number) <= at < index.starts_at(number) + len(datas[number])


@given(DATAS)
def test_a_stored_xorb_is_known_by_its_footer(datas: list[bytes]) -> None:
    index = index_of(packed(datas))
    stored = packed(datas) + xorb.pack_footer(index)
    assert xorb.read_footer(io.BytesIO(stored)) == index
    assert index_of(stored) == index


def test_the_footer_has_the_length_that_other_readers_expect() -> None:
    index = index_of(packed([b"%d" % number for number in range(80)]))
    assert len(xorb.pack_footer(index)) == 3292 + 4


@given(DATAS, st.integers(0), st.integers(1, 255))
def test_a_footer_with_a_flipped_byte_is_refused(
    datas: list[bytes], position: int, flip: int
) -> None:
    front = packed(datas)
    footer = bytearray(xorb.pack_footer(index_of(front)))
    position %= len(footer)
    footer[position] ^= flip
    with pytest.raises(WireError):
        index_of(front + bytes(footer))
    # Where chunks end in the packed bytes only the chunks themselves can tell, but for the last;
    # and how long a single one is, as its hash is that of the xorb.
    ends = 8 + 32 + 8 + 4 + 32 * len(datas) + 8 + 4
    believed = range(ends, ends + 4 * (len(datas) - 1)) if datas[1:] else range(ends + 4, ends + 8)
    if position not in believed:
        with pytest.raises(WireError):
            xorb.read_footer(io.BytesIO(front + footer))


@given(st.binary(max_size=400))
def test_random_bytes_are_no_stored_xorb(raw: bytes) -> None:
    with pytest.raises(WireError):
        xorb.read_footer(io.BytesIO(raw))


@pytest.mark.parametrize("count", [0, 2**32 - 1, 2**20])
def test_a_footer_that_claims_too_much_takes_no_memory(count: int) -> None:
    with pytest.raises(WireError):
        xorb.read_footer(io.BytesIO(bytes(500) + struct.pack("<I", count)))


def test_a_xorb_without_chunks_is_refused() -> None:
    with pytest.raises(WireError):
        index_of(b"")


def test_a_cut_xorb_is_refused() -> None:
    raw = packed([b"one", b"two"])
    for end in range(1, len(raw)):
        if end != len(chunk.encode(b"one")):
            with pytest.raises(WireError):
                index_of(raw[:end])


def test_too_many_chunks_are_refused() -> None:
    one = chunk.encode(b"x")
    assert len(index_of(one * xorb.XORB_CHUNKS_MAX).chunks) == xorb.XORB_CHUNKS_MAX
    with pytest.raises(WireError):
        index_of(one * (xorb.XORB_CHUNKS_MAX + 1))


def test_a_small_upload_that_unpacks_to_too_much_is_refused() -> None:
    zeros = chunk.encode(bytes(chunk.CHUNK_BYTES_MAX))
    with pytest.raises(WireError):
        index_of(zeros * (xorb.XORB_BYTES_MAX // chunk.CHUNK_BYTES_MAX + 1))
