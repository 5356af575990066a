"""The bucket's feed of changes, followed for as long as the Hub tells it.

A session is one request. When it ends the next one goes on where it stopped:

    at a cursor  --400-->  at a date (`since`)  --400-->  from now, and Reset
         ^                      ^
    each event tells it         `reset` by the Hub: Reset, from the bucket's own date

Sessions that end without having caught up are followed by longer and longer pauses; after a few
of them in a row the feed is given up.
"""

import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlencode

from hfnfs.errors import FeedUnavailable, RateLimited, RemoteCorrupt, RemoteError, RemoteUnavailable
from hfnfs.hub.api import Api
from hfnfs.hub.entries import Unshowable, entry_of, is_name
from hfnfs.hub.errors import harmless, refusal
from hfnfs.hub.http import Answer, Cut, Request, Stream, is_worth_a_retry
from hfnfs.hub.pace import Lane
from hfnfs.hub.sse import SseEvent, SseReader
from hfnfs.hub.tree import BucketTree
from hfnfs.remote import Changed, FeedEvent, Kind, Ready, RemoteEntry, Reset

READ_TIMEOUT_S: Final = 90.0  # the Hub gives a sign of life every 30 s
SESSIONS_FAILED_MAX: Final = 3  # in a row
PAUSE_FIRST_S: Final = 10.0
PAUSE_MAX_S: Final = 80.0
# A session that lived longer is gone on with at once.
SESSION_LONG_S: Final = 60.0
CURSOR_CHARS_MAX: Final = 1024
SLICE_CHANGES: Final = 256  # are understood at once: some milliseconds

_KNOWN: Final = {"changes", "ready", "reset", "reconnect"}
_MEDIA_TYPE: Final = "text/event-stream"


class Feed:
    """What changes in a bucket's folder; paths are relative to it."""

    def __init__(self, api: Api, since: str) -> None:
        self._api = api
        self._tree = BucketTree(api)
        folder = api.source.subfolder
        self._prefix = f"{folder}/" if folder else ""
        self._since = since  # a date of the Hub; "": from now on
        self._cursor = ""
        self._is_broken = False  # changes were missed, and nobody was told yet
        self._was_ready = False  # this session has caught up

    async def events(self) -> AsyncGenerator[FeedEvent, None]:
        """Everything, session after session. Raises FeedUnavailable."""
        clock, failures = self._api.http.clock, 0
        while True:
            began_at, self._was_ready = clock.now(), False
            why: Exception | None = None
            try:
                async with self._session() as stream, aclosing(self._read(stream)) as events:
                    async for event in events:
                        yield event
            except (Cut, RateLimited, RemoteUnavailable, RemoteCorrupt) as error:
                why = error
            except FeedUnavailable:
                raise
            except RemoteError as error:
                raise FeedUnavailable(f"no feed of changes: {error}") from error
            failures = 0 if self._was_ready else failures + 1
            if failures >= SESSIONS_FAILED_MAX:
                name = self._api.source.name
                raise FeedUnavailable(f"{name}: the Hub's feed of changes fails") from why
            if not self._was_ready or clock.now() - began_at < SESSION_LONG_S:
                await self._api.http.pause(pause_s(failures))

    # ---------------------------------------------------------------- a session

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Stream]:
        """A stream of events from where the last one ended. Raises RemoteError."""
        account = self._api.account
        token = await account.token()
        while True:
            async with self._api.http.stream(self._request(token)) as got:
                if isinstance(got, Stream):
                    if got.headers.get("Content-Type", "").split(";")[0].strip() != _MEDIA_TYPE:
                        raise self._unavailable("the Hub tells no changes of it")
                    yield got
                    return
            if got.status == 401 and await account.has_other_than(token):
                token = await account.token()
            elif not (got.status == 400 and self._step_back()):
                raise self._refused(got, token)

    def _request(self, token: str | None) -> Request:
        resume = {}
        if self._cursor:
            resume = {"cursor": self._cursor}
        elif self._since:
            resume = {"since": self._since}
        url = self._api.url("events") + (f"?{urlencode(resume)}" if resume else "")
        headers = {"Accept": _MEDIA_TYPE, "Cache-Control": "no-cache"}
        request = Request(url, Lane.API, headers=headers, token=token)
        return replace(request, read_timeout_s=READ_TIMEOUT_S)

    def _step_back(self) -> bool:
        """Resume at an earlier point, as the Hub does not take this one; False: there is none."""
        if self._cursor:
            self._cursor = ""
            self._is_broken |= not self._since
        elif self._since:
            self._since = ""
            self._is_broken = True
        else:
            return False
        return True

    def _refused(self, answer: Answer, token: str | None) -> RemoteError:
        reason = refusal(answer, self._api.asked(token))
        if is_worth_a_retry(answer.status):
            return reason
        return FeedUnavailable(f"no feed of changes: {reason}")

    def _unavailable(self, fact: str) -> FeedUnavailable:
        return FeedUnavailable(f"{self._api.source.name}: {fact}")

    # ----------------------------------------------------------------- its events

    async def _read(self, stream: Stream) -> AsyncGenerator[FeedEvent, None]:
        """What a session tells, until it ends. Raises Cut, RemoteError."""
        reader = SseReader()
        async with aclosing(stream.pieces()) as pieces:
            async for data in pieces:
                for raw in reader.feed(data):
                    if raw.name not in _KNOWN:
                        continue
                    told = _object(raw)
                    if raw.name == "reset":
                        yield await self._reset(told)
                        return
                    for event in self._understood(raw.name, told):
                        yield event
                    self._cursor = _cursor(told) or self._cursor  # only now it was taken
                    if raw.name == "reconnect":
                        return

    def _understood(self, name: str, told: dict[str, Any]) -> Iterator[FeedEvent]:
        """What it tells; much is told piece by piece, so that others are served in between."""
        if name == "changes":
            for some in _slices(told):
                changed = changes_of(some, self._prefix)
                if changed.entries or changed.unclear:
                    yield changed
        elif name == "ready":
            self._was_ready = True
            if self._is_broken:
                self._is_broken = False
                yield Reset("the feed could not be resumed")
            yield Ready()

    async def _reset(self, told: dict[str, Any]) -> Reset:
        """Begin anew from what the bucket is at now: what is listed from here on is not older."""
        self._cursor, self._is_broken = "", True
        self._since = (await self._tree.revision()).token
        self._is_broken = False
        return Reset(harmless(str(told.get("reason", ""))) or "the Hub says so")


