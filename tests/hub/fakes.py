"""A clock that only sleeping moves, and an HTTP server that says what a test tells it to."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from hfnfs.hub.account import Account, Finder
from hfnfs.hub.http import Http
from hfnfs.hub.pace import Patience
from tests.fakes.clock import FakeClock

TOKEN = "hf_the_token_of_the_tests"


class Clock(FakeClock):
    """Moves when somebody sleeps, or a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)


@dataclass(frozen=True)
class Reply:
    """What the server answers.

    After `cut_at` bytes of the body it ends the connection, or keeps it and sends no more.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    stalls: bool = False


@dataclass(frozen=True)
class Asked:
    """What the server was asked; the path as it was on the wire."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def token(self) -> str | None:
        return self.headers.get("Authorization", "").removeprefix("Bearer ") or None


Handler = Callable[[Asked], Reply]


def as_json(value: Any, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(200, json.dumps(value).encode(), headers or {})


def refusal(status: int, code: str = "", message: str = "") -> Reply:
    headers = {"X-Error-Code": code, "X-Error-Message": message}
    return Reply(status, b"{}", {name: text for name, text in headers.items() if text})


class Server:
    """Answers each path with its replies in order, and the last of them for ever."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.url = ""
        self._replies: dict[str, list[Reply | Handler]] = {}
        self._default: Reply | Handler = refusal(404)

    def on(self, path: str, *replies: Reply | Handler) -> None:
        self._replies[path] = list(replies)

    def always(self, reply: Reply | Handler) -> None:
        self._default = reply

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        body = await request.read()
        asked = Asked(request.method, path, query, request.headers, body)
        self.asked.append(asked)
        replies = self._replies.get(path, [self._default])
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        if not isinstance(reply, Reply):
            reply = reply(asked)
        return await _sent(request, reply)


async def _sent(request: web.BaseRequest, reply: Reply) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    if "Transfer-Encoding" not in reply.headers:
        response.content_length = len(reply.body)
    await response.prepare(request)
    await response.write(reply.body[: reply.cut_at])
    if reply.stalls:
        await asyncio.Event().wait()  # until the client goes
    if reply.cut_at is not None:
        assert request.transport is not None
        request.transport.close()
        return response
    await response.write_eof()
    return response


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Server]:
    runner = web.ServerRunner(web.Server(server.answer, handler_cancellation=True))
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        server.url = f"http://{host}:{port}"
        yield server
    finally:
        await runner.cleanup()


def http_at(clock: Clock, **given: Any) -> Http:
    """A client whose waits take no time."""
    sleep: Callable[[float], Awaitable[None]] = clock.sleep
    patience = given.pop("patience", Patience())
    return Http(clock, sleep=sleep, patience=patience, **given)


def account_at(endpoint: str, clock: Clock, token: str | None = TOKEN) -> Account:
    return Account(endpoint, Finder(lambda: token, "the test", None), clock)
