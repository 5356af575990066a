"""Batches: everything is done or named with the reason, in an order that loses nothing."""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hfnfs.errors import (
    Forbidden,
    QuotaReached,
    RemoteCorrupt,
    RemoteError,
    RemoteUnavailable,
    SourceMissing,
)
from hfnfs.hub.api import Api
from hfnfs.hub.batch import Batches
from hfnfs.hub.http import Http
from hfnfs.hub.source import parse
from hfnfs.localhub.background import HubThread
from hfnfs.remote import ContentId, Delete, Operation, Put
from tests.hub.fakes import Asked, Clock, Reply, Server, account_at, as_json, refusal
from tests.hub.writing import BUCKET, asking, connected, serving

A = ContentId("xet-" + "a" * 64, 1)
EMPTY = ContentId("xet-" + "0" * 64, 0)
PATH = f"/api/buckets/{BUCKET}/batch"


@pytest.fixture
def thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubThread]:
    yield from serving(tmp_path, monkeypatch)


@pytest.fixture
def batches(server: Server, http: Http, clock: Clock) -> Batches:
    return Batches(Api(parse(f"hf://buckets/{BUCKET}"), account_at(server.url, clock), http))


def lines(asked: Asked) -> list[dict[str, Any]]:
    assert asked.body.endswith(b"\n")
    return [json.loads(line) for line in asked.body.splitlines()]


def paths(server: Server) -> list[list[str]]:
    """What was asked for, request by request; "-" before what is deleted."""
    return [
        [("-" if line["type"] == "deleteFile" else "") + line["path"] for line in lines(asked)]
        for asked in server.asked
    ]


def failing(**errors: str) -> Reply:
    failed = [{"path": path, "error": error} for path, error in errors.items()]
    return as_json({"success": False, "failed": failed})


def refusing(*culprits: str) -> Any:
    """Refuses a request as a whole when one of them is in it."""

    def answer(asked: Asked) -> Reply:
        is_refused = any(line["path"] in culprits for line in lines(asked))
        return refusal(400, message="no") if is_refused else as_json({"failed": []})

    return answer


# ------------------------------------------------------------------------- requests


async def test_the_lines_are_as_the_hub_wants_them(server: Server, batches: Batches) -> None:
    server.on(PATH, as_json({"success": True, "processed": 3, "failed": []}))
    operations: list[Operation] = [
        Delete("old"),
        Put("d/ü.json", A, 1_234_567_890_987_654_321),
        Put("x", A, -5),
    ]
    assert await batches.commit(operations) == {}
    (asked,) = server.asked
    assert asked.method == "POST"
    assert asked.headers["Content-Type"] == "application/x-ndjson"
    assert lines(asked) == [
        {
            "type": "addFile",
            "path": "d/ü.json",
            "xetHash": "a" * 64,
            "mtime": 1_234_567_890_987,
            "contentType": "application/json",
        },
        {"type": "addFile", "path": "x", "xetHash": "a" * 64, "mtime": 0},
        {"type": "deleteFile", "path": "old"},
    ]


async def test_nothing_to_do_asks_nothing(server: Server, batches: Batches) -> None:
    assert await batches.commit([]) == {}
    assert not server.asked


async def test_a_thousand_at_once_and_puts_before_deletes(server: Server, batches: Batches) -> None:
    server.on(PATH, as_json({"failed": []}))
    operations: list[Operation] = []
    for number in range(1200):
        operations += [Delete(f"old{number}"), Put(f"new{number}", A, 0)]
    assert await batches.commit(operations) == {}
    sent = paths(server)
    assert [len(some) for some in sent] == [1000, 1000, 400]
    in_order = [f"new{n}" for n in range(1200)] + [f"-old{n}" for n in range(1200)]
    assert [path for some in sent for path in some] == in_order


async def test_of_several_for_a_path_the_last_counts(server: Server, batches: Batches) -> None:
    server.on(PATH, as_json({"failed": []}))
    await batches.commit([Delete("a"), Put("b", A, 0), Put("a", A, 0), Delete("b")])
    assert paths(server) == [["a", "-b"]]


async def test_the_old_name_goes_when_the_new_one_is_there(
    server: Server, batches: Batches
) -> None:
    server.on(PATH, failing(bad="no such name"), as_json({"failed": []}))
    operations: list[Operation] = [
        Put("good", A, 0), Delete("from-good", moved_to="good"),
        Put("bad", A, 0), Delete("from-bad", moved_to="bad"),
        Delete("other"), Delete("from-before", moved_to="done-before"),
    ]  # fmt: skip
    failed = await batches.commit(operations)
    assert paths(server) == [["good", "bad", "-other", "-from-before"], ["-from-good"]]
    assert set(failed) == {"bad", "from-bad"}


async def test_a_folder_stands_before_every_path(server: Server, http: Http, clock: Clock) -> None:
    api = Api(parse(f"hf://buckets/{BUCKET}/d/sub"), account_at(server.url, clock), http)
    server.on(PATH, failing(**{"d/sub/a": "no"}))
    failed = await Batches(api).commit([Put("a", A, 0), Delete("x/y")])
    assert paths(server) == [["d/sub/a", "-d/sub/x/y"]]
    assert set(failed) == {"a"}


# ------------------------------------------------------------------------- outcomes


async def test_each_failure_is_told_with_its_reason(server: Server, batches: Batches) -> None:
    server.on(PATH, failing(a="xetHash is unknown hf_secret", b="Storage quota exceeded"))
    failed = await batches.commit([Put("a", A, 0), Put("b", A, 0), Put("c", A, 0)])
    assert {path: type(error) for path, error in failed.items()} == {
        "a": RemoteError, "b": QuotaReached,
    }  # fmt: skip
    assert str(failed["a"]) == "bucket local/b: a: xetHash is unknown …"


