"""Blobs of huggingface_hub are used where they have the right bytes, and never otherwise."""

import asyncio
import hashlib
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hfnfs.disk.records import DiskRecords
from hfnfs.errors import RemoteUnavailable
from hfnfs.remote import ContentId, Piece
from hfnfs.transfer import blobs
from hfnfs.transfer.blobs import LOOK_EVERY_S, BlobRemote
from hfnfs.transfer.verify import hashed
from hfnfs.xet.whole import whole_hash
from tests.fakes.clock import FakeClock
from tests.fakes.remote import FakeRemote
from tests.until import PATIENCE_S

DATA = random.Random(7).randbytes(3 << 20) + b"end"
XET = ContentId(f"xet-{whole_hash([DATA], len(DATA))}", len(DATA))
NAME = hashlib.sha256(DATA).hexdigest()
PLAIN = b"# a readme\n"
OID = hashlib.sha1(b"blob %d\0" % len(PLAIN) + PLAIN).hexdigest()
GIT = ContentId(f"git-{OID}", len(PLAIN), "README.md", "main")


@pytest.fixture(autouse=True)
def hashing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is just now."""
    monkeypatch.setattr(blobs, "PATIENCE_S", PATIENCE_S)


class Far(FakeRemote):
    """Has the same bytes under any content id of their size."""

    def __init__(self) -> None:
        super().__init__({"x": DATA, "README.md": PLAIN})
        self.is_gone = False

    async def open(self, content: ContentId, start: int, end: int) -> AsyncIterator[Piece]:
        if self.is_gone:
            raise RemoteUnavailable("gone")
        path = "x" if content.size == len(DATA) else "README.md"
        same = ContentId(content.key, content.size, path)
        async for piece in super().open(same, start, end):
            yield piece


class Side:
    def __init__(self, home: Path, tasks: asyncio.TaskGroup) -> None:
        self.far = Far()
        self.clock = FakeClock()
        self.directory = home / "blobs"
        self.directory.mkdir(exist_ok=True)
        self.records = DiskRecords(home / "hashed")
        self.remote = BlobRemote(self.far, self.directory, self.records, self.clock, tasks)

    def put(self, name: str, data: bytes) -> Path:
        path = self.directory / name
        path.write_bytes(data)
        self.clock.advance(LOOK_EVERY_S)
        return path

    async def read(self, content: ContentId, start: int, end: int) -> bytes:
        out = bytearray()
        begin = None
        async for offset, data in self.remote.open(content, start, end):
            begin = offset if begin is None else begin
            assert offset == begin + len(out)
            out += data
        first = start - (begin or 0)
        return bytes(out[first : first + end - start])


async def test_bytes_come_from_a_blob_and_not_from_the_far_side(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tmp_path, tasks)
        side.put(NAME, DATA)
        side.put(OID, PLAIN)
        for start, end in [(0, len(DATA)), (5, 6), ((1 << 20) - 1, (2 << 20) + 1)]:
            assert await side.read(XET, start, end) == DATA[start:end]
        assert await side.read(GIT, 2, len(PLAIN)) == PLAIN[2:]
    assert side.far.opened == []
    assert side.directory.joinpath(NAME).read_bytes() == DATA


async def test_names_come_from_the_far_side(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tmp_path, tasks)
        assert set((await side.remote.list("")).entries) == {"x", "README.md"}
        assert await side.remote.find(["x"]) == await side.far.find(["x"])
        assert await side.remote.revision() == await side.far.revision()
        assert side.remote.immutable


async def test_without_blobs_everything_comes_from_the_far_side(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tmp_path, tasks)
        side.directory.rmdir()
        assert await side.read(XET, 0, 100) == DATA[:100]
        assert await side.read(XET, 7, 7) == b""


@pytest.mark.parametrize("wrong", ["flipped", "other name", "directory", "link", "unfinished"])
async def test_what_is_no_blob_of_the_content_is_not_used(wrong: str, tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tmp_path, tasks)
        if wrong == "flipped":
            side.put(NAME, b"!" + DATA[1:])
            side.put(OID, b"!" + PLAIN[1:])
        elif wrong == "other name":
            side.put("0" * 40, PLAIN)
        elif wrong == "directory":
            (side.directory / NAME).mkdir()
        elif wrong == "link":
            (tmp_path / "elsewhere").write_bytes(DATA)
            (side.directory / NAME).symlink_to(tmp_path / "elsewhere")
        else:
            side.put(f"{NAME}.incomplete", DATA)
        if wrong != "other name":
            assert await side.read(XET, 0, 100) == DATA[:100]
        assert await side.read(GIT, 0, 5) == PLAIN[:5]
    assert len(side.far.opened) == 1 + (wrong != "other name")


async def test_one_of_several_of_the_same_size_is_found(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tmp_path, tasks)
        for digit in "0123":
            side.put(digit * 64, DATA[:-1] + digit.encode())
        side.put(NAME, DATA)
        assert await side.read(XET, 0, 9) == DATA[:9]
    assert side.far.opened == []


async def test_a_blob_is_hashed_once_in_all_mounts_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = []

    async def counted(content: ContentId, pieces: object) -> str:
        hashes.append(content)
        return await hashed(content, pieces)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(blobs, "hashed", counted)
    for _ in range(2):
        async with asyncio.TaskGroup() as tasks:
            side = Side(tmp_path, tasks)
            if not hashes:
                side.put(NAME, DATA)
            for _ in range(2):
                assert await side.read(XET, 0, 9) == DATA[:9]
    assert len(hashes) == 1
    async with asyncio.TaskGroup() as tasks:
        side = Side(tmp_path, tasks)
        path = side.put(NAME, DATA[:-1] + b"!")
        os.utime(path, ns=(0, 12345))
        assert await side.read(XET, 0, 9) == DATA[:9]
        assert len(side.far.opened) == 1
    assert len(hashes) == 2


@pytest.mark.parametrize("change", ["cut", "replaced", "gone"])
async def test_a_blob_that_changes_under_a_reader_is_left_and_the_rest_fetched(
    change: str, tmp_path: Path
) -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tmp_path, tasks)
        path = side.put(NAME, DATA)
        assert await side.read(XET, 0, 1) == DATA[:1]
        out = bytearray()
        async for offset, data in side.remote.open(XET, 0, len(DATA)):
            assert offset == len(out)
            out += data
            if offset == 0:
                if change == "gone":
                    path.unlink()  # an open file stays what it is
                elif change == "cut":
                    os.truncate(path, 100)
                else:
                    path.write_bytes(bytes(len(DATA)))
                    os.utime(path, ns=(1, 1))
        assert bytes(out) == DATA
        assert await side.read(XET, 5, 9) == DATA[5:9]


async def test_a_read_does_not_wait_long_for_a_large_blob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs, "PATIENCE_S", 0)
    async with asyncio.TaskGroup() as hashing:
        side = Side(tmp_path, hashing)
        side.put(NAME, DATA)
        assert await side.read(XET, 0, 9) == DATA[:9]
        assert len(side.far.opened) == 1
    assert await side.read(XET, 0, 9) == DATA[:9]
    assert len(side.far.opened) == 1, "it went on hashing"


async def test_blobs_are_read_while_the_far_side_is_gone(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tmp_path, tasks)
        side.put(NAME, DATA)
        side.far.is_gone = True
        assert await side.read(XET, 0, 9) == DATA[:9]
        with pytest.raises(RemoteUnavailable):
            await side.read(GIT, 0, 9)
