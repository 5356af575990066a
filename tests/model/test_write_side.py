"""Random work on a read-write mount, and on its bucket by others; faults, crashes, restarts.

What is shown is always what the model says; what was answered as stable survives every crash; and
once the bucket answers again it has exactly what the mount shows. Others keep to files of their
own; what happens when both change a path is for tests of its own.
"""

import asyncio
import logging
import random
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path as DiskPath
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from hfnfs.nfs3.client import NotOk
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.writing import Stable
from hfnfs.vfs.attributes import Wanted
from hfnfs.vfs.node import FileType
from hfnfs.vfs.outbox import Pending
from tests.fakes.clock import FakeClock
from tests.model.bucket import Bucket
from tests.model.files import Directory, File, Link, Refused, Thing, Volume
from tests.model.write_mount import WriteMount
from tests.until import PATIENCE_S

T = TypeVar("T")

PATHS = st.sampled_from(["a", "b", "d", "d/a", "d/e", "d/e/a", ".nfs1", "d/.DS_Store"])
THEIRS = ["o/x", "o/y", "t"]
THEIRS_FOR_EVER = ["o", "o/stays"]  # so that a walk never meets a directory that goes
OFFSETS = st.one_of(st.integers(0, 40), st.sampled_from([4096, 70_000, 131_072]))
SIZES = st.one_of(st.integers(0, 30), st.sampled_from([4096, 60_000]))
STABLE = st.sampled_from(list(Stable))
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


