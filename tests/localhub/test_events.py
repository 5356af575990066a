"""The feed of a bucket's changes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from hfnfs.localhub import buckets, events
from hfnfs.localhub.hub import LocalHub
from tests.fakes.clock import FakeClock


class Feed:
    """Reads events as they come."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def next(self) -> tuple[str, Any]:
        """Name and data of the next event; a ping is ("", None)."""
        raw = await self._response.content.readuntil(b"\n\n")
        if raw.startswith(b":"):
            return "", None
        fields = dict(line.split(": ", 1) for line in raw.decode().strip().splitlines())
        return fields["event"], json.loads(fields["data"])


@asynccontextmanager
async def following(
    hub: LocalHub, session: aiohttp.ClientSession, **resume: str
) -> AsyncIterator[Feed]:
    url = f"{hub.endpoint}/api/buckets/local/b/events"
    async with session.get(url, params=resume) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        yield Feed(response)


async def test_a_change_is_told_with_what_differs(
    hub: LocalHub, session: aiohttp.ClientSession
) -> None:
    async with following(hub, session) as feed:
        event, data = await feed.next()
        assert event == "ready"
        hashes = await hub.put("local/b", {"a": b"1"}, mtime_ns=5_000_000_000)
        _, added = await feed.next()
        (change,) = added["changes"]
        assert int(added["cursor"]) > int(data["cursor"])
        assert (change["path"], change["op"], change["size"]) == ("a", "add", 1)
        assert change["xetHash"] == hashes["a"]
        await hub.put("local/b", {"a": b"1"}, mtime_ns=6_000_000_000)
        (update,) = (await feed.next())[1]["changes"]
        assert update == {"path": "a", "op": "update", "mtime": "1970-01-01T00:00:06.000Z"}
        await hub.delete("local/b", ["a"])
        assert (await feed.next())[1]["changes"] == [{"path": "a", "op": "delete"}]


async def test_a_follower_catches_up_from_its_cursor(
    hub: LocalHub, session: aiohttp.ClientSession
) -> None:
    async with following(hub, session) as feed:
        cursor = (await feed.next())[1]["cursor"]
    await hub.put("local/b", {"a": b"1"})
    await hub.put("local/b", {"b": b"1"})
    async with following(hub, session, cursor=cursor) as feed:
        event, data = await feed.next()
        assert event == "changes"
        assert [change["path"] for change in data["changes"]] == ["a", "b"]
        assert await feed.next() == ("ready", {"cursor": data["cursor"]})


async def test_a_follower_catches_up_from_a_date(
    hub: LocalHub, session: aiohttp.ClientSession, clock: FakeClock
) -> None:
    await hub.put("local/b", {"before": b"1"})
    clock.advance(10)
    async with session.get(f"{hub.endpoint}/api/buckets/local/b") as response:
        since = (await response.json())["updatedAt"]
    await hub.put("local/b", {"after": b"1"})
    async with following(hub, session, since=since) as feed:
        assert [change["path"] for change in (await feed.next())[1]["changes"]] == ["after"]


async def test_who_was_away_too_long_has_to_list_again(
    hub: LocalHub, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "CHANGES_KEPT", 2)
    for number in range(5):
        await hub.put("local/b", {f"{number}": b""})
    async with following(hub, session, cursor="1") as feed:
        assert (await feed.next())[0] == "reset"


@pytest.mark.parametrize("resume", [{"cursor": "x"}, {"since": "yesterday"}])
async def test_a_senseless_resume_point_is_refused(
    hub: LocalHub, session: aiohttp.ClientSession, resume: dict[str, str]
) -> None:
    url = f"{hub.endpoint}/api/buckets/local/b/events"
    async with session.get(url, params=resume) as response:
        assert response.status == 400


async def test_pings_show_that_the_feed_lives(
    hub: LocalHub, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PING_S", 0.01)
    async with following(hub, session) as feed:
        assert (await feed.next())[0] == "ready"
        assert await feed.next() == ("", None)


async def test_a_hub_that_ends_says_so(hub: LocalHub, session: aiohttp.ClientSession) -> None:
    async with asyncio.TaskGroup() as group, following(hub, session) as feed:
        await feed.next()
        group.create_task(hub.close())
        assert (await feed.next())[0] == "reconnect"
    await hub.start()
