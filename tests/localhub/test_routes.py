"""The Hub's routes where the real clients do not lead: refusals, odd paths, headers."""

import json
from typing import Any

import aiohttp
import pytest
from yarl import URL

from hfnfs.localhub.hub import LocalHub
from tests.localhub.uploads import HUB_HEADERS


async def batch(
    hub: LocalHub, session: aiohttp.ClientSession, *operations: Any, bucket: str = "local/b"
) -> tuple[int, Any]:
    body = b"".join(json.dumps(operation).encode() + b"\n" for operation in operations)
    url = f"{hub.endpoint}/api/buckets/{bucket}/batch"
    async with session.post(url, data=body, headers=HUB_HEADERS) as response:
        return response.status, await response.json()


def added(path: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "addFile", "path": path, "xetHash": "0" * 64, "mtime": 1000, **fields}


@pytest.mark.parametrize(
    "path",
    ["", "/", "a//b", "/a", "a/", ".", "..", "a/../b", "a\0b", "x" * 1025, None, 5, "\ud800"],
)
async def test_a_batch_takes_no_path_that_is_none(
    hub: LocalHub, session: aiohttp.ClientSession, path: Any
) -> None:
    status, body = await batch(hub, session, added(path))
    assert status == 422
    assert [failure["path"] for failure in body["failed"]] == [str(path)]


@pytest.mark.parametrize(
    "operation",
    [
        added("x", xetHash="12" * 32),
        added("x", xetHash="no"),
        added("x", mtime="now"),
        added("x", mtime=1 << 80),
        added("x", mtime=-1),
        added("x", contentType=7),
    ],
)
async def test_a_file_must_have_been_uploaded(
    hub: LocalHub, session: aiohttp.ClientSession, operation: Any
) -> None:
    assert (await batch(hub, session, operation))[0] == 422
    assert await hub.files("local/b") == {}


async def test_adds_stand_before_deletes(hub: LocalHub, session: aiohttp.ClientSession) -> None:
    delete = {"type": "deleteFile", "path": "x"}
    assert (await batch(hub, session, delete, added("y")))[0] == 400
    assert (await batch(hub, session, added("x"), delete))[0] == 200
    assert await hub.files("local/b") == {}


async def test_a_batch_has_its_bounds(hub: LocalHub, session: aiohttp.ClientSession) -> None:
    assert (await batch(hub, session, *[added(f"{n}") for n in range(1001)]))[0] == 400
    assert (await batch(hub, session, *[added(f"{n}") for n in range(1000)]))[0] == 200
    for operations in (["text"], [{"type": "other"}], [{"path": "x"}]):
        assert (await batch(hub, session, *operations))[0] == 400


async def test_a_stranger_changes_nothing(hub: LocalHub, session: aiohttp.ClientSession) -> None:
    await hub.create_bucket("other/theirs")
    await hub.create_bucket("other/secret", private=True)
    base = f"{hub.endpoint}/api/buckets"
    for headers, public, secret in ((HUB_HEADERS, 403, 404), ({}, 401, 401)):
        for name, status in (("theirs", public), ("secret", secret)):
            async with session.delete(f"{base}/other/{name}", headers=headers) as response:
                assert response.status == status
            url = f"{base}/other/{name}/xet-write-token"
            async with session.get(url, headers=headers) as response:
                assert response.status == status
    async with session.post(f"{base}/other/new", headers=HUB_HEADERS) as response:
        assert response.status == 403


async def test_one_level_keeps_hostile_names_as_the_owner_put_them(
    hub: LocalHub, session: aiohttp.ClientSession
) -> None:
    await hub.put("local/b", {"a/../b": b"", "a//c": b""})
    async with session.get(f"{hub.endpoint}/api/buckets/local/b/tree/a%2F") as response:
        assert [entry["path"] for entry in await response.json()] == ["a/..", "a//c"]


async def test_pages_are_linked_on_the_same_origin(
    hub: LocalHub, session: aiohttp.ClientSession
) -> None:
    await hub.put("local/b", {f"ä #{number}/x": b"" for number in range(5)})
    url = f"{hub.endpoint}/api/buckets/local/b/tree?recursive=false&limit=2"
    found = []
    while url:
        async with session.get(URL(url, encoded=True)) as response:
            found += [entry["path"] for entry in await response.json()]
            link = response.links.get("next")
            url = str(link["url"]) if link else ""
            assert not url or url.startswith(hub.endpoint)
    assert found == [f"ä #{number}" for number in range(5)]


