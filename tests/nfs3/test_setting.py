import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import GuardMismatch
from hfnfs.nfs3.setting import (
    SETATTR_ARGS,
    SETATTR_OK,
    SETATTR_RESULT,
    SetattrArgs,
    SetattrOk,
    decode_setattr_args,
    encode_setattr_ok,
    setattr_,
)
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.types import NfsTime3, Sattr3, TimeHow, WccData, changed_from
from hfnfs.rpc.xdr import decode, encode
from hfnfs.vfs.attributes import SERVER_TIME, Wanted
from tests.nfs3.by_hand import HANDLES, PACKED_FATTRS, SATTRS, TIMES, WCCS, Hand
from tests.nfs3.changes import JOURNALED, Changes
from tests.nfs3.desk import ROOT_CALLER, Desk, ok, user
from tests.nfs3.twins import assert_decodes_alike, spoiled

SETATTR = (SETATTR_ARGS, SETATTR_RESULT)
NO_CHANGE = (TimeHow.DONT_CHANGE, None)
NOW = (TimeHow.SET_TO_SERVER_TIME, None)
NOTHING = Sattr3(None, None, None, None, NO_CHANGE, NO_CHANGE)


def at(seconds: int, nseconds: int) -> tuple[TimeHow, NfsTime3]:
    return TimeHow.SET_TO_CLIENT_TIME, NfsTime3(seconds, nseconds)


async def test_what_is_to_be_set_is_told_in_the_volumes_words() -> None:
    desk = Desk(changes=(changes := Changes()))
    handle = await desk.handle("hello.txt")
    new = Sattr3(0o100644, 5, 6, 7, NOW, at(12, 345))
    before = desk.export.node(handle).fattr3
    result = ok(await desk.call("SETATTR", SetattrArgs(handle, new, None), SETATTR))
    after = desk.export.node(handle).fattr3
    wanted = Wanted(0o644, 5, 6, 7, SERVER_TIME, 12_000_000_345)
    assert changes.asked == [("set", wanted, None)]
    assert result == SetattrOk(changed_from(before, after))
    assert before != after


async def test_what_is_not_to_be_set_is_left_out() -> None:
    desk = Desk(changes=(changes := Changes()))
    handle = await desk.handle("hello.txt")
    ok(await desk.call("SETATTR", SetattrArgs(handle, NOTHING, NfsTime3(3, 4)), SETATTR))
    assert changes.asked == [("set", Wanted(), 3_000_000_004)]


async def test_the_answer_waits_until_it_is_on_the_disk() -> None:
    desk = Desk(changes=Changes())
    handle = await desk.handle("hello.txt")
    held = setattr_(desk.export, SetattrArgs(handle, NOTHING, None), ROOT_CALLER)
    assert held.until == JOURNALED


@pytest.mark.parametrize(
    "args",
    [
        SetattrArgs(b"", Sattr3(None, None, None, None, at(1, 10**9), NO_CHANGE), None),
        SetattrArgs(b"", Sattr3(None, None, None, None, NO_CHANGE, at(1, 2**32 - 1)), None),
        SetattrArgs(b"", NOTHING, NfsTime3(0, 10**9)),
    ],
)
async def test_more_nanoseconds_than_a_second_has_are_inval(args: SetattrArgs) -> None:
    desk = Desk(changes=(changes := Changes()))
    args = SetattrArgs(await desk.handle("hello.txt"), args.new_attributes, args.guard)
    status, _ = await desk.call("SETATTR", args, SETATTR)
    assert status is Status.INVAL
    assert not changes.asked


async def test_a_guard_that_is_not_the_ctime_is_not_sync() -> None:
    desk = Desk(changes=(changes := Changes()))
    handle = await desk.handle("hello.txt")
    changes.error = GuardMismatch("changed since")
    packed = desk.export.node(handle).fattr3
    args = SetattrArgs(handle, NOTHING, NfsTime3(3, 4))
    failed = (Status.NOT_SYNC, changed_from(packed, packed))
    assert await desk.call("SETATTR", args, SETATTR) == failed


async def test_who_may_not_set_it_is_told_so() -> None:
    desk = Desk(changes=(changes := Changes()))
    args = SetattrArgs(
        await desk.handle("hello.txt"), Sattr3(0o777, None, None, None, NO_CHANGE, NO_CHANGE), None
    )
    status, _ = await desk.call("SETATTR", args, SETATTR, user(5, 5))
    assert status is Status.PERM
    assert not changes.asked


async def test_it_is_refused_in_a_read_only_volume_with_what_did_not_change() -> None:
    desk = Desk()
    handle = await desk.handle("hello.txt")
    packed = desk.export.node(handle).fattr3
    refused = (Status.ROFS, changed_from(packed, packed))
    assert await desk.call("SETATTR", SetattrArgs(handle, NOTHING, None), SETATTR) == refused


async def test_it_looks_at_the_handle_first() -> None:
    answered = await Desk().call("SETATTR", SetattrArgs(b"forged", NOTHING, None), SETATTR)
    assert answered == (Status.BADHANDLE, WccData(None, None))


@given(HANDLES, SATTRS, st.none() | TIMES)
def test_its_args_lie_on_the_wire_as_the_rfc_says(
    handle: bytes, wanted: Sattr3, guard: NfsTime3 | None
) -> None:
    hand = Hand().opaque(handle).sattr(wanted)
    packed = (hand.u32(1, guard.seconds, guard.nseconds) if guard else hand.u32(0)).bytes()
    args = SetattrArgs(handle, wanted, guard)
    assert encode(SETATTR_ARGS, args) == packed
    assert decode(SETATTR_ARGS, packed) == args


@given(WCCS)
def test_its_result_lies_on_the_wire_as_the_rfc_says(wcc: WccData) -> None:
    packed = Hand().wcc(wcc).bytes()
    assert encode(SETATTR_OK, SetattrOk(wcc)) == packed
    assert encode(SETATTR_RESULT, (Status.IO, wcc)) == Hand().u32(Status.IO).bytes() + packed
    assert decode(SETATTR_OK, packed) == SetattrOk(wcc)


@given(HANDLES, SATTRS, st.none() | TIMES, st.integers(0, 200), st.integers(0, 255))
def test_its_args_by_hand_are_as_declared(
    handle: bytes, wanted: Sattr3, guard: NfsTime3 | None, at: int, byte: int
) -> None:
    packed = encode(SETATTR_ARGS, SetattrArgs(handle, wanted, guard))
    assert_decodes_alike(decode_setattr_args, SETATTR_ARGS, packed)
    for cut in (len(packed), at, len(packed) + 4):
        assert_decodes_alike(decode_setattr_args, SETATTR_ARGS, spoiled(packed, at, byte, cut))


@given(PACKED_FATTRS, PACKED_FATTRS)
def test_its_result_by_hand_is_as_declared(before: bytes, after: bytes) -> None:
    result = SetattrOk(changed_from(before, after))
    assert encode_setattr_ok(result) == encode(SETATTR_RESULT, (Status.OK, result))
