import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import RemoteUnavailable, WireError
from hfnfs.nfs3.mountd import (
    EXPORT_LIST,
    MNT_ARGS,
    MNT_RESULT,
    MOUNT_LIST,
    MOUNTED_MAX,
    Exported,
    MntArgs,
    MntOk,
    Mounted,
    MountStatus,
)
from hfnfs.rpc.message import CallRefused, ProcedureUnavailable
from hfnfs.rpc.session import Caller
from hfnfs.rpc.xdr import decode, encode
from hfnfs.vfs.needs import Need
from tests.nfs3.by_hand import HANDLES, NAMES, U32, Hand
from tests.nfs3.desk import NOBODY, ROOT_CALLER, Desk, answer

NULL, MNT, DUMP, UMNT, UMNTALL, EXPORT = range(6)


async def mnt(desk: Desk, path: bytes, caller: Caller = ROOT_CALLER) -> tuple[MountStatus, Any]:
    reply = await answer(desk.mountd, MNT, encode(MNT_ARGS, MntArgs(path)), caller)
    return decode(MNT_RESULT, reply)


async def dumped(desk: Desk) -> list[Mounted]:
    return decode(MOUNT_LIST, await answer(desk.mountd, DUMP, b""))


@pytest.mark.parametrize(
    "path", [b"/", b"", b"//", b"/demo", b"demo", b"/demo/", b"/org/model", b"/./", b"/demo/.."]
)
async def test_every_export_is_the_volumes_root(path: bytes) -> None:
    desk = Desk()
    assert await mnt(desk, path) == (MountStatus.OK, MntOk(desk.root, [1, 0]))


@pytest.mark.parametrize("path", [b"/deep/er", b"/demo/deep/er/", b"/org/model//deep/./er"])
async def test_a_path_below_an_export_leads_into_the_volume(path: bytes) -> None:
    desk = Desk()
    status, result = await mnt(desk, path)
    assert status is MountStatus.OK
    assert result.fhandle == await desk.handle("deep/er")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (b"/nothere", MountStatus.NOENT),
        (b"/deep/nothere/x", MountStatus.NOENT),
        (b"/org", MountStatus.NOENT),
        (b"/hello.txt", MountStatus.NOTDIR),
        (b"/hello.txt/x", MountStatus.NOTDIR),
        (b"/" + b"x" * 300, MountStatus.NAMETOOLONG),
        (b"/x" * 600, MountStatus.NAMETOOLONG),
    ],
)
async def test_a_path_that_cannot_be_mounted_says_why(path: bytes, status: MountStatus) -> None:
    desk = Desk()
    assert await mnt(desk, path) == (status, None)
    assert await dumped(desk) == []


async def test_a_mount_waits_for_the_names_it_misses() -> None:
    desk = Desk()
    args = encode(MNT_ARGS, MntArgs(b"/deep/er"))
    waiting = desk.mountd.runner(3, MNT, ROOT_CALLER)(args, 0, len(args))
    assert isinstance(waiting, Awaitable)
    await waiting
    assert isinstance(desk.mountd.runner(3, MNT, ROOT_CALLER)(args, 0, len(args)), bytes)


async def test_a_hub_that_is_down_is_an_io_error() -> None:
    desk = Desk()

    def refuse(need: Need) -> None:
        raise RemoteUnavailable("down")

    desk.far.before_meeting = refuse
    assert await mnt(desk, b"/deep") == (MountStatus.IO, None)


async def test_what_is_not_there_in_time_is_an_io_error_for_mount_knows_no_later() -> None:
    desk = Desk(deadline_s=0)
    desk.far.gate = asyncio.Event()
    assert await mnt(desk, b"/deep") == (MountStatus.IO, None)


@pytest.mark.logs_errors
async def test_a_bug_is_a_fault_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(desk.volume.tree, "lookup", broken)
    assert await mnt(desk, b"/deep") == (MountStatus.SERVERFAULT, None)


