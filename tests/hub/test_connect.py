"""From a word typed to a Remote, and the one line that says what stands in the way."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hfnfs.errors import (
    GatedRepo,
    NotAuthenticated,
    Offline,
    RemoteCorrupt,
    RemoteEntryMissing,
    RemoteError,
    RemoteUnavailable,
    RevisionMissing,
    SourceMissing,
)
from hfnfs.hub.account import find_account
from hfnfs.hub.connect import BucketRemote, RepoRemote, connect, probe
from hfnfs.hub.http import Http
from hfnfs.hub.source import SourceKind, parse
from hfnfs.localhub.accounts import DEFAULT_TOKEN
from hfnfs.localhub.hub import LocalHub
from hfnfs.remote import Kind, Remote
from tests.hub.fakes import Clock, Server, account_at, as_json, http_at, refusal


class Hub:
    """A local Hub and whoever connects to it."""

    def __init__(self, hub: LocalHub, http: Http, clock: Clock) -> None:
        self.hub, self.http, self.clock = hub, http, clock

    async def connect(
        self, text: str, kind: SourceKind | None = None, token: str | None = None
    ) -> Remote:
        account = account_at(self.hub.endpoint, self.clock, token)
        return await connect(parse(text, kind), account, self.http)

    async def fails(
        self, text: str, kind: SourceKind | None = None, token: str | None = None
    ) -> RemoteError:
        with pytest.raises(RemoteError) as error:
            await self.connect(text, kind, token)
        assert "\n" not in str(error.value)
        return error.value


@pytest.fixture
async def local(hub: LocalHub, http: Http, clock: Clock) -> Hub:
    await hub.create_repo("model", "openai-community/gpt2", aliases=["gpt2"])
    await hub.create_repo("dataset", "ds/squad", aliases=["squad"])
    await hub.create_bucket("local/data")
    await hub.commit("model", "openai-community/gpt2", {"config.json": b"{}", "onnx/a": b"1"})
    await hub.commit("dataset", "ds/squad", {"plain_text/train.txt": b"abc", "README.md": b"#"})
    await hub.put("local/data", {"log/a": b"1", "log.txt": b"22"})
    hub.counters.clear()
    return Hub(hub, http, clock)


async def names(remote: Remote, directory: str = "") -> set[str]:
    return set((await remote.list(directory)).entries)


async def bytes_of(remote: Remote, path: str) -> bytes:
    found = await remote.find([path])
    assert found is not None
    entry = found[path]
    assert entry is not None
    assert entry.content is not None
    pieces = [bytes(p.data) async for p in remote.open(entry.content, 0, entry.size)]
    return b"".join(pieces)


# ------------------------------------------------------------------- what works


async def test_an_old_name_becomes_the_canonical_one_by_one_request(local: Hub) -> None:
    remote = await local.connect("gpt2")
    assert isinstance(remote, RepoRemote)
    assert remote.source.id == "openai-community/gpt2"
    assert remote.immutable
    assert await names(remote) == {"config.json", "onnx"}
    # One to connect (and one where the old name leads elsewhere), the token, one to list.
    assert local.http.counters.requests.total() <= 4


async def test_every_kind_of_revision_is_pinned_to_its_commit(local: Hub) -> None:
    model = "openai-community/gpt2"
    first = (await (await local.connect(model)).revision()).token
    await local.hub.tag("model", model, "v1")
    pr = await local.hub.commit("model", model, {"pr": b"1"}, revision="refs/pr/3")
    second = await local.hub.commit("model", model, {"new": b"1"})
    for text, commit in {
        model: second,
        f"{model}@main": second,
        f"{model}@v1": first,
        f"{model}@{first}": first,
        f"{model}@refs/pr/3": pr,
        f"{model}@refs/pr/3/onnx": pr,
    }.items():
        remote = await local.connect(text)
        assert (await remote.revision()).token == commit, text
        assert (await remote.list("")).revision == commit


async def test_a_pinned_remote_stays_while_a_probe_sees_what_is_new(local: Hub) -> None:
    remote = await local.connect("openai-community/gpt2")
    assert isinstance(remote, RepoRemote)
    old = await remote.revision()
    account = account_at(local.hub.endpoint, local.clock, None)
    assert (await probe(remote.source, account, local.http)) == old
    new = await local.hub.commit("model", "openai-community/gpt2", {"new": b"1"})
    assert await remote.revision() == old
    assert await names(remote) == {"config.json", "onnx"}
    assert (await probe(remote.source, account, local.http)).token == new


@pytest.mark.parametrize(
    "text", ["ds/squad/plain_text", "squad/plain_text", "squad@main/plain_text"]
)
async def test_a_subfolder_is_seen_as_the_whole(local: Hub, text: str) -> None:
    remote = await local.connect(f"datasets/{text}")
    assert await names(remote) == {"train.txt"}
    assert await bytes_of(remote, "train.txt") == b"abc"
    assert await remote.find(["README.md"]) == {"README.md": None}


async def test_a_bucket_is_listed_and_read(local: Hub) -> None:
    remote = await local.connect("local/data", "bucket", DEFAULT_TOKEN)
    assert isinstance(remote, BucketRemote)
    assert not remote.immutable
    listing = await remote.list("")
    assert {n: e.kind for n, e in listing.entries.items()} == {
        "log": Kind.DIRECTORY,
        "log.txt": Kind.FILE,
    }
    assert await bytes_of(remote, "log.txt") == b"22"
    before = await remote.revision()
    local.clock.advance(1)
    await local.hub.put("local/data", {"new": b"3"})
    assert (await remote.revision()).token != before.token
    assert await names(remote) == {"log", "log.txt", "new"}


async def test_a_folder_of_a_bucket_is_seen_as_the_whole(local: Hub) -> None:
    remote = await local.connect("hf://buckets/local/data/log", None, DEFAULT_TOKEN)
    assert await names(remote) == {"a"}
    assert await bytes_of(remote, "a") == b"1"
    assert await remote.find(["a", "b"]) == {"a": (await remote.list("")).entries["a"]}


async def test_a_folder_of_a_bucket_to_be_filled_need_not_be_there(local: Hub) -> None:
    account = account_at(local.hub.endpoint, local.clock, DEFAULT_TOKEN)

    async def folder(path: str) -> Remote:
        source = parse(f"local/data/{path}", "bucket")
        return await connect(source, account, local.http, folder_may_miss=True)

    remote = await folder("to/come")
    assert (await remote.list("")).entries == {}
    await local.hub.put("local/data", {"to/come/first": b"1"})
    assert await names(remote) == {"first"}
    with pytest.raises(RemoteEntryMissing, match="is a file"):
        await folder("log.txt")


async def test_the_mounted_folder_of_a_bucket_stays_when_it_is_emptied(local: Hub) -> None:
    remote = await local.connect("local/data/log", "bucket", DEFAULT_TOKEN)
    await local.hub.delete("local/data", ["log/a"])
    assert await names(remote) == set()
    with pytest.raises(RemoteEntryMissing):
        await remote.list("deeper")


async def test_a_token_that_rotates_is_taken_up(local: Hub, tmp_path: Path) -> None:
    await local.hub.create_repo("model", "local/private", private=True)
    await local.hub.commit("model", "local/private", {"a": b"1"})
    path = tmp_path / "token"
    path.write_text("hf_old")
    account = await find_account(local.clock, endpoint=local.hub.endpoint, token_file=path)
    with pytest.raises(NotAuthenticated, match="does not take this token"):
        await connect(parse("local/private"), account, local.http)
    path.write_text(DEFAULT_TOKEN)
    local.clock.advance(5)
    remote = await connect(parse("local/private"), account, local.http)
    assert await bytes_of(remote, "a") == b"1"


# ------------------------------------------------------------ what does not work


@pytest.mark.parametrize(
    ("text", "kind", "error", "words"),
    [
        ("no/such", None, SourceMissing, "log in with `hf auth login`"),
        ("nosuch", None, SourceMissing, "model nosuch"),
        ("no/data", "bucket", SourceMissing, "bucket no/data"),
        ("gpt2@nope", None, RevisionMissing, "no branch, tag or commit 'nope'"),
        ("gpt2@main/nope", None, RemoteEntryMissing, "no folder 'nope'"),
        ("gpt2@main/config.json", None, RemoteEntryMissing, "is a file"),
        ("gpt2/nope", None, RemoteEntryMissing, "no folder 'nope'"),
        ("local/data/log.txt", "bucket", RemoteEntryMissing, "is a file"),
        ("local/data/lo", "bucket", RemoteEntryMissing, "no such folder"),
        ("local/data", "repo", SourceMissing, "hf-mount-nfs bucket local/data"),
        ("ds/squad", "repo", SourceMissing, "hf-mount-nfs repo datasets/ds/squad"),
        ("ds/squad@main/plain_text", "repo", SourceMissing, "datasets/ds/squad@main/plain_text"),
        ("ds/squad/plain_text", "bucket", SourceMissing, "repo datasets/ds/squad/plain_text"),
        ("openai-community/gpt2", "bucket", SourceMissing, "repo openai-community/gpt2"),
    ],
)
async def test_what_is_not_there_is_said_with_the_next_step(
    local: Hub, text: str, kind: SourceKind, error: type[RemoteError], words: str
) -> None:
    got = await local.fails(text, kind)
    assert type(got) is error
    assert words in str(got)


async def test_who_may_not_is_told_so(local: Hub) -> None:
    await local.hub.create_repo("model", "local/private", private=True)
    await local.hub.create_repo("model", "someone/gated", gated=True)
    await local.hub.commit("model", "someone/gated", {"a": b"1"})
    assert "private" in str(await local.fails("local/private"))
    gated = await local.fails("someone/gated")
    assert type(gated) is GatedRepo
    assert f"accept its terms at {local.hub.endpoint}/someone/gated" in str(gated)
    assert type(await local.fails("gpt2", token="hf_wrong")) is NotAuthenticated


@pytest.mark.parametrize("status", [500, 503])
async def test_a_hub_that_fails_is_named(local: Hub, status: int) -> None:
    local.hub.faults.add("/api/", status=status, count=None)
    got = await local.fails("gpt2")
    assert type(got) is RemoteUnavailable
    assert str(status) in str(got)


async def test_a_hub_that_is_not_there_is_named(http: Http, clock: Clock) -> None:
    with pytest.raises(RemoteUnavailable, match="cannot be reached"):
        await connect(parse("gpt2"), account_at("http://127.0.0.1:1", clock), http)


async def test_offline_says_so(clock: Clock) -> None:
    async with http_at(clock, offline=True) as http:
        with pytest.raises(Offline):
            await connect(parse("gpt2"), account_at("http://127.0.0.1:1", clock), http)


GOOD = {"id": "a/b", "sha": "1" * 40, "lastModified": "2024-01-01T00:00:00Z"}
Broken = Callable[[dict[str, object]], object]


@pytest.mark.parametrize(
    "info",
    [[], {}, GOOD | {"sha": None}, GOOD | {"sha": "../x"}, GOOD | {"sha": "zz"},
     GOOD | {"id": "../../etc"}, GOOD | {"id": 1}, GOOD | {"id": "a/b/c"}],
)  # fmt: skip
async def test_an_info_that_is_none_is_corrupt(
    server: Server, http: Http, clock: Clock, info: object
) -> None:
    server.on("/api/models/a/b", as_json(info))
    with pytest.raises(RemoteCorrupt):
        await connect(parse("a/b"), account_at(server.url, clock), http)


async def test_the_info_is_asked_for_without_every_file(
    server: Server, http: Http, clock: Clock
) -> None:
    server.on("/api/models/a/b/revision/refs%2Fpr%2F1", as_json(GOOD))
    await connect(parse("a/b@refs/pr/1"), account_at(server.url, clock), http)
    assert server.asked[0].query == "expand=sha&expand=lastModified&expand=gated"


async def test_the_first_read_need_not_wait_for_a_token(local: Hub) -> None:
    for text in ("gpt2", "hf://buckets/local/data"):
        local.hub.counters.clear()
        await local.connect(text)
        assert sum("xet-read-token" in asked.path for asked in local.hub.counters.log) == 1


async def test_what_has_no_token_can_be_connected_to(local: Hub) -> None:
    local.hub.faults.add("xet-read-token", status=500, count=None)
    assert await names(await local.connect("gpt2")) == {"config.json", "onnx"}


async def test_a_missing_id_costs_few_requests(server: Server, http: Http, clock: Clock) -> None:
    server.always(refusal(401, "RepoNotFound"))
    with pytest.raises(SourceMissing):
        await connect(parse("a/b"), account_at(server.url, clock, None), http)
    assert server.paths() == [
        "/api/models/a/b", "/api/models/a", "/api/datasets/a/b", "/api/spaces/a/b",
        "/api/buckets/a/b",
    ]  # fmt: skip
