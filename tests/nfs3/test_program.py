import asyncio
import logging
import re
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import (
    FileError,
    RateLimited,
    RemoteEntryMissing,
    RemoteUnavailable,
    WireError,
)
from hfnfs.nfs3.attrs import GETATTR_ARGS, GETATTR_RESULT, GetattrArgs
from hfnfs.nfs3.data import READ_ARGS, READ_RESULT, ReadArgs
from hfnfs.nfs3.names import LOOKUP_ARGS, LOOKUP_RESULT
from hfnfs.nfs3.program import PROCEDURES
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.types import DirOpArgs
from hfnfs.rpc.message import CallRefused, ProcedureUnavailable
from hfnfs.rpc.session import Caller
from hfnfs.rpc.xdr import encode
from hfnfs.vfs.needs import Held, Journaled, Need
from tests.nfs3.desk import NOBODY, NUMBER_OF, ROOT_CALLER, Desk, joined, ok

LOOKUP = (LOOKUP_ARGS, LOOKUP_RESULT)
READ = (READ_ARGS, READ_RESULT)
GETATTR = (GETATTR_ARGS, GETATTR_RESULT)

# RFC 1813 §3, in its order.
NAMES = re.split(
    r"\s+",
    "NULL GETATTR SETATTR LOOKUP ACCESS READLINK READ WRITE CREATE MKDIR SYMLINK MKNOD REMOVE "
    "RMDIR RENAME LINK READDIR READDIRPLUS FSSTAT FSINFO PATHCONF COMMIT",
)
ONCE = {"SETATTR", "CREATE", "MKDIR", "SYMLINK", "REMOVE", "RMDIR", "RENAME", "LINK"}


def lookup_args(desk: Desk, name: bytes) -> DirOpArgs:
    return DirOpArgs(desk.root, name)


# --------------------------------------------------------------- the table


def test_all_procedures_of_the_rfc_are_in_its_order() -> None:
    assert [row.name for row in PROCEDURES] == NAMES


def test_what_changes_names_or_attributes_runs_once() -> None:
    nfs = Desk().nfs
    once = {name for name, number in NUMBER_OF.items() if nfs.runs_once(3, number)}
    assert once == ONCE
    assert not nfs.runs_once(3, 22)


def test_program_and_version_are_those_of_the_rfc() -> None:
    nfs = Desk().nfs
    assert (nfs.number, nfs.versions) == (100003, (3, 3))


@pytest.mark.parametrize("procedure", [22, 23, 2**32 - 1])
def test_a_procedure_beyond_the_last_is_unavailable(procedure: int) -> None:
    with pytest.raises(ProcedureUnavailable):
        Desk().nfs.runner(3, procedure, ROOT_CALLER)(b"", 0, 0)


@pytest.mark.parametrize("name", NAMES[1:])
def test_no_arguments_where_some_belong_are_garbage(name: str) -> None:
    with pytest.raises(WireError):
        Desk().nfs.runner(3, NUMBER_OF[name], ROOT_CALLER)(b"", 0, 0)


def test_arguments_where_none_belong_are_garbage() -> None:
    with pytest.raises(WireError):
        Desk().nfs.runner(3, 0, ROOT_CALLER)(bytes(4), 0, 4)


def test_a_call_from_elsewhere_is_refused() -> None:
    elsewhere = Caller(ROOT_CALLER.credential, ("192.0.2.1", 700))
    for number in NUMBER_OF.values():
        with pytest.raises(CallRefused):
            Desk().nfs.runner(3, number, elsewhere)(b"", 0, 0)


@given(st.integers(0, 21), st.binary(max_size=200), st.booleans())
def test_random_arguments_are_garbage_or_get_a_status(
    number: int, body: bytes, with_handle: bool
) -> None:
    desk = Desk()
    if with_handle:
        body = encode(GETATTR_ARGS, GetattrArgs(desk.root)) + body
    try:
        answered = desk.nfs.runner(3, number, NOBODY)(memoryview(body), 0, len(body))
    except WireError:
        return
    if isinstance(answered, Awaitable):
        answered.close()  # type: ignore[attr-defined]  # a coroutine
    elif number:
        status = Status(int.from_bytes(joined(answered)[:4]))
        assert status is not Status.SERVERFAULT


