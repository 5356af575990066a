"""What the CAS takes and what it refuses."""

import asyncio
import hashlib
import json
import random

import aiohttp
import pytest
from yarl import URL

from hfnfs.localhub.hub import LocalHub
from hfnfs.xet import chunk, hashes, shard, xorb
from hfnfs.xet.shard import Shard, ShardXorb
from tests.fakes.clock import FakeClock
from tests.localhub.uploads import Upload, cas_headers, put_xorb, upload_of

RANDOM = random.Random(1)
CHUNKS = [RANDOM.randbytes(70_000), b"text " * 9000, RANDOM.randbytes(30_000), b"end"]
WHOLE = b"".join(CHUNKS)


async def put_shard(
    session: aiohttp.ClientSession, hub: LocalHub, body: bytes, headers: dict[str, str]
) -> list[dict[str, object]]:
    """The frames of the answer."""
    async with session.post(f"{hub.cas_url}/v2/shards", data=body, headers=headers) as response:
        assert response.status == 200
        return [json.loads(line) for line in (await response.text()).splitlines()]


async def uploaded(session: aiohttp.ClientSession, hub: LocalHub) -> tuple[Upload, dict[str, str]]:
    """A file of CHUNKS, uploaded, and the headers it was with."""
    headers, upload = await cas_headers(session, hub), upload_of(*CHUNKS)
    assert await put_xorb(session, hub, upload, headers) == 200
    await put_shard(session, hub, upload.shard(), headers)
    return upload, headers


def plan_url(hub: LocalHub, upload: Upload, version: int = 2) -> str:
    return f"{hub.cas_url}/v{version}/reconstructions/{hashes.to_hex(upload.file.hash)}"


async def test_a_shard_tells_how_far_it_is(hub: LocalHub, session: aiohttp.ClientSession) -> None:
    headers, upload = await cas_headers(session, hub), upload_of(*CHUNKS)
    await put_xorb(session, hub, upload, headers)
    sha256 = hashlib.sha256(WHOLE).hexdigest()
    frames = await put_shard(session, hub, upload.shard(sha256=sha256), headers)
    assert frames == [
        {"type": "validating", "verified": 1, "total": 1},
        {"type": "committing", "stage": "syncing"},
        {"type": "result"},
    ]


@pytest.mark.parametrize("version", [1, 2])
async def test_a_plan_and_its_urls_give_the_range(
    hub: LocalHub, session: aiohttp.ClientSession, version: int
) -> None:
    upload, headers = await uploaded(session, hub)
    start, end = 69_999, 70_005
    ranged = {**headers, "Range": f"bytes={start}-{end - 1}"}
    async with session.get(plan_url(hub, upload, version), headers=ranged) as response:
        plan = await response.json()
    assert plan["offset_into_first_range"] == start
    (term,) = plan["terms"]
    assert term["range"] == {"start": 0, "end": 2}
    assert term["unpacked_length"] == len(CHUNKS[0] + CHUNKS[1])
    (entry,) = plan["fetch_info" if version == 1 else "xorbs"][upload.name]
    packed = entry["url_range"] if version == 1 else entry["ranges"][0]["bytes"]
    signed = {"Range": f"bytes={packed['start']}-{packed['end']}"}
    async with session.get(URL(entry["url"], encoded=True), headers=signed) as response:
        assert response.status == 206
        raw = await response.read()
    assert len(raw) == packed["end"] - packed["start"] + 1
    got = b"".join(chunk.ChunkReader().feed(raw))
    assert got[start:end] == WHOLE[start:end]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (f"bytes={len(WHOLE)}-", 416),
        (f"bytes={len(WHOLE) - 1}-18446744073709551614", 200),
        ("bytes=0-0", 200),
        ("bytes=5-4", 416),
    ],
)
async def test_ranges_at_the_end_are_clamped_or_refused(
    hub: LocalHub, session: aiohttp.ClientSession, asked: str, status: int
) -> None:
    upload, headers = await uploaded(session, hub)
    url = plan_url(hub, upload)
    async with session.get(url, headers={**headers, "Range": asked}) as response:
        assert response.status == status


