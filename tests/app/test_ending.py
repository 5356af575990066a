"""Buckets read-write from begin to end: what is sent when it ends, what is kept, what goes on."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from hfnfs.app import draining
from hfnfs.app.running import Running, running
from hfnfs.config import MountConfig
from hfnfs.disk.last_mount import last_mount
from hfnfs.errors import (
    CacheUnusable,
    ChangesUnsent,
    Forbidden,
    NotAuthenticated,
    PortRefused,
    RemoteError,
)
from hfnfs.localhub.accounts import DEFAULT_TOKEN
from hfnfs.localhub.background import HubThread
from hfnfs.localhub.hub import LocalHub
from hfnfs.nfs3.client import NfsClient, NotOk
from hfnfs.nfs3.status import Status
from hfnfs.vfs.attributes import Wanted
from tests.until import PATIENCE_S, until

BUCKET = "local/data"


@pytest.fixture
def thread(tmp_path: Path) -> Iterator[HubThread]:
    with HubThread(tmp_path / "hub") as thread:
        thread.do(thread.hub.create_bucket(BUCKET))
        thread.do(thread.hub.put(BUCKET, {"there.txt": b"before"}))
        yield thread


@pytest.fixture
def hub(thread: HubThread) -> LocalHub:
    return thread.hub


@pytest.fixture
def config(hub: LocalHub, tmp_path: Path) -> MountConfig:
    return MountConfig(
        source=BUCKET,
        kind="bucket",
        cache_dir=tmp_path / "cache",
        endpoint=hub.endpoint,
        token=DEFAULT_TOKEN,
        flush_debounce_s=3600.0,  # nothing goes up but what is asked for
        flush_window_s=3600.0,
        uid=os.getuid(),
        gid=os.getgid(),
    )


@asynccontextmanager
async def client_of(served: Running) -> AsyncIterator[tuple[NfsClient, bytes]]:
    client = await NfsClient.connect("127.0.0.1", served.port)
    try:
        yield client, await client.mount()
    finally:
        await client.close()


async def write(served: Running, name: str, content: bytes) -> None:
    """As a program does that calls fsync."""
    async with client_of(served) as (client, root):
        made = await client.create(root, name.encode(), Wanted())
        await client.write_all(made.handle, 0, content)
        await client.commit(made.handle)


async def read(served: Running, name: str) -> bytes:
    async with client_of(served) as (client, root):
        handle = await client.lookup(root, name.encode())
        return b"".join([bytes(piece) async for piece in client.read_all(handle)])


async def drained(served: Running) -> None:
    await served.drained(asyncio.Event())


async def hub_files(thread: HubThread) -> dict[str, bytes]:
    """What the Hub has."""
    return await asyncio.to_thread(lambda: thread.do(thread.hub.files(BUCKET)))


# ------------------------------------------------------------------------- the end


async def test_what_the_hub_lacks_is_sent_at_the_end(
    config: MountConfig, thread: HubThread
) -> None:
    async with running(config) as served:
        await write(served, "a.txt", b"ours")
        await drained(served)
    assert await hub_files(thread) == {"there.txt": b"before", "a.txt": b"ours"}


async def test_what_cannot_be_sent_in_time_is_kept_and_named_and_sent_by_the_next_mount(
    config: MountConfig, hub: LocalHub, thread: HubThread
) -> None:
    hub.faults.add("/batch", status=500, count=None)
    async with running(replace(config, flush_shutdown_timeout_s=0.0)) as served:
        await write(served, "a.txt", b"ours")
        with pytest.raises(ChangesUnsent, match=r"a\.txt .*They are kept in .*staging"):
            await drained(served)
    hub.faults.clear()
    assert await hub_files(thread) == {"there.txt": b"before"}
    async with running(config) as served:
        assert await read(served, "a.txt") == b"ours"
        await drained(served)
    assert (await hub_files(thread))["a.txt"] == b"ours"


async def test_enough_ends_a_drain_that_would_go_on(config: MountConfig, hub: LocalHub) -> None:
    fault = hub.faults.add("/batch", latency_s=1000.0)
    enough = asyncio.Event()
    async with running(replace(config, flush_shutdown_timeout_s=3600.0)) as served:
        await write(served, "a.txt", b"ours")
        async with asyncio.TaskGroup() as tasks:
            ending = tasks.create_task(expect_unsent(served, enough))
            await until(lambda: not fault.count)
            assert not ending.done()
            enough.set()


async def expect_unsent(served: Running, enough: asyncio.Event) -> None:
    with pytest.raises(ChangesUnsent):
        await served.drained(enough)


async def test_a_long_drain_says_how_much_is_left(
    config: MountConfig,
    hub: LocalHub,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "hfnfs")
    monkeypatch.setattr(draining, "TOLD_EVERY_S", 0)
    hub.faults.add("/batch", latency_s=1000.0, count=None)
    enough = asyncio.Event()
    async with running(config) as served:
        await write(served, "a.txt", bytes(3 << 20))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(expect_unsent(served, enough))
            await until(lambda: "1 file, 3.0 MiB" in caplog.text)
            enough.set()


async def test_a_start_that_fails_waits_for_nothing_to_be_sent(config: MountConfig) -> None:
    async with running(config) as served:
        await write(served, "a.txt", b"ours")
    with pytest.raises(ZeroDivisionError):
        async with running(replace(config, flush_shutdown_timeout_s=3600.0)):
            raise ZeroDivisionError


async def test_w11_after_umnt_everything_is_served_and_sent_as_before(
    config: MountConfig, thread: HubThread
) -> None:
    async with running(config) as served:
        async with client_of(served) as (client, root):
            made = await client.create(root, b"a.txt")
            await client.write(made.handle, 0, b"before UMNT")
            await client.unmount()
            await client.write_all(made.handle, 0, b"after it...")
            assert await read(served, "a.txt") == b"after it..."
        await served.deserted(PATIENCE_S)
        await drained(served)
    assert (await hub_files(thread))["a.txt"] == b"after it..."


async def test_it_is_deserted_once_the_last_client_has_hung_up(config: MountConfig) -> None:
    async with running(config) as served:
        async with client_of(served), asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(served.deserted(PATIENCE_S))
            async with client_of(served):
                pass
            with suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await asyncio.shield(waiting)
            assert not waiting.done()
            waiting.cancel()
        await served.deserted(PATIENCE_S)


# ------------------------------------------------------------------------- begun again


async def test_a_mount_that_is_started_again_has_its_port_and_handles(config: MountConfig) -> None:
    async with running(config) as served:
        assert not served.resumed
        port = served.port
        async with client_of(served) as (client, root):
            handle = (await client.create(root, b"a.txt")).handle
    async with running(config) as served:
        assert (served.port, served.resumed) == (port, True)
        async with client_of(served) as (client, _):
            assert (await client.getattr(handle)).size == 0


async def test_a_port_that_is_taken_meanwhile_is_replaced_and_told(
    config: MountConfig, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(config) as served:
        port = served.port
    with socket.create_server(("127.0.0.1", port)):
        async with running(config) as served:
            assert (served.port != port, served.resumed) == (True, False)
    assert "will not go on" in caplog.text


async def test_a_port_that_was_asked_for_and_is_taken_is_an_error(config: MountConfig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortRefused, match=str(port)):
            async with running(replace(config, port=port)):
                pass


async def test_what_is_read_only_keeps_no_port(config: MountConfig) -> None:
    async with running(replace(config, read_only=True)):
        pass
    (volume,) = (config.cache_dir / "volumes").iterdir()
    assert last_mount(volume) is None


async def test_two_mounts_to_write_of_one_bucket_are_one_too_many(config: MountConfig) -> None:
    async with running(config):
        with pytest.raises(CacheUnusable, match=rf"process {os.getpid()} .*--read-only"):
            async with running(config):
                pass
        async with running(replace(config, read_only=True)) as beside:
            assert await read(beside, "there.txt") == b"before"


# ------------------------------------------------------------------------- access, quota


@pytest.mark.parametrize(("token", "kind"), [(DEFAULT_TOKEN, Forbidden), (None, NotAuthenticated)])
async def test_who_may_not_write_is_told_at_the_mount(
    config: MountConfig, thread: HubThread, token: str | None, kind: type[RemoteError]
) -> None:
    thread.do(thread.hub.create_bucket("other/data"))
    thread.do(thread.hub.put("other/data", {"there.txt": b"theirs"}))
    config = replace(config, source="other/data", token=token)
    with pytest.raises(kind, match="--read-only"):
        async with running(config):
            pass
    async with running(replace(config, read_only=True)) as served:
        assert await read(served, "there.txt") == b"theirs"


async def test_a_hub_that_cannot_tell_who_may_write_does_not_keep_one_from_writing(
    config: MountConfig, hub: LocalHub, thread: HubThread, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(config) as served, client_of(served) as (client, root):
        assert [entry.name async for entry in client.readdirplus(root)]
    fault = hub.faults.add("/api/", drop=True, count=None)
    async with running(config) as served:
        await write(served, "a.txt", b"ours")
        fault.count = 0
        await drained(served)
    assert "cannot be reached" in caplog.text
    assert (await hub_files(thread))["a.txt"] == b"ours"


async def test_a_quota_bounds_what_the_bucket_holds(config: MountConfig) -> None:
    async with running(replace(config, quota_bytes=100)) as served:
        await write(served, "a.txt", bytes(90))
        with pytest.raises(NotOk) as refused:
            await write(served, "b.txt", bytes(10))
        assert refused.value.status is Status.DQUOT
        async with client_of(served) as (client, root):
            stat = await client.fsstat(root)
            assert (stat.tbytes, stat.fbytes) == (100, 4)


async def test_a_folder_that_is_not_there_yet_can_be_mounted_to_fill_it(
    config: MountConfig, thread: HubThread
) -> None:
    async with running(replace(config, source=f"{BUCKET}/runs/7")) as served:
        await write(served, "a.txt", b"ours")
        await drained(served)
    assert (await hub_files(thread))["runs/7/a.txt"] == b"ours"
