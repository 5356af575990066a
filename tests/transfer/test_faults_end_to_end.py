"""Through NFS, over a Hub that does everything wrong it can: the right bytes, or EIO, and soon."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hfnfs.config import BLOCK_BYTES, KIB
from hfnfs.hub.connect import connect
from hfnfs.hub.source import parse
from hfnfs.localhub.faults import Fault, Lie
from hfnfs.localhub.hub import LocalHub
from hfnfs.nfs3.client import NotOk
from hfnfs.nfs3.status import Status
from tests.hub.fakes import Clock, account_at, http_at
from tests.model.mount import Mount, mounted

READERS, READS = 16, 6
# The Hub may also say that a file is gone, or not for us.
REFUSALS = {Status.IO, Status.STALE, Status.ACCES}
A_DAY_S = 86_400.0
SILENCE_S = 120.0  # in which a Hub that gave no answer is not asked again
ANSWER_TIMEOUT_S = 100.0  # far above what any of it takes: "never stuck", no measurement


def made(number: int) -> bytes:
    """Files of all sorts and sizes: what nothing compresses, numbers, words, zeros, nothing."""
    chance = random.Random(number)
    size = [0, 1, 5000, BLOCK_BYTES, BLOCK_BYTES + 1, 700 * KIB][number % 6] + number
    numbers = bytearray(b"\x00\x00\x3c\x3d" * (size // 4 + 1))
    numbers[::4] = chance.randbytes(size // 4 + 1)
    words = b"file %d has this to say; " % number * (size // 20 + 1)
    sorts = [chance.randbytes(size), bytes(numbers), words, bytes(size)]
    return sorts[number % 4][:size]


FILES = {f"{number}.bin": made(number) for number in range(30)}
KINDS = {"xet": {name for name in FILES if int(name[:-4]) % 5}}
KINDS["plain"] = set(FILES) - KINDS["xet"]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hub's directory with the files in it, made once."""
    directory = tmp_path_factory.mktemp("stored") / "hub"

    async def fill() -> None:
        async with LocalHub(directory, clock=Clock()) as hub:
            await hub.create_repo("model", "org/m")
            for kind, names in KINDS.items():
                files = {name: FILES[name] for name in names}
                await hub.commit("model", "org/m", files, plain=kind == "plain")

    asyncio.run(fill())
    return directory


@asynccontextmanager
async def mount_of(stored: Path, tmp_path: Path) -> AsyncIterator["Broken"]:
    shutil.copytree(stored, tmp_path / "hub")
    (tmp_path / "blocks").mkdir()
    clock = Clock()
    async with LocalHub(tmp_path / "hub", clock=clock) as hub, http_at(clock) as http:
        remote = await connect(parse("org/m"), account_at(hub.endpoint, clock, None), http)
        async with mounted(remote, tmp_path / "blocks", clock) as mount:
            yield Broken(hub, mount, clock)


class Broken(NamedTuple):
    """A mount of a Hub that can be told to do wrong."""

    hub: LocalHub
    mount: Mount
    clock: Clock

    async def mends(self, seed: int) -> None:
        """The Hub does right again: so does every read."""
        self.hub.faults.clear()
        self.clock.advance(SILENCE_S)
        assert await read_all_over(self.mount, seed) == (READERS * READS, 0)


class Reader:
    """Reads random ranges, and counts what came of it."""

    def __init__(self, mount: Mount, handles: dict[str, bytes], seed: int) -> None:
        self._mount = mount
        self._handles = handles
        self._chance = random.Random(seed)
        self.right = self.failed = 0

    async def run(self) -> None:
        for _ in range(READS):
            name = self._chance.choice(list(FILES))
            data = FILES[name]
            offset = self._chance.randrange(len(data) + 1)
            count = self._chance.choice([1, 4096, 200 * KIB, 1024 * KIB])
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                try:
                    ok = await self._mount.client.read(self._handles[name], offset, count)
                except NotOk as error:
                    if error.status not in REFUSALS:
                        raise
                    self.failed += 1
                    continue
            assert ok.data == data[offset : offset + count], f"{name} at {offset}"
            assert ok.eof == (offset + count >= len(data))
            self.right += 1


async def read_all_over(mount: Mount, seed: int) -> tuple[int, int]:
    """16 readers at once; how many reads were right, and how many failed."""
    names = list(FILES)
    found = [await mount.client.lookup(mount.root, name.encode()) for name in names]
    handles = dict(zip(names, found, strict=True))
    readers = [Reader(mount, handles, seed * READERS + n) for n in range(READERS)]
    async with asyncio.TaskGroup() as tasks:
        for reader in readers:
            tasks.create_task(reader.run())
    return sum(r.right for r in readers), sum(r.failed for r in readers)


