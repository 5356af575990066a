from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs import errors
from hfnfs.config import TRANSFER_BYTES_MAX
from hfnfs.nfs3.handle import HANDLE_BYTES
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.types import WccData, changed_from
from hfnfs.nfs3.writing import (
    COMMIT_ARGS,
    COMMIT_OK,
    COMMIT_RESULT,
    WRITE_ARGS,
    WRITE_OK,
    WRITE_RESULT,
    WRITTEN_BYTES_MAX,
    CommitArgs,
    CommitOk,
    Stable,
    WriteArgs,
    WriteOk,
    Written,
    decode_commit_args,
    decode_write_args,
    encode_commit_ok,
    encode_write_ok,
    keep_write_args,
)
from hfnfs.rpc.xdr import decode, encode
from hfnfs.vfs.needs import Durable, Need, StagingRoom, Synced
from tests.nfs3.by_hand import COMMITS, PACKED_FATTRS, U32, VERIFIERS, WCCS, WRITES, Hand
from tests.nfs3.changes import Changes
from tests.nfs3.desk import NUMBER_OF, ROOT_CALLER, Desk, ok
from tests.nfs3.twins import assert_decodes_alike, spoiled

WRITE = (WRITE_ARGS, WRITE_RESULT)
COMMIT = (COMMIT_ARGS, COMMIT_RESULT)


class Verified:
    def __init__(self, write_verifier: bytes) -> None:
        self.write_verifier = write_verifier


# ------------------------------------------------------------------- WRITE


async def test_an_unstable_write_is_answered_at_once() -> None:
    desk = Desk(changes=(changes := Changes()))
    handle = await desk.handle("hello.txt")
    before = desk.export.node(handle).fattr3
    args = encode(WRITE_ARGS, WriteArgs(handle, 5, 3, Stable.UNSTABLE, b"abc"))
    reply = desk.nfs.runner(3, NUMBER_OF["WRITE"], ROOT_CALLER)(args, 0, len(args))
    assert isinstance(reply, bytes)
    wcc = changed_from(before, desk.export.node(handle).fattr3)
    expected = WriteOk(wcc, 3, Stable.UNSTABLE, b"verifier")
    assert decode(WRITE_RESULT, reply) == (Status.OK, expected)
    assert changes.asked == [("write", 5, b"abc")]


@pytest.mark.parametrize("stable", [Stable.DATA_SYNC, Stable.FILE_SYNC])
async def test_a_stable_write_waits_until_it_is_durable(stable: Stable) -> None:
    desk = Desk(changes=Changes())
    handle = await desk.handle("hello.txt")
    desk.far.met.clear()
    result = ok(await desk.call("WRITE", WriteArgs(handle, 0, 3, stable, b"abc"), WRITE))
    assert desk.far.met == [Durable(desk.export.node(handle).fileid, 1)]
    assert result.committed is Stable.FILE_SYNC


async def test_the_verifier_is_that_of_the_answer_and_not_of_the_call() -> None:
    desk = Desk(changes=(changes := Changes()))
    handle = await desk.handle("hello.txt")

    def fail(need: Need) -> None:
        changes.write_verifier = b"restart!"

    desk.far.before_meeting = fail
    args = WriteArgs(handle, 0, 3, Stable.FILE_SYNC, b"abc")
    assert ok(await desk.call("WRITE", args, WRITE)).verf == b"restart!"
    changes.write_verifier = b"verifier"
    assert ok(await desk.call("COMMIT", CommitArgs(handle, 0, 0), COMMIT)).verf == b"restart!"


async def test_a_write_that_has_to_wait_keeps_its_data() -> None:
    desk = Desk(changes=(changes := Changes()))
    handle = await desk.handle("hello.txt")
    desk.far.met.clear()
    changes.missing = [Synced(5), StagingRoom(3)]
    args = WriteArgs(handle, 0, 3, Stable.UNSTABLE, b"abc")
    ok(await desk.call("WRITE", args, WRITE))
    assert desk.far.met == [Synced(5), StagingRoom(3)]
    assert changes.asked == [("write", 0, b"abc")]


async def test_a_count_below_the_data_writes_no_more_than_that() -> None:
    desk = Desk(changes=(changes := Changes()))
    handle = await desk.handle("hello.txt")
    result = ok(await desk.call("WRITE", WriteArgs(handle, 0, 2, Stable.UNSTABLE, b"abc"), WRITE))
    assert result.count == 2
    assert changes.asked == [("write", 0, b"ab")]


