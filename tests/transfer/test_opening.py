"""A source is opened by asking the Hub, or without: when told to, or when nobody answers."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hfnfs.disk.layout import CacheLayout, open_cache
from hfnfs.errors import (
    NotAuthenticated,
    Offline,
    RemoteError,
    RemoteUnavailable,
    SourceMissing,
)
from hfnfs.hub.http import Http
from hfnfs.hub.source import SourceKind, parse
from hfnfs.localhub.accounts import DEFAULT_TOKEN
from hfnfs.localhub.hub import LocalHub
from hfnfs.transfer.kept import RecalledListing
from hfnfs.transfer.opening import Opened, Opening
from tests.hub.fakes import Clock, account_at, http_at


class Home:
    """A user's cache, and a Hub that may be gone."""

    def __init__(self, hub: LocalHub, http: Http, clock: Clock, cache: CacheLayout) -> None:
        self.hub, self.http, self.clock, self.cache = hub, http, clock, cache

    async def open(
        self,
        text: str,
        kind: SourceKind | None = None,
        *,
        offline: bool = False,
        token: str | None = None,
    ) -> Opened:
        account = account_at(self.hub.endpoint, self.clock, token)
        opening = Opening(account, self.http, self.cache, self.clock)
        return await opening.open(parse(text, kind), offline=offline)

    def disappear(self) -> None:
        self.hub.faults.add("/", drop=True, count=None)
        self.clock.advance(1)  # its last answer was a while ago


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    clock = Clock()
    async with LocalHub(tmp_path / "hub", clock=clock) as hub, http_at(clock) as http:
        await hub.create_repo("dataset", "ds/squad", aliases=["squad"])
        await hub.commit("dataset", "ds/squad", {"plain/t.txt": b"abc", "README.md": b"#"})
        await hub.create_bucket("local/data")
        await hub.put("local/data", {"log/a": b"1", "log.txt": b"22"})
        yield Home(hub, http, clock, open_cache(tmp_path / "cache"))


async def names(opened: Opened, directory: str = "") -> set[str]:
    return set((await opened.remote.list(directory)).entries)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "hfnfs.transfer.opening"]


async def test_a_repo_that_was_seen_opens_offline(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    first = await home.open("datasets/squad")
    assert await names(first) == {"plain", "README.md"}
    home.hub.counters.clear()
    again = await home.open("datasets/squad", offline=True)
    assert (again.source, again.revision) == (first.source, first.revision)
    assert await names(again) == {"plain", "README.md"}
    with pytest.raises(Offline, match="'plain' is not cached"):
        await again.remote.list("plain")
    assert not home.hub.counters.log
    (said,) = warnings(caplog)
    assert re.search(rf"offline: .* of dataset ds/squad at commit {first.revision.token[:7]}", said)


@pytest.mark.parametrize(
    "text", ["datasets/squad", "datasets/ds/squad", "datasets/squad@main", "datasets/squad/plain"]
)
async def test_it_opens_offline_under_all_its_names(home: Home, text: str) -> None:
    await home.open("datasets/squad")
    opened = await home.open(text, offline=True)
    assert opened.source.id == "ds/squad"
    assert opened.source.subfolder == ("plain" if "plain" in text else "")


async def test_an_ambiguous_name_opens_offline_as_it_did_before(home: Home) -> None:
    first = await home.open("datasets/squad/plain")
    assert await names(first) == {"t.txt"}
    again = await home.open("datasets/squad/plain", offline=True)
    assert again.source == first.source
    assert await names(again) == {"t.txt"}


async def test_what_was_never_seen_does_not_open_offline(home: Home) -> None:
    for text in ("datasets/squad", "nobody/nothing", "squad"):
        with pytest.raises(Offline, match=f"{text.rpartition('/')[2]}: nothing of it is cached"):
            await home.open(text, offline=True)
    await home.open("datasets/squad")
    with pytest.raises(Offline):
        await home.open("datasets/squad@other", offline=True)


async def test_a_bucket_opens_offline(home: Home) -> None:
    first = await home.open("local/data", "bucket")
    await names(first)
    again = await home.open("local/data", "bucket", offline=True)
    assert again.revision == first.revision
    with pytest.raises(RecalledListing) as was:
        await again.remote.list("")
    assert set(was.value.listing.entries) == {"log", "log.txt"}


async def test_a_commit_whose_root_is_known_is_opened_and_listed_without_a_request(
    home: Home,
) -> None:
    first = await home.open("datasets/squad")
    await names(first)
    home.hub.counters.clear()
    again = await home.open(f"datasets/squad@{first.revision.token}")
    assert await names(again) == {"plain", "README.md"}
    assert not home.hub.counters.log
    assert await names(again, "plain") == {"t.txt"}, "what is not known is asked for"


async def test_a_commit_that_was_not_listed_is_asked_for(home: Home) -> None:
    first = await home.open("datasets/squad")
    home.hub.counters.clear()
    await home.open(f"datasets/squad@{first.revision.token}")
    assert home.hub.counters.log


async def test_a_branch_is_asked_for_and_its_new_commit_listed(home: Home) -> None:
    first = await home.open("datasets/squad")
    await names(first)
    await home.hub.commit("dataset", "ds/squad", {"new": b"1"})
    again = await home.open("datasets/squad")
    assert again.revision.token != first.revision.token
    assert await names(again) == {"plain", "README.md", "new"}
    offline = await home.open("datasets/squad", offline=True)
    assert await names(offline) == {"plain", "README.md", "new"}


async def test_a_hub_that_gives_no_answer_leaves_what_is_cached(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    first = await home.open("datasets/squad")
    await names(first)
    home.disappear()
    again = await home.open("datasets/squad")
    assert await names(again) == {"plain", "README.md"}
    (said,) = warnings(caplog)
    assert "the Hub cannot be reached: showing what is cached of" in said
    assert first.revision.token[:7] in said
    with pytest.raises(RemoteUnavailable, match="just now"):
        await again.remote.list("plain")


async def test_it_is_asked_again_when_it_is_back(home: Home) -> None:
    await home.open("datasets/squad")
    home.disappear()
    again = await home.open("datasets/squad")
    home.hub.faults.clear()
    home.clock.advance(60)
    assert await names(again, "plain") == {"t.txt"}


async def test_without_an_answer_what_was_never_seen_does_not_open(home: Home) -> None:
    home.disappear()
    with pytest.raises(RemoteUnavailable):
        await home.open("datasets/squad")


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(401, "", NotAuthenticated), (404, "RepoNotFound", SourceMissing)],
)
async def test_a_refusal_is_not_answered_from_the_cache(
    home: Home, status: int, code: str, kind: type[RemoteError]
) -> None:
    await names(await home.open("datasets/squad"))
    home.hub.faults.add("/", status=status, code=code, count=None)
    with pytest.raises(kind):
        await home.open("datasets/squad", token=DEFAULT_TOKEN)


async def test_a_cache_that_cannot_be_written_does_not_stop_it(
    home: Home, caplog: pytest.LogCaptureFixture
) -> None:
    (home.cache.root / "sources").rmdir()
    (home.cache.root / "sources").touch()
    assert await names(await home.open("datasets/squad")) == {"plain", "README.md"}
    assert any("cannot be opened offline later" in text for text in warnings(caplog))
