"""What a Hub that was told to misbehave does on the wire, and how real clients take it."""

import asyncio
import random
from pathlib import Path

import aiohttp
import pytest

from hfnfs.localhub.background import HubThread
from hfnfs.localhub.faults import Lie
from hfnfs.localhub.hub import LocalHub
from tests.localhub.clients import run
from tests.localhub.test_bucket_clients import UPLOAD, written
from tests.localhub.uploads import HUB_HEADERS, cas_headers, upload_of
from tests.until import until

DATA = random.Random(9).randbytes(700_000)


@pytest.fixture
async def plain_url(hub: LocalHub) -> str:
    """Of a plain file that holds DATA."""
    await hub.create_repo("model", "local/m")
    await hub.commit("model", "local/m", {"file": DATA}, plain=True)
    return f"{hub.endpoint}/local/m/resolve/main/file"


async def test_a_status_comes_with_what_was_told(
    hub: LocalHub, session: aiohttp.ClientSession
) -> None:
    hub.faults.add("/api/buckets", status=429, code="Slow", headers={"Retry-After": "3"})
    async with session.get(f"{hub.endpoint}/api/buckets/local/b") as response:
        assert response.status == 429
        assert response.headers["Retry-After"] == "3"
        assert response.headers["X-Error-Code"] == "Slow"
    async with session.get(f"{hub.endpoint}/api/buckets/local/b") as response:
        assert response.status == 200
    assert hub.counters.statuses == {429: 1, 200: 1}


@pytest.mark.parametrize("cut", [0, 1, 300_000, len(DATA) - 1])
async def test_a_cut_body_ends_there(
    hub: LocalHub, session: aiohttp.ClientSession, plain_url: str, cut: int
) -> None:
    hub.faults.add("/resolve/", cut_after=cut)
    got = bytearray()

    async def read(response: aiohttp.ClientResponse) -> None:
        async for piece in response.content.iter_any():
            got.extend(piece)

    async with session.get(plain_url) as response:
        assert response.content_length == len(DATA)
        with pytest.raises(aiohttp.ClientPayloadError):
            await read(response)
    assert got == DATA[:cut]


async def test_a_small_answer_is_cut_too(hub: LocalHub, session: aiohttp.ClientSession) -> None:
    hub.faults.add("/tree", cut_after=1)
    async with session.get(f"{hub.endpoint}/api/buckets/local/b/tree") as response:
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_a_corrupt_body_differs_in_one_byte(
    hub: LocalHub, session: aiohttp.ClientSession, plain_url: str
) -> None:
    hub.faults.add("/resolve/", corrupt_at=400_000)
    async with session.get(plain_url) as response:
        got = await response.read()
    assert [at for at, (a, b) in enumerate(zip(got, DATA, strict=True)) if a != b] == [400_000]


async def test_a_dropped_request_gets_no_answer(
    hub: LocalHub, session: aiohttp.ClientSession
) -> None:
    hub.faults.add("/batch", drop=True, count=None)
    with pytest.raises(aiohttp.ClientConnectionError):
        await session.post(f"{hub.endpoint}/api/buckets/local/b/batch", headers=HUB_HEADERS)


async def test_a_slow_request_is_answered_late(
    hub: LocalHub, session: aiohttp.ClientSession
) -> None:
    fault = hub.faults.add("/api/buckets", latency_s=3600.0)
    url = f"{hub.endpoint}/api/buckets/local/b"

    async def ask() -> None:
        await session.get(url)

    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(ask())
        await until(lambda: fault.count == 0)
        asking.cancel()
    await until(lambda: hub.counters.statuses[499] == 1)
    async with session.get(url) as response:
        assert response.status == 200
    assert hub.counters.statuses == {499: 1, 200: 1}


@pytest.mark.parametrize("is_cleared", [True, False])
async def test_a_held_request_is_answered_when_it_is_let_go(
    hub: LocalHub, session: aiohttp.ClientSession, *, is_cleared: bool
) -> None:
    fault = hub.faults.add("/api/buckets", hold=True)
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(session.get(f"{hub.endpoint}/api/buckets/local/b"))
        await until(lambda: fault.count == 0)
        assert not hub.counters.log
        if is_cleared:
            hub.faults.clear()
        else:
            fault.hold = False
    async with asking.result() as response:
        assert response.status == 200


async def test_a_listing_is_late_and_then_is_not(
    hub: LocalHub, session: aiohttp.ClientSession
) -> None:
    async def listed() -> list[str]:
        async with session.get(f"{hub.endpoint}/api/buckets/local/b/tree") as response:
            return [entry["path"] for entry in await response.json()]

    await hub.put("local/b", {"old": b"1"})
    await hub.put("local/b", {"new": b"2"})
    hub.faults.add("/tree", late_by=1, count=2)
    assert [await listed() for _ in range(3)] == [["old"], ["old"], ["new", "old"]]