async def test_an_empty_file_needs_no_terms(hub: LocalHub, session: aiohttp.ClientSession) -> None:
    headers = await cas_headers(session, hub, "read")
    url = f"{hub.cas_url}/v2/reconstructions/{'0' * 64}"
    async with session.get(url, headers=headers) as response:
        assert (await response.json())["terms"] == []
    async with session.get(url, headers={**headers, "Range": "bytes=0-9"}) as response:
        assert response.status == 416


async def test_a_signed_url_serves_its_range_alone_and_for_a_while(
    hub: LocalHub, session: aiohttp.ClientSession, clock: FakeClock
) -> None:
    upload, headers = await uploaded(session, hub)
    async with session.get(plan_url(hub, upload), headers=headers) as response:
        (entry,) = (await response.json())["xorbs"][upload.name]
    end = entry["ranges"][0]["bytes"]["end"]

    async def status(url: str, asked: str | None) -> int:
        given = {"Range": asked} if asked else {}
        async with session.get(URL(url, encoded=True), headers=given) as response:
            return response.status

    signed = f"bytes=0-{end}"
    url = entry["url"]
    other = url.replace(f"-{end}", f"-{end - 1}")
    assert other != url
    assert await status(url, signed) == 206
    assert await status(url, None) == 403
    assert await status(url, f"bytes=0-{end - 1}") == 403
    assert await status(other, f"bytes=0-{end - 1}") == 403
    assert await status(url.partition("?")[0], signed) == 403
    clock.advance(3601)
    assert await status(url, signed) == 403


async def test_tokens_end_and_say_what_they_are_for(
    hub: LocalHub, session: aiohttp.ClientSession, clock: FakeClock
) -> None:
    upload, write = await uploaded(session, hub)
    read = await cas_headers(session, hub, "read")
    assert await put_xorb(session, hub, upload, read) == 403
    forged = {"Authorization": write["Authorization"][:-1] + "x"}
    assert await put_xorb(session, hub, upload, forged) == 401
    assert await put_xorb(session, hub, upload, {}) == 401
    assert await put_xorb(session, hub, upload, write) == 200
    clock.advance(3601)
    assert await put_xorb(session, hub, upload, write) == 401
    async with session.get(plan_url(hub, upload), headers=read) as response:
        assert response.status == 401


def hostile_xorbs() -> list[bytes]:
    good = upload_of(*CHUNKS)
    zeros = chunk.encode(bytes(chunk.CHUNK_BYTES_MAX))
    return [
        b"",
        b"not a xorb",
        good.packed[:-1],
        good.packed + b"more",
        good.packed + chunk.encode(b"more"),
        good.packed[:100] + bytes([good.packed[100] ^ 1]) + good.packed[101:],
        good.packed + xorb.pack_footer(xorb.index_of(good.xorb.chunks, [1, 2, 3, 4])),
        zeros * 600,
    ]


@pytest.mark.parametrize("body", hostile_xorbs())
async def test_a_xorb_that_is_not_what_it_says_is_refused(
    hub: LocalHub, session: aiohttp.ClientSession, body: bytes
) -> None:
    headers, good = await cas_headers(session, hub), upload_of(*CHUNKS)
    wrong = Upload(body, good.xorb, good.file)
    assert await put_xorb(session, hub, wrong, headers) == 400
    assert await put_xorb(session, hub, good, headers) == 200


