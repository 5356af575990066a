"""The memory of the whole program, measured: whatever is asked of it, it keeps to its limit."""

import asyncio
import random
import re
import sys
from pathlib import Path

import pytest

from hfnfs.config import KIB, MIB
from hfnfs.nfs3.client import NfsClient
from tests.live.product import Served, hub_with, served
from tests.until import PATIENCE_S

LIMIT_MIB = 64
FILES, READERS = 20, 64
FILE_BYTES = 8 * MIB  # all together they are more than twice the limit


def own(pid: int) -> int:
    """Bytes of a process in memory, but for the files that it maps, as its cache's."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * KIB


def made(number: int) -> bytes:
    return random.Random(number).randbytes(FILE_BYTES)


async def read_at_once(server: Served) -> int:
    """Each reader a quarter of a file or so, of all files; the most own memory meanwhile."""
    most = 0

    async def read(number: int) -> None:
        nonlocal most
        client = await NfsClient.connect("127.0.0.1", server.port, timeout_s=PATIENCE_S)
        name = b"%d.bin" % (number % FILES)
        handle = await client.lookup(await client.mount(), name)
        data, start = made(number % FILES), number // FILES * FILE_BYTES // 4
        for at in range(start, start + FILE_BYTES // 4, MIB):
            assert (await client.read(handle, at, MIB)).data == data[at : at + MIB]
            most = max(most, own(server.pid))
        await client.close()

    async with asyncio.TaskGroup() as tasks:
        for number in range(READERS):
            tasks.create_task(read(number))
    return most


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/PID/status")
def test_64_readers_of_20_files_keep_within_the_memory_limit(tmp_path: Path) -> None:
    tree = {f"{number}.bin": made(number) for number in range(FILES)}
    limit = ("--memory-limit", f"{LIMIT_MIB}M")
    with (
        hub_with(tmp_path / "hub", {"me/many": tree}) as hub,
        served(hub.endpoint, "me/many", tmp_path / "mount", *limit) as server,
    ):
        idle = own(server.pid)
        used = asyncio.run(read_at_once(server)) - idle
    assert used <= LIMIT_MIB * MIB, f"{used / MIB:.0f} MiB besides {idle / MIB:.0f} when idle"
