"""Files of which more is written than may be staged: writers wait for the Hub, and nothing else."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from hfnfs.config import MIB
from hfnfs.vfs.attributes import Wanted
from tests.fakes.clock import FakeClock
from tests.model import write_mount
from tests.model.bucket import Bucket
from tests.model.write_mount import WriteMount
from tests.until import PATIENCE_S

FILE_BYTES = 8 * MIB
PIECE_BYTES = 128 * 1024


async def test_three_writers_of_one_file_that_is_larger_than_the_staging_come_to_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = replace(write_mount.CONFIG, staging_bytes_max=MIB, unsynced_bytes_max=MIB)
    monkeypatch.setattr(write_mount, "CONFIG", tiny)
    clock = FakeClock()
    bucket = Bucket(clock)
    mount = WriteMount(tmp_path, bucket, clock)
    await mount.start()
    client = mount.client
    handle = (await client.create(mount.root, b"large", Wanted(), guarded=True)).handle
    data = b"".join(b"%08d" % number for number in range(FILE_BYTES // 8))
    offsets = list(range(0, FILE_BYTES, PIECE_BYTES))

    async def write(mine: list[int]) -> None:
        for offset in mine:
            await client.write(handle, offset, data[offset : offset + PIECE_BYTES])
            assert mount.staging.usage().bytes <= MIB + 3 * PIECE_BYTES

    async def pass_time() -> None:
        while True:
            clock.advance(0.5)
            mount.flush.wake()
            await asyncio.sleep(0.001)

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
        passing = tasks.create_task(pass_time())
        writers = [tasks.create_task(write(offsets[number::3])) for number in range(3)]
        await asyncio.wait(writers)
        await client.commit(handle)
        assert await mount.flush.drain(PATIENCE_S) == []
        passing.cancel()
    assert bucket.read("large") == data
    assert b"".join([bytes(piece) async for piece in client.read_all(handle)]) == data
    await mount.stop()