async def test_an_expired_token_is_refused_by_the_cas(
    hub: LocalHub, session: aiohttp.ClientSession
) -> None:
    hub.faults.add("xet-read-token", lie=Lie.EXPIRED_TOKEN)
    url = f"{hub.cas_url}/v2/reconstructions/{'0' * 64}"
    for status in (401, 200):
        headers = await cas_headers(session, hub, "read")
        async with session.get(url, headers=headers) as response:
            assert response.status == status


async def test_faults_and_counters_can_be_had_over_http(
    hub: LocalHub, session: aiohttp.ClientSession
) -> None:
    control = f"{hub.endpoint}/_localhub"
    faults = [{"path": "/tree", "status": 500}, {"path": "/tree", "status": "501", "count": "all"}]
    async with session.post(f"{control}/faults", json=faults) as response:
        assert response.status == 204
    statuses = []
    for _ in range(3):
        async with session.get(f"{hub.endpoint}/api/buckets/local/b/tree") as response:
            statuses.append(response.status)
    assert statuses == [500, 501, 501]
    await session.delete(f"{control}/faults")
    async with session.get(f"{hub.endpoint}/api/buckets/local/b/tree") as response:
        assert response.status == 200
    async with session.get(f"{control}/counters") as response:
        assert (await response.json())["requests"]["bucket_tree"] == 4
    async with session.get(f"{control}/log") as response:
        log = await response.json()
    assert [entry["status"] for entry in log if entry["kind"] == "bucket_tree"] == [
        *(500, 501, 501, 200)
    ]
    await session.delete(f"{control}/counters")
    async with session.get(f"{control}/counters") as response:
        assert "bucket_tree" not in (await response.json())["requests"]


@pytest.mark.parametrize("fault", [{}, {"path": "("}, {"path": "/", "x": 1}, 5, "text"])
async def test_a_senseless_fault_is_refused(
    hub: LocalHub, session: aiohttp.ClientSession, fault: object
) -> None:
    async with session.post(f"{hub.endpoint}/_localhub/faults", json=fault) as response:
        assert response.status == 400


async def test_a_shard_can_fail_in_its_last_frame(
    hub: LocalHub, session: aiohttp.ClientSession
) -> None:
    headers = await cas_headers(session, hub)
    hub.faults.add("/v2/shards", lie=Lie.SHARD_ERROR)
    body = upload_of(b"x").shard()
    async with session.post(f"{hub.cas_url}/v2/shards", data=body, headers=headers) as response:
        assert response.status == 200
        assert '"type": "error"' in await response.text()


# ---------------------------------------------------------------- real clients


def downloaded(thread: HubThread, tmp_path: Path) -> bytes:
    thread.do(thread.hub.create_bucket("local/b"))
    thread.do(thread.hub.put("local/b", {"file": DATA}))
    script = 'api.download_bucket_files("local/b", [("file", given["to"])])'
    run(thread.hub, tmp_path / "home", script, to=str(tmp_path / "got"))
    return (tmp_path / "got").read_bytes()


@pytest.mark.parametrize("status", [404, 501])
def test_without_version_2_clients_take_version_1(
    thread: HubThread, tmp_path: Path, status: int
) -> None:
    thread.hub.faults.add("/v2/", status=status, count=None)
    assert downloaded(thread, tmp_path) == DATA
    paths = [request.path for request in thread.hub.counters.log]
    assert any(path.startswith("/v1/reconstructions/") for path in paths)


def test_clients_get_over_expired_urls_and_failing_xorbs(thread: HubThread, tmp_path: Path) -> None:
    thread.hub.faults.add("/reconstructions/", lie=Lie.EXPIRED_URL)
    thread.hub.faults.add("GET /xorbs/|/xorbs/", status=503, after=1)
    assert downloaded(thread, tmp_path) == DATA
    assert thread.hub.counters.statuses[403] == 1
    assert thread.hub.counters.statuses[503] == 1
    assert thread.hub.counters.requests["reconstruction"] >= 2


def test_without_grants_clients_upload_directly(thread: HubThread, tmp_path: Path) -> None:
    thread.hub.faults.add("/xorb-grants/", status=404, count=None)
    thread.hub.faults.add("/v2/shards", status=404, count=None)
    paths = written(tmp_path / "up", {"file": DATA})
    run(thread.hub, tmp_path / "home", UPLOAD, bucket="local/b", files=paths)
    assert thread.do(thread.hub.files("local/b")) == {"file": DATA}
    assert thread.hub.counters.requests["xorb_upload"] == 1


def test_a_shard_error_fails_the_upload(thread: HubThread, tmp_path: Path) -> None:
    thread.hub.faults.add("/v2/shards", lie=Lie.SHARD_ERROR, count=None)
    script = """
api.create_bucket("local/b")
try:
    api.batch_bucket_files("local/b", add=[(b"x" * 100, "file")])
    tell("done")
except Exception as error:
    tell(str(error))
"""
    assert "as told" in run(thread.hub, tmp_path / "home", script)
    assert thread.do(thread.hub.files("local/b")) == {}
