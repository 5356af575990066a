"""Listings and lookups: pages, what is shown and what never is, requests that are made."""

import json
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfnfs.errors import RemoteCorrupt, RemoteEntryMissing
from hfnfs.hub import tree
from hfnfs.hub.api import Api
from hfnfs.hub.entries import DATE_NS_MAX, SIZE_MAX, Gathering, is_name, time_ns
from hfnfs.hub.http import Http
from hfnfs.hub.source import parse
from hfnfs.hub.tree import PATHS_PER_REQUEST, BucketTree, RepoTree
from hfnfs.remote import ContentId, Kind, RemoteEntry
from tests.hub.fakes import TOKEN, Asked, Clock, Reply, Server, account_at, as_json, refusal

COMMIT = "c" * 40
OID = "d" * 40
SHA256 = "e" * 64
XET = "f" * 64
TREE = f"/api/models/a/b/tree/{COMMIT}"
BUCKET = "/api/buckets/me/data/tree"


def file(path: str, size: object = 3, **more: Any) -> dict[str, Any]:
    return {"type": "file", "path": path, "size": size, "oid": OID, **more}


def folder(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "oid": OID, "size": 0}


def repo(server: Server, http: Http, clock: Clock) -> RepoTree:
    return RepoTree(Api(parse("a/b"), account_at(server.url, clock), http), COMMIT)


def bucket(server: Server, http: Http, clock: Clock) -> BucketTree:
    return BucketTree(Api(parse("buckets/me/data"), account_at(server.url, clock), http))


def shown(raws: list[Any], directory: str = "", commit: str = COMMIT) -> dict[str, RemoteEntry]:
    gathering = Gathering("repo", directory, commit)
    gathering.add(raws)
    gathering.warn()
    return gathering.entries


# ---------------------------------------------------------------------- entries


def test_each_kind_of_file_has_its_content_id() -> None:
    lfs = {"oid": SHA256, "size": 900, "pointerSize": 130}
    entries = shown([
        file("plain"),
        file("lfs", 130, lfs=lfs),
        file("xet", 130, lfs=lfs, xetHash=XET),
        folder("sub"),
    ])  # fmt: skip
    plain, stored, xet = (entries[name].content for name in ("plain", "lfs", "xet"))
    assert plain == ContentId(f"git-{OID}", 3)
    assert stored == ContentId(f"git-{SHA256}", 900)
    assert xet == ContentId(f"xet-{XET}", 900)
    assert plain is not None
    assert (plain.path, plain.revision) == ("plain", COMMIT)
    assert entries["sub"] == RemoteEntry("sub", Kind.DIRECTORY)


@pytest.mark.parametrize(
    "raw",
    [
        file(""), file("."), file(".."), file("a/../b"), file("/etc"), file("a\0b"),
        file("a" * 256), file("é" * 128), file("\ud800"), folder(".."),
        file("x", -1), file("x", SIZE_MAX + 1), file("x", True), file("x", 1.5), file("x", "3"),
        file("x", lfs={"size": -5}), file("x", oid=None), file("x", oid="zz"),
        file("x", oid="A" * 40), file("x", xetHash="short", oid=""),
        {"path": "x"}, {"path": "x", "type": "symlink"}, {"path": "x", "type": ["file"]},
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_left_out_with_one_warning(
    raw: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert list(shown([raw, file("good"), raw])) == ["good"]
    warnings = [r for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == (raw["path"] != "")


@pytest.mark.parametrize("raw", [None, 1, "x", [], {}, {"path": None}, {"path": 1}])
def test_an_entry_without_a_path_is_corrupt(raw: Any) -> None:
    with pytest.raises(RemoteCorrupt):
        shown([raw])


def test_a_bucket_file_without_a_hash_is_not_shown() -> None:
    assert shown([file("x")], commit="") == {}
    assert list(shown([file("x", xetHash=XET)], commit="")) == ["x"]


def test_of_equal_names_the_last_is_shown_and_a_folder_before_a_file() -> None:
    assert shown([file("x", 1), file("x", 2)])["x"].size == 2
    for pair in ([folder("x"), file("x")], [file("x"), folder("x")]):
        assert shown(pair)["x"].kind is Kind.DIRECTORY


def test_only_what_lies_in_the_folder_is_shown() -> None:
    raws = [file("log/a"), file("log.txt"), folder("log"), folder("log_old/x"), file("log/")]
    assert list(shown(raws, "log")) == ["a"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
LATE = "9999-12-31T23:59:59Z"
KEYS = ["type", "path", "size", "oid", "lfs", "xetHash", "lastCommit", "mtime", "uploadedAt"]
NASTY = ["file", "directory", "..", "a/b", "a\0", "\udfff", OID, XET, 2**63, {"size": 2**64}, LATE]


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(NASTY) | JSON), max_size=5))
def test_no_listing_shows_what_no_directory_can_hold(raws: list[Any]) -> None:
    try:
        entries = shown(raws)
    except RemoteCorrupt:
        return
    for name, entry in entries.items():
        assert is_name(name)
        assert name == entry.name
        assert 0 <= entry.size < 2**63
        assert (entry.content is None) == (entry.kind is Kind.DIRECTORY)
        assert entry.mtime_ns is None or 0 <= entry.mtime_ns <= DATE_NS_MAX


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", 10**9),
        ("2024-02-29T12:00:00.250000+01:00", 1709204400_250000000),
        ("2024-02-29T11:00:00", 1709204400_000000000),
        ("1969-12-31T23:59:59Z", None),
        ("yesterday", None),
        ("0001-01-01T00:00:00Z", None),
        ("2106-02-07T06:28:15Z", DATE_NS_MAX),
        ("2106-02-07T06:28:15.000001Z", DATE_NS_MAX),
        ("9999-12-31T23:59:59-23:59", DATE_NS_MAX),
        (None, None),
        (12, None),
    ],
)
def test_dates(text: object, expected: int | None) -> None:
    assert time_ns(text) == expected


