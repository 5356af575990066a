"""One request and what becomes of it: retries, pauses, redirects, bounds, counts."""

import pytest

from hfnfs.errors import (
    Offline,
    RateLimited,
    RemoteCorrupt,
    RemoteUnavailable,
    UsageError,
)
from hfnfs.hub.http import Answer, Cut, Http, Request, Stream, is_worth_a_retry, same_origin
from hfnfs.hub.pace import SILENCE_S, Lane, Patience
from tests.hub.fakes import TOKEN, Clock, Reply, Server, as_json, http_at, refusal

OK = as_json({"a": 1})


def api(server: Server, path: str = "/x") -> Request:
    return Request(f"{server.url}{path}", Lane.API, token=TOKEN)


async def test_a_good_answer_is_given_at_once(http: Http, server: Server, clock: Clock) -> None:
    server.on("/x", OK)
    answer = await http.fetch(api(server))
    assert (answer.status, answer.object()) == (200, {"a": 1})
    assert clock.slept == []
    assert server.asked[0].token == TOKEN
    assert server.asked[0].headers["User-Agent"].startswith("hfnfs/")


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 520])
async def test_a_passing_failure_is_tried_again(
    http: Http, server: Server, clock: Clock, status: int
) -> None:
    server.on("/x", refusal(status), refusal(status), OK)
    assert (await http.fetch(api(server))).status == 200
    assert len(clock.slept) == 2
    assert 0.25 <= clock.slept[0] <= 0.5 <= clock.slept[1] <= 1.0
    assert http.counters.retries == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 416, 501, 507])
async def test_a_lasting_refusal_is_given_at_once(http: Http, server: Server, status: int) -> None:
    server.on("/x", refusal(status), OK)
    assert (await http.fetch(api(server))).status == status
    assert len(server.asked) == 1
    assert not is_worth_a_retry(status)


async def test_tries_are_bounded_in_number(http: Http, server: Server) -> None:
    server.on("/x", refusal(503))
    assert (await http.fetch(api(server))).status == 503
    assert len(server.asked) == Patience().attempts_max


async def test_tries_are_bounded_in_time(server: Server, clock: Clock) -> None:
    patience = Patience(attempts_max=1000, total_s=20)
    server.on("/x", refusal(500))
    async with http_at(clock, patience=patience) as http:
        assert (await http.fetch(api(server))).status == 500
    assert sum(clock.slept) <= 20
    assert len(server.asked) < 20


async def test_a_body_that_is_cut_is_fetched_again(http: Http, server: Server) -> None:
    server.on("/x", Reply(200, b'{"a": 1}', cut_at=4), OK)
    assert (await http.fetch(api(server))).object() == {"a": 1}


async def test_no_listener_is_a_remote_that_is_unavailable(http: Http, clock: Clock) -> None:
    with pytest.raises(RemoteUnavailable, match=r"127\.0\.0\.1 cannot be reached"):
        await http.fetch(Request("http://127.0.0.1:1/x", Lane.API))
    assert len(clock.slept) == Patience().attempts_max - 1


async def test_a_hub_that_is_gone_fails_requests_at_once(http: Http, clock: Clock) -> None:
    gone = Request("http://127.0.0.1:1/x", Lane.API)
    with pytest.raises(RemoteUnavailable):
        await http.fetch(gone)
    waited = len(clock.slept)
    for _ in range(3):
        with pytest.raises(RemoteUnavailable, match="no answer just now"):
            await http.fetch(gone)
    clock.advance(SILENCE_S)
    with pytest.raises(RemoteUnavailable, match="check the network"):
        await http.fetch(gone)
    assert len(clock.slept) == waited


async def test_an_answer_that_does_not_come_is_a_timeout(server: Server, clock: Clock) -> None:
    server.on("/x", Reply(200, b"0123456789", cut_at=5, stalls=True))
    patience = Patience(attempts_max=2)
    async with http_at(clock, patience=patience, read_timeout_s=0.05) as http:
        with pytest.raises(RemoteUnavailable):
            await http.fetch(api(server))
        assert http.counters.retries == 1