EVERYWHERE = "^/xorbs/|reconstructions|/resolve/|xet-read-token"
PASSING: list[tuple[str, dict[str, Any]]] = [
    (EVERYWHERE, {"latency_s": 0.01, "count": None}),
    (EVERYWHERE, {"drop": True, "count": 20}),
    (EVERYWHERE, {"status": 500, "count": 20}),
    (EVERYWHERE, {"status": 503, "count": 20}),
    (EVERYWHERE, {"status": 429, "count": 20, "headers": {"Retry-After": "1"}}),
    ("^/xorbs/|/resolve/", {"cut_after": 0, "count": 20}),
    ("^/xorbs/|/resolve/", {"cut_after": 50_000, "count": 40}),
    ("^/xorbs/", {"status": 403, "count": 20}),
    ("reconstructions", {"cut_after": 20, "count": 20}),
    ("reconstructions", {"status": 401, "count": 1}),
    ("reconstructions", {"lie": Lie.EXPIRED_URL, "count": 3}),
    ("^/v2/", {"status": 501, "count": None}),
]
LASTING: list[tuple[str, dict[str, Any]]] = [
    (EVERYWHERE, {"drop": True}),
    (EVERYWHERE, {"status": 500}),
    (EVERYWHERE, {"status": 404}),
    ("^/xorbs/|/resolve/", {"cut_after": 30_000}),
    ("^/xorbs/", {"status": 403}),
    ("^/xorbs/", {"corrupt_at": 0}),  # of a chunk's header
    ("^/xorbs/", {"corrupt_at": 6}),
    ("reconstructions", {"corrupt_at": 0}),
    ("reconstructions", {"status": 401}),
    ("reconstructions", {"lie": Lie.EXPIRED_URL}),
]


@pytest.mark.parametrize(("path", "effects"), PASSING)
async def test_what_passes_is_seen_by_no_reader_as_wrong_bytes(
    stored: Path, tmp_path: Path, path: str, effects: dict[str, Any]
) -> None:
    async with mount_of(stored, tmp_path) as broken:
        broken.hub.faults.add(path, **effects)
        right, failed = await read_all_over(broken.mount, seed=1)
        assert right > failed
        await broken.mends(seed=2)


@pytest.mark.parametrize(("path", "effects"), LASTING)
async def test_what_lasts_ends_in_eio_and_is_over_when_the_hub_is_well_again(
    stored: Path, tmp_path: Path, path: str, effects: dict[str, Any]
) -> None:
    async with mount_of(stored, tmp_path) as broken:
        broken.hub.faults.add(path, count=None, **effects)
        _, failed = await read_all_over(broken.mount, seed=3)
        assert failed
        await broken.mends(seed=4)


async def test_a_token_that_has_expired_is_asked_for_anew(stored: Path, tmp_path: Path) -> None:
    async with mount_of(stored, tmp_path) as broken:
        broken.clock.advance(A_DAY_S)  # the one that came with the mount has expired too
        broken.hub.faults.add("xet-read-token", lie=Lie.EXPIRED_TOKEN)
        assert await read_all_over(broken.mount, seed=6) == (READERS * READS, 0)
        broken.clock.advance(A_DAY_S)
        broken.mount.evict_everything()
        broken.hub.faults.add("xet-read-token", lie=Lie.EXPIRED_TOKEN, count=None)
        _, failed = await read_all_over(broken.mount, seed=7)
        assert failed
        await broken.mends(seed=8)


def test_every_fault_that_a_reader_can_meet_is_tried() -> None:
    tried = {effect for _, effects in PASSING + LASTING for effect in effects}
    which = {field.name for field in fields(Fault)} - {"path", "method", "after", "code"}
    # Listings of a bucket may be old (late_by); what is held for ever is delayed for ever.
    assert which - tried == {"late_by", "hold"}
    lies = {effects.get("lie") for _, effects in PASSING + LASTING} | {Lie.EXPIRED_TOKEN}
    assert set(Lie) - lies == {Lie.SHARD_ERROR}, "of an upload"


async def test_all_of_it_at_once(stored: Path, tmp_path: Path) -> None:
    async with mount_of(stored, tmp_path) as broken:
        chance = random.Random(7)
        for _ in range(4):
            broken.hub.faults.clear()
            for path, effects in chance.sample(PASSING[1:] + LASTING, 8):
                broken.hub.faults.add(path, **{**effects, "count": chance.randrange(1, 6)})
            await read_all_over(broken.mount, seed=chance.randrange(1000))
            broken.mount.evict_everything()
        await broken.mends(seed=5)
