"""Bytes of files: right whatever is read, and when the far side cuts, expires, refuses or lies."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfnfs.errors import (
    ContentMissing,
    Forbidden,
    NotAuthenticated,
    RemoteCorrupt,
    RemoteError,
    RemoteUnavailable,
)
from hfnfs.hub.connect import connect
from hfnfs.hub.http import Http
from hfnfs.hub.pace import Lane
from hfnfs.hub.source import parse
from hfnfs.localhub.faults import Lie
from hfnfs.localhub.hub import LocalHub
from hfnfs.remote import ContentId, Remote
from tests.hub.fakes import Clock, account_at

MIB = 1 << 20
SIZE = 3 * MIB + 12345


def made(seed: int, size: int) -> bytes:
    """Bytes of all sorts: incompressible, zeros (one chunk repeated), text, numbers."""
    chance = random.Random(seed)
    out = bytearray()
    while len(out) < size:
        length = 4 * chance.randrange(1000, 100_000)
        words = b"the same words again and again, %d times. " % chance.randrange(9)
        numbers = bytearray(b"\x00\x00\x3c\x3d" * (length // 4))
        numbers[::4] = chance.randbytes(length // 4)
        sorts = [chance.randbytes(length), bytes(length), (words * length)[:length], bytes(numbers)]
        out += chance.choice(sorts)
    return bytes(out[:size])


BIG = made(1, SIZE)
SMALL = made(2, 70_000)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hub's directory with a repo in it, made once."""
    directory = tmp_path_factory.mktemp("stored") / "hub"

    async def fill() -> None:
        async with LocalHub(directory, clock=Clock()) as hub:
            await hub.create_repo("model", "org/m")
            xet = {"big.bin": BIG, "zeros.bin": bytes(10 * MIB)}
            await hub.commit("model", "org/m", xet, plain=False)
            await hub.commit("model", "org/m", {"plain.txt": SMALL, "empty": b""}, plain=True)

    asyncio.run(fill())
    return directory


@pytest.fixture
async def hub(stored: Path, clock: Clock, tmp_path: Path) -> AsyncIterator[LocalHub]:
    shutil.copytree(stored, tmp_path / "hub")
    async with LocalHub(tmp_path / "hub", clock=clock) as running:
        yield running


@pytest.fixture
async def remote(hub: LocalHub, http: Http, clock: Clock) -> Remote:
    return await connect(parse("org/m"), account_at(hub.endpoint, clock, None), http)


async def content_of(remote: Remote, name: str) -> ContentId:
    entry = (await remote.list("")).entries[name]
    assert entry.content is not None
    return entry.content


async def read(remote: Remote, content: ContentId, start: int, end: int) -> bytes:
    """Bytes [start, end), after a look at how the pieces that bring them lie."""
    out, begin, at = bytearray(), None, None
    async for offset, data in remote.open(content, start, end):
        if begin is None:
            begin = at = offset
        assert offset == at
        out += data
        at += len(data)
    if begin is None or at is None:
        assert start == end
        return b""
    assert begin <= start <= end <= at <= content.size
    return bytes(out[start - begin : end - begin])


@pytest.mark.parametrize(("name", "data"), [("big.bin", BIG), ("plain.txt", SMALL)])
async def test_a_whole_file_is_read(remote: Remote, name: str, data: bytes) -> None:
    content = await content_of(remote, name)
    assert await read(remote, content, 0, len(data)) == data


@given(st.integers(0, SIZE), st.integers(0, SIZE))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
async def test_any_range_of_a_xet_file_is_read(remote: Remote, a: int, b: int) -> None:
    content = await content_of(remote, "big.bin")
    assert await read(remote, content, min(a, b), max(a, b)) == BIG[min(a, b) : max(a, b)]