async def test_a_bug_in_what_has_no_status_is_left_to_rpc(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    monkeypatch.setattr(desk.mounts, "paths", None)
    with pytest.raises(TypeError):
        await answer(desk.mountd, EXPORT, b"")


async def test_who_may_not_mount_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    monkeypatch.setattr(desk.access, "may_mount", lambda caller: False)
    assert await mnt(desk, b"/") == (MountStatus.ACCES, None)


def test_a_call_from_elsewhere_is_refused() -> None:
    elsewhere = Caller(ROOT_CALLER.credential, ("192.0.2.1", 700))
    for procedure in range(6):
        with pytest.raises(CallRefused):
            Desk().mountd.runner(3, procedure, elsewhere)(b"", 0, 0)


# ---------------------------------------------------------- who has mounted


async def test_dump_lists_who_mounted_what_until_umnt() -> None:
    desk = Desk()
    await mnt(desk, b"/demo")
    await mnt(desk, b"/deep", NOBODY)
    assert await dumped(desk) == [Mounted(b"box", b"/demo"), Mounted(b"127.0.0.1", b"/deep")]
    reply = await answer(desk.mountd, UMNT, encode(MNT_ARGS, MntArgs(b"/demo")))
    assert reply == b""
    assert await dumped(desk) == [Mounted(b"127.0.0.1", b"/deep")]


async def test_umnt_of_what_was_never_mounted_is_fine() -> None:
    assert await answer(Desk().mountd, UMNT, encode(MNT_ARGS, MntArgs(b"/never"))) == b""


async def test_umntall_forgets_the_callers_mounts_only() -> None:
    desk = Desk()
    for path in (b"/demo", b"/deep"):
        await mnt(desk, path)
    await mnt(desk, b"/", NOBODY)
    assert await answer(desk.mountd, UMNTALL, b"") == b""
    assert await dumped(desk) == [Mounted(b"127.0.0.1", b"/")]


async def test_what_is_remembered_is_bounded_and_the_newest_stays() -> None:
    desk = Desk()
    for number in range(MOUNTED_MAX + 10):
        await mnt(desk, b"/" + b"./" * number)
    mounted = await dumped(desk)
    assert len(mounted) == MOUNTED_MAX
    assert mounted[-1].directory == b"/" + b"./" * (MOUNTED_MAX + 9)


async def test_mounting_again_is_remembered_once() -> None:
    desk = Desk()
    for path in (b"/demo", b"/", b"/demo"):
        await mnt(desk, path)
    assert [mounted.directory for mounted in await dumped(desk)] == [b"/", b"/demo"]


# -------------------------------------------------------------- the others


async def test_export_lists_what_can_be_mounted_by_everyone() -> None:
    exported = decode(EXPORT_LIST, await answer(Desk().mountd, EXPORT, b""))
    assert exported == [Exported(path, []) for path in (b"/", b"/demo", b"/org/model")]


async def test_null_answers_with_nothing() -> None:
    assert await answer(Desk().mountd, NULL, b"") == b""


def test_program_and_version_are_those_of_the_rfc() -> None:
    mountd = Desk().mountd
    assert (mountd.number, mountd.versions) == (100005, (3, 3))
    assert not any(mountd.runs_once(3, procedure) for procedure in range(6))
    with pytest.raises(ProcedureUnavailable):
        mountd.runner(3, 6, ROOT_CALLER)(b"", 0, 0)


@given(st.integers(0, 5), st.binary(max_size=100))
def test_random_arguments_are_garbage_or_answered(procedure: int, body: bytes) -> None:
    try:
        answered = Desk().mountd.runner(3, procedure, NOBODY)(memoryview(body), 0, len(body))
    except WireError:
        return
    if isinstance(answered, Awaitable):
        answered.close()  # type: ignore[attr-defined]  # a coroutine


@given(HANDLES, st.lists(U32, max_size=16))
def test_a_granted_mount_lies_on_the_wire_as_the_rfc_says(
    handle: bytes, flavors: list[int]
) -> None:
    packed = Hand().u32(0).opaque(handle).u32(len(flavors), *flavors).bytes()
    assert encode(MNT_RESULT, (MountStatus.OK, MntOk(handle, flavors))) == packed


@given(st.lists(st.tuples(st.binary(max_size=255), NAMES), max_size=4))
def test_the_lists_lie_on_the_wire_as_the_rfc_says(items: list[tuple[bytes, bytes]]) -> None:
    mounted, exported = Hand(), Hand()
    for host, path in items:
        mounted.u32(1).opaque(host, path)
        exported.u32(1).opaque(path).u32(1).opaque(host).u32(0)
    assert encode(MOUNT_LIST, [Mounted(*item) for item in items]) == mounted.u32(0).bytes()
    lines = [Exported(path, [host]) for host, path in items]
    assert encode(EXPORT_LIST, lines) == exported.u32(0).bytes()