async def test_a_count_above_the_data_is_inval() -> None:
    desk = Desk(changes=(changes := Changes()))
    handle = await desk.handle("hello.txt")
    packed = desk.export.node(handle).fattr3
    args = WriteArgs(handle, 0, 4, Stable.UNSTABLE, b"abc")
    failed = (Status.INVAL, changed_from(packed, packed))
    assert await desk.call("WRITE", args, WRITE) == failed
    assert changes.asked == []


async def test_more_than_wtmax_is_written_whole() -> None:
    desk = Desk(changes=(changes := Changes()))
    args = WriteArgs(await desk.handle("hello.txt"), 0, 0, Stable.UNSTABLE, b"")
    for size in (TRANSFER_BYTES_MAX + 4, WRITTEN_BYTES_MAX):
        changes.asked.clear()
        args = replace(args, count=size, data=bytes(size))
        assert ok(await desk.call("WRITE", args, WRITE)).count == size
        assert changes.asked == [("write", 0, bytes(size))]


@pytest.mark.parametrize("handle", [b"", bytes(HANDLE_BYTES)])
def test_more_than_a_record_holds_is_refused_by_both(handle: bytes) -> None:
    hand = Hand().opaque(handle).u64(0).u32(0, 0)
    packed = hand.opaque(bytes(WRITTEN_BYTES_MAX + 4)).bytes()
    assert_decodes_alike(decode_write_args, WRITE_ARGS, packed)


async def test_a_write_copies_nothing_on_its_way_to_the_staged_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(changes=(changes := Changes()))
    handle = await desk.handle("hello.txt")
    args = encode(WRITE_ARGS, WriteArgs(handle, 0, 1 << 20, Stable.UNSTABLE, bytes(1 << 20)))
    record = memoryview(bytearray(args)).toreadonly()
    taken: list[object] = []

    def take(node: object, offset: int, data: bytes | memoryview) -> int:
        assert isinstance(data, memoryview)
        taken.append(data.obj)
        return len(data)

    monkeypatch.setattr(changes, "write", take)
    answered = desk.nfs.runner(3, NUMBER_OF["WRITE"], ROOT_CALLER)(record, 0, len(record))
    assert isinstance(answered, bytes)
    assert taken == [record.obj]
    assert taken[0] is record.obj


def test_what_is_kept_shares_no_memory() -> None:
    record = bytearray(b"abc")
    args = WriteArgs(b"file", 1, 3, Stable.FILE_SYNC, memoryview(record))
    kept = keep_write_args(args)
    record[:] = b"xyz"
    assert kept == WriteArgs(b"file", 1, 3, Stable.FILE_SYNC, b"abc")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NoSpace("x"), Status.NOSPC),
        (errors.QuotaExceeded("x"), Status.DQUOT),
        (errors.FileTooLarge("x"), Status.FBIG),
        (errors.IsDirectory("x"), Status.ISDIR),
        (errors.InvalidArgument("x"), Status.INVAL),
        (errors.TryLater("x"), Status.JUKEBOX),
    ],
)
async def test_a_write_that_failed_says_why(error: Exception, status: Status) -> None:
    desk = Desk(changes=(changes := Changes()))
    handle = await desk.handle("hello.txt")
    changes.error = error
    packed = desk.export.node(handle).fattr3
    args = WriteArgs(handle, 0, 3, Stable.UNSTABLE, b"abc")
    assert await desk.call("WRITE", args, WRITE) == (status, changed_from(packed, packed))


async def test_a_read_only_volume_refuses_a_write_with_what_did_not_change() -> None:
    desk = Desk()
    handle = await desk.handle("hello.txt")
    args = WriteArgs(handle, 0, 3, Stable.UNSTABLE, b"abc")
    packed = desk.export.node(handle).fattr3
    assert await desk.call("WRITE", args, WRITE) == (Status.ROFS, changed_from(packed, packed))


async def test_write_looks_at_the_handle_first() -> None:
    args = WriteArgs(b"forged", 0, 3, Stable.FILE_SYNC, b"abc")
    assert await Desk().call("WRITE", args, WRITE) == (Status.BADHANDLE, WccData(None, None))


@given(WRITES)
def test_write_args_lie_on_the_wire_as_the_rfc_says(value: WriteArgs) -> None:
    hand = Hand().opaque(value.file).u64(value.offset).u32(value.count, value.stable)
    packed = hand.opaque(bytes(value.data)).bytes()
    assert encode(WRITE_ARGS, value) == packed
    assert_decodes_alike(decode_write_args, WRITE_ARGS, packed)


@given(WRITES, st.integers(0, 300), st.integers(0, 255), st.integers(0, 300))
def test_write_args_by_hand_refuse_what_the_declaration_refuses(
    value: WriteArgs, at: int, byte: int, cut: int
) -> None:
    packed = encode(WRITE_ARGS, value)
    assert_decodes_alike(decode_write_args, WRITE_ARGS, spoiled(packed, at, byte, cut))


