from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs import errors
from hfnfs.nfs3 import naming
from hfnfs.nfs3.handle import HANDLE_BYTES
from hfnfs.nfs3.naming import (
    CREATE_ARGS,
    LINK_ARGS,
    LINK_RESULT,
    LINK_WCC,
    MADE_OK,
    MADE_RESULT,
    MKDIR_ARGS,
    MKNOD_ARGS,
    REMOVE_ARGS,
    REMOVE_OK,
    REMOVE_RESULT,
    RENAME_ARGS,
    RENAME_RESULT,
    RENAME_WCC,
    SYMLINK_ARGS,
    CreateArgs,
    CreateMode,
    DeviceData,
    LinkArgs,
    LinkWcc,
    MadeOk,
    MkdirArgs,
    MknodArgs,
    RemoveArgs,
    RemoveOk,
    RenameArgs,
    RenameWcc,
    SymlinkArgs,
    SymlinkData,
    decode_create_args,
    decode_remove_args,
    encode_made_ok,
    encode_remove_ok,
)
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.types import (
    DirOpArgs,
    Sattr3,
    SpecData3,
    TimeHow,
    WccData,
    changed_from,
)
from hfnfs.rpc.xdr import Codec, decode, encode
from hfnfs.vfs.attributes import Wanted
from hfnfs.vfs.needs import Journaled, Listed, Subtree
from hfnfs.vfs.node import FileType
from tests.nfs3.by_hand import (
    CREATES,
    DIR_OPS,
    HANDLES,
    LINKS,
    MKDIRS,
    MKNODS,
    OUR_HANDLES,
    PACKED_FATTRS,
    RENAMES,
    SYMLINKS,
    WCCS,
    Hand,
)
from tests.nfs3.changes import JOURNALED, Changes
from tests.nfs3.desk import ROOT_CALLER, Desk, ok, user
from tests.nfs3.twins import assert_decodes_alike, spoiled

NO_CHANGE = (TimeHow.DONT_CHANGE, None)
PLAIN = Sattr3(0o644, None, None, None, NO_CHANGE, NO_CHANGE)
CREATE = (CREATE_ARGS, MADE_RESULT)
MKNOD = (MKNOD_ARGS, MADE_RESULT)
REMOVE = (REMOVE_ARGS, REMOVE_RESULT)
RENAME = (RENAME_ARGS, RENAME_RESULT)
LINK = (LINK_ARGS, LINK_RESULT)


def makings(directory: bytes) -> dict[str, tuple[Codec[Any], Any]]:
    """A call of each procedure that makes something in a directory."""
    where = DirOpArgs(directory, b"new")
    return {
        "CREATE": (CREATE_ARGS, CreateArgs(where, (CreateMode.EXCLUSIVE, b"12345678"))),
        "MKDIR": (MKDIR_ARGS, MkdirArgs(where, PLAIN)),
        "SYMLINK": (SYMLINK_ARGS, SymlinkArgs(where, SymlinkData(PLAIN, b"target"))),
        "MKNOD": (MKNOD_ARGS, MknodArgs(where, (FileType.FIFO, PLAIN))),
    }


def changes_of(directory: bytes) -> dict[str, tuple[Codec[Any], Any]]:
    """A call of each procedure that changes the names of one directory."""
    removing = (REMOVE_ARGS, RemoveArgs(DirOpArgs(directory, b"old")))
    return {**makings(directory), "REMOVE": removing, "RMDIR": removing}


RESULTS = dict.fromkeys(makings(b""), MADE_RESULT) | dict.fromkeys(
    ("REMOVE", "RMDIR"), REMOVE_RESULT
)


# ------------------------------------------------------------------ making