# --------------------------------------------------------- now, or later


async def test_a_hit_is_answered_at_once_and_a_miss_is_not() -> None:
    desk = Desk()
    args = encode(LOOKUP_ARGS, lookup_args(desk, b"hello.txt"))
    missed = desk.nfs.runner(3, 3, ROOT_CALLER)(args, 0, len(args))
    assert isinstance(missed, Awaitable)
    reply = await missed
    assert desk.nfs.runner(3, 3, ROOT_CALLER)(args, 0, len(args)) == reply


async def test_what_never_comes_is_jukebox_with_attributes_at_hand() -> None:
    desk = Desk(deadline_s=0)
    desk.far.gate = asyncio.Event()
    answered = await desk.call("LOOKUP", lookup_args(desk, b"hello.txt"), LOOKUP)
    assert answered == (Status.JUKEBOX, desk.volume.root.fattr3)


async def test_what_does_not_stay_is_jukebox_too(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    handle = await desk.handle("hello.txt")
    with monkeypatch.context() as patched:
        patched.setattr(desk.far.extents, "read", lambda *_: None)  # evicted at once
        patched.setattr(desk.far.extents, "has", lambda *_: False)
        answered = await desk.call("READ", ReadArgs(handle, 0, 5), READ)
    assert answered == (Status.JUKEBOX, desk.export.node(handle).fattr3)
    assert desk.far.pinned_most == 16
    assert ok(await desk.call("READ", ReadArgs(handle, 0, 5), READ)).data == b"hello"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RemoteUnavailable("down"), Status.IO),
        (RateLimited("slow down"), Status.JUKEBOX),
        (RemoteEntryMissing("gone"), Status.STALE),
        (FileError("something else"), Status.SERVERFAULT),
    ],
)
async def test_a_need_that_cannot_be_met_is_answered_with_its_status(
    error: Exception, status: Status
) -> None:
    desk = Desk()

    def refuse(need: Need) -> None:
        raise error

    desk.far.before_meeting = refuse
    answered = await desk.call("LOOKUP", lookup_args(desk, b"hello.txt"), LOOKUP)
    assert answered == (status, desk.volume.root.fattr3)


async def test_what_the_hub_refused_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()

    def refuse(need: Need) -> None:
        raise RemoteUnavailable("the Hub is down")

    desk.far.before_meeting = refuse
    await desk.call("LOOKUP", lookup_args(desk, b"hello.txt"), LOOKUP)
    assert [record.getMessage() for record in caplog.records] == [
        "LOOKUP: RemoteUnavailable: the Hub is down"
    ]
    assert caplog.records[0].levelno == logging.WARNING


@pytest.mark.logs_errors
async def test_a_bug_is_logged_once_and_answered_as_serverfault(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk()

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(desk.volume.tree, "lookup", broken)
    answered = await desk.call("LOOKUP", lookup_args(desk, b"hello.txt"), LOOKUP)
    assert answered == (Status.SERVERFAULT, None)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.logs_errors
async def test_a_bug_in_a_later_round_is_answered_as_serverfault() -> None:
    desk = Desk()

    def broken(need: Need) -> None:
        raise ZeroDivisionError

    desk.far.before_meeting = broken
    answered = await desk.call("LOOKUP", lookup_args(desk, b"hello.txt"), LOOKUP)
    assert answered == (Status.SERVERFAULT, None)


async def test_a_held_result_is_sent_once_its_need_is_met() -> None:
    desk = Desk()
    need = Journaled(1)
    row = PROCEDURES[NUMBER_OF["GETATTR"]]

    def held(*args: Any) -> Held[Any]:
        return Held(row.run(*args), need)

    desk.nfs.rows = (PROCEDURES[0], replace(row, run=held))
    result = ok(await desk.call("GETATTR", GetattrArgs(desk.root), GETATTR))
    assert desk.far.met == [need]
    assert len(result.obj_attributes) == 84
