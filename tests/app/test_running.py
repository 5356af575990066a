"""The whole product but the kernel: a Hub, a mount served from it, and our own NFS client."""

import hashlib
import random
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from hfnfs.app.running import Running, running
from hfnfs.config import BLOCK_BYTES, MountConfig
from hfnfs.disk.extents import DiskExtents
from hfnfs.localhub.accounts import DEFAULT_TOKEN
from hfnfs.localhub.background import HubThread
from hfnfs.localhub.hub import LocalHub
from hfnfs.nfs3.client import NfsClient, NotOk
from hfnfs.nfs3.status import Status
from hfnfs.remote import ContentId
from hfnfs.transfer import blobs as blobs_module
from hfnfs.transfer import verify
from hfnfs.xet.whole import whole_hash
from tests.until import PATIENCE_S, until

BIG = b"".join(b"%8d" % number for number in range(BLOCK_BYTES))
NOISE = random.Random(1).randbytes(300_000)
FILES = {
    "config.json": b'{"a": 1}',
    "noise.bin": NOISE,
    "sub/model.safetensors": BIG,
    "sub/notes.txt": b"hello",
}


@dataclass
class Mount:
    """A mount as a client sees it."""

    client: NfsClient
    root: bytes
    served: Running

    async def names(self, directory: str = "") -> set[str]:
        handle = await self.at(directory)
        found = {entry.name.decode() async for entry in self.client.readdirplus(handle)}
        return found - {".", ".."}

    async def at(self, path: str) -> bytes:
        handle = self.root
        for name in path.encode().split(b"/") if path else ():
            handle = await self.client.lookup(handle, name)
        return handle

    async def read(self, path: str, offset: int, count: int) -> bytes:
        return bytes((await self.client.read(await self.at(path), offset, count)).data)

    async def read_all(self, path: str) -> bytes:
        handle = await self.at(path)
        return b"".join([bytes(piece) async for piece in self.client.read_all(handle)])


@asynccontextmanager
async def mounted(config: MountConfig) -> AsyncIterator[Mount]:
    async with running(config) as served:
        client = await NfsClient.connect("127.0.0.1", served.port)
        try:
            yield Mount(client, await client.mount(), served)
        finally:
            await client.close()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    with HubThread(tmp_path / "hub") as thread:
        thread.do(thread.hub.create_repo("model", "me/x"))
        thread.do(thread.hub.commit("model", "me/x", FILES))
        thread.do(thread.hub.create_bucket("local/data"))
        thread.do(thread.hub.put("local/data", FILES))
        yield thread.hub


@pytest.fixture(params=["me/x", "buckets/local/data"])
def config(request: pytest.FixtureRequest, hub: LocalHub, tmp_path: Path) -> MountConfig:
    return MountConfig(
        source=f"hf://{request.param}",
        cache_dir=tmp_path / "cache",
        endpoint=hub.endpoint,
        token=DEFAULT_TOKEN,
    )


async def test_what_was_read_reads_offline_and_the_rest_is_an_error_at_once(
    config: MountConfig, hub: LocalHub
) -> None:
    async with mounted(config) as mount:
        assert await mount.names("sub") == {"model.safetensors", "notes.txt"}
        assert await mount.read_all("config.json") == FILES["config.json"]
        assert await mount.read("sub/model.safetensors", 0, 5) == BIG[:5]
    hub.counters.clear()
    async with mounted(replace(config, offline=True)) as mount:
        assert await mount.names("sub") == {"model.safetensors", "notes.txt"}
        assert await mount.read_all("config.json") == FILES["config.json"]
        assert await mount.read("sub/model.safetensors", 0, 5) == BIG[:5]
        for path, offset in [("sub/notes.txt", 0), ("sub/model.safetensors", len(BIG) - 9)]:
            with pytest.raises(NotOk) as refused:
                await mount.read(path, offset, 9)
            assert refused.value.status is Status.IO
    assert not hub.counters.log