# ------------------------------------------------------------------------- repo


async def test_a_folder_of_one_page_costs_one_request(
    server: Server, http: Http, clock: Clock
) -> None:
    server.on(f"{TREE}/x%2Fy%20z", as_json([file("x/y z/a"), folder("x/y z/b")]))
    listing = await repo(server, http, clock).list("x/y z")
    assert set(listing.entries) == {"a", "b"}
    assert listing.revision == COMMIT
    assert [a.query for a in server.asked] == ["recursive=false&limit=1000"]
    assert server.asked[0].token == TOKEN


async def test_pages_are_followed_to_the_end(server: Server, http: Http, clock: Clock) -> None:
    def page(asked: Asked) -> Reply:
        number = int(parse_qs(asked.query).get("cursor", ["0"])[0])
        following = f'<{server.url}{TREE}?cursor={number + 1}>; rel="next"'
        links = {"Link": f'<http://h/>; rel="first", {following}'} if number < 4 else {}
        return as_json([file(f"{number}-{i}") for i in range(3)], links)

    server.on(TREE, page)
    listing = await repo(server, http, clock).list("")
    assert len(listing.entries) == 15
    assert len(server.asked) == 5
    assert {a.token for a in server.asked} == {TOKEN}


@pytest.mark.parametrize("link", ["{other}/next", "https://h/next", "//127.0.0.1:1/next"])
async def test_pages_elsewhere_are_not_followed(
    server: Server, other: Server, http: Http, clock: Clock, link: str
) -> None:
    server.on(TREE, as_json([], {"Link": f'<{link.format(other=other.url)}>; rel="next"'}))
    with pytest.raises(RemoteCorrupt, match="next page"):
        await repo(server, http, clock).list("")
    assert other.asked == []


async def test_a_directory_of_too_many_entries_is_refused_page_by_page(
    server: Server, http: Http, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree, "ENTRIES_MAX", 3)
    pages = iter(range(100))

    def page(_asked: Asked) -> Reply:
        number = next(pages)
        link = {"Link": f'<{TREE}?cursor={number}>; rel="next"'}
        return as_json([file(f"{number}a"), file(f"{number}b")], link)

    server.on(TREE, page)
    with pytest.raises(RemoteCorrupt, match="more than 3 entries"):
        await repo(server, http, clock).list("")
    assert len(server.asked) == 2


async def test_pages_in_a_circle_end(server: Server, http: Http, clock: Clock) -> None:
    server.on(TREE, as_json([file("a")], {"Link": f'<{TREE}?cursor=1>; rel="next"'}))
    with pytest.raises(RemoteCorrupt, match="does not end"):
        await repo(server, http, clock).list("")
    assert len(server.asked) == 2


