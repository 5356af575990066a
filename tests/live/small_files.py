"""What it costs the Hub and its CAS that many small files are made and flushed."""

import asyncio
import time
from collections import Counter
from pathlib import Path

from tests.live.nfs import Nfs
from tests.live.product import hub_with_bucket, served

BUCKET = "local/small"
DIRECTORIES = 10
SIDE_BY_SIDE = 8
PATIENCE_S = 3600.0


def requests_of(files: int, folder: Path, directories: int = DIRECTORIES) -> Counter[str]:
    """Make that many files as `cp -r` does, wait until the Hub has them all; requests by kind."""
    wanted = small_files(files, directories)
    with hub_with_bucket(folder / "hub", BUCKET, {"before": b"1"}) as (hub, thread):
        with served(hub.endpoint, BUCKET, folder / "mount", kind="bucket") as server:
            hub.counters.clear()
            asyncio.run(make(server.port, wanted))
            deadline = time.monotonic() + PATIENCE_S
            while (there := thread.do(hub.usage(BUCKET))[1]) <= files:
                assert time.monotonic() < deadline, f"{there} files\n{server.log.read_text()}"
                time.sleep(0.1)
            counted = Counter(hub.counters.requests)
        assert thread.do(hub.files(BUCKET)) == {**wanted, "before": b"1"}
    return counted


def small_files(files: int, directories: int) -> dict[str, bytes]:
    """That many, one after the other in each of the directories."""
    return {f"d{n % directories}/file {n:05}.txt": b"%d\n" % n * 40 for n in range(files)}


async def make(port: int, files: dict[str, bytes]) -> None:
    """CREATE, WRITE, COMMIT; a few at a time."""
    async with Nfs.on(port) as nfs:
        folders = sorted({path.partition("/")[0] for path in files})
        handles = {name: await nfs.mkdir(nfs.root, name.encode()) for name in folders}
        todo = iter(files.items())

        async def some() -> None:
            for path, data in todo:
                folder, _, name = path.partition("/")
                handle = await nfs.create(handles[folder], name.encode())
                await nfs.write(handle, 0, data, stable=False)
                await nfs.commit(handle)

        async with asyncio.TaskGroup() as tasks:
            for number in range(SIDE_BY_SIDE):
                tasks.create_task(some(), name=f"maker {number}")