class WritesAgainstModel(RuleBasedStateMachine):
    """A volume as a dict of dicts is the model."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = DiskPath(tempfile.mkdtemp(prefix="hfnfs-writes-"))
        self.clock = FakeClock()
        self.bucket = Bucket(self.clock)
        self.loop = asyncio.Runner()
        self.mount = WriteMount(self.directory, self.bucket, self.clock)
        self.model = Volume()
        self.seed = 0
        self.quiet = quiet()

    @initialize(seed=st.integers(0, 1000))
    def start(self, seed: int) -> None:
        self.quiet.__enter__()
        self.rng = self.bucket.troubles.rng = random.Random(seed)
        self.bucket.put("o/stays", b"")
        self.run(self.mount.start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    def teardown(self) -> None:
        try:
            if hasattr(self, "rng"):
                self.all_is_well()
                self.everything_reaches_the_hub()
                self.run(self.mount.stop())
        finally:
            self.loop.close()
            self.quiet.__exit__(None, None, None)
            shutil.rmtree(self.directory)

    # ------------------------------------------------------------ what we do

    def bytes_of(self, size: int) -> bytes:
        self.seed += 1
        return (b"%d." % self.seed * (size // 2 + 1))[:size]

    async def at(self, path: str) -> bytes:
        handle = self.mount.root
        for name in filter(None, path.encode().split(b"/")):
            handle = await self.mount.client.lookup(handle, name)
        return handle

    async def home(self, path: str) -> tuple[bytes, bytes]:
        directory, _, name = path.rpartition("/")
        return await self.at(directory), name.encode()

    def both(self, ours: Callable[[], Awaitable[object]], model: Callable[[], object]) -> bool:
        """Do it here and in the model, where both refuse or neither; whether it was done.

        While the Hub fails it may be refused for that: nothing is done then.
        """

        async def attempt() -> NotOk | None:
            try:
                await ours()
            except NotOk as error:
                return error
            return None

        error = self.run(attempt())
        if error is not None and error.status is Status.IO and self.is_troubled:
            return False
        try:
            model()
        except Refused:
            assert error is not None, "the model refuses it"
            return False
        assert error is None, f"{error}, and the model does it"
        return True

    @property
    def is_troubled(self) -> bool:
        return self.bucket.is_down or self.bucket.troubles.rate > 0

    @rule(path=PATHS)
    def create(self, path: str) -> None:
        async def ours() -> None:
            await self.mount.client.create(*await self.home(path), guarded=True)

        self.both(ours, lambda: self.model.make(path, File()))

    @rule(path=PATHS)
    def make_directory(self, path: str) -> None:
        async def ours() -> None:
            await self.mount.client.mkdir(*await self.home(path))

        self.both(ours, lambda: self.model.make(path, Directory()))

    @rule(path=PATHS)
    def make_link(self, path: str) -> None:
        target = self.bytes_of(5)

        async def ours() -> None:
            await self.mount.client.symlink(*await self.home(path), target)

        self.both(ours, lambda: self.model.make(path, Link(target)))

    @rule(path=PATHS, offset=OFFSETS, size=SIZES, stable=STABLE)
    def write(self, path: str, offset: int, size: int, stable: Stable) -> None:
        data = self.bytes_of(size)

        async def ours() -> None:
            await self.mount.client.write(await self.at(path), offset, data, stable)

        def model() -> None:
            file = self.model.file(path)
            if data:
                file.write(offset, data)
            if stable is not Stable.UNSTABLE:
                file.commit()

        self.both(ours, model)

    @rule(path=PATHS)
    def commit(self, path: str) -> None:
        if not isinstance(self.model.at(path), File):
            return

        async def ours() -> None:
            handle = await self.at(path)
            for _ in range(50):  # each failure on the way to the Hub is told once
                with suppress(NotOk):
                    await self.mount.client.commit(handle)
                    return
            raise AssertionError("it cannot be committed")

        self.both(ours, lambda: self.model.file(path).commit())

    @rule(path=PATHS, size=st.one_of(st.integers(0, 50), st.just(80_000)))
    def truncate(self, path: str, size: int) -> None:
        async def ours() -> None:
            await self.mount.client.setattr(await self.at(path), Wanted(size=size))

        self.both(ours, lambda: self.model.file(path).truncate(size))

    @rule(path=PATHS)
    def remove(self, path: str) -> None:
        async def ours() -> None:
            await self.mount.client.remove(*await self.home(path))

        self.both(ours, lambda: self.model.remove(path))

    @rule(path=PATHS)
    def remove_directory(self, path: str) -> None:
        async def ours() -> None:
            await self.mount.client.rmdir(*await self.home(path))

        self.both(ours, lambda: self.model.remove_directory(path))

    @rule(old=PATHS, new=PATHS)
    def rename(self, old: str, new: str) -> None:
        async def ours() -> None:
            await self.mount.client.rename(*await self.home(old), *await self.home(new))

        self.both(ours, lambda: self.model.rename(old, new))

    @rule(old=PATHS, new=PATHS)
    def link(self, old: str, new: str) -> None:
        async def ours() -> None:
            await self.mount.client.link(await self.at(old), *await self.home(new))

        self.both(ours, lambda: self.model.link(old, new))

    # ---------------------------------------------------- what others do

    @rule(path=st.sampled_from(THEIRS), size=SIZES)
    def somebody_writes(self, path: str, size: int) -> None:
        self.bucket.put(path, self.bytes_of(size))

    @rule(path=st.sampled_from(THEIRS))
    def somebody_deletes(self, path: str) -> None:
        self.bucket.delete(path)

    # ------------------------------------------------------ what happens

    @rule(seconds=st.sampled_from([0.1, 1, 3, 11, 40]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.mount.flush.wake()
        self.run(turns(self.rng.randrange(200)))

    @rule(rate=st.sampled_from([0.0, 0.1, 0.5]))
    def the_hub_fails_sometimes(self, rate: float) -> None:
        self.bucket.troubles.rate = rate

    @rule(is_down=st.booleans())
    def the_hub_goes_and_comes(self, is_down: bool) -> None:
        self.bucket.is_down = is_down

    @rule()
    def the_mount_ends_and_starts(self) -> None:
        self.run(self.mount.stop())
        for thing in self.model.walk().values():
            if isinstance(thing, File):
                thing.commit()
        self.run(self.mount.start())

    @rule()
    def the_power_fails(self) -> None:
        self.run(self.mount.crash(self.rng))
        self.run(self.mount.start())
        self.all_is_well()
        shown = self.run(self.walk())
        for path, thing in self.model.walk().items():
            if isinstance(thing, File):
                data = shown.get(path)
                assert isinstance(data, bytes), f"{path} is not there any more"
                assert thing.may_be(data), f"{path} is {data[:50]!r}, was {thing.past}"
                thing.data = data
                thing.commit()

    # ------------------------------------------------------ what is shown

    async def walk(self) -> dict[str, object]:
        """Bytes of files, None for directories, targets in tuples; without what others made."""
        found: dict[str, object] = {}
        async for each in self.mount.client.walk(self.mount.root):
            path = each.path.decode()
            if path in THEIRS + THEIRS_FOR_EVER:
                continue
            match each.attributes.type:
                case FileType.DIR:
                    found[path] = None
                case FileType.LNK:
                    found[path] = (await self.mount.client.readlink(each.handle),)
                case _:
                    pieces = [bytes(p) async for p in self.mount.client.read_all(each.handle)]
                    found[path] = b"".join(pieces)
        return found

    @precondition(lambda self: not self.is_troubled)
    @invariant()
    def what_is_shown_is_what_the_model_says(self) -> None:
        if not hasattr(self, "rng") or self.rng.random() < 0.6:
            return
        assert self.run(self.walk()) == {p: seen(t) for p, t in self.model.walk().items()}

    @rule()
    def everything_reaches_the_hub(self) -> None:
        self.all_is_well()
        left = self.run(self.drained())
        assert not left, left
        files = {
            path: thing.data
            for path, thing in self.model.walk().items()
            if isinstance(thing, File) and not is_private(path)
        }
        there = {
            path: self.bucket.read(path)
            for path in self.bucket.files
            if path not in THEIRS + THEIRS_FOR_EVER
        }
        assert there == files, f"the Hub has {short(there)}, not {short(files)}"
        self.clock.advance(11)
        assert self.run(self.walk()) == {p: seen(t) for p, t in self.model.walk().items()}

    async def drained(self) -> list[Pending]:
        """What the bucket lacks once there was time for everything."""
        draining = asyncio.create_task(self.mount.flush.drain(PATIENCE_S))
        while not draining.done():
            self.clock.advance(0.5)
            self.mount.flush.wake()
            await asyncio.wait([draining], timeout=0.01)
        return draining.result()

    def all_is_well(self) -> None:
        self.bucket.is_down = False
        self.bucket.troubles.rate = 0.0


def seen(thing: Thing) -> object:
    match thing:
        case File(data):
            return data
        case Link(target):
            return (target,)
        case _:
            return None


def short(files: Mapping[str, bytes | None]) -> dict[str, bytes]:
    return {path: (data or b"")[:20] for path, data in files.items()}


def is_private(path: str) -> bool:
    return ".DS_Store" in path.split("/") or path.rpartition("/")[2] == ".nfs1"


async def turns(count: int) -> None:
    """Let others go on for a while."""
    for _ in range(count):
        await asyncio.sleep(0)


TestTheWriteSide = WritesAgainstModel.TestCase
TestTheWriteSide.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, print_blob=True
)