@pytest.mark.parametrize(
    ("how", "asked"),
    [
        ((CreateMode.UNCHECKED, PLAIN), ("create", b"new", Wanted(0o644, 0, 0), False)),
        ((CreateMode.GUARDED, PLAIN), ("create", b"new", Wanted(0o644, 0, 0), True)),
        (
            (CreateMode.EXCLUSIVE, b"12345678"),
            ("create_exclusive", b"new", b"12345678", Wanted(0o600, 0, 0)),
        ),
    ],
)
async def test_create_tells_the_volume_how(how: Any, asked: Any) -> None:
    desk = Desk(changes=(changes := Changes()))
    changes.made = await desk.node("hello.txt")
    before = desk.volume.root.fattr3
    result = ok(await desk.call("CREATE", CreateArgs(DirOpArgs(desk.root, b"new"), how), CREATE))
    after = desk.volume.root.fattr3
    assert changes.asked == [asked]
    assert result == MadeOk(
        await desk.handle("hello.txt"), changes.made.fattr3, changed_from(before, after)
    )
    assert before != after


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("MKDIR", ("make_directory", b"new", Wanted(0o644, 7, 8))),
        ("SYMLINK", ("make_symlink", b"new", b"target", Wanted(0o644, 7, 8))),
    ],
)
async def test_what_is_made_is_told_with_its_owner(name: str, asked: Any) -> None:
    desk = Desk(changes=(changes := Changes()))
    changes.made = await desk.node("hello.txt")
    codec, args = makings(desk.root)[name]
    result = ok(await desk.call(name, args, (codec, MADE_RESULT), user(7, 8)))
    assert changes.asked == [asked]
    assert result.obj == await desk.handle("hello.txt")


@pytest.mark.parametrize(
    ("what", "status"),
    [
        ((FileType.FIFO, PLAIN), Status.NOTSUPP),
        ((FileType.SOCK, PLAIN), Status.NOTSUPP),
        ((FileType.CHR, DeviceData(PLAIN, SpecData3(1, 2))), Status.NOTSUPP),
        ((FileType.BLK, DeviceData(PLAIN, SpecData3(1, 2))), Status.NOTSUPP),
        ((FileType.REG, None), Status.BADTYPE),
        ((FileType.DIR, None), Status.BADTYPE),
        ((FileType.LNK, None), Status.BADTYPE),
    ],
)
async def test_no_special_files_are_made(what: Any, status: Status) -> None:
    desk = Desk(changes=Changes())
    packed = desk.volume.root.fattr3
    answered = await desk.call("MKNOD", MknodArgs(DirOpArgs(desk.root, b"new"), what), MKNOD)
    assert answered == (status, changed_from(packed, packed))


# ------------------------------------------------- removing, renaming, linking


@pytest.mark.parametrize(("name", "asked"), [("REMOVE", "remove"), ("RMDIR", "remove_directory")])
async def test_removing_tells_what_the_directory_was_and_is(name: str, asked: str) -> None:
    desk = Desk(changes=(changes := Changes()))
    before = desk.volume.root.fattr3
    result = ok(await desk.call(name, RemoveArgs(DirOpArgs(desk.root, b"old")), REMOVE))
    assert changes.asked == [(asked, b"old")]
    assert result == RemoveOk(changed_from(before, desk.volume.root.fattr3))


async def test_rename_tells_what_both_directories_were_and_are() -> None:
    desk = Desk(changes=(changes := Changes()))
    deep = await desk.handle("deep")
    before, inner_before = desk.volume.root.fattr3, desk.export.node(deep).fattr3
    args = RenameArgs(DirOpArgs(desk.root, b"a"), DirOpArgs(deep, b"b"))
    result = ok(await desk.call("RENAME", args, RENAME))
    assert changes.asked == [("rename", b"a", b"b")]
    assert result == RenameWcc(
        changed_from(before, desk.volume.root.fattr3),
        changed_from(inner_before, desk.export.node(deep).fattr3),
    )


async def test_link_tells_of_file_and_directory() -> None:
    desk = Desk(changes=(changes := Changes()))
    handle = await desk.handle("hello.txt")
    before = desk.volume.root.fattr3
    result = ok(await desk.call("LINK", LinkArgs(handle, DirOpArgs(desk.root, b"b")), LINK))
    assert changes.asked == [("link", b"b")]
    file = desk.export.node(handle).fattr3
    assert result == LinkWcc(file, changed_from(before, desk.volume.root.fattr3))


# -------------------------------------------------------------- what all share


async def test_every_change_of_names_waits_until_it_is_on_the_disk() -> None:
    desk = Desk(changes=(changes := Changes()))
    handle = await desk.handle("hello.txt")
    changes.made = desk.export.node(handle)
    desk.far.met.clear()
    for name, (codec, args) in changes_of(desk.root).items():
        if name != "MKNOD":
            ok(await desk.call(name, args, (codec, RESULTS[name])))
    where = DirOpArgs(desk.root, b"b")
    ok(await desk.call("RENAME", RenameArgs(where, where), RENAME))
    ok(await desk.call("LINK", LinkArgs(handle, where), LINK))
    assert desk.far.met == [JOURNALED] * 7


