"""The feed of a bucket's changes, as server-sent events.

A follower gives where it stopped (`cursor`, or `since`, a date), gets what changed from there on,
then `ready`, then what changes while it listens. `reset` says that the changes in between are not
known any more.
"""

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from hfnfs.localhub.buckets import NS_PER_MS, Bucket, BucketFile, Buckets, Change
from hfnfs.localhub.wire import Refusal, iso
from hfnfs.xet.hashes import to_hex

PING_S = 30.0
_NUMBER_MAX = (1 << 63) - 1  # of a change, in SQLite


class Bell:
    """Wakes everyone who waits for a change."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.closed = False

    def ring(self) -> None:
        """Something changed."""
        self._event.set()
        self._event = asyncio.Event()

    def close(self) -> None:
        """Nothing will change any more."""
        self.closed = True
        self.ring()

    async def wait(self, timeout_s: float) -> bool:
        """Whether it rang in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        return True


async def follow(
    request: web.Request, buckets: Buckets, bucket: Bucket, bell: Bell
) -> web.StreamResponse:
    """Send a bucket's events until the follower leaves, or the bucket or the Hub is gone."""
    at = _start(request, buckets, bucket)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    with suppress(ConnectionError):  # the follower left
        await response.prepare(request)
        if buckets.changes(bucket, at) is None:
            await _send(response, "reset", {"reason": "cursor-too-old"})
            return response
        at = await _send_changes(response, buckets, bucket, at)
        await _send(response, "ready", {"cursor": str(at)})
        while not bell.closed and buckets.find(bucket.name) is not None:
            if not await bell.wait(PING_S):
                await response.write(b": ping\n\n")
            at = await _send_changes(response, buckets, bucket, at)
        await _send(response, "reconnect", {"cursor": str(at)})
    return response


def _start(request: web.Request, buckets: Buckets, bucket: Bucket) -> int:
    """The change after which the follower wants to know. Raises Refusal (400)."""
    try:
        if cursor := request.query.get("cursor"):
            return min(int(cursor), _NUMBER_MAX)
        if since := request.query.get("since"):
            when = datetime.fromisoformat(since).astimezone(UTC)
            return buckets.last_change(bucket, int(when.timestamp() * 1000))
    except (ValueError, OverflowError):
        raise Refusal(400, "no such resume point") from None
    return buckets.last_change(bucket)


async def _send_changes(
    response: web.StreamResponse, buckets: Buckets, bucket: Bucket, after: int
) -> int:
    changes = buckets.changes(bucket, after)
    if not changes:
        return after
    last = changes[-1].number
    items = [_described(change) for change in changes]
    await _send(response, "changes", {"cursor": str(last), "changes": items})
    return last


async def _send(response: web.StreamResponse, event: str, data: dict[str, Any]) -> None:
    await response.write(f"event: {event}\ndata: {json.dumps(data)}\n\n".encode())


def _described(change: Change) -> dict[str, Any]:
    """An update tells only the fields that differ."""
    if change.after is None:
        return {"path": change.path, "op": "delete"}
    after = _fields(change.after)
    if change.before is None:
        return {"path": change.path, "op": "add", **after}
    before = _fields(change.before)
    moved = {name: value for name, value in after.items() if value != before[name]}
    return {"path": change.path, "op": "update", **moved}


def _fields(file: BucketFile) -> dict[str, Any]:
    return {
        "size": file.size,
        "xetHash": to_hex(file.xet),
        "uploadedAt": iso(file.uploaded * NS_PER_MS),
        "mtime": None if file.mtime is None else iso(file.mtime * NS_PER_MS),
    }
