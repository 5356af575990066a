"""A bucket that others change, a tree that shows it, and a clock that only the test moves."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from hfnfs.remote import (
    Changed,
    FeedEvent,
    Kind,
    RemoteEntry,
    Revision,
)
from hfnfs.transfer.listings import Listings
from hfnfs.transfer.poll import TICK_S, Poll, Rhythm
from hfnfs.vfs.attributes import Attributes
from hfnfs.vfs.data import Data
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.node import FileType, Node
from hfnfs.vfs.tree import Freshness, Tree
from hfnfs.vfs.volume import Volume
from tests.fakes.clock import FakeClock
from tests.fakes.remote import FakeRemote
from tests.fakes.volume import MemoryExtents
from tests.until import until
from tests.vfs.builders import APPEARANCE

INTERVAL_S = 30.0
NEVER = float("nan")  # neither before nor after anything


class Bucket(FakeRemote):
    """Others change it: each change is another revision."""

    immutable = False

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(files)
        self.token = 0
        self.failing: dict[str, Exception] = {}  # listings, by directory

    async def revision(self) -> Revision:
        await self._request("revision", "")
        return Revision(str(self.token), 0)

    async def list(self, directory: str) -> Any:
        listing = await super().list(directory)
        if directory in self.failing:
            raise self.failing[directory]
        return listing

    def put(self, **files: bytes | None) -> None:
        self.change({name.replace("__", "/"): data for name, data in files.items()})

    def change(self, files: Mapping[str, bytes | None]) -> None:
        self.token += 1
        for path, data in files.items():
            self.files.pop(path, None)
            if data is not None:
                self.files[path] = data

    def listed(self) -> Sequence[str]:
        return [of for method, of in self.asked if method == "list"]

    def revisions(self) -> int:
        return [method for method, _ in self.asked].count("revision")


class Ours:
    """vfs.ours.Claims: what is held here, and until when others' answers are older."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.settled: dict[str, float] = {}

    def claims(self, directory: str, asked_at: float) -> set[str]:
        split = [path.rpartition("/") for path in (*self.held, *self.settled)]
        return {
            n for d, _, n in split if d == directory and self.claim(f"{d}/{n}"[not d :], asked_at)
        }

    def claim(self, path: str, asked_at: float) -> bool:
        return path in self.held or self.settled.get(path, NEVER) >= asked_at


Told: TypeAlias = FeedEvent | Exception


class FakeFeed:
    """A feed that tells what the test puts into it."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Told] = asyncio.Queue()
        self.begun = 0

    async def changes(self, since: str) -> AsyncGenerator[FeedEvent, None]:
        self.begun += 1
        while True:
            told = await self.queue.get()
            if isinstance(told, Exception):
                raise told
            yield told


class _Pause:
    """Somebody waits for time to pass."""

    def __init__(self, until: float, *, is_tick: bool) -> None:
        self.until = until
        self.is_tick = is_tick
        self.over = asyncio.Event()


async def turns() -> None:
    """Turns of the loop in which all that need not wait is done."""
    for _ in range(50):
        await asyncio.sleep(0)


class Side:
    """A tree, a bucket, and what keeps them alike. Time passes only in `passes`."""

    def __init__(self, tasks: asyncio.TaskGroup, files: dict[str, bytes], **how: Any) -> None:
        self.clock = FakeClock()
        self.remote = Bucket(files)
        self.ours = Ours()
        tree = Tree(
            APPEARANCE, Freshness(10.0, 3), boot_verifier=b"bootboot", clock=self.clock,
            claims=self.ours,
        )  # fmt: skip
        self.volume = Volume(
            b"volume01", Revision("0", 0), tree=tree, data=Data(MemoryExtents()),
            attributes=Attributes(read_only=True),
        )  # fmt: skip
        self.tree = tree
        self.listings = Listings(
            self.remote, tree, clock=self.clock, tasks=tasks, stall_timeout_s=60.0
        )
        self.feed = FakeFeed()
        rhythm = Rhythm(
            how.get("interval_s", INTERVAL_S), how.get("at_once", 4), self.clock, self._pause
        )
        self.poll = Poll(
            self.remote, self.volume, self.listings,
            changes=self.feed.changes if how.get("feed") else None, rhythm=rhythm,
        )  # fmt: skip
        self.pauses: list[_Pause] = []

    async def _pause(self, seconds: float) -> None:
        pause = _Pause(self.clock.now() + seconds, is_tick=seconds == TICK_S)
        self.pauses.append(pause)
        try:
            await pause.over.wait()
        finally:
            self.pauses.remove(pause)

    async def passes(self, seconds: float) -> None:
        """Let time pass, and let all be done that this makes due."""
        end = self.clock.now() + seconds
        while True:
            await self.quiet()
            first = min(self.pauses, key=lambda pause: pause.until)
            if first.until > end:
                break
            self.clock.advance(max(first.until - self.clock.now(), 0.0))
            first.over.set()
            await until(lambda: first not in self.pauses)  # noqa: B023  # awaited in its turn
        self.clock.advance(end - self.clock.now())

    async def quiet(self) -> None:
        """Wait until there is nothing to do but to let time pass."""
        await until(lambda: any(pause.is_tick for pause in self.pauses))
        await turns()

    async def tell(self, *events: Told) -> None:
        for event in events:
            self.feed.queue.put_nowait(event)
        await until(self.feed.queue.empty)
        await turns()

    def told(self, *paths: str) -> Changed:
        """What the feed would tell of those paths now."""
        return Changed({p: self.entry(p) if p in self.remote.files else None for p in paths})

    def entry(self, path: str) -> RemoteEntry:
        entry = self.remote._entry(path)
        assert entry.kind is Kind.FILE
        return entry

    def make_directory(self, name: str) -> None:
        """One that only we have."""
        assert self.tree.ours is not None
        root = self.tree.root
        made = self.tree.nodes.make(FileType.DIR, root, name)
        self.tree.adopt(root, made)
        self.tree.ours.local.add(made)

    async def look(self, *directories: str) -> None:
        for path in directories:
            await self.listings.listed(self.directory(path).fileid, self.clock.now())

    def directory(self, path: str) -> Directory:
        node = self.tree.at(path)
        assert isinstance(node, Directory), path
        return node

    def names(self, path: str = "") -> set[str]:
        return {name.decode() for name in self.directory(path).children}

    def node(self, path: str) -> Node:
        node = self.tree.at(path)
        assert node is not None, path
        return node


FILES = {"a": b"1", "b": b"22", "sub/c": b"333", "sub/deep/d": b"4444", "other/e": b"5"}


@asynccontextmanager
async def side_of(files: dict[str, bytes] = FILES, **how: Any) -> AsyncIterator[Side]:
    async with asyncio.TaskGroup() as tasks:
        side = Side(tasks, dict(files), **how)
        running = tasks.create_task(side.poll.run())
        await side.quiet()
        yield side
        running.cancel()
