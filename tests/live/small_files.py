"""What it costs the Hub and its CAS that many small files are made and flushed."""

import asyncio
from collections import Counter
from pathlib import Path

from tests.live.nfs import Nfs
from tests.live.product import hub_with_bucket, served

BUCKET = "local/small"
DIRECTORIES = 10
SIDE_BY_SIDE = 8
PATIENCE_S = 300.0


async def requests_of(files: int, folder: Path) -> Counter[str]:
    """Make that many files as `cp -r` does, wait until the Hub has them all; requests by kind.

    Raises TimeoutError if it never has.
    """
    wanted = {f"d{n % DIRECTORIES}/file {n:05}.txt": b"%d\n" % n * 40 for n in range(files)}
    with hub_with_bucket(folder / "hub", BUCKET, {"before": b"1"}) as (hub, thread):

        async def there() -> int:
            return len(await asyncio.to_thread(thread.do, hub.files(BUCKET)))

        with served(hub.endpoint, BUCKET, folder / "mount", kind="bucket") as server:
            hub.counters.clear()
            await make(server.port, wanted)
            async with asyncio.timeout(PATIENCE_S):
                while await there() <= files:  # noqa: ASYNC110  # nobody sets an event
                    await asyncio.sleep(0.1)
            counted = Counter(hub.counters.requests)
        assert thread.do(hub.files(BUCKET)) == {**wanted, "before": b"1"}
    return counted


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
