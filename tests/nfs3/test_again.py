"""What must not run twice is answered as done also by a server started anew."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hfnfs.nfs3.client import NfsClient
from hfnfs.nfs3.naming import (
    CREATE_ARGS,
    LINK_ARGS,
    MADE_RESULT,
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
from hfnfs.nfs3.setting import SETATTR_ARGS, SetattrArgs
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.types import DirOpArgs, Sattr3, TimeHow
from hfnfs.rpc.xdr import decode, encode
from tests.nfs3.wire import Wire, results_of, status_of
from tests.nfs3.writable import ROOT, Mounted, served
from tests.vfs.changing import Desk

NO_CHANGE = (TimeHow.DONT_CHANGE, None)
PLAIN = Sattr3(0o600, None, None, None, NO_CHANGE, NO_CHANGE)
HUB = {"file": b"bytes", "other": b"other bytes"}


@asynccontextmanager
async def wired(desk: Desk) -> AsyncIterator[tuple[Mounted, Wire]]:
    """A server, called by a client and by hand."""
    async with served(desk) as port:
        wire, client = Wire(port), await NfsClient.connect("127.0.0.1", port, credential=ROOT)

        try:
            yield Mounted(client, await client.mount(), desk), wire
        finally:
            await client.close()
            await wire.close()


async def call(name: str, mount: Mounted) -> tuple[bytes, Status]:
    """The arguments of a change that can be made once, and what it is told that asks twice."""
    file = await mount.client.lookup(mount.root, b"file")
    old, new = DirOpArgs(mount.root, b"file"), DirOpArgs(mount.root, b"new")
    match name:
        case "SETATTR":
            guard = (await mount.client.getattr(file)).ctime
            return encode(SETATTR_ARGS, SetattrArgs(file, PLAIN, guard)), Status.NOT_SYNC
        case "CREATE":
            how = CreateMode.GUARDED, PLAIN
            return encode(CREATE_ARGS, CreateArgs(new, how)), Status.EXIST
        case "MKDIR":
            return encode(MKDIR_ARGS, MkdirArgs(new, PLAIN)), Status.EXIST
        case "SYMLINK":
            to = SymlinkData(PLAIN, b"file")
            return encode(SYMLINK_ARGS, SymlinkArgs(new, to)), Status.EXIST
        case "REMOVE":
            return encode(REMOVE_ARGS, RemoveArgs(old)), Status.NOENT
        case "RMDIR":
            await mount.client.mkdir(mount.root, b"empty")
            empty = DirOpArgs(mount.root, b"empty")
            return encode(REMOVE_ARGS, RemoveArgs(empty)), Status.NOENT
        case "RENAME":
            other = DirOpArgs(mount.root, b"other")
            return encode(RENAME_ARGS, RenameArgs(old, other)), Status.NOENT
        case "LINK" | "LINK of what was written":
            if name != "LINK":
                await mount.client.write_all(file, 0, b"new bytes")
            return encode(LINK_ARGS, LinkArgs(file, new)), Status.EXIST
    raise AssertionError(name)


CALLS = [
    "SETATTR",
    "CREATE",
    "MKDIR",
    "SYMLINK",
    "REMOVE",
    "RMDIR",
    "RENAME",
    "LINK",
    "LINK of what was written",
]


@pytest.mark.parametrize("name", CALLS)
async def test_a_change_that_was_made_before_a_restart_is_not_made_again(
    tmp_path: Path, name: str
) -> None:
    desk = Desk(tmp_path, HUB)
    procedure = name.partition(" ")[0]
    async with wired(desk) as (mount, wire):
        arguments, else_told = await call(name, mount)
        first = await wire.ask(procedure, arguments, 1)
    assert status_of(first) is Status.OK
    for _ in range(2):  # the answer may be lost again
        desk = desk.restarted()
        async with wired(desk) as (_, wire):
            kept = dict(desk.state.model.nodes), dict(desk.state.model.outbox)
            again = await wire.ask(procedure, arguments, 1)
            assert status_of(again) is Status.OK
            assert len(again) == len(first)
            if name in ("CREATE", "MKDIR", "SYMLINK"):
                handles = [decode(MADE_RESULT, results_of(r))[1].obj for r in (first, again)]
                assert handles[0] == handles[1] is not None
            assert (desk.state.model.nodes, desk.state.model.outbox) == kept
            assert status_of(await wire.ask(procedure, arguments, 2)) is else_told
    desk.staging.close()


async def test_what_was_made_and_is_gone_since_is_told_to_be_gone(tmp_path: Path) -> None:
    desk = Desk(tmp_path, HUB)
    async with wired(desk) as (mount, wire):
        arguments, _ = await call("MKDIR", mount)
        assert status_of(await wire.ask("MKDIR", arguments, 1)) is Status.OK
        await mount.client.rmdir(mount.root, b"new")
    async with wired(desk.restarted()) as (_, wire):
        assert status_of(await wire.ask("MKDIR", arguments, 1)) is Status.NOENT


async def test_a_call_that_failed_is_run_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path, HUB)
    async with wired(desk) as (mount, wire):
        arguments, _ = await call("MKDIR", mount)
        await mount.client.mkdir(mount.root, b"new")
        assert status_of(await wire.ask("MKDIR", arguments, 1)) is Status.EXIST
        await mount.client.rmdir(mount.root, b"new")
    async with wired(desk.restarted()) as (_, wire):
        assert status_of(await wire.ask("MKDIR", arguments, 1)) is Status.OK
