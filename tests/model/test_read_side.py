"""Random work on a mount and on the far side: what is read is always what was there.

The far side is changed by others, fails, sends altered bytes, and everything cached, bytes and
names, is evicted, altered, cut off or carried over a restart. A name or its bytes may be out of
date by TTL_S, never wrong; only when the far side just failed, an answer may be an error, or as
old as it may be.
"""

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hfnfs.config import BLOCK_BYTES
from hfnfs.errors import RemoteUnavailable
from hfnfs.nfs3.client import NotOk
from hfnfs.nfs3.status import Status
from hfnfs.transfer import verify
from hfnfs.vfs.node import FileType
from tests.fakes.clock import FakeClock
from tests.loops import LOOPS
from tests.model.hub import ChangingHub, Tree
from tests.model.mount import TTL_S, Mount, mounted

T = TypeVar("T")

PATHS = st.sampled_from(["a", "b", "d", "d/x", "d/y", "d/e/z", "é"])
# Around the borders of blocks, and small files.
SIZES = st.one_of(
    st.integers(0, 20),
    st.sampled_from([BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 5 * BLOCK_BYTES + 7]),
)
OFFSETS = st.one_of(st.integers(0, 30), st.integers(0, 6 * BLOCK_BYTES))
FAILURES = st.sampled_from(["list", "find", "open"])
DIRECTORY = object()