async def test_offline_asks_nobody(server: Server, clock: Clock) -> None:
    async with http_at(clock, offline=True) as http:
        with pytest.raises(Offline):
            await http.fetch(api(server))
        with pytest.raises(Offline):
            async with http.stream(api(server)):
                pass
    assert server.asked == []


# ------------------------------------------------------------------------- pace


async def test_a_rate_limit_is_waited_for(http: Http, server: Server, clock: Clock) -> None:
    limited = Reply(429, b"", {"RateLimit": '"api";r=0;t=17'})
    server.on("/x", limited, OK)
    assert (await http.fetch(api(server))).status == 200
    assert 17 <= sum(clock.slept) <= 18.1


async def test_retry_after_is_waited_for(http: Http, server: Server, clock: Clock) -> None:
    server.on("/x", Reply(503, b"", {"Retry-After": "7"}), OK)
    await http.fetch(api(server))
    assert clock.slept == [7]


async def test_retry_after_may_be_a_date(http: Http, server: Server, clock: Clock) -> None:
    date = "Tue, 14 Nov 2023 22:13:25 GMT"  # 5 s after the clock of the tests
    server.on("/x", Reply(503, b"", {"Retry-After": date}), OK)
    await http.fetch(api(server))
    assert clock.slept == [pytest.approx(5)]


async def test_a_used_up_limit_pauses_all_of_its_lane(
    http: Http, server: Server, clock: Clock
) -> None:
    server.on("/x", Reply(200, b"{}", {"RateLimit": '"api";r=0;t=30'}))
    server.on("/y", OK)
    await http.fetch(api(server))
    assert clock.slept == []
    await http.fetch(Request(f"{server.url}/y", Lane.FILES))
    assert clock.slept == [], "another lane goes on"
    await http.fetch(api(server, "/y"))
    assert 30 <= sum(clock.slept) <= 31


async def test_a_pause_that_is_too_long_fails_at_once_and_asks_nobody(
    http: Http, server: Server, clock: Clock
) -> None:
    server.on("/x", Reply(429, b"", {"RateLimit": '"api";r=0;t=290'}), OK)
    assert (await http.fetch(api(server))).status == 429
    with pytest.raises(RateLimited, match="takes no more requests"):
        await http.fetch(api(server))
    assert (len(server.asked), clock.slept) == (1, [])
    clock.advance(300)
    assert (await http.fetch(api(server))).status == 200


# -------------------------------------------------------------------- redirects


async def test_the_token_stays_at_its_origin(http: Http, server: Server, other: Server) -> None:
    server.on(
        "/x", Reply(302, b"", {"Location": f"{other.url}/stored?sig=%2Fa%20b", "ETag": '"e"'})
    )
    other.on("/stored", Reply(302, b"", {"Location": f"{server.url}/back"}))
    server.on("/back", OK)
    answer = await http.fetch(api(server))
    assert answer.object() == {"a": 1}
    assert answer.first["ETag"] == '"e"'
    assert [a.token for a in (*server.asked, *other.asked)] == [TOKEN, None, None]
    assert other.asked[0].query == "sig=%2Fa%20b", "a signature is not rewritten"


async def test_a_redirect_within_the_origin_keeps_the_token(http: Http, server: Server) -> None:
    server.on("/x", Reply(307, b"", {"Location": "/y"}))
    server.on("/y", OK)
    post = Request(f"{server.url}/x", Lane.API, "POST", {}, b"body", TOKEN)
    assert (await http.fetch(post)).status == 200
    assert [(a.method, a.body, a.token) for a in server.asked] == [("POST", b"body", TOKEN)] * 2


async def test_a_post_is_not_sent_where_only_a_get_belongs(http: Http, server: Server) -> None:
    server.on("/x", Reply(302, b"", {"Location": "/y"}))
    answer = await http.fetch(Request(f"{server.url}/x", Lane.API, "POST", {}, b"body"))
    assert answer.status == 302


@pytest.mark.parametrize("location", ["ftp://h/x", "http://u:p@127.0.0.1/x"])
async def test_some_redirects_are_not_followed(http: Http, server: Server, location: str) -> None:
    server.on("/x", Reply(302, b"", {"Location": location}))
    with pytest.raises(RemoteCorrupt):
        await http.fetch(api(server))


