"""HTTP as the Hub and the CAS speak it: refusals, ranges, pages, and bodies that may be mangled."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from hfnfs.errors import WireError
from hfnfs.localhub.counters import Counters, Request
from hfnfs.localhub.faults import Fault, Faults
from hfnfs.xet.hashes import Buffer

FAULT: web.RequestKey[Fault] = web.RequestKey("fault", Fault)

_RANGE = re.compile(r"bytes=(\d{0,30})-(\d{0,30})\Z")
_HOLD_STEP_S = 0.01
_LEFT = 499  # counted for requests that got no answer
_HIDDEN = re.compile(r"(signature=)[0-9a-f]+")


class Refusal(web.HTTPException):
    """An answer that says no, as the Hub words it."""

    def __init__(self, status: int, message: str, code: str = "", **headers: str) -> None:
        self.status_code = status
        given = {"X-Error-Message": message, **headers} | ({"X-Error-Code": code} if code else {})
        super().__init__(headers=given, text=web.json_response({"error": message}).text)
        self.content_type = "application/json"


class Streamed(web.StreamResponse):
    """An answer whose body is read while it is sent."""

    def __init__(
        self,
        pieces: Iterable[Buffer],
        length: int,
        headers: Mapping[str, str],
        status: int = 200,
    ) -> None:
        super().__init__(status=status, headers=headers)
        self.content_length = length
        self.pieces = pieces


def requested_range(request: web.Request, size: int) -> tuple[int, int] | None:
    """Bytes [start, end) that the Range header asks for; None: all. Raises Refusal (416)."""
    header = request.headers.get("Range")
    found = _RANGE.match(header) if header else None
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        start, end = max(size - int(found[2]), 0), size
    else:
        start, end = int(found[1]), min(int(found[2]) + 1 if found[2] else size, size)
    if start >= end:
        raise Refusal(416, "Range not satisfiable", **{"Content-Range": f"bytes */{size}"})
    return start, end


def ranged(
    request: web.Request, size: int, read: Callable[[int, int], Iterable[Buffer]], **headers: str
) -> Streamed:
    """The answer to a GET or HEAD of something of `size` bytes, in the range asked for."""
    headers = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", **headers}
    asked = requested_range(request, size)
    if asked is None:
        return Streamed(read(0, size), size, headers)
    start, end = asked
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return Streamed(read(start, end), end - start, headers, 206)


def page(request: web.Request, items: list[Any], cursor: str | None) -> web.Response:
    """One page of a listing; `cursor` says where the next one starts, None: it is the last."""
    response = web.json_response(items)
    if cursor is not None:
        url = request.url.update_query(cursor=cursor)
        response.headers["Link"] = f'<{url}>; rel="next"'
    return response


def limit_of(request: web.Request, default: int, most: int) -> int:
    """Entries of a page. Raises Refusal (400)."""
    try:
        limit = int(request.query.get("limit", default))
    except ValueError:
        raise Refusal(400, "limit is not a number") from None
    return max(1, min(limit, most))


def cursor_of(request: web.Request) -> int:
    """Where a page starts, in listings that count. Raises Refusal (400)."""
    cursor = request.query.get("cursor", "0")
    if not re.fullmatch(r"\d{1,15}", cursor):
        raise Refusal(400, "cursor is none of ours")
    return int(cursor)


def is_true(text: str | None) -> bool:
    """A query parameter that is a boolean."""
    return (text or "").lower() in {"true", "1"}


def iso(ns: int) -> str:
    """A date as the Hub writes it."""
    when = datetime.fromtimestamp(ns // 1_000_000_000, UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{ns // 1_000_000 % 1000:03}Z"


async def body_of(request: web.Request, limit: int) -> bytes:
    """All of a request's body. Raises Refusal (413) when it is longer than `limit`."""
    parts, size = [], 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > limit:
            raise Refusal(413, f"more than {limit} bytes")
        parts.append(part)
    return b"".join(parts)


async def body_to_file(request: web.Request, path: Path, limit: int) -> int:
    """Stream a request's body into a file; its length. Raises Refusal (413)."""
    size = 0
    with path.open("wb") as file:
        async for part in request.content.iter_any():
            size += len(part)
            if size > limit:
                raise Refusal(413, f"more than {limit} bytes")
            file.write(part)
    return size


class Front:
    """Stands before every handler: faults, refusals, delivery, counting."""

    def __init__(self, faults: Faults, counters: Counters) -> None:
        self._faults = faults
        self._counters = counters

    def middleware(self) -> Any:
        """For web.Application."""

        @web.middleware
        async def front(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            response: web.StreamResponse | None = None
            try:
                response = await self._answer(request, handler)
                return response
            finally:
                self._note(request, response)

        return front

    def _note(self, request: web.Request, response: web.StreamResponse | None) -> None:
        """Count it, also when the client left before there was an answer."""
        status, sent = (_LEFT, 0) if response is None else (response.status, response.body_length)
        path = _HIDDEN.sub(r"\1…", request.path_qs)
        kind = getattr(request.match_info.handler, "__name__", "unknown")
        got = request.content.total_bytes
        self._counters.note(Request(kind, request.method, path, status, got, sent))

    async def _answer(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        fault = request[FAULT] = self._faults.take(request.method, request.path_qs)
        if fault.latency_s:
            await asyncio.sleep(fault.latency_s)
        while fault.hold:  # noqa: ASYNC110  # any thread may end it
            await asyncio.sleep(_HOLD_STEP_S)
        if fault.drop:
            return _dropped(request)
        if fault.status:
            told = _plain(Refusal(fault.status, "as told", fault.code, **fault.headers))
            return await _deliver(request, told, fault)
        return await _deliver(request, await _handled(request, handler), fault)


async def _handled(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        return _plain(refusal)
    except WireError as error:
        return _plain(Refusal(400, str(error)))
    except ConnectionResetError:  # the client left while it was answered
        return _dropped(request)


def _plain(refusal: web.HTTPException) -> web.Response:
    """The same as a response that is no exception."""
    return web.Response(body=refusal.body, status=refusal.status, headers=refusal.headers)


def _dropped(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=_LEFT)


async def _deliver(
    request: web.Request, response: web.StreamResponse, fault: Fault
) -> web.StreamResponse:
    """Send it, as the fault has it; one that was sent already is left alone."""
    if response.prepared:
        return response
    streamed = _streamed(response)
    with suppress(ConnectionError):  # the client left; what it took is counted all the same
        await streamed.prepare(request)
        if request.method != "HEAD":
            for piece in _mangled(streamed.pieces, fault):
                await streamed.write(piece)
        if fault.cut_after is not None and request.transport is not None:
            request.transport.close()
        else:
            await streamed.write_eof()
    return streamed


def _streamed(response: web.StreamResponse) -> Streamed:
    if isinstance(response, Streamed):
        return response
    body = response.body if isinstance(response, web.Response) else None
    pieces = [body] if isinstance(body, bytes) else []
    return Streamed(pieces, sum(map(len, pieces)), response.headers, response.status)


def _mangled(pieces: Iterable[Buffer], fault: Fault) -> Iterator[Buffer]:
    left = fault.cut_after
    at = 0
    for piece in pieces:
        if fault.corrupt_at is not None and at <= fault.corrupt_at < at + len(piece):
            flipped = bytearray(piece)
            flipped[fault.corrupt_at - at] ^= 0xFF
            piece = bytes(flipped)  # noqa: PLW2901 -- the piece, as it is sent
        at += len(piece)
        yield piece if left is None else piece[:left]
        left = None if left is None else left - len(piece)
        if left is not None and left <= 0:
            return
