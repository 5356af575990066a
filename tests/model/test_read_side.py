"""Random work on a mount and on the far side: what is read is always what was there.

The far side is changed by others, fails, and everything cached is evicted, altered or carried over
a restart. A name or its bytes may be out of date by TTL_S, never wrong, and an answer may be an
error only when the far side just failed.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hfnfs.config import BLOCK_BYTES
from hfnfs.errors import RemoteUnavailable
from hfnfs.nfs3.client import NotOk
from hfnfs.nfs3.status import Status
from hfnfs.vfs.node import FileType
from tests.fakes.clock import FakeClock
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


class MountAgainstModel(RuleBasedStateMachine):
    """The far side's own past is the model."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="hfnfs-model-"))
        self.clock = FakeClock()
        self.loop = asyncio.Runner()
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

    @rule(spoilt=st.one_of(st.none(), st.integers(0, 1 << 24)))
    def the_server_is_restarted(self, spoilt: int | None) -> None:
        self.stop()
        if spoilt is not None:
            self.mount.spoil(spoilt)
        self.mount = self.run(self._mount())

    # ----------------------------------------------------------- what we ask

    @rule(path=PATHS, offset=OFFSETS, count=st.sampled_from([1, 100, 4096, 300_000]))
    def read(self, path: str, offset: int, count: int) -> None:
        since = self.clock.now() - TTL_S
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
        since = self.clock.now() - TTL_S

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
        since = self.clock.now() - TTL_S
        got = self.run(self._list(path))
        states = self.hub.states_since(since)
        # The way to it and what is in it may be known from different moments.
        expected = [children(tree, path) for tree in states if not path or children(tree, path)]
        absent = any(at(tree, path) is not DIRECTORY for tree in states) and bool(path)
        assert self._failed(got) or got in expected or (absent and got in (None, set()))

    @rule()
    def look_at_everything_when_all_is_well(self) -> None:
        self.hub.failures.clear()
        self.may_fail = False
        self.clock.advance(TTL_S + 1)
        assert self.run(self._walk()) == self.hub.tree

    @precondition(lambda self: hasattr(self, "mount"))
    @invariant()
    def nothing_stays_pinned(self) -> None:
        if not self.hub.streaming:
            assert not self.mount.extents._pins

    # ------------------------------------------------------------ the client

    def _failed(self, got: object) -> bool:
        return self.may_fail and got is Status.IO

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

    async def _list(self, path: str) -> object:
        client, handle = self.mount.client, self.mount.root
        try:
            for name in path.encode().split(b"/") if path else ():
                handle = await client.lookup(handle, name)
            names = [entry.name.decode() async for entry in client.readdirplus(handle)]
        except NotOk as error:
            gone = error.status in (Status.NOENT, Status.NOTDIR)
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
