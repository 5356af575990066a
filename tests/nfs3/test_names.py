import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.nfs3.names import (
    LOOKUP_ARGS,
    LOOKUP_OK,
    LOOKUP_RESULT,
    READLINK_ARGS,
    READLINK_OK,
    READLINK_RESULT,
    LookupOk,
    ReadlinkArgs,
    ReadlinkOk,
    decode_lookup_args,
    encode_lookup_ok,
)
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.types import (
    DirOpArgs,
    Sattr3,
    TimeHow,
)
from hfnfs.rpc.xdr import decode, encode
from hfnfs.vfs.needs import Named
from hfnfs.vfs.node import FileType, Symlink
from tests.nfs3.by_hand import (
    DIR_OPS,
    NAMES,
    OUR_HANDLES,
    Hand,
)
from tests.nfs3.desk import Desk, ok
from tests.nfs3.twins import assert_decodes_alike, spoiled

LOOKUP = (LOOKUP_ARGS, LOOKUP_RESULT)
READLINK = (READLINK_ARGS, READLINK_RESULT)
PACKED = st.binary(min_size=84, max_size=84)
FATTRS = st.none() | PACKED
PLAIN = Sattr3(0o644, None, None, None, (TimeHow.DONT_CHANGE, None), (TimeHow.DONT_CHANGE, None))


def lookup_args(directory: bytes, name: bytes) -> DirOpArgs:
    return DirOpArgs(directory, name)


# ------------------------------------------------------------------ LOOKUP


async def test_lookup_gives_handle_and_both_attributes() -> None:
    desk = Desk()
    result = ok(await desk.call("LOOKUP", lookup_args(desk.root, b"hello.txt"), LOOKUP))
    node = desk.export.node(result.object)
    assert node.name == b"hello.txt"
    assert result == LookupOk(result.object, node.fattr3, desk.volume.root.fattr3)


@pytest.mark.parametrize("name", [b".", b".."])
async def test_the_root_is_its_own_parent(name: bytes) -> None:
    desk = Desk()
    assert ok(await desk.call("LOOKUP", lookup_args(desk.root, name), LOOKUP)).object == desk.root


async def test_dotdot_leads_to_the_parent() -> None:
    desk = Desk()
    deep = await desk.handle("deep")
    assert ok(await desk.call("LOOKUP", lookup_args(deep, b".."), LOOKUP)).object == desk.root


@pytest.mark.parametrize(
    ("name", "status"),
    [
        (b"missing", Status.NOENT),
        (b"\xff\xfe", Status.NOENT),
        (b"", Status.ACCES),
        (b"deep/er", Status.ACCES),
        (b"/", Status.ACCES),
        (b"hello.txt\0", Status.ACCES),
        (b"x" * 256, Status.NAMETOOLONG),
        (b"x" * 4096, Status.NAMETOOLONG),
    ],
)
async def test_a_failed_lookup_carries_the_directorys_attributes(
    name: bytes, status: Status
) -> None:
    desk = Desk()
    answered = await desk.call("LOOKUP", lookup_args(desk.root, name), LOOKUP)
    assert answered == (status, desk.volume.root.fattr3)


async def test_a_name_of_255_bytes_is_not_too_long() -> None:
    name = "ü" * 127 + "x"
    desk = Desk({name: b"1"})
    ok(await desk.call("LOOKUP", lookup_args(desk.root, name.encode()), LOOKUP))


async def test_lookup_in_a_file_is_notdir() -> None:
    desk = Desk()
    handle = await desk.handle("hello.txt")
    answered = await desk.call("LOOKUP", lookup_args(handle, b"x"), LOOKUP)
    assert answered == (Status.NOTDIR, desk.export.node(handle).fattr3)


async def test_lookup_in_a_vanished_directory_is_stale() -> None:
    desk = Desk()
    handle = await desk.handle("deep")
    desk.far.becomes({})
    assert await desk.call("LOOKUP", lookup_args(handle, b"er"), LOOKUP) == (Status.STALE, None)


async def test_a_lookup_waits_for_the_name_it_misses_and_no_more() -> None:
    desk = Desk()
    ok(await desk.call("LOOKUP", lookup_args(desk.root, b"hello.txt"), LOOKUP))
    ok(await desk.call("LOOKUP", lookup_args(desk.root, b"hello.txt"), LOOKUP))
    assert desk.far.met == [Named(desk.volume.root.fileid, b"hello.txt")]


@given(DIR_OPS)
def test_lookup_args_lie_on_the_wire_as_the_rfc_says(what: DirOpArgs) -> None:
    packed = Hand().dir_op(what).bytes()
    assert encode(LOOKUP_ARGS, what) == packed
    assert_decodes_alike(decode_lookup_args, LOOKUP_ARGS, packed)


@given(DIR_OPS, st.integers(0, 400), st.integers(0, 255), st.integers(0, 400))
def test_lookup_args_by_hand_refuse_what_the_declaration_refuses(
    what: DirOpArgs, at: int, byte: int, cut: int
) -> None:
    packed = Hand().dir_op(what).bytes()
    assert_decodes_alike(decode_lookup_args, LOOKUP_ARGS, spoiled(packed, at, byte, cut))


@given(OUR_HANDLES, PACKED, PACKED)
def test_lookup_result_by_hand_is_as_declared(handle: bytes, node: bytes, directory: bytes) -> None:
    result = LookupOk(handle, node, directory)
    packed = encode(LOOKUP_RESULT, (Status.OK, result))
    assert encode_lookup_ok((handle, node, directory)) == packed
    hand = Hand().opaque(handle).post_op_attr(node).post_op_attr(directory)
    assert encode(LOOKUP_OK, result) == hand.bytes()


# ---------------------------------------------------------------- READLINK


async def test_readlink_gives_what_the_link_says() -> None:
    desk = Desk()
    root = desk.volume.root
    link = desk.volume.tree.nodes.make(FileType.LNK, root, "link")
    assert isinstance(link, Symlink)
    link.target = b"../elsewhere"
    result = ok(await desk.call("READLINK", ReadlinkArgs(desk.export.handle_of(link)), READLINK))
    assert result == ReadlinkOk(link.fattr3, b"../elsewhere")


async def test_readlink_of_what_is_no_link_is_inval() -> None:
    desk = Desk()
    handle = await desk.handle("hello.txt")
    answered = await desk.call("READLINK", ReadlinkArgs(handle), READLINK)
    assert answered == (Status.INVAL, desk.export.node(handle).fattr3)


@given(FATTRS, NAMES)
def test_readlink_result_lies_on_the_wire_as_the_rfc_says(
    fattr3: bytes | None, path: bytes
) -> None:
    packed = Hand().post_op_attr(fattr3).opaque(path).bytes()
    assert encode(READLINK_OK, ReadlinkOk(fattr3, path)) == packed
    assert decode(READLINK_OK, packed) == ReadlinkOk(fattr3, path)
