"""A read-write mount over a bucket in memory, which ends in order or by a crash, and starts again.

A crash takes what a power failure takes: of what was written and not synced nothing is left as it
was, and of the state what was not committed.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from hfnfs.app import changing
from hfnfs.app.ground import FarSide, Ground
from hfnfs.app.running import serving
from hfnfs.clock import Clock
from hfnfs.config import MountConfig
from hfnfs.disk.layout import open_cache
from hfnfs.disk.memory import MemoryExtents
from hfnfs.disk.overflow import OverflowingExtents
from hfnfs.disk.schema import Change, Key
from hfnfs.disk.staging import Staging
from hfnfs.disk.state import State
from hfnfs.errors import CacheUnusable, HfnfsError
from hfnfs.hub.http import Http
from hfnfs.hub.source import parse
from hfnfs.nfs3.client import NfsClient
from hfnfs.remote import Revision, WritableRemote
from hfnfs.rpc.message import AuthSys
from hfnfs.transfer.commits import Local
from hfnfs.transfer.flush import Flush
from hfnfs.transfer.uploads import Uploads
from tests.fakes.clock import FakeClock
from tests.model.bucket import Bucket
from tests.until import PATIENCE_S

CONFIG = MountConfig(
    source="hf://buckets/me/data",
    cache_dir=Path("unused"),
    flush_debounce_s=2.0,
    flush_window_s=30.0,
    flush_shutdown_timeout_s=0.0,
    stall_timeout_s=PATIENCE_S,
    serve_deadline_s=PATIENCE_S,
    hold_deadline_s=PATIENCE_S,
    poll_interval_s=0,
    unsynced_bytes_max=200_000,
)


class MortalState(State):
    """A state that can lose the power."""

    has_power = True

    def _write(self, changes: dict[Key, Change]) -> HfnfsError | None:
        if not self.has_power:
            return CacheUnusable("no power")
        return super()._write(changes)


class MortalStaging(Staging):
    """A staging that can lose the power: bytes and names that were not synced become others."""

    def lose(self, rng: random.Random) -> None:
        for fileid, staged in self._files.items():
            if staged.number > self._descriptors.names_synced and rng.random() < 0.5:
                self.path(fileid).unlink()
                self._unsynced.pop(fileid, None)
        for fileid, ranges in self._unsynced.items():
            with open(self.path(fileid), "r+b") as file:
                for start, end in ranges:
                    if rng.random() < 0.7:
                        file.seek(start)
                        file.write(rng.randbytes(end - start))


class WriteMount:
    """A mount, its client and what a test may do to it."""

    def __init__(self, home: Path, bucket: Bucket, clock: FakeClock) -> None:
        self._home = home
        self._bucket = bucket
        self._clock = clock
        self.client: NfsClient
        self.root: bytes
        self.state: MortalState
        self.staging: MortalStaging
        self.flush: Flush
        self._over = asyncio.Event()
        self._life: asyncio.Task[None]
        self._http: Http

    async def start(self) -> None:
        """Mount what is left of the last time."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()
        self._life = asyncio.create_task(self._live(ready), name="a mount's life")
        await asyncio.wait([ready, self._life], return_when=asyncio.FIRST_COMPLETED)
        if self._life.done():
            self._life.result()
        await ready

    async def stop(self) -> None:
        """End in order, without time to send anything."""
        self._over.set()
        await self._life

    async def crash(self, rng: random.Random) -> None:
        """End as a power failure ends it."""
        self.state.has_power = False
        self.staging.lose(rng)
        self._life.cancel()
        await asyncio.wait([self._life])
        if not self._life.cancelled():
            self._life.exception()  # which may be that there was no power

    async def _live(self, ready: "asyncio.Future[None]") -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(changing, "State", self._own_state)
            patch.setattr(changing, "Staging", self._own_staging)
            patch.setattr(changing, "Flush", self._own_flush)
            async with self._ground() as ground, serving(self._config(), ground) as served:
                patch.undo()
                self.client = await NfsClient.connect(
                    "127.0.0.1",
                    served.port,
                    timeout_s=PATIENCE_S,
                    credential=AuthSys(1, b"box", 0, 0, []),
                )
                try:
                    self.root = await self.client.mount()
                    ready.set_result(None)
                    await self._over.wait()
                finally:
                    await self.client.close()

    def _config(self) -> MountConfig:
        return replace(CONFIG, cache_dir=self._home)

    def _own_state(self, directory: Path) -> MortalState:
        self.state = MortalState(directory)
        return self.state

    def _own_staging(self, directory: Path, bytes_max: int | None) -> MortalStaging:
        self.staging = MortalStaging(directory, bytes_max)
        return self.staging

    def _own_flush(
        self, remote: WritableRemote, uploads: Uploads, local: Local, clock: Clock
    ) -> Flush:
        self.flush = Flush(remote, uploads, local, clock)
        return self.flush

    @asynccontextmanager
    async def _ground(self) -> AsyncIterator[Ground]:
        cache = open_cache(self._home)
        extents = OverflowingExtents(cache.blocks, 1 << 30, MemoryExtents(1 << 30), self._clock)
        async with Http(self._clock) as http:
            far = FarSide(
                clock=self._clock,
                http=http,
                source=parse(CONFIG.source, "bucket", None, endpoint="http://localhost"),
                revision=Revision("0", self._clock.wall_ns()),
                remote=self._bucket,
                prepare=None,
                bucket=self._bucket,
                branch=None,
                takes_changes=True,
                endpoint="http://localhost",
                identity="a test's bucket",
            )
            state = cache.volume_state(far.identity)
            try:
                yield Ground(far, extents, state, None, cache.hashed_blobs())
            finally:
                extents.close()
