"""Uploading by grant, and what is not granted."""

from typing import Any

import aiohttp
import pytest
from anycrc import Model
from yarl import URL

from hfnfs.localhub.hub import LocalHub
from tests.localhub.uploads import Upload, cas_headers, upload_of

UPLOAD = upload_of(b"some data " * 1000, b"more")
CRC = Model("CRC64-NVME").calc(UPLOAD.packed)


def announcement(length: int = len(UPLOAD.packed), crc: int = CRC) -> dict[str, Any]:
    return {"length": length, "checksum": {"algo": "crc64nvme", "value": str(crc)}}


class Granting:
    """A client that uploads by grant, step by step."""

    def __init__(
        self, session: aiohttp.ClientSession, hub: LocalHub, headers: dict[str, str]
    ) -> None:
        self._session = session
        self._hub = hub
        self._headers = headers
        self.grant: dict[str, Any] = {}

    async def ask(self, body: Any, upload: Upload = UPLOAD) -> int:
        url = f"{self._hub.cas_url}/v1/xorb-grants/default/{upload.name}"
        async with self._session.post(url, json=body, headers=self._headers) as response:
            self.grant = await response.json() if response.status == 201 else {}
            return response.status

    async def put(self, data: bytes, headers: dict[str, str] | None = None) -> int:
        url = URL(self.grant["url"], encoded=True)
        given = self.grant["headers"] if headers is None else headers
        async with self._session.put(url, data=data, headers=given) as response:
            return response.status

    async def commit(self, upload: Upload = UPLOAD) -> int:
        path = f"/v1/xorb-commits/default/{upload.name}/grant/{self.grant['id']}"
        async with self._session.post(self._hub.cas_url + path, headers=self._headers) as response:
            return response.status


@pytest.fixture
async def client(hub: LocalHub, session: aiohttp.ClientSession) -> Granting:
    return Granting(session, hub, await cas_headers(session, hub))


async def test_a_xorb_is_stored_by_grant_and_then_known(client: Granting) -> None:
    assert await client.ask(announcement()) == 201
    assert await client.put(UPLOAD.packed) == 200
    assert await client.commit() == 200
    assert await client.commit() == 404
    assert await client.ask(announcement()) == 200


@pytest.mark.parametrize(
    "data", [b"", UPLOAD.packed[:-1], UPLOAD.packed + b"x", b"x" * len(UPLOAD.packed)]
)
async def test_only_the_announced_bytes_are_taken(client: Granting, data: bytes) -> None:
    await client.ask(announcement())
    assert await client.put(data) in {400, 413}
    assert await client.commit() == 404
    assert await client.put(UPLOAD.packed) == 200
    assert await client.commit() == 200


async def test_bytes_that_are_no_such_xorb_are_refused_when_committed(client: Granting) -> None:
    other = upload_of(b"other")
    await client.ask(announcement(), other)
    assert await client.put(UPLOAD.packed) == 200
    assert await client.commit(other) == 400


async def test_the_headers_and_signature_of_the_grant_are_needed(client: Granting) -> None:
    await client.ask(announcement())
    assert await client.put(UPLOAD.packed, headers={}) == 400
    client.grant["url"] = client.grant["url"][:-1] + "x"
    assert await client.put(UPLOAD.packed) == 403


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        announcement(length=0),
        announcement(length=1 << 40),
        announcement(crc=1 << 64),
        {**announcement(), "checksum": {"algo": "md5", "value": "1"}},
        {**announcement(), "checksum": 5},
    ],
)
async def test_a_senseless_announcement_gets_no_grant(client: Granting, body: Any) -> None:
    assert await client.ask(body) == 400


async def test_without_a_checksum_library_no_grants_are_offered(
    client: Granting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hfnfs.localhub.grants.find_spec", lambda name: None)
    assert await client.ask(announcement()) == 404