@pytest.mark.parametrize("status", [200, 422])
async def test_to_delete_what_is_not_there_is_done(
    server: Server, batches: Batches, status: int
) -> None:
    server.on(PATH, Reply(status, failing(gone="File not found").body))
    assert await batches.commit([Delete("gone")]) == {}
    failed = await batches.commit([Put("gone", A, 0)])
    assert set(failed) == {"gone"}


async def test_a_422_without_reasons_fails_all(server: Server, batches: Batches) -> None:
    server.on(PATH, Reply(422, b"{}"))
    assert set(await batches.commit([Put("a", A, 0), Delete("b")])) == {"a", "b"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"failed": 1}',
        b'{"failed": ["x"]}',
        b'{"failed": [{"error": "no"}]}',
        b'{"failed": [{"path": "of another", "error": "no"}]}',
    ],
)
async def test_an_answer_that_cannot_be_read_does_nothing(
    server: Server, batches: Batches, body: bytes
) -> None:
    server.on(PATH, Reply(200, body))
    failed = await batches.commit([Put("a", A, 0), Put("b", A, 0)])
    assert {path: type(error) for path, error in failed.items()} == dict.fromkeys(
        "ab", RemoteCorrupt
    )
    assert len(server.asked) <= 3


async def test_one_that_has_all_refused_is_found(server: Server, batches: Batches) -> None:
    server.on(PATH, refusing("37", "612"))
    operations = [Put(str(number), A, 0) for number in range(1000)]
    failed = await batches.commit(operations)
    assert set(failed) == {"37", "612"}
    done = {path for some in paths(server) for path in some}
    assert done == {operation.path for operation in operations}
    assert len(server.asked) <= 50


@pytest.mark.parametrize(
    ("reply", "kind", "requests"),
    [
        (refusal(403), Forbidden, 1),
        (refusal(404, "RepoNotFound"), SourceMissing, 1),
        (refusal(507), QuotaReached, 1),
        (refusal(500), RemoteUnavailable, 15),
        (refusal(400), RemoteError, 64),
    ],
)
async def test_what_concerns_all_fails_all_without_much_asking(
    server: Server, batches: Batches, reply: Reply, kind: type[RemoteError], requests: int
) -> None:
    server.on(PATH, reply)
    operations: Sequence[Operation] = [Put(str(number), A, 0) for number in range(2500)]
    failed = await batches.commit(operations)
    assert {type(error) for error in failed.values()} == {kind}
    assert set(failed) == {operation.path for operation in operations}
    assert len(server.asked) <= 3 * requests


async def test_a_request_is_sent_again_while_that_may_help(
    server: Server, batches: Batches
) -> None:
    server.on(PATH, Reply(503), Reply(200, b"{}", cut_at=0), as_json({"failed": []}))
    assert await batches.commit([Put("a", A, 0)]) == {}
    assert len(server.asked) == 3


# --------------------------------------------------------------- against a whole Hub


async def test_names_move_and_bytes_do_not(thread: HubThread) -> None:
    hub = thread.hub
    thread.do(hub.put(BUCKET, {"d/a": b"A", "d/b": b"B", "d/sub/c": b"C", "other": b"O"}))
    async with connected(hub, "d") as remote:
        entries = (await remote.list("")).entries
        content = entries["a"].content
        assert content is not None
        hub.counters.clear()
        done = await remote.commit(
            [
                Put("sub/moved", content, 5_000_000),
                Delete("a", moved_to="sub/moved"),
                Put("link", content, 6_000_000),
                Put("empty", EMPTY, 0),
                Delete("b"),
                Delete("never there"),
            ]
        )
        assert done == {}
        listing = await remote.list("")
    assert hub.counters.requests["bucket_batch"] == 2
    assert hub.counters.requests["xorb_put"] == 0
    assert listing.entries["link"].mtime_ns == 6_000_000
    assert thread.do(hub.files(BUCKET)) == {
        "d/sub/moved": b"A", "d/link": b"A", "d/sub/c": b"C", "d/empty": b"", "other": b"O",
    }  # fmt: skip


@pytest.fixture
async def api(thread: HubThread) -> AsyncIterator[Api]:
    async with asking(thread.hub) as asked:
        yield asked


@pytest.mark.parametrize("fault", [{"drop": True}, {"status": 503}, {"cut_after": 3}])
async def test_an_answer_that_was_lost_does_no_harm(
    thread: HubThread, api: Api, fault: dict[str, Any]
) -> None:
    hashes = thread.do(thread.hub.put(BUCKET, {"a": b"A"}))
    thread.hub.faults.add("/batch", **fault)
    content = ContentId(f"xet-{hashes['a']}", 1)
    moved: list[Operation] = [Put("b", content, 0), Delete("a", moved_to="b")]
    assert await Batches(api).commit(moved) == {}
    assert thread.do(thread.hub.files(BUCKET)) == {"b": b"A"}
    assert await Batches(api).commit(moved) == {}
    assert thread.do(thread.hub.files(BUCKET)) == {"b": b"A"}


async def test_what_was_never_uploaded_fails_alone(thread: HubThread, api: Api) -> None:
    failed = await Batches(api).commit(
        [Put("a", A, 0), Put("b", EMPTY, 2**70), Put("..", EMPTY, 0)]
    )
    assert set(failed) == {"a", ".."}
    assert "never uploaded" in str(failed["a"])
    assert thread.do(thread.hub.files(BUCKET)) == {"b": b""}
