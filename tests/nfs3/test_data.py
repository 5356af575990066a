import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.config import TRANSFER_BYTES_MAX
from hfnfs.nfs3 import data
from hfnfs.nfs3.data import (
    READ_ARGS,
    READ_OK,
    READ_RESULT,
    ReadArgs,
    ReadOk,
    decode_read_args,
    encode_read_ok,
)
from hfnfs.nfs3.status import Status
from hfnfs.rpc.xdr import encode
from hfnfs.vfs.needs import Extent
from tests.nfs3.by_hand import READS, Hand
from tests.nfs3.desk import ROOT_CALLER, Desk, joined, ok
from tests.nfs3.twins import assert_decodes_alike, spoiled

READ = (READ_ARGS, READ_RESULT)
U64_MAX = 2**64 - 1


# -------------------------------------------------------------------- READ


@pytest.mark.parametrize(
    ("offset", "count", "expected", "eof"),
    [
        (0, 100, b"0123456789", True),
        (0, 10, b"0123456789", True),
        (0, 9, b"012345678", False),
        (4, 3, b"456", False),
        (7, 3, b"789", True),
        (9, 1, b"9", True),
        (3, 0, b"", False),
        (10, 5, b"", True),
        (11, 5, b"", True),
        (U64_MAX, 2**32 - 1, b"", True),
    ],
)
async def test_read_gives_what_is_there_and_says_when_that_is_the_end(
    offset: int, count: int, expected: bytes, eof: bool
) -> None:
    desk = Desk({"digits": b"0123456789"})
    handle = await desk.handle("digits")
    result = ok(await desk.call("READ", ReadArgs(handle, offset, count), READ))
    assert result == ReadOk(desk.export.node(handle).fattr3, len(expected), eof, expected)


async def test_an_empty_file_ends_at_once_and_needs_nothing() -> None:
    desk = Desk()
    handle = await desk.handle("empty")
    desk.far.met.clear()
    result = ok(await desk.call("READ", ReadArgs(handle, 0, 4096), READ))
    assert (result.count, result.eof, result.data) == (0, True, b"")
    assert desk.far.met == []


async def test_a_count_beyond_rtmax_is_a_short_read() -> None:
    desk = Desk({"large": bytes(TRANSFER_BYTES_MAX + 5)})
    handle = await desk.handle("large")
    result = ok(await desk.call("READ", ReadArgs(handle, 0, 2**32 - 1), READ))
    assert (result.count, result.eof) == (TRANSFER_BYTES_MAX, False)
    result = ok(await desk.call("READ", ReadArgs(handle, TRANSFER_BYTES_MAX, 2**32 - 1), READ))
    assert (result.count, result.eof) == (5, True)


async def test_a_read_waits_for_the_bytes_it_misses_and_a_second_does_not() -> None:
    desk = Desk()
    handle = await desk.handle("hello.txt")
    desk.far.met.clear()
    for _ in range(2):
        assert ok(await desk.call("READ", ReadArgs(handle, 7, 5), READ)).data == b"world"
    content = desk.export.node(handle).content
    assert content is not None
    assert desk.far.met == [Extent(content, 7, 12)]


async def test_the_payload_is_handed_on_and_not_copied() -> None:
    desk = Desk({"file": b"x" * 70_001})
    handle = await desk.handle("file")
    args = ReadArgs(handle, 0, 70_001)
    ok(await desk.call("READ", args, READ))
    body = encode_read_ok(data.read(desk.export, args, ROOT_CALLER))
    present = next(iter(desk.far.extents.present.values()))
    assert isinstance(body, list)
    _, payload, padding = body
    assert isinstance(payload, memoryview)
    assert payload.obj is present
    assert padding == bytes(3)


async def test_read_of_a_directory_is_isdir() -> None:
    desk = Desk()
    answered = await desk.call("READ", ReadArgs(desk.root, 0, 1), READ)
    assert answered == (Status.ISDIR, desk.volume.root.fattr3)


async def test_read_with_a_stale_handle_has_no_attributes() -> None:
    desk = Desk()
    handle = await desk.handle("deep")
    desk.far.becomes({})
    assert await desk.call("READ", ReadArgs(handle, 0, 1), READ) == (Status.STALE, None)


@given(READS)
def test_read_args_lie_on_the_wire_as_the_rfc_says(value: ReadArgs) -> None:
    packed = Hand().opaque(value.file).u64(value.offset).u32(value.count).bytes()
    assert encode(READ_ARGS, value) == packed
    assert_decodes_alike(decode_read_args, READ_ARGS, packed)


@given(READS, st.integers(0, 90), st.integers(0, 255), st.integers(0, 100))
def test_read_args_by_hand_refuse_what_the_declaration_refuses(
    value: ReadArgs, at: int, byte: int, cut: int
) -> None:
    packed = encode(READ_ARGS, value)
    assert_decodes_alike(decode_read_args, READ_ARGS, spoiled(packed, at, byte, cut))


@given(st.binary(min_size=84, max_size=84), st.booleans(), st.binary(max_size=300), st.booleans())
def test_read_result_by_hand_is_as_declared(
    fattr3: bytes, eof: bool, payload: bytes, as_view: bool
) -> None:
    declared = ReadOk(fattr3, len(payload), eof, payload)
    packed = encode_read_ok((fattr3, memoryview(payload) if as_view else payload, eof))
    assert joined(packed) == encode(READ_RESULT, (Status.OK, declared))
    hand = Hand().post_op_attr(fattr3).u32(len(payload), eof).opaque(payload)
    assert encode(READ_OK, declared) == hand.bytes()
