"""Asking with the token, and asking again when there is a newer one."""

import pytest

from hfnfs.errors import GatedRepo, NotAuthenticated
from hfnfs.hub.account import Account, Finder
from hfnfs.hub.api import Api
from hfnfs.hub.http import Http
from hfnfs.hub.source import parse
from tests.hub.fakes import Asked, Clock, Reply, Server, account_at, as_json, refusal


def rotating(server: Server, clock: Clock) -> Account:
    """An account whose first token is no longer good."""
    tokens = iter(["old", "new"])
    account = Account(server.url, Finder(lambda: next(tokens), "the test", 60.0), clock)
    clock.advance(100)
    return account


def only_new(asked: Asked) -> Reply:
    return as_json({"a": 1}) if asked.token == "new" else refusal(401)


async def test_a_newer_token_is_tried_after_a_401(server: Server, http: Http, clock: Clock) -> None:
    server.on("/api/models/a/b", only_new)
    server.on("/a/b/resolve/main/x", only_new)
    account = rotating(server, clock)
    await account.token()
    clock.advance(10)
    api = Api(parse("a/b"), account, http)
    assert (await api.get(api.url())).object() == {"a": 1}
    assert [a.token for a in server.asked] == ["old", "new"]


async def test_a_download_tries_a_newer_token_too(server: Server, http: Http, clock: Clock) -> None:
    server.on("/datasets/a/b/resolve/main/x%20%23y/z", only_new)
    account = rotating(server, clock)
    await account.token()
    clock.advance(10)
    api = Api(parse("datasets/a/b"), account, http)
    async with api.download(api.file_url("main", "x #y/z"), {}, "x #y/z") as stream:
        assert b"".join([piece async for piece in stream.pieces()]) == b'{"a": 1}'
    assert [a.token for a in server.asked] == ["old", "new"]


async def test_without_a_newer_token_a_401_is_final(
    server: Server, http: Http, clock: Clock
) -> None:
    server.always(refusal(401))
    api = Api(parse("a/b"), account_at(server.url, clock), http)
    with pytest.raises(NotAuthenticated):
        await api.get(api.url())
    with pytest.raises(NotAuthenticated):
        async with api.download(api.file_url("main", "x"), {}, "x"):
            pytest.fail("there is nothing to read")
    assert len(server.asked) == 2


async def test_a_download_that_is_refused_names_the_reason(
    server: Server, http: Http, clock: Clock
) -> None:
    server.always(refusal(403, "GatedRepo"))
    api = Api(parse("a/b"), account_at(server.url, clock), http)
    with pytest.raises(GatedRepo, match="model a/b is gated"):
        async with api.download(api.file_url("main", "x"), {}, "x"):
            pytest.fail("there is nothing to read")


def test_each_segment_of_an_address_is_one(clock: Clock, http: Http) -> None:
    api = Api(parse("buckets/me/data"), account_at("http://h/hf", clock), http)
    assert api.url("tree", "a/b #?é") == "http://h/hf/api/buckets/me/data/tree/a%2Fb%20%23%3F%C3%A9"
