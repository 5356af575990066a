import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.nfs3.attrs import (
    ACCESS_ARGS,
    ACCESS_OK,
    ACCESS_RESULT,
    GETATTR_ARGS,
    GETATTR_OK,
    GETATTR_RESULT,
    AccessArgs,
    AccessOk,
    GetattrArgs,
    GetattrOk,
    decode_access_args,
    decode_getattr_args,
    encode_access_ok,
    encode_getattr_ok,
)
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.types import FATTR3
from hfnfs.rpc.session import Caller
from hfnfs.rpc.xdr import decode, encode
from hfnfs.vfs.node import FileType, Look
from tests.nfs3.by_hand import HANDLES, U32, Hand
from tests.nfs3.desk import NOBODY, ROOT_CALLER, Desk, ok, user
from tests.nfs3.twins import assert_decodes_alike, spoiled

GETATTR = (GETATTR_ARGS, GETATTR_RESULT)
ACCESS = (ACCESS_ARGS, ACCESS_RESULT)

READ, LOOKUP, MODIFY, EXTEND, DELETE, EXECUTE = 1, 2, 4, 8, 16, 32
ALL = 63
SPOILING = (st.integers(0, 200), st.integers(0, 255), st.integers(0, 200))


# ----------------------------------------------------------------- GETATTR


async def test_getattr_gives_all_attributes() -> None:
    desk = Desk()
    result = ok(await desk.call("GETATTR", GetattrArgs(desk.root), GETATTR))
    attributes = decode(FATTR3, result.obj_attributes)
    assert (attributes.type, attributes.mode) == (FileType.DIR, 0o555)
    assert attributes.fileid == desk.volume.root.fileid


@pytest.mark.parametrize("handle", [b"", b"x" * 31, bytes(32), bytes(64)])
async def test_getattr_of_a_handle_that_is_not_ours_is_badhandle(handle: bytes) -> None:
    answered = await Desk().call("GETATTR", GetattrArgs(handle), GETATTR)
    assert answered == (Status.BADHANDLE, None)


async def test_getattr_of_a_vanished_directory_is_stale() -> None:
    desk = Desk({"gone": {}})
    handle = await desk.handle("gone")
    desk.far.becomes({})
    assert await desk.call("GETATTR", GetattrArgs(handle), GETATTR) == (Status.STALE, None)


@given(HANDLES)
def test_getattr_args_lie_on_the_wire_as_the_rfc_says(handle: bytes) -> None:
    packed = Hand().opaque(handle).bytes()
    assert encode(GETATTR_ARGS, GetattrArgs(handle)) == packed
    assert_decodes_alike(decode_getattr_args, GETATTR_ARGS, packed)


@given(st.binary(max_size=80))
def test_getattr_args_by_hand_refuse_what_the_declaration_refuses(body: bytes) -> None:
    assert_decodes_alike(decode_getattr_args, GETATTR_ARGS, body)


@given(st.binary(min_size=84, max_size=84))
def test_getattr_result_by_hand_is_as_declared(fattr3: bytes) -> None:
    result = GetattrOk(fattr3)
    assert encode_getattr_ok(fattr3) == encode(GETATTR_RESULT, (Status.OK, result))
    assert encode(GETATTR_OK, result) == fattr3


# ------------------------------------------------------------------ ACCESS


@pytest.mark.parametrize(
    ("path", "mode", "caller", "bits"),
    [
        ("deep", 0o555, ROOT_CALLER, READ | LOOKUP),
        ("hello.txt", 0o444, ROOT_CALLER, READ),
        ("hello.txt", 0o544, ROOT_CALLER, READ | EXECUTE),
        ("hello.txt", 0o440, NOBODY, 0),
        ("hello.txt", 0o645, NOBODY, READ | EXECUTE),
        ("hello.txt", 0o540, user(1000, 5), READ | EXECUTE),
        ("hello.txt", 0o540, user(5, 100), READ),
        ("hello.txt", 0o540, user(5, 5, 6, 100), READ),
        ("hello.txt", 0o540, user(5, 5), 0),
    ],
)
async def test_access_says_what_the_mode_allows_this_caller(
    path: str, mode: int, caller: Caller, bits: int
) -> None:
    desk = Desk()
    node = await desk.node(path)
    node.look = Look(node.type, mode, node.look.uid, node.look.gid, node.look.fsid)
    node.changed()
    args = AccessArgs(desk.export.handle_of(node), ALL)
    result = ok(await desk.call("ACCESS", args, ACCESS, caller))
    assert result == AccessOk(node.fattr3, bits)


async def test_access_tells_only_of_what_was_asked() -> None:
    desk = Desk()
    result = ok(await desk.call("ACCESS", AccessArgs(desk.root, LOOKUP | MODIFY), ACCESS))
    assert result.access == LOOKUP


async def test_access_with_a_forged_handle_is_badhandle_without_attributes() -> None:
    answered = await Desk().call("ACCESS", AccessArgs(b"forged", ALL), ACCESS)
    assert answered == (Status.BADHANDLE, None)


@given(HANDLES, U32)
def test_access_args_lie_on_the_wire_as_the_rfc_says(handle: bytes, wanted: int) -> None:
    packed = Hand().opaque(handle).u32(wanted).bytes()
    assert encode(ACCESS_ARGS, AccessArgs(handle, wanted)) == packed
    assert_decodes_alike(decode_access_args, ACCESS_ARGS, packed)


@given(HANDLES, U32, *SPOILING)
def test_access_args_by_hand_refuse_what_the_declaration_refuses(
    handle: bytes, wanted: int, at: int, byte: int, cut: int
) -> None:
    packed = Hand().opaque(handle).u32(wanted).bytes()
    assert_decodes_alike(decode_access_args, ACCESS_ARGS, spoiled(packed, at, byte, cut))


@given(st.binary(min_size=84, max_size=84), U32)
def test_access_result_by_hand_is_as_declared(fattr3: bytes, bits: int) -> None:
    result = AccessOk(fattr3, bits)
    assert encode_access_ok((fattr3, bits)) == encode(ACCESS_RESULT, (Status.OK, result))
    assert encode(ACCESS_OK, result) == Hand().post_op_attr(fattr3).u32(bits).bytes()
