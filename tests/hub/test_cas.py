"""A CAS, and storage behind it, that answer what nobody should believe."""

from typing import Any

import pytest

from hfnfs.errors import RemoteCorrupt, RemoteError, RemoteUnavailable
from hfnfs.hub.api import Api
from hfnfs.hub.cas import TOKEN_USE_MIN_S, Cas
from hfnfs.hub.content import XetContent
from hfnfs.hub.http import Http
from hfnfs.hub.source import parse
from hfnfs.remote import ContentId
from hfnfs.xet.chunk import encode
from tests.hub.fakes import TOKEN, Asked, Clock, Reply, Server, account_at, as_json, refusal

CHUNKS = [b"a" * 9000, b"b" * 5000, b"c" * 100]
DATA = b"".join(CHUNKS)
XORB = b"".join(map(encode, CHUNKS))
HASH, XORB_HASH = "1" * 64, "2" * 64
FILE = ContentId(f"xet-{HASH}", len(DATA))
TOKEN_PATH = "/api/models/a/b/xet-read-token"
PLAN_PATH = f"/cas/v2/reconstructions/{HASH}"


def access(server: Server, clock: Clock, **changes: Any) -> Reply:
    exp = clock.wall_ns() // 10**9 + 3600
    return as_json({"casUrl": f"{server.url}/cas", "accessToken": "cas", "exp": exp} | changes)


def plan(server: Server, path: str = "/xorb?sig=s%2F%20") -> Reply:
    chunks, span = {"start": 0, "end": 3}, {"start": 0, "end": len(XORB) - 1}
    term = {"hash": XORB_HASH, "unpacked_length": len(DATA), "range": chunks}
    ranges = [{"chunks": chunks, "bytes": span}]
    xorbs = {XORB_HASH: [{"url": f"{server.url}{path}", "ranges": ranges}]}
    return as_json({"offset_into_first_range": 0, "terms": [term], "xorbs": xorbs})


def xorb(asked: Asked) -> Reply:
    assert asked.token is None, "storage is asked by its signed URL alone"
    assert asked.query == "sig=s%2F%20", "and that verbatim"
    assert asked.headers["Range"] == f"bytes=0-{len(XORB) - 1}"
    return Reply(206, XORB, {"Content-Range": f"bytes 0-{len(XORB) - 1}/{len(XORB)}"})


@pytest.fixture
def cas(server: Server, http: Http, clock: Clock) -> Cas:
    server.on(TOKEN_PATH, access(server, clock))
    server.on(PLAN_PATH, plan(server))
    server.on("/xorb", xorb)
    api = Api(parse("a/b"), account_at(server.url, clock), http)
    return Cas(api, api.url("xet-read-token"))


@pytest.fixture
def content(cas: Cas, http: Http) -> XetContent:
    return XetContent(cas, http)


async def read(content: XetContent) -> bytes:
    return b"".join([piece.data async for piece in content.open(FILE, 0, len(DATA))])


async def test_each_token_is_sent_where_it_belongs(content: XetContent, server: Server) -> None:
    assert await read(content) == DATA
    assert [(a.path, a.token) for a in server.asked] == [
        (TOKEN_PATH, TOKEN),
        (PLAN_PATH, "cas"),
        ("/xorb", None),
    ]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(206, XORB, {"Content-Range": f"bytes 1-{len(XORB)}/9999"}),
        Reply(206, XORB + b"x"),
        Reply(206, XORB + b"x", {"Transfer-Encoding": "chunked"}),
        Reply(200, XORB * 2),
        Reply(206, XORB[:-1]),
        Reply(206, bytes(len(XORB))),
        Reply(206, b"\xff" * len(XORB)),
        Reply(204, b""),
        Reply(206, b"".join(map(encode, [*CHUNKS[:2], b"d" * 99]))),
    ],
)
async def test_other_bytes_than_planned_are_corrupt(
    content: XetContent, server: Server, reply: Reply
) -> None:
    server.on("/xorb", reply)
    with pytest.raises(RemoteCorrupt):
        await read(content)
    assert server.paths().count("/xorb") == 1, "what is wrong is not asked for again"


async def test_a_body_without_length_that_ends_early_is_fetched_again(
    content: XetContent, server: Server
) -> None:
    short = Reply(206, XORB[:-5], {"Transfer-Encoding": "chunked"})
    server.on("/xorb", short, xorb)
    # Two chunks came; the next plan would be for the third alone. This CAS knows only the whole.
    with pytest.raises(RemoteCorrupt, match="reconstruction of bytes 14000"):
        await read(content)
    asked = [a.headers.get("Range") for a in server.asked if a.path == PLAN_PATH]
    assert asked == [f"bytes=0-{len(DATA) - 1}", f"bytes=14000-{len(DATA) - 1}"]


async def test_storage_that_sends_nothing_for_long_is_given_up(
    content: XetContent, server: Server, clock: Clock
) -> None:
    server.on("/xorb", Reply(206, XORB, cut_at=0))
    with pytest.raises(RemoteUnavailable):
        await read(content)
    assert server.paths().count("/xorb") == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"casUrl": None}, {"casUrl": "ftp://h"}, {"casUrl": "http://h/?x"}, {"casUrl": ""},
        {"casUrl": "http://"}, {"casUrl": "http://u:p@h"}, {"casUrl": "http://h:99999"},
        {"accessToken": None}, {"accessToken": ""}, {"accessToken": "a\nb"},
        {"exp": None}, {"exp": "soon"},
    ],
)  # fmt: skip
async def test_an_access_that_is_none_is_corrupt(
    content: XetContent, server: Server, clock: Clock, changes: dict[str, Any]
) -> None:
    server.on(TOKEN_PATH, access(server, clock, **changes))
    with pytest.raises(RemoteCorrupt):
        await read(content)


async def test_a_clock_that_is_wrong_does_not_ask_for_a_token_each_time(
    cas: Cas, server: Server, clock: Clock
) -> None:
    server.on(TOKEN_PATH, access(server, clock, exp=1))
    for _ in range(3):
        await cas.plan(FILE, 0, len(DATA))
    assert server.paths().count(TOKEN_PATH) == 1
    clock.advance(TOKEN_USE_MIN_S)
    await cas.plan(FILE, 0, len(DATA))
    assert server.paths().count(TOKEN_PATH) == 2


async def test_a_refused_token_is_renewed_once_each_time(cas: Cas, server: Server) -> None:
    server.on(PLAN_PATH, refusal(401), plan(server))
    await cas.plan(FILE, 0, len(DATA))
    assert server.paths().count(TOKEN_PATH) == 2
    server.on(PLAN_PATH, refusal(401))
    with pytest.raises(RemoteError):
        await cas.plan(FILE, 0, len(DATA))
    assert server.paths().count(TOKEN_PATH) == 3


async def test_a_file_of_a_newer_cas_that_is_missing_does_not_make_it_an_older_one(
    cas: Cas, server: Server
) -> None:
    await cas.plan(FILE, 0, len(DATA))
    server.on(PLAN_PATH, refusal(404), plan(server))
    with pytest.raises(RemoteError):
        await cas.plan(FILE, 0, len(DATA))
    await cas.plan(FILE, 0, len(DATA))
    assert not [path for path in server.paths() if "/v1/" in path]