async def test_a_change_that_misses_something_is_made_once_it_is_there() -> None:
    desk = Desk(changes=(changes := Changes()))
    need = Subtree(desk.volume.root.fileid, 0.0)
    changes.missing = [need, need]
    before = desk.volume.root.fattr3
    result = ok(await desk.call("REMOVE", RemoveArgs(DirOpArgs(desk.root, b"old")), REMOVE))
    assert desk.far.met == [need, need, JOURNALED]
    assert len(changes.asked) == 1
    assert result.dir_wcc == changed_from(before, desk.volume.root.fattr3)


async def test_before_is_what_was_before_the_change_and_not_before_the_wait() -> None:
    desk = Desk(changes=(changes := Changes()))
    root = desk.volume.root
    changes.missing = [Listed(root.fileid, 0.0)]
    result = ok(await desk.call("REMOVE", RemoveArgs(DirOpArgs(desk.root, b"old")), REMOVE))
    now = root.fattr3
    root.ctime_ns -= 1
    root.changed()
    assert result.dir_wcc == changed_from(root.fattr3, now)


async def test_a_change_that_cannot_become_durable_is_an_io_error_and_not_later() -> None:
    desk = Desk(changes=(changes := Changes()))

    def refuse(need: Any) -> None:
        if isinstance(need, Journaled):
            raise errors.TryLater("the disk is slow")

    desk.far.before_meeting = refuse
    status, _ = await desk.call("REMOVE", RemoveArgs(DirOpArgs(desk.root, b"old")), REMOVE)
    assert status is Status.IO
    assert len(changes.asked) == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.EntryExists("x"), Status.EXIST),
        (errors.NoEntry("x"), Status.NOENT),
        (errors.NotDirectory("x"), Status.NOTDIR),
        (errors.IsDirectory("x"), Status.ISDIR),
        (errors.NotEmpty("x"), Status.NOTEMPTY),
        (errors.InvalidArgument("x"), Status.INVAL),
        (errors.NotSupported("x"), Status.NOTSUPP),
        (errors.NoSpace("x"), Status.NOSPC),
        (errors.QuotaExceeded("x"), Status.DQUOT),
        (errors.FileTooLarge("x"), Status.FBIG),
        (errors.TryLater("x"), Status.JUKEBOX),
        (errors.CacheUnusable("x"), Status.IO),
        (errors.RemoteUnavailable("x"), Status.IO),
    ],
)
async def test_a_refused_change_carries_what_did_not_change(
    error: Exception, status: Status
) -> None:
    desk = Desk(changes=(changes := Changes()))
    changes.error = error
    packed = desk.volume.root.fattr3
    for name in ("CREATE", "MKDIR", "SYMLINK", "REMOVE", "RMDIR"):
        codec, args = changes_of(desk.root)[name]
        answered = await desk.call(name, args, (codec, RESULTS[name]))
        assert answered == (status, changed_from(packed, packed))


@pytest.mark.parametrize("name", changes_of(b""))
async def test_a_read_only_volume_refuses_with_what_did_not_change(name: str) -> None:
    desk = Desk()
    codec, args = changes_of(desk.root)[name]
    packed = desk.volume.root.fattr3
    refused = (Status.ROFS, changed_from(packed, packed))
    assert await desk.call(name, args, (codec, RESULTS[name])) == refused


@pytest.mark.parametrize("name", changes_of(b""))
async def test_a_change_of_names_looks_at_the_handle_first(name: str) -> None:
    codec, args = changes_of(b"forged")[name]
    answered = await Desk().call(name, args, (codec, RESULTS[name]))
    assert answered == (Status.BADHANDLE, WccData(None, None))


async def test_a_read_only_volume_refuses_rename_with_both_directories() -> None:
    desk = Desk()
    deep = await desk.handle("deep")
    args = RenameArgs(DirOpArgs(desk.root, b"a"), DirOpArgs(deep, b"b"))
    root, inner = desk.volume.root.fattr3, desk.export.node(deep).fattr3
    refused = RenameWcc(changed_from(root, root), changed_from(inner, inner))
    assert await desk.call("RENAME", args, RENAME) == (Status.ROFS, refused)


async def test_rename_into_a_forged_directory_still_tells_of_the_other() -> None:
    desk = Desk()
    args = RenameArgs(DirOpArgs(desk.root, b"a"), DirOpArgs(b"forged", b"b"))
    root = desk.volume.root.fattr3
    assert await desk.call("RENAME", args, RENAME) == (
        Status.BADHANDLE,
        RenameWcc(changed_from(root, root), WccData(None, None)),
    )


