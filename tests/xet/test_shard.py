from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import WireError
from hfnfs.xet import shard
from hfnfs.xet.hashes import Sized
from hfnfs.xet.shard import Shard, ShardFile, ShardXorb, Term

# A hash of 32 bytes of ff is the format's own mark of an end.
RAW = st.binary(min_size=32, max_size=32).filter(lambda raw: raw != b"\xff" * 32)
TERMS = st.builds(
    lambda raw, start, count, length: Term(raw, start, start + count, length),
    RAW,
    st.integers(0, 4000),
    st.integers(1, 4000),
    st.integers(1, 1 << 26),
)


@st.composite
def files(draw: st.DrawFn) -> ShardFile:
    terms = tuple(draw(st.lists(TERMS, max_size=4)))
    proof = st.tuples(*(RAW for _ in terms))
    verification = draw(st.none() | proof)
    return ShardFile(draw(RAW), terms, verification, draw(st.none() | RAW.map(bytes.hex)))


SHARDS = st.builds(
    Shard,
    st.lists(files(), max_size=3).map(tuple),
    st.lists(
        st.builds(
            ShardXorb,
            RAW,
            st.lists(st.builds(Sized, RAW, st.integers(1, 1 << 17)), max_size=4).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
)


@given(SHARDS)
def test_a_packed_shard_reads_back(value: Shard) -> None:
    assert shard.read(shard.pack_upload(value)) == value


@given(SHARDS)
def test_an_answer_reads_back_in_front_of_its_tables(value: Shard) -> None:
    raw = shard.pack_answer(value.xorbs, created=1, expiry=2)
    assert shard.read(raw) == Shard((), value.xorbs)


@given(SHARDS, st.integers(0))
def test_a_cut_shard_is_refused(value: Shard, cut: int) -> None:
    raw = shard.pack_upload(value)
    with pytest.raises(WireError):
        shard.read(raw[: cut % len(raw)])


def test_bytes_behind_an_upload_are_refused() -> None:
    with pytest.raises(WireError):
        shard.read(shard.pack_upload(Shard((), ())) + bytes(48))


@given(SHARDS, st.integers(0), st.integers(1, 255))
def test_a_flipped_byte_gives_a_shard_or_is_refused(value: Shard, at: int, flip: int) -> None:
    raw = bytearray(shard.pack_upload(value))
    raw[at % len(raw)] ^= flip
    with suppress(WireError):
        shard.read(raw)


@given(st.binary(max_size=300))
def test_random_bytes_are_no_shard(raw: bytes) -> None:
    with pytest.raises(WireError):
        shard.read(raw)


@pytest.mark.parametrize(
    "term",
    [
        Term(bytes(32), 3, 3, 9),
        Term(bytes(32), 3, 2, 9),
        Term(bytes(32), 0, 8193, 9),
        Term(bytes(32), 0, 1, 0),
    ],
)
def test_terms_out_of_bounds_are_refused(term: Term) -> None:
    with pytest.raises(WireError):
        shard.read(shard.pack_upload(Shard((ShardFile(bytes(32), (term,)),), ())))


def test_more_records_claimed_than_there_are_take_no_memory() -> None:
    raw = bytearray(shard.pack_upload(Shard((ShardFile(bytes(32), ()),), ())))
    raw[48 + 36 : 48 + 40] = b"\xff\xff\xff\xff"
    with pytest.raises(WireError):
        shard.read(raw)
