"""The feed of a bucket's changes: told in order, resumed, and given up where there is none."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import FeedUnavailable, RemoteCorrupt
from hfnfs.hub.api import Api
from hfnfs.hub.connect import BucketRemote, connect
from hfnfs.hub.events import READ_TIMEOUT_S, SLICE_CHANGES, Feed, changes_of, pause_s
from hfnfs.hub.http import Http
from hfnfs.hub.source import parse
from hfnfs.localhub import buckets
from hfnfs.localhub.accounts import DEFAULT_TOKEN
from hfnfs.localhub.hub import LocalHub
from hfnfs.remote import Changed, ContentId, FeedEvent, Kind, Ready, RemoteEntry, Reset
from tests.hub.fakes import Clock, Reply, Server, account_at, as_json, refusal

BUCKET = "local/b"
URL = f"/api/buckets/{BUCKET}"
EVENTS = f"{URL}/events"
SSE = {"Content-Type": "text/event-stream; charset=utf-8"}
HASH = "a" * 64
READY = ("ready", {"cursor": "9"})


def told(*events: tuple[str, Any], **how: Any) -> Reply:
    """A session that tells these and ends."""
    body = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events)
    return Reply(200, body.encode(), SSE, **how)


def added(path: str, cursor: str = "5") -> tuple[str, Any]:
    change = {"path": path, "op": "add", "size": 1, "xetHash": HASH, "uploadedAt": "2026-01-01"}
    return "changes", {"cursor": cursor, "changes": [change]}


@pytest.fixture
def api(server: Server, http: Http, clock: Clock) -> Api:
    return Api(parse(f"hf://buckets/{BUCKET}"), account_at(server.url, clock), http)


async def all_of(feed: Feed) -> tuple[list[FeedEvent], str]:
    """What it tells until it is given up, and why it is."""
    events: list[FeedEvent] = []
    try:
        async for event in feed.events():
            events.append(event)
    except FeedUnavailable as error:
        return events, str(error)
    raise AssertionError("a feed has no end")


def queries(server: Server) -> list[str]:
    return [asked.query for asked in server.asked if asked.path == EVENTS]


# ------------------------------------------------------------------------- sessions


async def test_much_that_changed_at_once_is_told_in_pieces(server: Server, api: Api) -> None:
    many = [change for n in range(3 * SLICE_CHANGES) for change in added(f"{n}")[1]["changes"]]
    server.on(EVENTS, told(("changes", {"cursor": "5", "changes": many}), READY), refusal(404))
    events, _ = await all_of(Feed(api, ""))
    pieces = [event for event in events if isinstance(event, Changed)]
    assert [len(piece.entries) for piece in pieces] == [SLICE_CHANGES] * 3
    assert [path for piece in pieces for path in piece.entries] == [c["path"] for c in many]


async def test_it_goes_on_where_it_stopped(server: Server, api: Api) -> None:
    first = told(added("a", "3"), ("ready", {"cursor": "4"}), added("b", "5"))
    server.on(EVENTS, first, told(READY, ("reconnect", {"cursor": "12"})), refusal(404))
    events, _ = await all_of(Feed(api, "2026-01-01T00:00:00.000Z"))
    assert queries(server) == ["since=2026-01-01T00%3A00%3A00.000Z", "cursor=5", "cursor=12"]
    kinds = [type(event) for event in events]
    assert kinds == [Changed, Ready, Changed, Ready]
    (asked, *_) = server.asked
    assert asked.headers["Accept"] == "text/event-stream"
    assert asked.token is not None


@pytest.mark.parametrize("how", [{"cut_at": 20}, {}])
async def test_it_is_given_up_after_sessions_that_never_catch_up(
    server: Server, api: Api, clock: Clock, how: dict[str, Any]
) -> None:
    server.on(EVENTS, told(("changes", {"changes": []}), **how))
    events, _ = await all_of(Feed(api, ""))
    assert events == []
    assert len(server.asked) == 3
    assert [5 <= clock.slept[0] <= 10, 10 <= clock.slept[1] <= 20] == [True, True]


async def test_a_session_that_caught_up_begins_the_count_anew(server: Server, api: Api) -> None:
    bad, good = told(), told(READY)
    server.on(EVENTS, bad, bad, good, bad, bad, good, bad)
    events, _ = await all_of(Feed(api, ""))
    assert events == [Ready(), Ready()]
    assert len(server.asked) == 9


@pytest.mark.parametrize("status", [401, 403, 404, 501])
async def test_a_hub_without_a_feed_is_not_asked_again(
    server: Server, api: Api, status: int
) -> None:
    server.on(EVENTS, refusal(status))
    events, why = await all_of(Feed(api, ""))
    assert events == []
    assert "no feed of changes" in why
    assert len(server.asked) == 1


async def test_a_page_is_no_feed(server: Server, api: Api) -> None:
    server.on(EVENTS, Reply(200, b"<html>", {"Content-Type": "text/html"}))
    assert (await all_of(Feed(api, "")))[0] == []
    assert len(server.asked) == 1


async def test_a_hub_that_fails_is_given_up_in_time(server: Server, api: Api) -> None:
    server.on(EVENTS, refusal(500))
    assert (await all_of(Feed(api, "")))[0] == []
    assert len(server.asked) <= 15


async def test_offline_there_is_no_feed(server: Server, clock: Clock) -> None:
    async with Http(clock, offline=True, sleep=clock.sleep) as http:
        api = Api(parse(f"hf://buckets/{BUCKET}"), account_at(server.url, clock), http)
        assert (await all_of(Feed(api, "")))[0] == []


async def test_a_cursor_that_is_refused_falls_back_to_the_date(server: Server, api: Api) -> None:
    server.on(EVENTS, told(added("a", "3"), READY), refusal(400), told(READY), refusal(404))
    events, _ = await all_of(Feed(api, "2026"))
    assert queries(server) == ["since=2026", "cursor=9", "since=2026", "cursor=9"]
    assert [type(event) for event in events] == [Changed, Ready, Ready]


async def test_a_date_that_is_refused_falls_back_to_now_and_says_so(
    server: Server, api: Api
) -> None:
    server.on(EVENTS, refusal(400), told(READY), refusal(404))
    events, _ = await all_of(Feed(api, "2026"))
    assert queries(server) == ["since=2026", "", "cursor=9"]
    assert [type(event) for event in events] == [Reset, Ready]


async def test_a_reset_begins_anew_from_what_the_bucket_is_at(server: Server, api: Api) -> None:
    server.on(EVENTS, told(("reset", {"reason": "too old"})), told(READY), refusal(404))
    server.on(URL, as_json({"id": BUCKET, "updatedAt": "2026-02-03T00:00:00.000Z"}))
    events, _ = await all_of(Feed(api, ""))
    assert events == [Reset("too old"), Ready()]
    assert server.paths() == [EVENTS, URL, EVENTS, EVENTS]
    assert queries(server)[1] == "since=2026-02-03T00%3A00%3A00.000Z"


async def test_a_reset_is_told_even_if_the_bucket_cannot_be_asked(server: Server, api: Api) -> None:
    server.on(EVENTS, told(("reset", {})), told(READY), refusal(404))
    server.on(URL, refusal(500))
    events, _ = await all_of(Feed(api, ""))
    assert [type(event) for event in events] == [Reset, Ready]


async def test_a_session_that_tells_nonsense_is_left(server: Server, api: Api) -> None:
    nonsense = Reply(200, b"event: changes\ndata: [1\n\n", SSE)
    strange = told(("later", 5), ("changes", {"changes": {}}))
    server.on(EVENTS, nonsense, strange, told(READY), refusal(404))
    assert (await all_of(Feed(api, "")))[0] == [Ready()]


async def test_a_feed_is_waited_for_longer_than_an_answer(server: Server, clock: Clock) -> None:
    """The Hub is silent for half a minute; other answers are not waited for so long."""
    async with Http(clock, sleep=clock.sleep, read_timeout_s=0.05) as http:
        api = Api(parse(f"hf://buckets/{BUCKET}"), account_at(server.url, clock), http)
        request = Feed(api, "")._request(None)
        assert http._timeout_of(request).sock_read == READ_TIMEOUT_S
        assert http._timeout_of(request).sock_connect == http._timeout.sock_connect


def test_pauses_grow_and_are_bounded() -> None:
    for failures, longest in enumerate([10, 10, 20, 40, 80, 80]):
        assert all(longest / 2 <= pause_s(failures) <= longest for _ in range(20))


# -------------------------------------------------------------------------- changes


def test_changes_are_told_whole_or_as_unclear() -> None:
    content = ContentId(f"xet-{HASH}", 3)
    changes = [
        {"path": "d/new", "op": "add", "size": 3, "xetHash": HASH, "mtime": "1970-01-01T00:00:01Z"},
        {"path": "d/gone", "op": "delete"},
        {"path": "d/touched", "op": "update", "mtime": "1970-01-01T00:00:01Z"},
        {"path": "d/written", "op": "update", "size": 3, "xetHash": HASH},
        {"path": "d/back", "op": "delete"},
        {"path": "d/back", "op": "add", "size": 3, "xetHash": HASH},
        {"path": "d/twice", "op": "add", "size": 3, "xetHash": HASH},
        {"path": "d/twice", "op": "update", "mtime": None},
        {"path": "dd/other", "op": "delete"},
        {"path": "d", "op": "delete"},
        {"path": "d/../up", "op": "delete"},
        {"path": "d/", "op": "delete"},
        {"op": "delete"},
        7,
    ]
    changed = changes_of({"changes": changes}, "d/")
    assert changed.entries == {
        "new": RemoteEntry("new", Kind.FILE, content, 10**9),
        "gone": None,
        "back": RemoteEntry("back", Kind.FILE, content, None),
    }
    assert changed.unclear == {"touched", "written", "twice"}


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(HASH)
KEYS = st.sampled_from(["path", "op", "size", "xetHash", "mtime", "uploadedAt"])
CHANGES = st.lists(
    st.dictionaries(KEYS, VALUES | st.sampled_from(["a", "d/a", "add", "delete"])) | VALUES
)


@given(st.fixed_dictionaries({"changes": CHANGES | VALUES}), st.sampled_from(["", "d/"]))
def test_any_changes_are_read_or_refused(told: dict[str, Any], prefix: str) -> None:
    if not isinstance(told["changes"], list):
        with pytest.raises(RemoteCorrupt):
            changes_of(told, prefix)
        return
    changed = changes_of(told, prefix)
    assert not changed.unclear & changed.entries.keys()
    for path, entry in changed.entries.items():
        assert entry is None or (entry.name == path.rpartition("/")[2] and entry.content)


# --------------------------------------------------------------- against a whole Hub


@asynccontextmanager
async def following(
    hub: LocalHub, http: Http, clock: Clock, folder: str = "", *, since: str | None = None
) -> AsyncIterator[tuple[BucketRemote, Any]]:
    account = account_at(hub.endpoint, clock, DEFAULT_TOKEN)
    remote = await connect(parse(f"hf://buckets/{BUCKET}{folder}"), account, http)
    assert isinstance(remote, BucketRemote)
    since = (await remote.revision()).token if since is None else since
    async with aclosing(remote.changes(since)) as events, asyncio.timeout(100):
        yield remote, events


@pytest.fixture
async def bucket(hub: LocalHub, clock: Clock) -> LocalHub:
    await hub.create_bucket(BUCKET)
    await hub.put(BUCKET, {"d/old": b"x"})
    clock.advance(1)
    return hub


async def test_what_others_change_is_told(bucket: LocalHub, http: Http, clock: Clock) -> None:
    async with following(bucket, http, clock, "/d") as (remote, events):
        await bucket.put(BUCKET, {"d/sub/new": b"12", "other": b"1"}, mtime_ns=5 * 10**9)
        changed = await anext(events)
        assert set(changed.entries) == {"sub/new"}
        assert changed.entries["sub/new"] == (await remote.list("sub")).entries["new"]
        assert await anext(events) == Ready()
        await bucket.put(BUCKET, {"other": b"2"})
        await bucket.put(BUCKET, {"d/old": b"y"}, mtime_ns=6 * 10**9)
        assert await anext(events) == Changed({}, frozenset({"old"}))
        await bucket.delete(BUCKET, ["d/old"])
        assert await anext(events) == Changed({"old": None})


async def test_nothing_is_missed_while_the_feed_is_away(
    bucket: LocalHub, http: Http, clock: Clock
) -> None:
    async with following(bucket, http, clock) as (_, events):
        assert await anext(events) == Ready()
        bucket._port = int(bucket.endpoint.rpartition(":")[2])
        await bucket.close()
        await bucket.start()
        bucket.faults.add("/events", drop=True, count=2)
        await bucket.put(BUCKET, {"a": b"1", "b": b"1"})
        await bucket.delete(BUCKET, ["a"])
        changed = await anext(events)
        assert (set(changed.entries), changed.entries["a"]) == ({"a", "b"}, None)
        assert await anext(events) == Ready()


async def test_who_was_away_too_long_lists_again(
    bucket: LocalHub, http: Http, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "CHANGES_KEPT", 2)
    async with following(bucket, http, clock) as (_, events):
        for number in range(5):
            clock.advance(1)
            await bucket.put(BUCKET, {f"{number}": b""})
        assert isinstance(await anext(events), Reset)
        assert await anext(events) == Ready()
        await bucket.put(BUCKET, {"after": b"1"})
        assert set((await anext(events)).entries) == {"after"}
