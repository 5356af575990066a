"""hf_xet as a reader: right bytes or an error that says why, whatever the CAS does."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from hfnfs.clock import SystemClock
from hfnfs.errors import (
    ContentMissing,
    Forbidden,
    RemoteCorrupt,
    RemoteError,
    RemoteUnavailable,
)
from hfnfs.hub import xet_reader
from hfnfs.hub.account import Account, Finder
from hfnfs.hub.connect import connect
from hfnfs.hub.http import Http
from hfnfs.hub.source import parse
from hfnfs.hub.xet_reader import HfXetReader
from hfnfs.localhub.faults import Lie
from hfnfs.localhub.hub import LocalHub
from hfnfs.remote import ContentId, Remote

MIB = 1 << 20
DATA = random.Random(3).randbytes(2 * MIB + 17) + bytes(MIB)
PLAIN = b"plain text\n" * 1000


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hub's directory with a repo in it, made once."""
    directory = tmp_path_factory.mktemp("stored") / "hub"

    async def fill() -> None:
        async with LocalHub(directory) as hub:
            await hub.create_repo("model", "org/m")
            await hub.commit("model", "org/m", {"big.bin": DATA}, plain=False)
            await hub.commit("model", "org/m", {"plain.txt": PLAIN}, plain=True)

    asyncio.run(fill())
    return directory


@pytest.fixture
async def hub(stored: Path, tmp_path: Path) -> AsyncIterator[LocalHub]:
    shutil.copytree(stored, tmp_path / "hub")
    async with LocalHub(tmp_path / "hub") as running:
        yield running


async def at_once(seconds: float) -> None:
    await asyncio.sleep(0)


@pytest.fixture
async def remote(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Remote]:
    """The repo as hf_xet reads it, by the machine's own clock: hf_xet looks at no other."""
    settings = {**xet_reader._SETTINGS, "client.retry_base_delay": "1ms"}
    monkeypatch.setattr(xet_reader, "_SETTINGS", settings)
    clock = SystemClock()
    account = Account(hub.endpoint, Finder(lambda: None, "the test", None), clock)
    async with Http(clock, sleep=at_once) as http:
        with HfXetReader(http) as reader:
            yield reader.over(await connect(parse("org/m"), account, http))


async def content_of(remote: Remote, name: str = "big.bin") -> ContentId:
    entry = (await remote.list("")).entries[name]
    assert entry.content is not None
    return entry.content


async def read(remote: Remote, content: ContentId, start: int, end: int) -> bytes:
    out = bytearray()
    async for offset, data in remote.open(content, start, end):
        assert offset == start + len(out)
        out += data
    return bytes(out)


async def test_a_whole_file_is_read(remote: Remote) -> None:
    content = await content_of(remote)
    assert await read(remote, content, 0, len(DATA)) == DATA


async def test_ranges_are_read_in_windows(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xet_reader, "WINDOW_BYTES", 300_000)
    content = await content_of(remote)
    chance = random.Random(4)
    for _ in range(20):
        start = chance.randrange(len(DATA))
        end = min(start + chance.choice([0, 1, 4096, 300_000, 700_001]), len(DATA))
        assert await read(remote, content, start, end) == DATA[start:end]


async def test_many_read_at_once(remote: Remote) -> None:
    content = await content_of(remote)
    starts = range(0, len(DATA) - 5000, 100_003)
    async with asyncio.TaskGroup() as tasks:
        reads = [tasks.create_task(read(remote, content, s, s + 5000)) for s in starts]
    assert [r.result() for r in reads] == [DATA[s : s + 5000] for s in starts]


async def test_plain_files_and_names_come_by_the_other_way(remote: Remote) -> None:
    content = await content_of(remote, "plain.txt")
    assert await read(remote, content, 5, len(PLAIN)) == PLAIN[5:]
    found = await remote.find(["plain.txt"])
    assert found is not None
    assert found["plain.txt"] is not None
    assert (await remote.revision()).token
    assert remote.immutable


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("/reconstructions/", {"status": 500}),
        ("/reconstructions/", {"status": 404, "count": 2}),
        ("/reconstructions/", {"drop": True, "count": 3}),
        ("/reconstructions/", {"lie": Lie.EXPIRED_URL}),
        ("/xet-read-token", {"lie": Lie.EXPIRED_TOKEN}),
        ("/xorbs?/", {"status": 503, "count": 3}),
        ("/xorbs?/", {"drop": True, "count": 3}),
        ("/xorbs?/", {"cut_after": 20_000, "count": 3}),
    ],
)
async def test_it_is_read_in_spite_of(
    hub: LocalHub, remote: Remote, path: str, fault: dict[str, Any]
) -> None:
    content = await content_of(remote)
    for start in (0, 1_000_000):
        hub.faults.clear()
        hub.faults.add(path, **fault)
        assert await read(remote, content, start, len(DATA)) == DATA[start:]


@pytest.mark.parametrize(
    ("path", "fault", "kind"),
    [
        ("/reconstructions/", {"status": 404}, ContentMissing),
        ("/reconstructions/", {"status": 403}, Forbidden),
        ("/reconstructions/", {"status": 416}, RemoteCorrupt),
        ("/reconstructions/", {"status": 500}, RemoteUnavailable),
        ("/reconstructions/", {"drop": True}, RemoteUnavailable),
        ("/xorbs?/", {"status": 404}, RemoteUnavailable),
        ("/xorbs?/", {"cut_after": 100}, RemoteUnavailable),
    ],
)
async def test_what_stays_wrong_is_an_error_that_says_what(
    hub: LocalHub, remote: Remote, path: str, fault: dict[str, Any], kind: type[RemoteError]
) -> None:
    content = await content_of(remote)
    hub.faults.add(path, count=None, **fault)
    for _ in range(3):  # an empty stream is what hf_xet makes of it now and then
        with pytest.raises(kind):
            await read(remote, content, 0, 5000)
    hub.faults.clear()
    if kind is not RemoteUnavailable or "drop" not in fault:
        assert await read(remote, content, 0, 5000) == DATA[:5000], "the group was made anew"


async def test_a_size_that_is_overstated_is_found_out(remote: Remote) -> None:
    content = await content_of(remote)
    larger = ContentId(content.key, content.size + 10)
    with pytest.raises(RemoteError):
        await read(remote, larger, content.size - 5, larger.size)


async def test_one_that_is_left_early_leaves_nothing_behind(remote: Remote) -> None:
    content = await content_of(remote)
    pieces: Any = remote.open(content, 0, len(DATA))
    async with aclosing(pieces):
        await anext(pieces)
