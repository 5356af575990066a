from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.nfs3.names import (
    CREATE_ARGS,
    LINK_ARGS,
    LOOKUP_ARGS,
    LOOKUP_OK,
    LOOKUP_RESULT,
    MKDIR_ARGS,
    MKNOD_ARGS,
    READLINK_ARGS,
    READLINK_OK,
    READLINK_RESULT,
    REMOVE_ARGS,
    RENAME_ARGS,
    SYMLINK_ARGS,
    CreateArgs,
    CreateMode,
    DeviceData,
    LinkArgs,
    LookupOk,
    MkdirArgs,
    MknodArgs,
    ReadlinkArgs,
    ReadlinkOk,
    RemoveArgs,
    RenameArgs,
    SymlinkArgs,
    SymlinkData,
    decode_lookup_args,
    encode_lookup_ok,
)
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.types import (
    POST_OP_ATTR,
    WCC_DATA,
    DirOpArgs,
    Sattr3,
    SpecData3,
    TimeHow,
    WccData,
    result_of,
    wcc_attr_of,
)
from hfnfs.rpc.xdr import Codec, decode, encode, struct_of, void, wire
from hfnfs.vfs.needs import Named
from hfnfs.vfs.node import FileType
from tests.nfs3.by_hand import (
    CREATES,
    DIR_OPS,
    LINKS,
    MKDIRS,
    MKNODS,
    NAMES,
    OUR_HANDLES,
    RENAMES,
    SYMLINKS,
    Hand,
)
from tests.nfs3.desk import CHANGED, Desk, ok
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


# ------------------------------------------------------------ what changes names


def changes(directory: bytes) -> dict[str, tuple[Codec[Any], Any]]:
    """A call of each procedure that changes the names of a directory."""
    where = DirOpArgs(directory, b"new")
    device = (FileType.CHR, DeviceData(PLAIN, SpecData3(1, 2)))
    return {
        "CREATE": (CREATE_ARGS, CreateArgs(where, (CreateMode.EXCLUSIVE, bytes(8)))),
        "MKDIR": (MKDIR_ARGS, MkdirArgs(where, PLAIN)),
        "SYMLINK": (SYMLINK_ARGS, SymlinkArgs(where, SymlinkData(PLAIN, b"target"))),
        "MKNOD": (MKNOD_ARGS, MknodArgs(where, device)),
        "REMOVE": (REMOVE_ARGS, RemoveArgs(where)),
        "RMDIR": (REMOVE_ARGS, RemoveArgs(where)),
    }


@pytest.mark.parametrize("name", changes(b""))
async def test_a_change_of_names_is_refused_with_what_did_not_change(name: str) -> None:
    desk = Desk()
    codec, args = changes(desk.root)[name]
    packed = desk.volume.root.fattr3
    refused = (Status.ROFS, WccData(wcc_attr_of(packed), packed))
    assert await desk.call(name, args, (codec, CHANGED)) == refused


@pytest.mark.parametrize("name", changes(b""))
async def test_a_change_of_names_looks_at_the_handle_first(name: str) -> None:
    codec, args = changes(b"forged")[name]
    answered = await Desk().call(name, args, (codec, CHANGED))
    assert answered == (Status.BADHANDLE, WccData(None, None))


@wire
class RenameWcc:
    """What both results of RENAME3 carry."""

    fromdir_wcc: WccData
    todir_wcc: WccData


@wire
class LinkWcc:
    """What both results of LINK3 carry."""

    file_attributes: bytes | None
    linkdir_wcc: WccData


RENAME_WCC = struct_of(RenameWcc, fromdir_wcc=WCC_DATA, todir_wcc=WCC_DATA)
LINK_WCC = struct_of(LinkWcc, file_attributes=POST_OP_ATTR, linkdir_wcc=WCC_DATA)
RENAME = (RENAME_ARGS, result_of(void, RENAME_WCC))
LINK = (LINK_ARGS, result_of(void, LINK_WCC))


async def test_rename_is_refused_with_both_directories() -> None:
    desk = Desk()
    deep = await desk.handle("deep")
    args = RenameArgs(DirOpArgs(desk.root, b"a"), DirOpArgs(deep, b"b"))
    root, inner = desk.volume.root.fattr3, desk.export.node(deep).fattr3
    assert await desk.call("RENAME", args, RENAME) == (
        Status.ROFS,
        RenameWcc(WccData(wcc_attr_of(root), root), WccData(wcc_attr_of(inner), inner)),
    )


async def test_rename_into_a_forged_directory_still_tells_of_the_other() -> None:
    desk = Desk()
    args = RenameArgs(DirOpArgs(desk.root, b"a"), DirOpArgs(b"forged", b"b"))
    root = desk.volume.root.fattr3
    assert await desk.call("RENAME", args, RENAME) == (
        Status.BADHANDLE,
        RenameWcc(WccData(wcc_attr_of(root), root), WccData(None, None)),
    )


async def test_link_is_refused_with_file_and_directory() -> None:
    desk = Desk()
    handle = await desk.handle("hello.txt")
    file, root = desk.export.node(handle).fattr3, desk.volume.root.fattr3
    args = LinkArgs(handle, DirOpArgs(desk.root, b"b"))
    refused = LinkWcc(file, WccData(wcc_attr_of(root), root))
    assert await desk.call("LINK", args, LINK) == (Status.ROFS, refused)


# ---------------------------------------------------------------- on the wire


def both_ways(codec: Codec[Any], value: Any, hand: Hand) -> None:
    assert encode(codec, value) == hand.bytes()
    assert decode(codec, hand.bytes()) == value


@given(CREATES)
def test_create_args(value: CreateArgs) -> None:
    how, what = value.how
    hand = Hand().dir_op(value.where).u32(how)
    both_ways(CREATE_ARGS, value, hand.fixed(what) if isinstance(what, bytes) else hand.sattr(what))


@given(MKDIRS)
def test_mkdir_args(value: MkdirArgs) -> None:
    both_ways(MKDIR_ARGS, value, Hand().dir_op(value.where).sattr(value.attributes))


@given(SYMLINKS)
def test_symlink_args(value: SymlinkArgs) -> None:
    link = value.symlink
    hand = Hand().dir_op(value.where).sattr(link.symlink_attributes).opaque(link.symlink_data)
    both_ways(SYMLINK_ARGS, value, hand)


@given(MKNODS)
def test_mknod_args(value: MknodArgs) -> None:
    kind, what = value.what
    hand = Hand().dir_op(value.where).u32(kind)
    if isinstance(what, DeviceData):
        hand.sattr(what.dev_attributes).u32(what.spec.specdata1, what.spec.specdata2)
    elif what is not None:
        hand.sattr(what)
    both_ways(MKNOD_ARGS, value, hand)


@given(DIR_OPS)
def test_remove_args(what: DirOpArgs) -> None:
    both_ways(REMOVE_ARGS, RemoveArgs(what), Hand().dir_op(what))


@given(RENAMES)
def test_rename_args(value: RenameArgs) -> None:
    both_ways(RENAME_ARGS, value, Hand().dir_op(value.from_).dir_op(value.to))


@given(LINKS)
def test_link_args(value: LinkArgs) -> None:
    both_ways(LINK_ARGS, value, Hand().opaque(value.file).dir_op(value.link))