async def test_a_read_only_volume_refuses_link_with_file_and_directory() -> None:
    desk = Desk()
    handle = await desk.handle("hello.txt")
    file, root = desk.export.node(handle).fattr3, desk.volume.root.fattr3
    args = LinkArgs(handle, DirOpArgs(desk.root, b"b"))
    refused = LinkWcc(file, changed_from(root, root))
    assert await desk.call("LINK", args, LINK) == (Status.ROFS, refused)


def test_a_refused_making_makes_no_object() -> None:
    desk = Desk(changes=(changes := Changes()))
    changes.error = errors.EntryExists("x")
    args = CreateArgs(DirOpArgs(desk.root, b"new"), (CreateMode.GUARDED, PLAIN))
    with pytest.raises(errors.EntryExists):
        naming.create(desk.export, args, ROOT_CALLER)


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


@given(st.none() | HANDLES, st.none() | PACKED_FATTRS, WCCS)
def test_result_of_making(handle: bytes | None, fattr3: bytes | None, wcc: WccData) -> None:
    hand = Hand().u32(0) if handle is None else Hand().u32(1).opaque(handle)
    both_ways(MADE_OK, MadeOk(handle, fattr3, wcc), hand.post_op_attr(fattr3).wcc(wcc))


@given(WCCS)
def test_result_of_removing(wcc: WccData) -> None:
    both_ways(REMOVE_OK, RemoveOk(wcc), Hand().wcc(wcc))


@given(WCCS, WCCS)
def test_both_results_of_rename(source: WccData, target: WccData) -> None:
    value = RenameWcc(source, target)
    both_ways(RENAME_WCC, value, Hand().wcc(source).wcc(target))
    both_ways(RENAME_RESULT, (Status.IO, value), Hand().u32(5).wcc(source).wcc(target))


@given(st.none() | PACKED_FATTRS, WCCS)
def test_both_results_of_link(fattr3: bytes | None, wcc: WccData) -> None:
    value = LinkWcc(fattr3, wcc)
    both_ways(LINK_WCC, value, Hand().post_op_attr(fattr3).wcc(wcc))
    both_ways(LINK_RESULT, (Status.IO, value), Hand().u32(5).post_op_attr(fattr3).wcc(wcc))


SPOILING = (st.integers(0, 400), st.integers(0, 255), st.integers(0, 400))


@given(CREATES)
def test_create_args_by_hand_are_as_declared(value: CreateArgs) -> None:
    assert_decodes_alike(decode_create_args, CREATE_ARGS, encode(CREATE_ARGS, value))


@given(CREATES, *SPOILING)
def test_create_args_by_hand_refuse_what_the_declaration_refuses(
    value: CreateArgs, at: int, byte: int, cut: int
) -> None:
    packed = spoiled(encode(CREATE_ARGS, value), at, byte, cut)
    assert_decodes_alike(decode_create_args, CREATE_ARGS, packed)


@given(DIR_OPS, *SPOILING)
def test_remove_args_by_hand_are_as_declared(what: DirOpArgs, at: int, byte: int, cut: int) -> None:
    packed = encode(REMOVE_ARGS, RemoveArgs(what))
    assert_decodes_alike(decode_remove_args, REMOVE_ARGS, packed)
    assert_decodes_alike(decode_remove_args, REMOVE_ARGS, spoiled(packed, at, byte, cut))


@pytest.mark.parametrize("length", [4096, 4097])
def test_the_longest_name_by_hand_is_the_longest_declared(length: int) -> None:
    packed = Hand().opaque(bytes(HANDLE_BYTES), b"x" * length).bytes()
    assert_decodes_alike(decode_remove_args, REMOVE_ARGS, packed)


@given(OUR_HANDLES, PACKED_FATTRS, PACKED_FATTRS, PACKED_FATTRS)
def test_results_by_hand_are_as_declared(
    handle: bytes, fattr3: bytes, before: bytes, after: bytes
) -> None:
    wcc = changed_from(before, after)
    made, removed = MadeOk(handle, fattr3, wcc), RemoveOk(wcc)
    assert encode_made_ok(made) == encode(MADE_RESULT, (Status.OK, made))
    assert encode_remove_ok(removed) == encode(REMOVE_RESULT, (Status.OK, removed))