def bytes_of(seed: int, size: int) -> bytes:
    """Different everywhere, and for every seed."""
    return b"".join(b"%7d " % (seed * 1_000_003 + n) for n in range(size // 8 + 1))[:size]


def at(tree: Tree, path: str) -> object:
    """A file's bytes, DIRECTORY, or None."""
    if path in tree:
        return tree[path]
    return DIRECTORY if any(other.startswith(path + "/") for other in tree) else None


def children(tree: Tree, path: str) -> set[str]:
    base = path + "/" if path else ""
    return {other[len(base) :].split("/")[0] for other in tree if other.startswith(base)}


@contextmanager
def told_of_errors() -> Iterator[list[str]]:
    """What the verifier finds, in place of the log, where it would fail the test."""
    errors: list[str] = []
    log = logging.getLogger(verify.__name__)

    def take(record: logging.LogRecord) -> bool:
        if record.levelno == logging.ERROR:
            errors.append(record.getMessage())
        return record.levelno != logging.ERROR

    log.addFilter(take)
    try:
        yield errors
    finally:
        log.removeFilter(take)


class MountAgainstModel(RuleBasedStateMachine):
    """The far side's own past is the model."""

    on = "asyncio"

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="hfnfs-model-"))
        self.clock = FakeClock()
        self.loop = asyncio.Runner(loop_factory=LOOPS[self.on])
        self.hub = ChangingHub(self.clock)
        self.seed = 0
        self.may_fail = False

    @initialize()
    def start(self) -> None:
        (self.directory / "blocks").mkdir(exist_ok=True)
        self.mount = self.run(self._mount())

    async def _mount(self) -> Mount:
        self.over = asyncio.Event()
        ready: asyncio.Future[Mount] = asyncio.get_running_loop().create_future()

        async def live() -> None:
            async with mounted(self.hub, self.directory / "blocks", self.clock) as mount:
                ready.set_result(mount)
                await self.over.wait()

        self.life = asyncio.create_task(live(), name="a mount's life")
        return await ready

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    def stop(self) -> None:
        async def end() -> None:
            self.over.set()
            await self.life

        self.run(end())

    def teardown(self) -> None:
        if hasattr(self, "mount"):
            self.stop()
        self.loop.close()
        shutil.rmtree(self.directory)

    # -------------------------------------------------------- what others do

    @rule(path=PATHS, size=SIZES)
    def somebody_writes(self, path: str, size: int) -> None:
        self.seed += 1
        self.hub.change(path, bytes_of(self.seed, size))

    @rule(path=PATHS)
    def somebody_deletes(self, path: str) -> None:
        self.hub.change(path, None)

    @rule(seconds=st.sampled_from([1, 5, 11, 100]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(method=FAILURES, after=st.sampled_from([0, 60_000, 200_000]))
    def the_far_side_will_fail(self, method: str, after: int) -> None:
        self.hub.failures.setdefault(method, []).append(RemoteUnavailable("as told"))
        self.hub.fail_after_bytes = after
        self.may_fail = True

    @rule()
    def everything_is_evicted(self) -> None:
        self.mount.evict_everything()

    @rule(damage=st.sampled_from([None, Mount.spoil, Mount.cut]), seed=st.integers(0, 1 << 24))
    def the_server_is_restarted(
        self, damage: Callable[[Mount, int], None] | None, seed: int
    ) -> None:
        self.stop()
        if damage is not None:
            damage(self.mount, seed)
        self.mount = self.run(self._mount())

    @rule()
    def what_is_there_is_verified(self) -> None:
        self.run(self.mount.verify())

    @rule(path=PATHS)
    def a_file_comes_altered_and_is_verified(self, path: str) -> None:
        self._all_is_well()
        self.run(self.mount.verify())
        self.mount.evict_everything()
        if path not in self.hub.tree:
            return
        altered = self.hub.altered
        self.hub.alters = True
        self.run(self._read_all(path))
        self.hub.alters = False
        with told_of_errors() as errors:
            self.run(self.mount.verify())
        assert bool(errors) == (self.hub.altered > altered)
        assert self.run(self._read_all(path)) == self.hub.tree[path]

    # ----------------------------------------------------------- what we ask

    @rule(path=PATHS, offset=OFFSETS, count=st.sampled_from([1, 100, 4096, 300_000]))
    def read(self, path: str, offset: int, count: int) -> None:
        since = self._oldest_shown()
        got = self.run(self._read(path, offset, count))
        expected = [
            (state[offset : offset + count], offset + count >= len(state))
            if isinstance(state, bytes)
            else state
            for state in (at(tree, path) for tree in self.hub.states_since(since))
        ]
        assert self._failed(got) or got in expected

    @rule(path=PATHS, offsets=st.lists(OFFSETS, min_size=2, max_size=8))
    def read_at_many_places_at_once(self, path: str, offsets: list[int]) -> None:
        since = self._oldest_shown()

        async def all_of_them() -> list[object]:
            reads = [asyncio.create_task(self._read(path, offset, 9000)) for offset in offsets]
            return [await read for read in reads]

        states = [at(tree, path) for tree in self.hub.states_since(since)]
        for offset, got in zip(offsets, self.run(all_of_them()), strict=True):
            assert self._failed(got) or got in [
                (state[offset : offset + 9000], offset + 9000 >= len(state))
                if isinstance(state, bytes)
                else state
                for state in states
            ]

    @rule(path=st.sampled_from(["", "d", "d/e"]))
    def list_a_directory(self, path: str) -> None:
        since = self._oldest_shown()
        got = self.run(self._list(path))
        states = self.hub.states_since(since)
        # The way to it and what is in it may be known from different moments.
        expected = [children(tree, path) for tree in states if not path or children(tree, path)]
        absent = any(at(tree, path) is not DIRECTORY for tree in states) and bool(path)
        assert self._failed(got) or got in expected or (absent and got in (None, set()))

    @rule()
    def look_at_everything_when_all_is_well(self) -> None:
        self._all_is_well()
        assert self.run(self._walk()) == self.hub.tree

    @precondition(lambda self: hasattr(self, "mount"))
    @invariant()
    def nothing_stays_pinned(self) -> None:
        if not self.hub.streaming:
            assert not self.mount.extents._pins

    # ------------------------------------------------------------ what may be

    def _all_is_well(self) -> None:
        self.hub.failures.clear()
        self.may_fail = False
        self.clock.advance(TTL_S + 1)

    def _oldest_shown(self) -> float:
        """Nothing is shown that was over before that."""
        return -inf if self.may_fail else self.clock.now() - TTL_S

    def _failed(self, got: object) -> bool:
        return self.may_fail and got is Status.IO

    # ------------------------------------------------------------ the client

    async def _read(self, path: str, offset: int, count: int) -> object:
        """Bytes and eof; DIRECTORY, None for nothing there, or the status of another failure."""
        client, handle = self.mount.client, self.mount.root
        try:
            for name in path.encode().split(b"/"):
                handle = await client.lookup(handle, name)
            if (await client.getattr(handle)).type is FileType.DIR:
                return DIRECTORY
            ok = await client.read(handle, offset, count)
        except NotOk as error:
            gone = error.status in (Status.NOENT, Status.NOTDIR)
            return None if gone else error.status
        return bytes(ok.data), ok.eof

    async def _read_all(self, path: str) -> bytes:
        client, handle = self.mount.client, self.mount.root
        for name in path.encode().split(b"/"):
            handle = await client.lookup(handle, name)
        return b"".join([piece async for piece in client.read_all(handle)])

    async def _list(self, path: str) -> object:
        client, handle = self.mount.client, self.mount.root
        try:
            for name in path.encode().split(b"/") if path else ():
                handle = await client.lookup(handle, name)
            names = [entry.name.decode() async for entry in client.readdirplus(handle)]
        except NotOk as error:
            # Stale: it goes between the two, as what a lookup is answered from may be older.
            gone = error.status in (Status.NOENT, Status.NOTDIR, Status.STALE)
            return None if gone else error.status
        assert len(names) == len(set(names))
        return set(names) - {".", ".."}

    async def _walk(self) -> Tree:
        tree = {}
        async for found in self.mount.client.walk(self.mount.root):
            if found.attributes.type is FileType.REG:
                pieces = [piece async for piece in self.mount.client.read_all(found.handle)]
                tree[found.path.decode()] = b"".join(pieces)
        return tree


MountAgainstModel.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
TestTheReadSide = MountAgainstModel.TestCase


class MountOnUvloop(MountAgainstModel):
    """The same on the faster loop."""

    on = "uvloop"


MountOnUvloop.TestCase.settings = settings(max_examples=20, stateful_step_count=40, deadline=None)
TestTheReadSideOnUvloop = MountOnUvloop.TestCase
