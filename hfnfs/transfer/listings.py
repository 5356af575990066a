"""What directories hold, asked of the far side: a whole listing, or single names in batches.

One listing of a directory flies at a time and serves all who want it. Names of a directory that
are asked for while its last request for names is flying go together in the next one.
"""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from hfnfs.clock import Clock
from hfnfs.errors import RemoteCorrupt, RemoteUnavailable, StaleHandle
from hfnfs.remote import Remote
from hfnfs.transfer.single_flight import SingleFlight
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.tree import Tree

# The garbage collector looks through all objects once their number has grown by a quarter: a
# second for a million nodes, in which nobody is served. So nodes are taken from its sight every
# some 8,000; they need it not, as the tree breaks their cycles when it lets them go.
_SLICES_BETWEEN_FREEZES: Final = 32
# Names in one request; those beyond go in the next.
_BATCH_NAMES_MAX: Final = 100


class _Batch:
    """Names of one directory that are asked for together."""

    def __init__(self, directory: int, turn: asyncio.Lock) -> None:
        self.directory = directory
        self.turn = turn  # one request for names of a directory at a time
        self.names: set[bytes] = set()

    def __repr__(self) -> str:
        return f"names of {self.directory:x}"


class Listings:
    """Asks the far side what directories hold, and shows it to the tree."""

    def __init__(
        self,
        remote: Remote,
        tree: Tree,
        *,
        clock: Clock,
        tasks: asyncio.TaskGroup,
        stall_timeout_s: float,
    ) -> None:
        self._remote = remote
        self._tree = tree
        self._clock = clock
        self._stall_timeout_s = stall_timeout_s
        self._slices = 0  # of listings taken in
        self._list: SingleFlight[int, float] = SingleFlight(tasks, self._list_now)
        self._find: SingleFlight[_Batch, None] = SingleFlight(tasks, self._find_in_turn)
        self._filling: dict[int, _Batch] = {}  # batches that have not left yet
        self._turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def listed(self, directory: int, not_before: float) -> None:
        """Show a listing of the directory that was asked for at `not_before` or later.

        Raises RemoteError, StaleHandle.
        """
        asked_at = await self._list(directory)
        if asked_at < not_before:  # it was flying when we came: the next one is ours
            await self._list(directory)

    async def named(self, directory: int, name: bytes) -> None:
        """Show what the directory has under that name, or that it has nothing.

        Raises RemoteError, StaleHandle.
        """
        if self._list.is_flying(directory):
            await self._list(directory)
            return
        batch = self._filling.get(directory)
        if batch is None or len(batch.names) >= _BATCH_NAMES_MAX:
            turn = self._turns.setdefault(directory, asyncio.Lock())
            batch = self._filling[directory] = _Batch(directory, turn)
        batch.names.add(name)
        await self._find(batch)

    async def _list_now(self, fileid: int) -> float:
        """List, show, and give the time (monotonic seconds) of the asking."""
        path = self._tree.path(self._directory(fileid))
        asked_at = self._clock.now()
        async with self._patience(f"listing of {path!r}"):
            listing = await self._remote.list(path)
        for _ in self._tree.applying(self._directory(fileid), listing):
            self._slices += 1
            if self._slices % _SLICES_BETWEEN_FREEZES == 0:
                gc.freeze()
            await asyncio.sleep(0)  # others are served in between
        self._tree.trim()
        return asked_at

    async def _find_in_turn(self, batch: _Batch) -> None:
        async with batch.turn:
            if self._filling.get(batch.directory) is batch:
                del self._filling[batch.directory]
            await self._find_now(batch)

    async def _find_now(self, batch: _Batch) -> None:
        directory = self._directory(batch.directory)
        base = self._tree.path(directory)
        paths: dict[bytes, str] = {}
        for name in batch.names:
            path = _path_of(base, name)
            if path is None:
                self._tree.apply_found(directory, name, None)
            else:
                paths[name] = path
        if not paths:
            return
        async with self._patience(f"lookup in {base!r}"):
            found = await self._remote.find(list(paths.values()))
        directory = self._directory(batch.directory)
        if found is None or any(path not in found for path in paths.values()):
            await self._list(batch.directory)  # it tells all about them
            return
        for name, path in paths.items():
            entry = found[path]
            if entry is not None and entry.name.encode() != name:
                raise RemoteCorrupt(f"asked for {path!r}, was told of {entry.name!r}")
            self._tree.apply_found(directory, name, entry)

    def _directory(self, fileid: int) -> Directory:
        node = self._tree.node_by_fileid(fileid)
        if not isinstance(node, Directory):
            raise StaleHandle(f"the directory {fileid:x} is gone")
        return node

    @asynccontextmanager
    async def _patience(self, what: str) -> AsyncIterator[None]:
        deadline = asyncio.timeout(self._stall_timeout_s)
        try:
            async with deadline:
                yield
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise RemoteUnavailable(f"{what}: no answer in {self._stall_timeout_s} s") from error


def _path_of(directory: str, name: bytes) -> str | None:
    """The path of a name in a directory; None for a name that no entry can have."""
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        return None
    try:
        text = name.decode()
    except UnicodeDecodeError:
        return None
    return f"{directory}/{text}" if directory else text
