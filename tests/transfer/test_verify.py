"""A file that is complete is compared with its hash; what is wrong is dropped, and said."""

import asyncio
import hashlib
import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hfnfs.config import BLOCK_BYTES, MIB
from hfnfs.disk.extents import DiskExtents
from hfnfs.disk.memory import MemoryExtents
from hfnfs.disk.segment import SEGMENT_BYTES
from hfnfs.remote import ContentId
from hfnfs.transfer import verify
from hfnfs.transfer.verify import Forgetful, Verifier
from hfnfs.xet.whole import whole_hash
from tests.until import until

DATA = random.Random(5).randbytes(3 * MIB + 5)
SMALL = b"hello"


def xet(data: bytes) -> ContentId:
    return ContentId(f"xet-{whole_hash([data], len(data))}", len(data))


def git(data: bytes) -> ContentId:
    digest = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    return ContentId(f"git-{digest}", len(data), "a", "main")


def lfs(data: bytes) -> ContentId:
    return ContentId(f"git-{hashlib.sha256(data).hexdigest()}", len(data), "a", "main")


@pytest.fixture(params=["disk", "memory"])
def extents(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Forgetful]:
    made = DiskExtents(tmp_path, 1 << 30) if request.param == "disk" else MemoryExtents(1 << 30)
    yield made
    made.close()


def land(verifier: Verifier, content: ContentId, data: bytes, start: int = 0) -> None:
    """As a fetch does: a MiB at a time, from `start` on."""
    for offset in range(start, len(data), MIB):
        verifier.watched().add(content, offset, data[offset : offset + MIB])


def verified(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.getMessage().endswith(": verified")]


@pytest.fixture(autouse=True)
def all_is_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger=verify.__name__)


@pytest.mark.parametrize("make", [xet, git, lfs])
@pytest.mark.parametrize("data", [SMALL, DATA])
async def test_a_file_is_verified_once_when_it_is_complete_and_quiet(
    make: Callable[[bytes], ContentId],
    data: bytes,
    extents: Forgetful,
    caplog: pytest.LogCaptureFixture,
) -> None:
    verifier, content = Verifier(extents), make(data)
    land(verifier, content, data)
    await verifier.round()
    assert verified(caplog) == [], "it may still be landing"
    for _ in range(3):
        await verifier.round()
    assert verified(caplog) == [f"{content.key}: verified"]
    assert extents.read(content, 0, 5) is not None


@pytest.mark.logs_errors
@pytest.mark.parametrize("make", [xet, git, lfs])
@pytest.mark.parametrize("data", [SMALL, DATA])
async def test_wrong_bytes_are_dropped_said_and_taken_anew(
    make: Callable[[bytes], ContentId],
    data: bytes,
    extents: Forgetful,
    caplog: pytest.LogCaptureFixture,
) -> None:
    verifier, content = Verifier(extents), make(data)
    wrong = bytes([data[0] ^ 1]) + data[1:]
    land(verifier, content, wrong)
    held = extents.read(content, 0, 4)
    for _ in range(2):
        await verifier.round()
    (error,) = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert content.key in error
    assert not extents.has(content, 0, 1)
    land(verifier, content, data)
    for _ in range(2):
        await verifier.round()
    assert bytes(extents.read(content, 0, len(data)) or b"")[:9] == data[:9]
    assert len(verified(caplog)) == 1
    assert held is not None
    assert bytes(held) == wrong[:4], "who holds a view sees no bytes change"


async def test_a_part_is_not_verified(extents: Forgetful, caplog: pytest.LogCaptureFixture) -> None:
    verifier, content = Verifier(extents), xet(DATA)
    land(verifier, content, DATA, start=MIB)
    for _ in range(3):
        await verifier.round()
    assert verified(caplog) == []
    verifier.watched().add(content, 0, DATA[:MIB])
    for _ in range(2):
        await verifier.round()
    assert len(verified(caplog)) == 1


async def test_how_far_it_is_there_is_not_asked_from_the_beginning_each_time() -> None:
    asked: list[int] = []

    class Long(MemoryExtents):
        def has(self, content: ContentId, start: int, end: int) -> bool:
            asked.append(start)
            return start < 5 * SEGMENT_BYTES

    extents = Long(1 << 30)
    verifier = Verifier(extents)
    content = ContentId("xet-" + "1" * 64, 100 * SEGMENT_BYTES)
    for _ in range(3):
        verifier.watched().add(content, 0, bytes(BLOCK_BYTES))
        for _ in range(2):
            await verifier.round()
    assert asked == [n * SEGMENT_BYTES for n in (0, 1, 2, 3, 4, 5, 5, 5)]


async def test_what_was_evicted_meanwhile_is_left_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    extents = MemoryExtents(1 << 30)
    verifier, content = Verifier(extents), xet(DATA)
    land(verifier, content, DATA)
    monkeypatch.setattr(extents, "has", lambda *_: True)
    extents.forget(content)
    for _ in range(3):
        await verifier.round()
    assert [r for r in caplog.records if r.name == verify.__name__] == []
    assert not extents._pins


async def test_it_runs_until_it_is_cancelled(
    extents: Forgetful, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "EVERY_S", 0)
    verifier, content = Verifier(extents), xet(SMALL)
    land(verifier, content, SMALL)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(verifier.run())
        await until(lambda: verified(caplog))
        running.cancel()


@pytest.mark.logs_errors
async def test_a_mistake_of_ours_costs_one_check_and_no_mount(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "EVERY_S", 0)
    extents = MemoryExtents(1 << 30)
    verifier = Verifier(extents)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(verifier.run())
        with monkeypatch.context() as mistaken:
            mistaken.setattr(verify, "hashed", None)
            land(verifier, xet(SMALL), SMALL)
            await until(lambda: "verifying the cache failed" in caplog.text)
        land(verifier, xet(DATA), DATA)
        await until(lambda: verified(caplog))
        running.cancel()
