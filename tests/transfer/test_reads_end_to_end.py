"""Reads through NFS, over a far side of any size: right bytes, fetched once, handed on uncopied."""

import asyncio
import errno
import mmap
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hfnfs.config import GIB, KIB, MIB
from hfnfs.nfs3.client import NfsClient, NotOk
from hfnfs.nfs3.status import Status
from hfnfs.rpc.record import JOINED_BYTES_MAX, RecordWriter
from tests.fakes.clock import FakeClock
from tests.fakes.remote import FakeRemote, Pattern
from tests.model.mount import Mount, mounted
from tests.until import PATIENCE_S

TERABYTE = 10**12 + 7


@asynccontextmanager
async def mount_of(remote: FakeRemote, tmp_path: Path) -> AsyncIterator[tuple[Mount, bytes]]:
    """A mount, and the handle of its file "f"."""
    (tmp_path / "blocks").mkdir()
    async with mounted(remote, tmp_path / "blocks", FakeClock()) as mount:
        yield mount, await mount.client.lookup(mount.root, b"f")


async def test_a_terabyte_is_read_at_any_offset(tmp_path: Path) -> None:
    data = Pattern(TERABYTE)
    remote = FakeRemote({"f": data})
    edges = [2**31, 2**32, 2**36, 617 * GIB, TERABYTE]
    places = [0, 1, *(edge + by for edge in edges for by in (-100 * KIB, -1, 0, 1, 64 * MIB))]
    async with mount_of(remote, tmp_path) as (mount, handle):
        assert (await mount.client.getattr(handle)).size == TERABYTE
        for at in places:
            ok = await mount.client.read(handle, at, 130 * KIB)
            assert ok.data == data[at : at + 130 * KIB], at
            assert ok.eof == (at + 130 * KIB >= TERABYTE)
    assert remote.bytes_sent["f"] < len(places) * 64 * MIB


async def test_200_readers_of_one_file_fetch_it_once(tmp_path: Path) -> None:
    data = Pattern(5 * MIB + 11)
    remote = FakeRemote({"f": data})

    async def read_all(client: NfsClient, handle: bytes) -> None:
        got = b"".join([piece async for piece in client.read_all(handle)])
        assert got == data[0 : len(data)]

    async with mount_of(remote, tmp_path) as (mount, handle):
        port = mount.port
        clients = [
            await NfsClient.connect("127.0.0.1", port, timeout_s=PATIENCE_S) for _ in range(20)
        ]
        async with asyncio.TaskGroup() as tasks:
            for number in range(200):
                tasks.create_task(read_all(clients[number % 20], handle))
        for client in clients:
            await client.close()
    assert remote.bytes_sent["f"] == len(data)


async def test_a_large_payload_goes_from_the_cache_to_the_socket_uncopied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large: list[bytes | memoryview] = []
    add = RecordWriter.add

    def watched(writer: RecordWriter, head: bytes, body: Any = b"") -> None:
        parts = body if isinstance(body, list) else [body]
        large.extend(part for part in parts if len(part) > JOINED_BYTES_MAX)
        add(writer, head, body)

    monkeypatch.setattr(RecordWriter, "add", watched)
    async with mount_of(FakeRemote({"f": Pattern(3 * MIB)}), tmp_path) as (mount, handle):
        for _ in range(2):  # a miss, and a hit
            await mount.client.read(handle, 5, MIB)
        assert [len(part) for part in large] == [MIB] * 2
        assert all(isinstance(p, memoryview) and isinstance(p.obj, mmap.mmap) for p in large)
        large.clear()


async def test_a_full_cache_disk_is_an_error_and_over_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Pattern(20 * MIB)
    pwrite, left = os.pwrite, 3 * MIB

    def until_full(fd: int, part: Any, offset: int) -> int:
        nonlocal left
        left -= len(part)
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(fd, part, offset)

    async with mount_of(FakeRemote({"f": data}), tmp_path) as (mount, handle):
        with monkeypatch.context() as patched:
            patched.setattr(os, "pwrite", until_full)
            outcomes = [await outcome(mount.client, handle, at) for at in range(0, 20 * MIB, MIB)]
        assert outcomes[-1] is Status.NOSPC
        for number, found in enumerate(outcomes):
            at = number * MIB
            assert found in (Status.NOSPC, data[at : at + MIB])
            assert (await mount.client.read(handle, at, MIB)).data == data[at : at + MIB]


async def outcome(client: NfsClient, handle: bytes, at: int) -> bytes | Status | object:
    try:
        return bytes((await client.read(handle, at, MIB)).data)
    except NotOk as error:
        return error.status