async def test_a_xorb_that_never_ends_is_cut_off(
    hub: LocalHub, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hfnfs.localhub.cas._XORB_BODY_MAX", 100_000)
    headers, good = await cas_headers(session, hub), upload_of(*CHUNKS)
    assert len(good.packed) > 100_000
    assert await put_xorb(session, hub, good, headers) == 413


def hostile_shards() -> list[bytes]:
    good = upload_of(*CHUNKS)
    (term,) = good.file.terms
    other = upload_of(b"never uploaded")
    swapped = ShardXorb(good.xorb.hash, good.xorb.chunks[::-1])
    return [
        good.shard(hash=bytes(range(32))),
        good.shard(verification=None),
        good.shard(verification=(bytes(32),)),
        good.shard(sha256="ab" * 32),
        good.shard(terms=(shard.Term(term.xorb, 0, 5, term.length),)),
        good.shard(terms=(shard.Term(term.xorb, 0, 4, term.length + 1),)),
        good.shard(terms=(shard.Term(term.xorb, 0, 3, term.length),)),
        good.shard(terms=(term, term), verification=good.file.verification * 2),  # type: ignore[operator]  # there is one
        other.shard(),
        shard.pack_upload(Shard((good.file,), (swapped,))),
    ]


@pytest.mark.parametrize("body", hostile_shards())
async def test_a_shard_that_is_not_true_is_refused(
    hub: LocalHub, session: aiohttp.ClientSession, body: bytes
) -> None:
    headers, good = await cas_headers(session, hub), upload_of(*CHUNKS)
    await put_xorb(session, hub, good, headers)
    frames = await put_shard(session, hub, body, headers)
    assert [frame["type"] for frame in frames] == ["error"]
    async with session.get(plan_url(hub, good), headers=headers) as response:
        assert response.status == 404
    async with session.post(f"{hub.cas_url}/v1/shards", data=body, headers=headers) as response:
        assert response.status == 400


async def test_a_cut_shard_is_refused(hub: LocalHub, session: aiohttp.ClientSession) -> None:
    headers, good = await cas_headers(session, hub), upload_of(*CHUNKS)
    body = good.shard()[:-1]
    async with session.post(f"{hub.cas_url}/v2/shards", data=body, headers=headers) as response:
        assert response.status == 400


async def test_a_file_not_known_is_none(hub: LocalHub, session: aiohttp.ClientSession) -> None:
    headers = await cas_headers(session, hub)
    for name, status in (("ab" * 32, 404), ("AB" * 32, 400), ("..", 400), ("x", 400)):
        url = URL(f"{hub.cas_url}/v2/reconstructions/{name}", encoded=True)
        async with session.get(url, headers=headers) as response:
            assert response.status == status


async def test_a_query_for_chunks_answers_with_their_xorb(
    hub: LocalHub, session: aiohttp.ClientSession
) -> None:
    upload, headers = await uploaded(session, hub)
    first, second = (hashes.to_hex(part.hash) for part in upload.xorb.chunks[:2])
    for prefix in ("default", "default-merkledb"):
        url = f"{hub.cas_url}/v1/chunks/{prefix}"
        async with session.get(f"{url}/{first}", headers=headers) as response:
            assert shard.read(await response.read()) == Shard((), (upload.xorb,))
        async with session.get(f"{url}/{second}", headers=headers) as response:
            assert response.status == 404


async def test_plans_of_several_files_come_together(
    hub: LocalHub, session: aiohttp.ClientSession
) -> None:
    upload, headers = await uploaded(session, hub)
    name = hashes.to_hex(upload.file.hash)
    url = f"{hub.cas_url}/v1/reconstructions?file_id={name}&file_id={'0' * 64}"
    async with session.get(url, headers=headers) as response:
        plan = await response.json()
    assert [term["hash"] for term in plan["files"][name]] == [upload.name]
    assert plan["files"]["0" * 64] == []
    assert list(plan["fetch_info"]) == [upload.name]


async def test_equal_uploads_at_the_same_time_are_kept_once(
    hub: LocalHub, session: aiohttp.ClientSession
) -> None:
    headers, upload = await cas_headers(session, hub), upload_of(*CHUNKS)
    async with asyncio.TaskGroup() as group:
        puts = [group.create_task(put_xorb(session, hub, upload, headers)) for _ in range(5)]
    assert [put.result() for put in puts] == [200] * 5
    frames = await put_shard(session, hub, upload.shard(), headers)
    assert frames[-1] == {"type": "result"}
