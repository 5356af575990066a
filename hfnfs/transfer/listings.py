"""What directories hold, asked of the far side: a whole listing, or single names in batches.

One listing of a directory flies at a time and serves all who want it. Names of a directory that
are asked for while its last request for names is flying go together in the next one.

While the far side gives no answer, what is shown stays as it is, and is believed a while longer;
what is not is shown as it was when it was last asked for, if that is known.
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from math import inf
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from hfnfs.clock import Clock
from hfnfs.errors import (
    RemoteCorrupt,
    RemoteEntryMissing,
    RemoteError,
    RemoteUnavailable,
    StaleHandle,
)
from hfnfs.remote import Listing, Remote
from hfnfs.transfer.kept import UNREACHABLE, Found, RecalledListing, RecalledNames
from hfnfs.transfer.side_by_side import side_by_side
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


class _Answer(NamedTuple):
    """What became of a request for a listing."""

    asked_at: float  # monotonic seconds
    failure: RemoteError | None  # None: the far side answered


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
        at_once: int = 4,
    ) -> None:
        self._at_once = at_once  # directories below one, listed for one who wants all of them
        self._remote = remote
        self._tree = tree
        self._clock = clock
        self._stall_timeout_s = stall_timeout_s
        self._slices = 0  # of listings taken in
        self._list: SingleFlight[int, _Answer] = SingleFlight(tasks, self._list_now)
        self._find: SingleFlight[_Batch, RemoteError | None] = SingleFlight(
            tasks, self._find_in_turn
        )
        self._filling: dict[int, _Batch] = {}  # batches that have not left yet
        self._turns: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    async def listed(self, directory: int, not_before: float) -> None:
        """Show a listing of the directory that was asked for at `not_before` or later.

        Raises RemoteError, StaleHandle.
        """
        await self._listed(directory, not_before)

    async def renewed(self, directory: int, not_before: float) -> None:
        """Show anew, asked for at `not_before` or later, what is shown of the directory.

        Raises RemoteError also where that stays as it is for want of an answer; StaleHandle.
        """
        node = self._directory(directory)
        shown = node.children
        # Directories are left to their own listings: of one name the far side cannot tell.
        names = {n for n in (*node.asked, *shown) if not isinstance(shown.get(n), Directory)}
        is_whole = node.listed_at is not None or self._list.is_flying(directory)
        if is_whole or len(names) > _BATCH_NAMES_MAX:
            failure = (await self._listed(directory, not_before)).failure
        else:
            failure = await self._named(directory, names)
        if failure is not None:
            raise failure

    async def renewed_names(self, directory: int, names: Iterable[bytes]) -> None:
        """Show anew what the directory has under some names. Raises as `renewed`."""
        some = list(names)
        for start in range(0, len(some), _BATCH_NAMES_MAX):
            failure = await self._named(directory, some[start : start + _BATCH_NAMES_MAX])
            if failure is not None:
                raise failure

    async def all_listed(self, directory: int, not_before: float) -> None:
        """Show such listings of the directory and of all below it.

        Raises RemoteError, StaleHandle (of the directory itself).
        """
        level = [self._directory(directory)]
        while level:
            await side_by_side(
                [each.fileid for each in level if (each.listed_at or -inf) <= not_before],
                lambda fileid: self._listed_below(fileid, directory, not_before),
                at_once=self._at_once,
            )
            below = [node for each in level for node in each.children.values()]
            level = [node for node in below if isinstance(node, Directory)]

    @property
    def flying(self) -> list[int]:
        """The directories whose listing is being asked for."""
        return self._list.flying

    def is_asking(self, directory: int) -> bool:
        """Whether an answer is on its way that may be older than what is known by now."""
        turn = self._turns.get(directory)
        return self._list.is_flying(directory) or (turn is not None and turn.locked())

    async def named(self, directory: int, name: bytes) -> None:
        """Show what the directory has under that name, or that it has nothing.

        Raises RemoteError, StaleHandle.
        """
        if self._list.is_flying(directory):
            await self._list(directory)
            return
        batch = self._filling.get(directory)
        if batch is None or len(batch.names) >= _BATCH_NAMES_MAX:
            batch = self._filling[directory] = self._batch(directory)
        batch.names.add(name)
        await self._find(batch)

    def _batch(self, directory: int) -> _Batch:
        return _Batch(directory, self._turns.setdefault(directory, asyncio.Lock()))

    async def _named(self, directory: int, names: Iterable[bytes]) -> RemoteError | None:
        """Ask for names on their own; why there was no answer, if there was none."""
        batch = self._batch(directory)
        batch.names.update(names)
        return await self._find(batch) if batch.names else None

    async def _listed(self, directory: int, not_before: float) -> _Answer:
        answer = await self._list(directory)
        if answer.asked_at < not_before:  # it was flying when we came: the next one is ours
            answer = await self._list(directory)
        return answer

    async def _listed_below(self, fileid: int, top: int, not_before: float) -> None:
        """List a directory below another one; that it is gone is no failure."""
        try:
            await self._listed(fileid, not_before)
        except (StaleHandle, RemoteEntryMissing):
            if fileid == top:
                raise

    async def _list_now(self, fileid: int) -> _Answer:
        """List and show; anew if it, or a directory above, was renamed meanwhile."""
        while True:
            answer = await self._list_where_it_is(fileid)
            if answer is not None:
                return answer

    async def _list_where_it_is(self, fileid: int) -> _Answer | None:
        """List and show; None: what was listed is not that directory any more."""
        directory = self._directory(fileid)
        asked_at, path = self._clock.now(), self._tree.path(directory)
        try:
            listing = await self._ask(directory, asked_at)
        except UNREACHABLE as error:
            directory = self._directory(fileid)
            if directory.listed_at is not None:
                # What is shown is no older, and has in it what was changed here.
                directory.listed_at = self._clock.now()
            elif not isinstance(error, RecalledListing):
                raise
            elif not await self._show(fileid, path, error.listing, -inf):
                return None
            return _Answer(asked_at, error)
        return (
            _Answer(asked_at, None) if await self._show(fileid, path, listing, asked_at) else None
        )

    async def _ask(self, directory: Directory, asked_at: float) -> Listing:
        """What the far side has in a directory; nothing if it has none that must be shown."""
        path = self._tree.path(directory)
        try:
            async with self._patience(f"listing of {path!r}"):
                return await self._remote.list(path)
        except RemoteEntryMissing:
            if not self._is_ours(directory) and directory.parent is not None:
                failure = (await self._listed(directory.parent.fileid, asked_at)).failure
                if failure is not None:
                    raise failure from None
                if self._tree.node_by_fileid(directory.fileid) is not directory:
                    raise
            return Listing("", {})

    def _is_ours(self, directory: Directory) -> bool:
        """Whether it is shown also while the far side has nothing in it."""
        ours = self._tree.ours
        return ours is not None and directory in ours.local

    async def _show(self, fileid: int, path: str, listing: Listing, asked_at: float) -> bool:
        """Show a listing of what was at `path`; False: the directory is not there any more."""
        directory = self._directory(fileid)
        if self._tree.path(directory) != path:
            return False
        for _ in self._tree.applying(directory, listing, asked_at):
            self._slices += 1
            if self._slices % _SLICES_BETWEEN_FREEZES == 0:
                gc.freeze()
            await asyncio.sleep(0)  # others are served in between
            if self._tree.path(directory) != path:
                self._tree.discard(directory)
                return False
        self._tree.trim()
        return True

    async def _find_in_turn(self, batch: _Batch) -> RemoteError | None:
        async with batch.turn:
            if self._filling.get(batch.directory) is batch:
                del self._filling[batch.directory]
            return await self._find_now(batch)

    async def _find_now(self, batch: _Batch) -> RemoteError | None:
        """Ask and show; why what is known was left as it is, if it was."""
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
            return None
        asked_at, failure = self._clock.now(), None
        found: Found | None
        try:
            async with self._patience(f"lookup in {base!r}"):
                found = await self._remote.find(list(paths.values()))
        except UNREACHABLE as error:
            failure = error
            self._believe_names(self._directory(batch.directory), paths)
            if paths and not isinstance(error, RecalledNames):
                raise
            found, asked_at = error.found if isinstance(error, RecalledNames) else {}, -inf
        directory = self._directory(batch.directory)
        if self._tree.path(directory) != base:  # renamed: the answer is about other names
            return await self._find_now(batch)
        if paths and (found is None or any(path not in found for path in paths.values())):
            return (await self._list(batch.directory)).failure  # it tells all about them
        for name, path in paths.items():
            entry = found[path] if found is not None else None
            if entry is not None and entry.name.encode() != name:
                raise RemoteCorrupt(f"asked for {path!r}, was told of {entry.name!r}")
            self._tree.apply_found(directory, name, entry, asked_at)
        return failure

    def _believe_names(self, directory: Directory, paths: dict[bytes, str]) -> None:
        """Leave what is shown of some names as it is, and take them out."""
        for name in list(paths):
            is_known = name in directory.asked or name in directory.children
            if is_known or directory.listed_at is not None:
                directory.asked[name] = self._clock.now()
                del paths[name]

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