@given(st.integers(0, len(SMALL)), st.integers(0, len(SMALL)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
async def test_any_range_of_a_plain_file_is_read(remote: Remote, a: int, b: int) -> None:
    content = await content_of(remote, "plain.txt")
    assert await read(remote, content, min(a, b), max(a, b)) == SMALL[min(a, b) : max(a, b)]


async def test_4_kib_anywhere_cost_two_requests_and_less_than_a_mib(
    remote: Remote, http: Http
) -> None:
    content = await content_of(remote, "big.bin")
    for start in range(100, SIZE - 4096, 700_001):
        requests, received = http.counters.requests.total(), http.counters.bytes.total()
        assert await read(remote, content, start, start + 4096) == BIG[start : start + 4096]
        assert http.counters.requests.total() - requests <= 3  # 4 KiB may lie in two xorbs
        assert http.counters.bytes.total() - received < MIB


async def test_a_long_range_begins_with_a_little_and_goes_on_in_few_pieces(
    hub: LocalHub, http: Http, clock: Clock
) -> None:
    data = random.Random(3).randbytes(12 * MIB)
    await hub.create_repo("model", "org/long")
    await hub.commit("model", "org/long", {"long.bin": data}, plain=False)
    remote = await connect(parse("org/long"), account_at(hub.endpoint, clock, None), http)
    content = await content_of(remote, "long.bin")
    pieces = [piece.data async for piece in remote.open(content, 0, len(data))]
    assert b"".join(pieces) == data
    assert len(pieces[0]) < MIB  # somebody waits for it
    assert len(pieces) <= 10  # each costs two turns of a thread


async def test_nothing_of_a_file_costs_nothing(remote: Remote, http: Http) -> None:
    empty = await content_of(remote, "empty")
    before = http.counters.requests.total()
    assert await read(remote, empty, 0, 0) == b""
    assert await read(remote, ContentId(f"xet-{'0' * 64}", 0), 0, 0) == b""
    assert http.counters.requests.total() == before


async def test_a_repeated_chunk_crosses_the_network_once(remote: Remote, http: Http) -> None:
    content = await content_of(remote, "zeros.bin")
    assert await read(remote, content, 0, 10 * MIB) == bytes(10 * MIB)
    assert http.counters.requests[Lane.XORBS] == 1
    assert http.counters.bytes[Lane.XORBS] < 10_000


async def test_a_plain_range_is_one_request_of_just_that_range(remote: Remote, http: Http) -> None:
    content = await content_of(remote, "plain.txt")
    await read(remote, content, 1000, 5000)
    assert (http.counters.requests[Lane.FILES], http.counters.bytes[Lane.FILES]) == (1, 4000)


# ----------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("path", "effects"),
    [
        ("^/xorbs/", {"cut_after": 200_000, "count": 3}),
        ("^/xorbs/", {"cut_after": 0}),
        ("^/xorbs/", {"status": 503, "count": 2}),
        ("^/xorbs/", {"status": 403, "count": 2}),
        ("^/xorbs/", {"status": 404}),
        ("^/xorbs/", {"drop": True, "count": 2}),
        ("reconstructions", {"status": 500, "count": 2}),
        ("reconstructions", {"status": 401}),
        ("reconstructions", {"cut_after": 10}),
        ("reconstructions", {"lie": Lie.EXPIRED_URL, "count": 2}),
        ("xet-read-token", {"status": 502}),
        ("xet-read-token", {"lie": Lie.EXPIRED_TOKEN}),
        ("^/v2/", {"status": 501, "count": None}),
        ("^/v2/", {"status": 404, "count": None}),
    ],
)
async def test_a_xet_file_is_read_in_spite_of(
    remote: Remote, hub: LocalHub, clock: Clock, path: str, effects: dict[str, Any]
) -> None:
    content = await content_of(remote, "big.bin")
    clock.advance(3600)  # the token has ended
    fault = hub.faults.add(path, **effects)
    assert await read(remote, content, 1000, SIZE - 1000) == BIG[1000:-1000]
    assert fault.count in {0, None}, "the fault was met"


async def test_an_older_cas_is_asked_in_its_version_from_then_on(
    remote: Remote, hub: LocalHub
) -> None:
    content = await content_of(remote, "big.bin")
    hub.faults.add("^/v2/", status=501, count=None)
    for start in range(0, 5 * MIB // 2, MIB // 2):
        await read(remote, content, start, start + 1)
    asked = [r.path[:3] for r in hub.counters.log if "reconstructions" in r.path]
    assert asked == ["/v2", *["/v1"] * 5]


async def test_a_token_that_expires_is_renewed_before_it_is_refused(
    remote: Remote, hub: LocalHub, clock: Clock
) -> None:
    content = await content_of(remote, "big.bin")
    await read(remote, content, 0, 10)
    await read(remote, content, 2 * MIB, 2 * MIB + 10)
    assert hub.counters.requests["xet_read_token"] == 1
    clock.advance(3600 - 30)
    await read(remote, content, 0, 10)
    assert hub.counters.requests["xet_read_token"] == 2
    assert hub.counters.statuses[401] == 0


async def test_a_cut_body_is_not_fetched_from_the_start_again(
    remote: Remote, http: Http, hub: LocalHub
) -> None:
    content = await content_of(remote, "big.bin")
    await read(remote, content, 0, SIZE)
    whole = http.counters.bytes[Lane.XORBS]
    hub.faults.add("^/xorbs/", cut_after=MIB // 2)
    hub.faults.add("^/xorbs/", cut_after=MIB // 2)
    assert await read(remote, content, 0, SIZE) == BIG
    assert http.counters.bytes[Lane.XORBS] - whole < whole + 300_000


@pytest.mark.parametrize(
    ("path", "effects"),
    [
        ("/resolve/", {"cut_after": 20_000, "count": 3}),
        ("/resolve/", {"cut_after": 0}),
        ("/resolve/", {"status": 503, "count": 2}),
        ("/resolve/", {"drop": True, "count": 2}),
    ],
)
async def test_a_plain_file_is_read_in_spite_of(
    remote: Remote, hub: LocalHub, path: str, effects: dict[str, Any]
) -> None:
    content = await content_of(remote, "plain.txt")
    fault = hub.faults.add(path, **effects)
    assert await read(remote, content, 5, 69_000) == SMALL[5:69_000]
    assert fault.count == 0


@pytest.mark.parametrize(
    ("path", "effects", "kind"),
    [
        ("^/xorbs/", {"cut_after": 7}, RemoteUnavailable),
        ("^/xorbs/", {"status": 503}, RemoteUnavailable),
        ("^/xorbs/", {"status": 403}, RemoteUnavailable),
        ("^/xorbs/", {"corrupt_at": 0}, RemoteCorrupt),
        ("^/xorbs/", {"corrupt_at": 4}, RemoteCorrupt),
        ("^/xorbs/", {"corrupt_at": 7}, RemoteCorrupt),
        ("reconstructions", {"corrupt_at": 0}, RemoteCorrupt),
        ("reconstructions", {"status": 401}, NotAuthenticated),
        ("reconstructions", {"status": 403}, Forbidden),
        ("reconstructions", {"status": 404}, ContentMissing),
        ("reconstructions", {"status": 416}, RemoteCorrupt),
        ("reconstructions", {"status": 500}, RemoteUnavailable),
        ("xet-read-token", {"status": 403}, Forbidden),
        ("xet-read-token", {"corrupt_at": 1}, RemoteCorrupt),
    ],
)
async def test_what_stays_wrong_ends_in_its_error_after_few_requests(
    hub: LocalHub,
    http: Http,
    clock: Clock,
    path: str,
    effects: dict[str, Any],
    kind: type[RemoteError],
) -> None:
    remote = await connect(parse("org/m"), account_at(hub.endpoint, clock, None), http)
    content = await content_of(remote, "big.bin")
    clock.advance(3600)  # the token has ended
    hub.faults.add(path, count=None, **effects)
    hub.counters.clear()
    with pytest.raises(kind) as error:
        await read(remote, content, 0, SIZE)
    assert type(error.value) is kind
    assert hub.counters.requests.total() <= 12
    assert "?" not in str(error.value), "no signature in a message"


async def test_a_listing_that_overstates_a_size_is_found_out(remote: Remote) -> None:
    content = await content_of(remote, "big.bin")
    wrong = ContentId(content.key, content.size + 1000)
    with pytest.raises(RemoteCorrupt):
        await read(remote, wrong, SIZE - 10, SIZE + 1000)
    with pytest.raises(RemoteCorrupt):
        await read(remote, wrong, SIZE + 10, SIZE + 1000)


async def test_a_reader_that_leaves_early_leaves_nothing_behind(remote: Remote) -> None:
    content = await content_of(remote, "big.bin")
    for _ in range(3):
        pieces = remote.open(content, 0, SIZE)
        async for piece in pieces:
            assert piece.data == BIG[: len(piece.data)]
            break
        await pieces.aclose()  # type: ignore[attr-defined]  # an asynchronous generator


Change = Callable[[ContentId], ContentId]


@pytest.mark.parametrize(
    "change",
    [
        lambda c: ContentId(f"git-{'a' * 40}", c.size, c.path, c.revision),
        lambda c: ContentId(c.key, c.size + 1, c.path, c.revision),
        lambda c: ContentId(c.key, c.size - 1, c.path, c.revision),
    ],
)
async def test_a_plain_file_that_is_another_is_corrupt(remote: Remote, change: Change) -> None:
    wrong = change(await content_of(remote, "plain.txt"))
    with pytest.raises(RemoteCorrupt):
        await read(remote, wrong, 0, wrong.size)


async def test_a_plain_file_that_is_gone_is_missing_content(remote: Remote) -> None:
    content = await content_of(remote, "plain.txt")
    gone = ContentId(content.key, content.size, "no such.txt", content.revision)
    with pytest.raises(ContentMissing, match=r"no such\.txt"):
        await read(remote, gone, 0, 10)