async def test_what_a_resolve_says_before_it_redirects(
    hub: LocalHub, session: aiohttp.ClientSession
) -> None:
    await hub.create_repo("dataset", "local/d")
    sha = await hub.commit("dataset", "local/d", {"x/w.bin": b"w" * 100, "t.txt": b"text"})
    base = f"{hub.endpoint}/datasets/local/d/resolve/main"
    async with session.head(f"{base}/x/w.bin", allow_redirects=False) as response:
        assert response.status == 302
        assert response.headers["Location"].startswith(hub.cas_url)
        assert response.headers["X-Linked-Size"] == "100"
        assert response.headers["X-Repo-Commit"] == sha
        assert str(response.links["xet-auth"]["url"]).endswith(f"/xet-read-token/{sha}")
    async with session.head(f"{base}/t.txt") as response:
        assert (response.status, response.content_length) == (200, 4)
        assert await response.read() == b""
    async with session.get(f"{base}/t.txt", headers={"Range": "bytes=-3"}) as response:
        assert (response.status, await response.read()) == (206, b"ext")
        assert response.headers["Content-Range"] == "bytes 1-3/4"


async def test_a_reserved_name_is_refused(hub: LocalHub) -> None:
    with pytest.raises(ValueError, match="route"):
        await hub.create_repo("model", "local/tree")
    await hub.create_repo("model", "local/m")
    with pytest.raises(ValueError, match="exists"):
        await hub.create_repo("model", "local/m")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/models/local/m/tree/main?cursor=x", {}),
        ("/api/models/local/m/tree/main?limit=x", {}),
        ("/api/buckets/local?cursor=-1", {}),
        ("/api/buckets/local/b/tree?limit=x", {}),
        ("/api/buckets/local/b/events?cursor=x", {}),
        ("/api/buckets/local/b/events?since=0001-01-01T00:00:00%2B23:00", {}),
        ("/api/buckets/local/b", {"Authorization": "Bearer \udcff"}),
        ("/api/models/local/m/resolve/main/x", {"Range": "bytes=" + "9" * 5000 + "-"}),
    ],
)
async def test_odd_requests_are_refused_in_order(
    hub: LocalHub, session: aiohttp.ClientSession, path: str, headers: dict[str, str]
) -> None:
    await hub.create_repo("model", "local/m")
    async with session.get(URL(hub.endpoint + path, encoded=True), headers=headers) as response:
        assert 400 <= response.status < 500


@pytest.mark.parametrize("token", ["", ".", "x.y", "Bearer", "Bearer .", "\udcff.\udcff"])
async def test_what_is_no_token_is_refused(
    hub: LocalHub, session: aiohttp.ClientSession, token: str
) -> None:
    url = f"{hub.cas_url}/v2/reconstructions/{'0' * 64}"
    async with session.get(url, headers={"Authorization": token}) as response:
        assert response.status == 401


async def test_paths_info_leaves_out_what_is_no_file(
    hub: LocalHub, session: aiohttp.ClientSession
) -> None:
    await hub.put("local/b", {"d/x": b""})
    url = f"{hub.endpoint}/api/buckets/local/b/paths-info"
    asked = {"paths": ["d", "d/x", "nowhere", 5, None, "\ud800"]}
    async with session.post(url, json=asked) as response:
        assert [entry["path"] for entry in await response.json()] == ["d/x"]
    refused: list[object] = [{"paths": 5}, {}, {"paths": ["x"] * 1001}, []]
    for senseless in refused:
        async with session.post(url, json=senseless) as response:
            assert response.status == 400


@pytest.mark.parametrize("name", ["a b", "%2E%2E%2Fx", "x" * 97, "ä"])
async def test_a_bucket_has_a_plain_name(
    hub: LocalHub, session: aiohttp.ClientSession, name: str
) -> None:
    url = URL(f"{hub.endpoint}/api/buckets/local/{name}")
    async with session.post(url, headers=HUB_HEADERS) as response:
        assert response.status == 400
