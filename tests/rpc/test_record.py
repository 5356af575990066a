"""Records come out of a stream however it is cut, and go into one without being joined."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import WireError
from hfnfs.rpc.record import (
    EMPTY_FRAGMENTS_MAX,
    JOINED_BYTES_MAX,
    PIECES_MAX,
    RECEIVE_BYTES,
    RecordReader,
    RecordWriter,
)
from tests.rpc.calls import fragments, record

MAX = 300_000
# Lengths of bodies rather than bodies: what fails should be readable.
LENGTHS = st.lists(st.one_of(st.integers(0, 200), st.integers(0, MAX)), max_size=6)


def body_of(length: int) -> bytes:
    """So many bytes, no four of which are the same elsewhere."""
    return b"".join(struct.pack(">I", n) for n in range(length // 4 + 1))[:length]


def feed(reader: RecordReader, stream: bytes, step: int) -> list[bytes]:
    """Receive at most step bytes at a time; give the records."""
    found = []
    while stream:
        space = reader.space()
        count = min(len(space), len(stream), step)
        assert count > 0
        space[:count] = stream[:count]
        stream = stream[count:]
        reader.received(count)
        found += [bytes(buf[start:end]) for buf, start, end in reader.records()]
    return found


@given(LENGTHS, st.data(), st.integers(1, 1 << 20))
def test_any_cut_of_a_stream_gives_the_same_records(
    lengths: list[int], data: st.DataObject, step: int
) -> None:
    bodies = [body_of(length) for length in lengths]
    cuts = [
        data.draw(st.lists(st.integers(0, length), max_size=EMPTY_FRAGMENTS_MAX))
        for length in lengths
    ]
    stream = b"".join(map(fragments, bodies, cuts))
    step = max(step, len(stream) // 500)  # byte by byte only where that ends soon
    assert feed(RecordReader(MAX), stream, step) == bodies


def test_records_cut_at_every_byte_are_found() -> None:
    bodies = [b"", b"one", b"", b"three of them"]
    stream = b"".join(fragments(body, range(0, len(body), 3)) for body in bodies)
    assert feed(RecordReader(MAX), stream, 1) == bodies


def test_records_that_are_not_taken_yet_stay() -> None:
    reader = RecordReader(MAX)
    stream = record(b"one") + record(b"two") + record(b"three")[:5]
    reader.space()[: len(stream)] = stream
    reader.received(len(stream))
    buf, start, end = next(reader.records())
    assert bytes(buf[start:end]) == b"one"
    assert [bytes(buf[start:end]) for buf, start, end in reader.records()] == [b"two"]
    assert feed(reader, record(b"three")[5:], 1) == [b"three"]


def test_records_are_found_in_place() -> None:
    reader = RecordReader(MAX)
    space = reader.space()
    stream = record(b"here")
    space[: len(stream)] = stream
    reader.received(len(stream))
    ((buf, start, _),) = reader.records()
    space[4:8] = b"HERE"
    assert bytes(buf[start : start + 4]) == b"HERE"
    assert buf.readonly


@pytest.mark.parametrize(
    "stream",
    [
        record(bytes(MAX + 1))[:4],
        struct.pack(">I", MAX + 1),
        struct.pack(">I", 0xFFFFFFFF),
        struct.pack(">I", MAX) + bytes(MAX) + struct.pack(">I", 1),
        struct.pack(">I", 0) * (EMPTY_FRAGMENTS_MAX + 1),
    ],
)
def test_a_record_that_is_too_long_is_refused_by_its_mark(stream: bytes) -> None:
    with pytest.raises(WireError):
        feed(RecordReader(MAX), stream, RECEIVE_BYTES)


def test_the_longest_record_is_taken() -> None:
    assert feed(RecordReader(MAX), record(bytes(MAX)), RECEIVE_BYTES) == [bytes(MAX)]
    cut = fragments(bytes(MAX), [1, MAX - 1])
    assert feed(RecordReader(MAX), cut, RECEIVE_BYTES) == [bytes(MAX)]


def test_memory_grows_with_what_has_come_and_not_with_what_is_announced() -> None:
    reader = RecordReader(1 << 30)
    feed(reader, struct.pack(">I", 0x80000000 | 1 << 30), 4)
    assert len(reader.space()) <= 2 * RECEIVE_BYTES


def test_a_large_record_is_received_exactly_to_its_end() -> None:
    reader = RecordReader(MAX)
    stream = record(bytes(MAX))
    feed(reader, stream[:RECEIVE_BYTES], RECEIVE_BYTES)
    rest = len(stream) - RECEIVE_BYTES
    while rest > RECEIVE_BYTES:
        space = reader.space()
        assert len(space) <= rest
        reader.received(len(space))
        rest -= len(space)
        if rest:
            assert not list(reader.records())
    assert not rest or len(reader.space()) >= rest


# ---------------------------------------------------------------- writing


def taken(writer: RecordWriter, step: int) -> bytes:
    """Everything a socket that takes step bytes at a time gets."""
    out = b""
    while writer.unsent:
        piece = b"".join(writer.pieces())[:step]
        assert piece
        out += piece
        writer.sent(len(piece))
    assert not writer.pieces()
    return out


PART_LENGTHS = st.lists(
    st.one_of(st.integers(0, 50), st.integers(JOINED_BYTES_MAX - 2, 3 * JOINED_BYTES_MAX)),
    max_size=4,
)


@given(st.lists(st.tuples(st.integers(0, 30), PART_LENGTHS), max_size=5), st.integers(1, 100_000))
def test_records_leave_in_order_in_one_fragment_each(
    records: list[tuple[int, list[int]]], step: int
) -> None:
    writer = RecordWriter()
    expected = b""
    for head_length, part_lengths in records:
        head, parts = body_of(head_length), [body_of(length) for length in part_lengths]
        writer.add(head, [memoryview(part) for part in parts])
        expected += record(head + b"".join(parts))
    assert writer.unsent == len(expected)
    assert taken(writer, max(step, len(expected) // 300)) == expected


def test_small_records_of_a_turn_leave_in_one_piece() -> None:
    writer = RecordWriter()
    for _ in range(100):
        writer.add(b"head", b"body")
        writer.add(b"head", [b"a", b"body"])
        writer.add(b"head")
    assert len(writer.pieces()) == 1


def test_a_large_part_is_handed_on_as_it_came() -> None:
    writer = RecordWriter()
    large = memoryview(bytes(JOINED_BYTES_MAX + 1))
    larger = bytes(JOINED_BYTES_MAX + 2)
    writer.add(b"head", [b"small", large, b"pad"])
    writer.add(b"head", larger)
    before, first, between, second = writer.pieces()
    assert first is large
    assert second is larger
    assert before == struct.pack(">I", 0x80000000 | 12 + len(large)) + b"headsmall"
    assert bytes(between).startswith(b"pad")


def test_a_large_part_that_left_in_part_is_not_copied() -> None:
    writer = RecordWriter()
    large = bytearray(100_000)
    writer.add(b"head", [memoryview(large)])
    writer.sent(8 + 60_000)
    (rest,) = writer.pieces()
    large[60_000] = 7
    assert rest[0] == 7
    assert len(rest) == writer.unsent == 40_000


def test_one_send_gets_no_more_pieces_than_the_kernel_takes() -> None:
    writer = RecordWriter()
    for _ in range(PIECES_MAX):
        writer.add(b"head", bytes(JOINED_BYTES_MAX + 1))
    assert len(writer.pieces()) == PIECES_MAX
