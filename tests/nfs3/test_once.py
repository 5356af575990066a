"""What must not run twice gets its first answer again, whoever asks for it by the same xid."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hfnfs.errors import EntryExists
from hfnfs.nfs3.naming import (
    CREATE_ARGS,
    LINK_ARGS,
    MKDIR_ARGS,
    REMOVE_ARGS,
    RENAME_ARGS,
    SYMLINK_ARGS,
    CreateArgs,
    CreateMode,
    LinkArgs,
    MkdirArgs,
    RemoveArgs,
    RenameArgs,
    SymlinkArgs,
    SymlinkData,
)
from hfnfs.nfs3.program import NFS_PROGRAM, NFS_VERSION
from hfnfs.nfs3.setting import SETATTR_ARGS, SetattrArgs
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.types import DirOpArgs, Sattr3, TimeHow
from hfnfs.nfs3.writing import COMMIT_ARGS, WRITE_ARGS, CommitArgs, Stable, WriteArgs
from hfnfs.rpc.client import encode_call
from hfnfs.rpc.server import RpcServer
from hfnfs.rpc.xdr import encode
from hfnfs.vfs.needs import Journaled, Need
from tests.nfs3.changes import Changes
from tests.nfs3.desk import NUMBER_OF, Desk
from tests.nfs3.wire import ROOT, Wire, reply_of, status_of

NO_CHANGE = (TimeHow.DONT_CHANGE, None)
PLAIN = Sattr3(0o644, None, None, None, NO_CHANGE, NO_CHANGE)


def calls(root: bytes, file: bytes) -> dict[str, bytes]:
    """The arguments of a call of each procedure that changes something."""
    where = DirOpArgs(root, b"name")
    removing = encode(REMOVE_ARGS, RemoveArgs(where))
    guarded = (CreateMode.GUARDED, PLAIN)
    return {
        "SETATTR": encode(SETATTR_ARGS, SetattrArgs(file, PLAIN, None)),
        "CREATE": encode(CREATE_ARGS, CreateArgs(where, guarded)),
        "MKDIR": encode(MKDIR_ARGS, MkdirArgs(where, PLAIN)),
        "SYMLINK": encode(SYMLINK_ARGS, SymlinkArgs(where, SymlinkData(PLAIN, b"target"))),
        "REMOVE": removing,
        "RMDIR": removing,
        "RENAME": encode(RENAME_ARGS, RenameArgs(where, where)),
        "LINK": encode(LINK_ARGS, LinkArgs(file, where)),
        "WRITE": encode(WRITE_ARGS, WriteArgs(file, 0, 3, Stable.FILE_SYNC, b"abc")),
        "COMMIT": encode(COMMIT_ARGS, CommitArgs(file, 0, 0)),
    }


ONCE = [name for name in calls(b"", b"") if name not in ("WRITE", "COMMIT")]


@asynccontextmanager
async def served(desk: Desk) -> AsyncIterator[Wire]:
    async with asyncio.TaskGroup() as tasks:
        server = RpcServer(desk.programs, tasks=tasks)
        wire = Wire(await server.start("127.0.0.1", 0))
        try:
            yield wire
        finally:
            await wire.close()
            await server.close()


async def prepared(name: str) -> tuple[Desk, Changes, Callable[[int], bytes]]:
    """A desk, and what gives a call of a procedure by its xid."""
    desk = Desk(changes=(changes := Changes()))
    changes.made = await desk.node("hello.txt")
    arguments = calls(desk.root, await desk.handle("hello.txt"))[name]
    target = (NFS_PROGRAM, NFS_VERSION, NUMBER_OF[name])
    return desk, changes, lambda xid: encode_call(xid, target, ROOT, arguments)


@pytest.mark.parametrize("name", ONCE)
async def test_a_call_that_is_sent_again_gets_the_same_answer_and_is_not_run(name: str) -> None:
    desk, changes, call = await prepared(name)
    async with served(desk) as wire:
        first = await reply_of(await wire.send(call(1)))
        changes.error = EntryExists("what a second run would say")
        again = await reply_of(await wire.send(call(1)))
        other = await reply_of(await wire.send(call(2)))
    assert status_of(first) is Status.OK
    assert again == first
    assert status_of(other) is Status.EXIST
    assert len(changes.asked) == 1


@pytest.mark.parametrize("name", ONCE)
async def test_a_call_that_is_sent_again_while_it_waits_is_answered_once_for_who_asked_last(
    name: str,
) -> None:
    desk, changes, call = await prepared(name)
    waiting, gate = asyncio.Event(), asyncio.Event()

    def hold(need: Need) -> None:
        if isinstance(need, Journaled):
            waiting.set()

    desk.far.before_meeting, desk.far.gate = hold, gate
    async with served(desk) as wire:
        await wire.send(call(1))
        await waiting.wait()
        # What comes behind it on its connection is answered once it has been looked at.
        behind = encode_call(9, (NFS_PROGRAM, NFS_VERSION, 0), ROOT, b"")
        last = await wire.send(call(1) + behind)
        assert await reply_of(last)
        gate.set()
        reply = await reply_of(last)
    assert status_of(reply) is Status.OK
    assert len(changes.asked) == 1


@pytest.mark.parametrize("name", ["WRITE", "COMMIT"])
async def test_what_may_run_twice_does(name: str) -> None:
    desk, changes, call = await prepared(name)
    async with served(desk) as wire:
        first: Any = await reply_of(await wire.send(call(1)))
        changes.write_verifier = b"restart!"
        again = await reply_of(await wire.send(call(1)))
    assert status_of(first) is status_of(again) is Status.OK
    assert first != again