def pause_s(failures: int) -> float:
    """How long to wait after so many sessions in a row that failed; half of it is chance."""
    longest = min(PAUSE_FIRST_S * 2.0 ** max(failures - 1, 0), PAUSE_MAX_S)
    return longest * random.uniform(0.5, 1.0)


def _slices(told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The same changes, so many at once."""
    changes = told.get("changes")
    if not isinstance(changes, list):
        yield told
        return
    for start in range(0, len(changes), SLICE_CHANGES):
        yield {"changes": changes[start : start + SLICE_CHANGES]}


def changes_of(told: dict[str, Any], prefix: str) -> Changed:
    """The changes below `prefix`, by paths without it. Raises RemoteCorrupt.

    What no directory can show is left out, as from a listing.
    """
    changes = told.get("changes")
    if not isinstance(changes, list):
        raise RemoteCorrupt("the feed tells of changes and names none")
    entries: dict[str, RemoteEntry | None] = {}
    unclear: set[str] = set()
    for change in changes:
        path = change.get("path") if isinstance(change, dict) else None
        if not isinstance(path, str) or not path.startswith(prefix):
            continue
        inner = path.removeprefix(prefix)
        if not all(is_name(part) for part in inner.split("/")):
            continue
        unclear.discard(inner)
        entries.pop(inner, None)
        if change.get("op") == "delete":
            entries[inner] = None
        elif (entry := _entry_of(change, inner)) is not None:
            entries[inner] = entry
        else:
            unclear.add(inner)
    return Changed(entries, frozenset(unclear))


def _entry_of(change: dict[str, Any], path: str) -> RemoteEntry | None:
    """The entry that a change describes; None when it tells only what differs."""
    needed = {"xetHash", "size"} if change.get("op") == "add" else {"xetHash", "size", "mtime"}
    if not needed <= change.keys():
        return None
    try:
        return entry_of({**change, "type": Kind.FILE.value}, path.rpartition("/")[2], "")
    except Unshowable:
        return None


def _object(raw: SseEvent) -> dict[str, Any]:
    try:
        told = json.loads(raw.data)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise RemoteCorrupt(f"the feed's event {raw.name[:40]!r} is no JSON object")
    return told


def _cursor(told: dict[str, Any]) -> str:
    cursor = told.get("cursor")
    text = str(cursor) if isinstance(cursor, str | int) else ""
    return text if len(text) <= CURSOR_CHARS_MAX else ""