async def test_a_folder_that_is_not_there_is_a_missing_entry(
    server: Server, http: Http, clock: Clock
) -> None:
    server.on(f"{TREE}/x", refusal(404, "EntryNotFound"))
    with pytest.raises(RemoteEntryMissing, match="model a/b: x"):
        await repo(server, http, clock).list("x")


async def test_paths_are_looked_up_by_the_thousand(
    server: Server, http: Http, clock: Clock
) -> None:
    def info(asked: Asked) -> Reply:
        form = parse_qs(asked.body.decode())
        assert form["expand"] == ["false"]
        assert len(form["paths"]) <= PATHS_PER_REQUEST
        return as_json([file(p) for p in form["paths"] if p.endswith("7")] + [file("unasked")])

    server.on(f"/api/models/a/b/paths-info/{COMMIT}", info)
    paths = [f"d/é&=#{i}" for i in range(2500)]
    found = await repo(server, http, clock).find([*paths, "", "a/../b", "\ud800"])
    assert len(server.asked) == 3
    assert {p for p in paths if found[p] is not None} == {p for p in paths if p.endswith("7")}
    assert found.keys() == {*paths, "", "a/../b", "\ud800"}
    entry = found["d/é&=#7"]
    assert entry is not None
    assert entry.name == "é&=#7"


# ----------------------------------------------------------------------- bucket


async def test_a_bucket_is_listed_by_its_prefix(server: Server, http: Http, clock: Clock) -> None:
    raws = [file("log/a", xetHash=XET, mtime="2024-01-01T00:00:00Z"), file("log.txt", xetHash=XET)]
    server.on(f"{BUCKET}/log", as_json(raws))
    listing = await bucket(server, http, clock).list("log")
    assert list(listing.entries) == ["a"]
    assert listing.entries["a"].mtime_ns == 1704067200 * 10**9
    assert listing.revision == ""


async def test_a_bucket_has_no_empty_folders_but_may_be_empty(
    server: Server, http: Http, clock: Clock
) -> None:
    server.on(BUCKET, as_json([]))
    server.on(f"{BUCKET}/x", as_json([file("x.txt", xetHash=XET)]))
    tree = bucket(server, http, clock)
    assert (await tree.list("")).entries == {}
    with pytest.raises(RemoteEntryMissing):
        await tree.list("x")


async def test_a_bucket_leaves_out_what_it_knows_no_file_of(
    server: Server, http: Http, clock: Clock
) -> None:
    server.on("/api/buckets/me/data/paths-info", as_json([file("a", xetHash=XET)]))
    found = await bucket(server, http, clock).find(["a", "folder"])
    assert list(found) == ["a"]
    assert json.loads(server.asked[0].body) == {"paths": ["a", "folder"]}


async def test_a_bucket_says_what_it_is_at(server: Server, http: Http, clock: Clock) -> None:
    info = {"id": "me/data", "updatedAt": "2024-01-01T00:00:00Z", "size": 12, "totalFiles": 3}
    server.on("/api/buckets/me/data", as_json(info))
    revision = await bucket(server, http, clock).revision()
    assert revision.token == "2024-01-01T00:00:00Z"
    assert (revision.total_bytes, revision.total_files) == (12, 3)
    assert revision.modified_ns == 1704067200 * 10**9


# ------------------------------------------------------------------- everything

NAMES = st.text(min_size=1, max_size=12).filter(is_name)


@given(names=st.sets(NAMES, max_size=12), folder_name=NAMES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
async def test_any_name_makes_it_through_urls_and_pages(
    server: Server, http: Http, clock: Clock, names: set[str], folder_name: str
) -> None:
    server.asked.clear()
    everything = [file(f"{folder_name}/{name}") for name in sorted(names)]

    def page(asked: Asked) -> Reply:
        assert unquote(asked.path) == f"{TREE}/{folder_name}"
        at = int(parse_qs(asked.query).get("cursor", ["0"])[0])
        more = at + 5 < len(everything)
        links = {"Link": f'<{server.url}{asked.path}?cursor={at + 5}>; rel="next"'} if more else {}
        return as_json(everything[at : at + 5], links)

    server.always(page)
    listing = await repo(server, http, clock).list(folder_name)
    assert set(listing.entries) == names