async def test_a_mount_that_asked_nobody_gets_the_token_before_the_first_read(
    hub: LocalHub, tmp_path: Path
) -> None:
    config = MountConfig(source="me/x", cache_dir=tmp_path / "cache", endpoint=hub.endpoint)
    async with mounted(config) as mount:
        assert await mount.names("sub") == {"model.safetensors", "notes.txt"}
        await mount.names()
        commit = mount.served.revision
    hub.counters.clear()
    async with mounted(replace(config, revision=commit)) as mount:
        await until(lambda: hub.counters.requests["xet_read_token"])
        assert hub.counters.requests.total() == 1
        hub.counters.clear()
        assert await mount.read("noise.bin", 5, 9) == NOISE[5:14]
        assert dict(hub.counters.requests) == {"reconstruction": 1, "xorb": 1}


async def test_handles_stay_good_from_one_mount_to_the_next(config: MountConfig) -> None:
    async with mounted(config) as mount:
        handle = await mount.at("config.json")
        size = (await mount.client.getattr(handle)).size
    async with mounted(config) as mount:
        assert await mount.at("config.json") == handle
    assert size == len(FILES["config.json"])


async def test_nobody_else_may_look_into_the_cache(config: MountConfig) -> None:
    async with mounted(config) as mount:
        await mount.names()
        await mount.read_all("sub/model.safetensors")
    for path in config.cache_dir.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


async def test_without_a_disk_cache_nothing_is_written(config: MountConfig) -> None:
    async with mounted(replace(config, disk_cache=False, read_only=True)) as mount:
        for _ in range(2):
            assert await mount.names("sub") == {"model.safetensors", "notes.txt"}
            assert await mount.read_all("sub/model.safetensors") == BIG
    assert not config.cache_dir.exists()


async def test_without_a_disk_cache_what_was_read_is_not_fetched_again(
    config: MountConfig, hub: LocalHub
) -> None:
    async with mounted(replace(config, disk_cache=False, read_only=True)) as mount:
        await mount.read_all("sub/model.safetensors")
        hub.counters.clear()
        assert await mount.read_all("sub/model.safetensors") == BIG
        assert not hub.counters.log


async def test_hf_xet_reads_the_same_bytes(config: MountConfig) -> None:
    async with mounted(replace(config, reader="hf-xet")) as mount:
        for path, data in FILES.items():
            assert await mount.read_all(path) == data


@pytest.mark.logs_errors
async def test_bytes_that_storage_altered_are_found_out_and_fetched_again(
    config: MountConfig,
    hub: LocalHub,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verify, "EVERY_S", 0.01)
    hub.faults.add("/xorbs?/", corrupt_at=5000)
    async with mounted(config) as mount:
        assert await mount.read_all("noise.bin") != NOISE
        await until(lambda: "another hash" in caplog.text)
        assert await mount.read_all("noise.bin") == NOISE


async def test_with_cache_mode_file_all_of_a_file_comes_after_its_first_read(
    config: MountConfig,
) -> None:
    content = ContentId(f"xet-{whole_hash([BIG], len(BIG))}", len(BIG))
    cache = DiskExtents(config.cache_dir / "blocks", 1 << 30)  # as another process sees it
    async with mounted(replace(config, cache_mode="file")) as mount:
        assert await mount.read("sub/model.safetensors", len(BIG) - 5, 5) == BIG[-5:]
        await until(lambda: cache.has(content, 0, len(BIG)))
    cache.close()
    async with mounted(replace(config, offline=True)) as mount:
        assert await mount.read_all("sub/model.safetensors") == BIG


async def test_what_hf_download_has_brought_is_not_fetched_again(
    hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs_module, "PATIENCE_S", PATIENCE_S)
    blobs = Path(constants.HF_HUB_CACHE) / "models--me--x" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / hashlib.sha256(BIG).hexdigest()).write_bytes(BIG)
    config = MountConfig(source="me/x", cache_dir=tmp_path / "cache", endpoint=hub.endpoint)
    async with mounted(config) as mount:
        assert await mount.read_all("sub/model.safetensors") == BIG
    assert not hub.counters.requests["xorb"]
    assert not hub.counters.requests["reconstruction"]
