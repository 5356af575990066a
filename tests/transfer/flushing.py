"""A volume that takes changes, a bucket, and the flush between them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Generic, TypeVar

from hfnfs.remote import ContentId, WritableRemote
from hfnfs.transfer.commits import Local
from hfnfs.transfer.flush import Flush
from hfnfs.transfer.uploads import Uploads
from hfnfs.vfs.attributes import Wanted
from tests.fakes.volume import MemoryExtents
from tests.transfer.bucket import FakeBucket, content_of
from tests.until import PATIENCE_S
from tests.vfs.changing import Desk


class ShownDesk(Desk):
    """A desk whose far side is the bucket."""

    def content(self, path: str) -> ContentId:
        return content_of(self.hub[path])


class PinnedExtents(MemoryExtents):
    """Nothing is evicted, all is in memory."""

    def make_resident(self, content: ContentId, start: int, end: int) -> None:
        return

    def pin(self, content: ContentId, start: int, end: int) -> None:
        return

    def unpin(self, content: ContentId, start: int, end: int) -> None:
        return


B = TypeVar("B", bound=WritableRemote)


class Rig(Generic[B]):
    """A volume that takes changes, a bucket, and the flush between them."""

    def __init__(self, desk: ShownDesk, bucket: B) -> None:
        self.desk, self.bucket = desk, bucket
        self.tickets: list[int] = []
        self.is_durable = asyncio.Event()
        self.is_durable.set()
        local = Local(
            outbox=desk.outbox,
            overlay=desk.data.overlay,
            written=desk.writing,
            conflicts=desk.aside,
            journal=desk.journal,
            keep=desk.keeper.keep,
            kept=self.kept,
        )
        self.extents = PinnedExtents()
        uploads = Uploads(bucket, desk.staging, self.extents)
        self.flush = Flush(bucket, uploads, local, desk.clock)

    async def kept(self, ticket: int) -> None:
        self.tickets.append(ticket)
        await self.is_durable.wait()

    async def go_on(self, fact: Callable[[], object]) -> None:
        """Let time pass until it is so."""
        async with asyncio.timeout(PATIENCE_S):
            while not fact():
                self.desk.clock.advance(1.0)
                self.flush.wake()
                for _ in range(20):
                    await asyncio.sleep(0)

    async def done(self) -> None:
        """Let time pass until the Hub has everything; then it shows what we show."""
        await self.go_on(lambda: not len(self.desk.outbox))
        assert not self.desk.state.model.outbox

    # -------------------------------------------------- what users do

    def write(self, path: str, data: bytes) -> None:
        """Let a file have these bytes, in the same node if there is one."""
        node = self.desk.do(self.desk.naming.create, *self.desk.split(path), Wanted(size=0)).result
        if data:
            self.desk.do(self.desk.writing.write, node, 0, data)

    def rename(self, old: str, new: str) -> None:
        self.desk.do(self.desk.naming.rename, *self.desk.split(old), *self.desk.split(new))

    def remove(self, path: str) -> None:
        self.desk.do(self.desk.naming.remove, *self.desk.split(path))

    def mkdir(self, path: str) -> None:
        self.desk.do(self.desk.naming.make_directory, *self.desk.split(path), Wanted())

    def rmdir(self, path: str) -> None:
        self.desk.do(self.desk.naming.remove_directory, *self.desk.split(path))

    def ours(self) -> dict[str, bytes]:
        return {path: data for path, data in self.desk.walk().items() if data is not None}


@asynccontextmanager
async def rig(home: Path, hub: dict[str, bytes] | None = None) -> AsyncIterator[Rig[FakeBucket]]:
    bucket = FakeBucket({} if hub is None else hub)
    desk = ShownDesk(home, {})
    desk.hub = bucket.files
    async with running(Rig(desk, bucket)) as made:
        yield made


@asynccontextmanager
async def running(made: Rig[B]) -> AsyncIterator[Rig[B]]:
    async with asyncio.TaskGroup() as tasks:
        loop = tasks.create_task(made.flush.run())
        try:
            yield made
        finally:
            loop.cancel()
    made.desk.staging.close()
    assert not list((made.desk.home / "snapshots").iterdir()), "a copy was left behind"
