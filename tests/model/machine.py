"""What random work on a read-write mount has in common: a bucket in memory, and what befalls both.

A machine of its own says what it does, and what has to be there then: at the end, after the mount
has ended in order, after the power failed.
"""

import asyncio
import logging
import random
import shutil
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from hfnfs.vfs.outbox import Pending
from tests.fakes.clock import FakeClock
from tests.model.bucket import Bucket
from tests.model.write_mount import WriteMount
from tests.until import PATIENCE_S

T = TypeVar("T")
_OURS = logging.getLogger("hfnfs")


@contextmanager
def quiet() -> Iterator[None]:
    """What goes wrong here is meant to; the log would fail the test."""
    before = _OURS.level
    _OURS.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        _OURS.setLevel(before)


class Machine(RuleBasedStateMachine):
    """A mount of a bucket, both of which fare badly."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="hfnfs-model-"))
        self.clock = FakeClock()
        self.bucket = Bucket(self.clock)
        self.loop = asyncio.Runner()
        self.mount = WriteMount(self.directory, self.bucket, self.clock)
        self.quiet = quiet()

    @initialize(seed=st.integers(0, 1000))
    def start(self, seed: int) -> None:
        self.quiet.__enter__()
        self.rng = self.bucket.troubles.rng = random.Random(seed)
        self.others_begin()
        self.run(self.mount.start())

    def teardown(self) -> None:
        try:
            if hasattr(self, "rng"):
                self.all_is_right()
                self.run(self.mount.stop())
        finally:
            self.loop.close()
            self.quiet.__exit__(None, None, None)
            shutil.rmtree(self.directory)

    # ------------------------------------------------- for a machine to say

    def others_begin(self) -> None:
        """Put into the bucket what is there before it is mounted."""

    def all_is_right(self) -> None:
        """Check everything."""
        raise NotImplementedError  # each machine has its own; with none it must not pass

    def when_ended(self) -> None:
        """The mount has ended in order, and is to start again."""

    def when_it_is_back(self) -> None:
        """The power has failed, and the mount has started again."""

    # ------------------------------------------------------------ working

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    async def at(self, path: str) -> bytes:
        """The handle of a path."""
        handle = self.mount.root
        for name in filter(None, path.encode().split(b"/")):
            handle = await self.mount.client.lookup(handle, name)
        return handle

    async def read(self, handle: bytes) -> bytes:
        """All bytes of a file."""
        return b"".join([bytes(piece) async for piece in self.mount.client.read_all(handle)])

    @property
    def is_troubled(self) -> bool:
        """Whether a request to the bucket may fail."""
        return self.bucket.is_down or self.bucket.troubles.rate > 0

    def all_is_well(self) -> None:
        """The bucket answers everything from now on."""
        self.bucket.is_down = False
        self.bucket.troubles.rate = 0.0

    async def drained(self) -> list[Pending]:
        """What the bucket lacks once there was time for everything."""
        draining = asyncio.create_task(self.mount.flush.drain(PATIENCE_S))
        while not draining.done():
            self.clock.advance(0.5)
            self.mount.flush.wake()
            await asyncio.wait([draining], timeout=0.01)
        return draining.result()

    # ------------------------------------------------------- what happens

    @rule(seconds=st.sampled_from([0.1, 1, 3, 11, 40]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.mount.flush.wake()
        self.run(_turns(self.rng.randrange(200)))

    @rule(rate=st.sampled_from([0.0, 0.1, 0.5]))
    def the_hub_fails_sometimes(self, rate: float) -> None:
        self.bucket.troubles.rate = rate

    @rule(is_down=st.booleans())
    def the_hub_goes_and_comes(self, is_down: bool) -> None:
        self.bucket.is_down = is_down

    @rule()
    def the_mount_ends_and_starts(self) -> None:
        self.run(self.mount.stop())
        self.when_ended()
        self.run(self.mount.start())

    @rule()
    def the_power_fails(self) -> None:
        self.run(self.mount.crash(self.rng))
        self.run(self.mount.start())
        self.when_it_is_back()


async def _turns(count: int) -> None:
    """Let others go on for a while."""
    for _ in range(count):
        await asyncio.sleep(0)
