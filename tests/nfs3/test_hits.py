"""What is in memory is answered without a task; what is not makes one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hfnfs.nfs3.client import NfsClient
from hfnfs.rpc.server import RpcServer
from tests.nfs3.changes import Changes
from tests.nfs3.desk import Desk


class CountedTasks(asyncio.TaskGroup):
    """A TaskGroup that counts what is started in it."""

    started = 0

    def create_task(self, *args: Any, **named: Any) -> asyncio.Task[Any]:
        self.started += 1
        return super().create_task(*args, **named)


@asynccontextmanager
async def served(desk: Desk) -> AsyncIterator[tuple[NfsClient, CountedTasks]]:
    async with CountedTasks() as tasks:
        server = RpcServer(desk.programs, tasks=tasks)
        client = await NfsClient.connect("127.0.0.1", await server.start("127.0.0.1", 0))
        try:
            yield client, tasks
        finally:
            await client.close()
            await server.close()


@pytest.mark.parametrize("times", [2, 20])
async def test_a_hit_makes_no_task_and_a_miss_makes_one(times: int) -> None:
    async with served(Desk({"file": bytes(100_000), "other": b""})) as (client, tasks):
        root = await client.mount()
        assert tasks.started == 0
        for _ in range(times):
            handle = await client.lookup(root, b"file")  # missed once
            await client.getattr(handle)
            await client.access(handle, 0x3F)
            await client.read(handle, 0, 4096)  # missed once, and
            await client.read(handle, 0, 100_000)
            assert len([e async for e in client.readdirplus(root)]) == 4  # missed once
        assert tasks.started == 3


async def test_neither_a_write_nor_a_commit_makes_a_task() -> None:
    async with served(Desk({"file": b""}, changes=Changes())) as (client, tasks):
        handle = await client.lookup(await client.mount(), b"file")
        started = tasks.started
        for offset in range(20):
            await client.write(handle, offset, b"x")
        await client.commit(handle)
        assert tasks.started == started
