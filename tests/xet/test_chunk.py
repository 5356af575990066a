import contextlib

import lz4.frame
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import WireError
from hfnfs.xet import chunk
from hfnfs.xet.chunk import CHUNK_BYTES_MAX, HEADER_BYTES, ChunkHeader, ChunkReader, Scheme

FLOATS = (np.random.default_rng(5).standard_normal(5001) * 0.02).astype("<f4").tobytes()
RANDOM = np.random.default_rng(6).bytes(70_001)
TEXT = b"the quick brown fox " * 3000
CONTENTS = st.one_of(
    st.binary(min_size=1, max_size=300),
    st.binary(min_size=1, max_size=5).map(lambda part: part * 200),
    st.sampled_from([FLOATS, FLOATS[:-1], FLOATS[1:-1], RANDOM, TEXT, bytes(CHUNK_BYTES_MAX)]),
)


def decoded(raw: bytes) -> bytes:
    header = chunk.read_header(raw)
    return chunk.decode(header, raw[HEADER_BYTES:])


@given(CONTENTS)
def test_a_chunk_decodes_to_what_was_encoded(data: bytes) -> None:
    assert decoded(chunk.encode(data)) == data


@pytest.mark.parametrize(
    ("data", "scheme"),
    [(RANDOM, Scheme.NONE), (TEXT, Scheme.LZ4), (FLOATS, Scheme.BG4_LZ4)],
)
def test_the_scheme_follows_the_data(data: bytes, scheme: Scheme) -> None:
    raw = chunk.encode(data)
    assert chunk.read_header(raw).scheme is scheme
    assert len(raw) <= len(data) + HEADER_BYTES


@pytest.mark.parametrize("length", range(1, 10))
def test_byte_groups_of_any_length_are_undone(length: int) -> None:
    data = bytes(range(length))
    grouped = bytes([*data[0::4], *data[1::4], *data[2::4], *data[3::4]])
    payload = lz4.frame.compress(grouped, store_size=False)
    header = ChunkHeader(len(payload), Scheme.BG4_LZ4, length)
    assert chunk.decode(header, payload) == data


@given(st.lists(CONTENTS, max_size=5), st.lists(st.integers(0, 400_000), max_size=12))
def test_any_cut_of_the_stream_gives_the_same_chunks(datas: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(chunk.encode, datas))
    ends = [*sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    reader, start = ChunkReader(), 0
    got: list[bytes] = []
    for end in ends:
        got += reader.feed(stream[start:end])
        start = end
    assert got == datas
    assert reader.is_between_chunks


def test_a_cut_chunk_waits_for_its_rest() -> None:
    raw = chunk.encode(b"whole")
    reader = ChunkReader()
    assert list(reader.feed(raw[:-1])) == []
    assert not reader.is_between_chunks
    assert list(reader.feed(raw[-1:])) == [b"whole"]


def test_chunks_not_taken_are_given_later() -> None:
    reader = ChunkReader()
    reader.feed(chunk.encode(b"one") + chunk.encode(b"two"))
    assert list(reader.feed(chunk.encode(b"three"))) == [b"one", b"two", b"three"]


def header_bytes(version: int, payload: int, scheme: int, length: int) -> bytes:
    return (
        bytes([version])
        + payload.to_bytes(3, "little")
        + bytes([scheme])
        + (length.to_bytes(3, "little"))
    )


@pytest.mark.parametrize(
    "fields",
    [
        (1, 5, 0, 5),
        (ord("X"), 5, 0, 5),  # the ident of a xorb's footer
        (0, 5, 3, 5),
        (0, 5, 0, 6),
        (0, 0, 0, 0),
        (0, 9, 1, 0),
        (0, 9, 1, CHUNK_BYTES_MAX + 1),
        (0, 2 * CHUNK_BYTES_MAX + 1, 1, 9),
    ],
)
def test_headers_out_of_bounds_are_refused(fields: tuple[int, int, int, int]) -> None:
    with pytest.raises(WireError):
        chunk.read_header(header_bytes(*fields))


@pytest.mark.parametrize("declared", [1, 59_999, 60_001])
def test_a_payload_of_another_length_than_declared_is_refused(declared: int) -> None:
    payload = lz4.frame.compress(TEXT, store_size=False)
    with pytest.raises(WireError):
        chunk.decode(ChunkHeader(len(payload), Scheme.LZ4, declared), payload)


def test_bytes_behind_the_frame_are_refused() -> None:
    payload = lz4.frame.compress(TEXT, store_size=False) + b"more"
    with pytest.raises(WireError):
        chunk.decode(ChunkHeader(len(payload), Scheme.LZ4, len(TEXT)), payload)


def test_a_payload_shorter_than_its_header_says_is_refused() -> None:
    with pytest.raises(WireError):
        chunk.decode(ChunkHeader(6, Scheme.NONE, 6), b"short")


@given(st.binary(max_size=2000))
def test_random_bytes_give_chunks_or_are_refused(data: bytes) -> None:
    try:
        for piece in ChunkReader().feed(data):
            assert 0 < len(piece) <= CHUNK_BYTES_MAX
    except WireError:
        pass


@given(st.integers(0, 2**30), st.integers(1, 255))
def test_a_flipped_byte_keeps_the_length_or_is_refused(position: int, flip: int) -> None:
    raw = bytearray(chunk.encode(TEXT))
    raw[HEADER_BYTES + position % (len(raw) - HEADER_BYTES)] ^= flip
    with contextlib.suppress(WireError):
        assert len(decoded(bytes(raw))) == len(TEXT)