@given(PACKED_FATTRS, PACKED_FATTRS, U32, st.sampled_from(list(Stable)), VERIFIERS)
def test_write_result_by_hand_is_as_declared(
    before: bytes, after: bytes, count: int, committed: Stable, verifier: bytes
) -> None:
    declared = WriteOk(changed_from(before, after), count, committed, verifier)
    by_hand = encode_write_ok(Written(before, after, count, committed, Verified(verifier)))
    assert by_hand == encode(WRITE_RESULT, (Status.OK, declared))


@given(WCCS, U32, st.sampled_from(list(Stable)), VERIFIERS)
def test_write_result_lies_on_the_wire_as_the_rfc_says(
    wcc: WccData, count: int, committed: Stable, verifier: bytes
) -> None:
    packed = Hand().wcc(wcc).u32(count, committed).fixed(verifier).bytes()
    assert encode(WRITE_OK, WriteOk(wcc, count, committed, verifier)) == packed
    assert decode(WRITE_OK, packed) == WriteOk(wcc, count, committed, verifier)


# ------------------------------------------------------------------ COMMIT


async def test_commit_waits_until_the_file_is_durable_whatever_its_range() -> None:
    desk = Desk(changes=(changes := Changes()))
    handle = await desk.handle("hello.txt")
    packed = desk.export.node(handle).fattr3
    desk.far.met.clear()
    result = ok(await desk.call("COMMIT", CommitArgs(handle, 5, 7), COMMIT))
    assert desk.far.met == [Durable(desk.export.node(handle).fileid, 1)]
    assert result == CommitOk(changed_from(packed, packed), b"verifier")
    assert changes.asked == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NoSpace("x"), Status.NOSPC),
        (errors.QuotaReached("x"), Status.DQUOT),
        (errors.Forbidden("x"), Status.IO),
        (errors.RateLimited("x"), Status.IO),
        (errors.TryLater("x"), Status.IO),
        (errors.CacheUnusable("x"), Status.IO),
    ],
)
async def test_a_commit_that_failed_says_so(error: Exception, status: Status) -> None:
    desk = Desk(changes=Changes())
    handle = await desk.handle("hello.txt")

    def refuse(need: Need) -> None:
        raise error

    desk.far.before_meeting = refuse
    packed = desk.export.node(handle).fattr3
    answered = await desk.call("COMMIT", CommitArgs(handle, 0, 0), COMMIT)
    assert answered == (status, changed_from(packed, packed))


async def test_a_read_only_volume_refuses_a_commit_with_what_did_not_change() -> None:
    desk = Desk()
    handle = await desk.handle("hello.txt")
    packed = desk.export.node(handle).fattr3
    refused = (Status.ROFS, changed_from(packed, packed))
    assert await desk.call("COMMIT", CommitArgs(handle, 0, 0), COMMIT) == refused


@given(COMMITS)
def test_commit_args_lie_on_the_wire_as_the_rfc_says(value: CommitArgs) -> None:
    packed = Hand().opaque(value.file).u64(value.offset).u32(value.count).bytes()
    assert encode(COMMIT_ARGS, value) == packed
    assert_decodes_alike(decode_commit_args, COMMIT_ARGS, packed)


@given(COMMITS, st.integers(0, 100), st.integers(0, 255), st.integers(0, 100))
def test_commit_args_by_hand_refuse_what_the_declaration_refuses(
    value: CommitArgs, at: int, byte: int, cut: int
) -> None:
    packed = encode(COMMIT_ARGS, value)
    assert_decodes_alike(decode_commit_args, COMMIT_ARGS, spoiled(packed, at, byte, cut))


@given(PACKED_FATTRS, VERIFIERS)
def test_commit_result_by_hand_is_as_declared(fattr3: bytes, verifier: bytes) -> None:
    declared = CommitOk(changed_from(fattr3, fattr3), verifier)
    by_hand = encode_commit_ok((fattr3, Verified(verifier)))
    assert by_hand == encode(COMMIT_RESULT, (Status.OK, declared))


@given(WCCS, VERIFIERS)
def test_commit_result_lies_on_the_wire_as_the_rfc_says(wcc: WccData, verifier: bytes) -> None:
    packed = Hand().wcc(wcc).fixed(verifier).bytes()
    assert encode(COMMIT_OK, CommitOk(wcc, verifier)) == packed
    assert decode(COMMIT_OK, packed) == CommitOk(wcc, verifier)