async def test_redirects_end(http: Http, server: Server) -> None:
    server.on("/x", Reply(302, b"", {"Location": "/x"}))
    with pytest.raises(RemoteUnavailable, match="redirects"):
        await http.fetch(api(server))
    assert len(server.asked) == 6


# ----------------------------------------------------------------------- bodies


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[1]", b'"a"', b"NaN", b'{"a": NaN}', b"\xff", b"[" * 100_000, b"9" * 9000]
)
async def test_what_is_no_json_object_is_corrupt(http: Http, server: Server, body: bytes) -> None:
    server.on("/x", Reply(200, body))
    answer = await http.fetch(api(server))
    with pytest.raises(RemoteCorrupt):
        answer.object()


async def test_a_body_that_is_too_long_is_dropped(http: Http, server: Server) -> None:
    server.on("/x", Reply(200, bytes(100_000)))
    with pytest.raises(RemoteCorrupt, match="longer than 1000"):
        await http.fetch(api(server), bytes_max=1000)


async def test_a_stream_gives_the_body_and_counts_it(http: Http, server: Server) -> None:
    server.on("/x", Reply(206, bytes(300_000)))
    async with http.stream(Request(f"{server.url}/x", Lane.XORBS)) as got:
        assert isinstance(got, Stream)
        assert sum([len(piece) async for piece in got.pieces()]) == 300_000
    assert http.counters.bytes[Lane.XORBS] == 300_000
    assert http.counters.requests[Lane.XORBS] == 1
    assert str(http.counters) == "Xet data: 1 requests, 300000 bytes"


async def test_a_stream_that_is_cut_says_so(http: Http, server: Server) -> None:
    server.on("/x", Reply(200, bytes(300_000), cut_at=1000))
    async with http.stream(Request(f"{server.url}/x?sig=secret", Lane.XORBS)) as got:
        assert isinstance(got, Stream)
        with pytest.raises(Cut) as cut:
            [piece async for piece in got.pieces()]
    assert "secret" not in str(cut.value)


async def test_a_stream_refused_is_an_answer(http: Http, server: Server) -> None:
    server.on("/x", refusal(503), refusal(403, message="no"))
    async with http.stream(api(server)) as got:
        assert isinstance(got, Answer)
        assert (got.status, got.headers["X-Error-Message"]) == (403, "no")


# ------------------------------------------------------------------------ other


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "http:///x",
        "ftp://h/x",
        "http://u@h/x",
        "http://h:99999/x",
        "http://[::1/x",
        "",
    ],
)
def test_only_plain_http_urls_are_requested(url: str) -> None:
    with pytest.raises(RemoteCorrupt):
        Request(url, Lane.API)


def test_a_request_does_not_print_its_token() -> None:
    assert TOKEN not in repr(Request("http://h/x", Lane.API, token=TOKEN))


def test_origins_differ_by_scheme_host_and_port() -> None:
    assert same_origin("https://h/x", "https://h:443/y")
    assert not same_origin("https://h/x", "http://h/x")
    assert not same_origin("https://h/x", "https://i/x")
    assert not same_origin("https://h/x", "https://h:8443/x")
    assert not same_origin("https://h/x", "nonsense")


async def test_a_proxy_of_the_environment_is_used(
    server: Server, other: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", other.url)
    monkeypatch.delenv("no_proxy")
    monkeypatch.delenv("NO_PROXY")
    server.on("/x", OK)
    async with http_at(clock) as http:
        await http.fetch(api(server))
    assert (server.asked, len(other.asked)) == ([], 1)


async def test_no_proxy_is_obeyed(
    server: Server, other: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", other.url)
    server.on("/x", OK)
    async with http_at(clock) as http:
        await http.fetch(api(server))
    assert (len(server.asked), other.asked) == (1, [])


async def test_a_socks_proxy_is_refused_in_words(
    server: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    async with http_at(clock) as http:
        with pytest.raises(UsageError, match="proxies"):
            await http.fetch(api(server))
