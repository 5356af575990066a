import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from hfnfs.errors import RateLimited
from hfnfs.nfs3 import client as client_module
from hfnfs.nfs3.client import NfsClient, NotOk
from hfnfs.nfs3.data import READ_OK, ReadOk
from hfnfs.nfs3.listing import READDIRPLUS_OK, EntryPlus, ReaddirplusOk
from hfnfs.nfs3.mountd import Exported, MountStatus
from hfnfs.nfs3.serving import encode_ok
from hfnfs.nfs3.status import Status
from hfnfs.rpc.server import RpcServer
from hfnfs.rpc.session import Body
from hfnfs.vfs.needs import Need
from hfnfs.vfs.node import FileType
from tests.fakes.volume import Folder
from tests.nfs3.desk import NUMBER_OF, SMALL, Desk


@asynccontextmanager
async def mounted(desk: Desk) -> AsyncIterator[NfsClient]:
    async with asyncio.TaskGroup() as tasks:
        server = RpcServer(desk.programs, tasks=tasks)
        port = await server.start("127.0.0.1", 0)
        client = await NfsClient.connect("127.0.0.1", port)
        try:
            yield client
        finally:
            await client.close()
            await server.close()


def flattened(folder: Folder, path: str = "") -> dict[bytes, bytes | None]:
    """Every path of a folder with a file's bytes."""
    found: dict[bytes, bytes | None] = {}
    for name, inner in folder.items():
        at = f"{path}/{name}".lstrip("/")
        if isinstance(inner, bytes):
            found[at.encode()] = inner
        else:
            found[at.encode()] = None
            found |= flattened(inner, at)
    return found


async def read_all(client: NfsClient, handle: bytes) -> bytes:
    return b"".join([piece async for piece in client.read_all(handle)])


async def test_a_walk_meets_everything_and_every_byte() -> None:
    async with mounted(Desk()) as client:
        seen: dict[bytes, bytes | None] = {}
        async for found in client.walk(await client.mount()):
            is_file = found.attributes.type is FileType.REG
            seen[found.path] = await read_all(client, found.handle) if is_file else None
    assert seen == flattened(SMALL)


async def test_a_directory_comes_before_what_is_in_it() -> None:
    async with mounted(Desk({"a": {"b": {"c": b""}}, "d": b""})) as client:
        root = await client.mount()
        assert [f.path async for f in client.walk(root)] == [b"a", b"d", b"a/b", b"a/b/c"]


async def test_lookup_getattr_access_and_ranges() -> None:
    async with mounted(Desk()) as client:
        root = await client.mount(b"/demo")
        handle = await client.lookup(root, b"hello.txt")
        assert (await client.getattr(handle)).size == 13
        assert await client.access(handle, 63) == 1
        piece = await client.read(handle, 7, 5)
        assert (piece.data, piece.eof) == (b"world", False)


async def test_the_volume_tells_of_itself() -> None:
    async with mounted(Desk()) as client:
        root = await client.mount()
        assert (await client.fsstat(root)).tbytes == 12345
        assert (await client.fsinfo(root)).rtmax == 1 << 20
        assert Exported(b"/demo", []) in await client.exports()


async def test_unmounting_is_told() -> None:
    desk = Desk()
    async with mounted(desk) as client:
        await client.mount(b"/demo")
        assert len(desk.mounts.mounted) == 1
        await client.unmount(b"/demo")
        assert not desk.mounts.mounted


async def test_a_status_that_is_not_ok_is_raised() -> None:
    async with mounted(Desk()) as client:
        root = await client.mount()
        with pytest.raises(NotOk, match="LOOKUP: NOENT") as caught:
            await client.lookup(root, b"nothere")
        assert caught.value.status is Status.NOENT
        with pytest.raises(NotOk, match="MNT: NOENT") as caught:
            await client.mount(b"/nothere")
        assert caught.value.status is MountStatus.NOENT


async def test_jukebox_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "JUKEBOX_DELAY_S", 0)
    desk = Desk()
    refused = 0

    def refuse_twice(need: Need) -> None:
        nonlocal refused
        if refused < 2:
            refused += 1
            raise RateLimited("slow down")

    desk.far.before_meeting = refuse_twice
    async with mounted(desk) as client:
        await client.lookup(await client.mount(), b"hello.txt")
    assert refused == 2


async def test_jukebox_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "JUKEBOX_DELAY_S", 0)
    desk = Desk()
    asked = 0

    def refuse(need: Need) -> None:
        nonlocal asked
        asked += 1
        raise RateLimited("slow down")

    desk.far.before_meeting = refuse
    async with mounted(desk) as client:
        with pytest.raises(NotOk, match="JUKEBOX"):
            await client.lookup(await client.mount(), b"hello.txt")
    assert asked == client_module.JUKEBOX_ROUNDS_MAX


async def test_many_reads_at_once_each_get_their_bytes() -> None:
    async with mounted(Desk()) as client, asyncio.TaskGroup() as tasks:
        root = await client.mount()
        many = await client.lookup(root, b"many")
        entries = [entry async for entry in client.readdirplus(many)]
        handles = {entry.name: entry.name_handle for entry in entries}
        reads = {
            name: tasks.create_task(read_all(client, handle))
            for name, handle in handles.items()
            if handle is not None and name.startswith(b"file")
        }
        sizes = {name: len(await read) for name, read in reads.items()}
    assert sizes == {f"file-{number:04}".encode(): number for number in range(500)}


def answering(desk: Desk, name: str, result: Any, encode_result: Callable[[Any], Body]) -> None:
    """Let a procedure answer the same to everyone."""
    rows = list(desk.nfs.rows)
    number = NUMBER_OF[name]
    rows[number] = replace(rows[number], run=lambda *_: result, encode=encode_result)
    desk.nfs.rows = tuple(rows)


async def test_a_read_of_nothing_that_is_not_the_end_does_not_go_on_for_ever() -> None:
    desk = Desk()
    answering(desk, "READ", ReadOk(None, 0, False, b""), encode_ok(READ_OK))
    async with mounted(desk) as client:
        with pytest.raises(NotOk, match="READ of nothing"):
            await read_all(client, await client.mount())


async def test_an_empty_page_that_is_not_the_end_does_not_go_on_for_ever() -> None:
    desk = Desk()
    answering(
        desk, "READDIRPLUS", ReaddirplusOk(None, bytes(8), [], False), encode_ok(READDIRPLUS_OK)
    )
    async with mounted(desk) as client:
        root = await client.mount()
        with pytest.raises(NotOk, match="READDIRPLUS of nothing"):
            [entry async for entry in client.readdirplus(root)]


async def test_an_entry_without_handle_and_attributes_is_asked_for_them() -> None:
    desk = Desk()
    page = ReaddirplusOk(None, bytes(8), [EntryPlus(9, b"hello.txt", 3, None, None)], True)
    answering(desk, "READDIRPLUS", page, encode_ok(READDIRPLUS_OK))
    async with mounted(desk) as client:
        (found,) = [found async for found in client.walk(await client.mount(), b"here")]
    assert (found.path, found.attributes.size) == (b"here/hello.txt", 13)
    assert found.handle == await desk.handle("hello.txt")
