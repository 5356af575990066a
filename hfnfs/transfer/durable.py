"""Meets what requests want of the local disk: that something is on it, in memory, or has room.

Threads do what waits for the disk. What was written becomes durable in one of two ways:

    little   its bytes go into the state with the record that they are there: one wait for the disk
    more     the staged file is synced, then the record that its bytes count goes into the state

All who wait for one file share a sync; those who came while it ran, and wrote after it began,
share the next. What the state holds of bytes is synced later, when nobody waits for it. Records
become durable in groups, and the state tells by tickets, from a thread of its own.
"""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol, TypeAlias

from hfnfs.disk.snapshot import Snapshot
from hfnfs.disk.staging import Staging
from hfnfs.errors import CacheUnusable, HfnfsError
from hfnfs.transfer.single_flight import SingleFlight
from hfnfs.transfer.threads import to_its_end
from hfnfs.vfs.journal import Journal
from hfnfs.vfs.needs import Cloned, Durable, Journaled, Staged, StagingRoom, Synced, Then
from hfnfs.vfs.overlay import Shape
from hfnfs.vfs.writing import Writing

_log = logging.getLogger(__name__)

LocalNeed: TypeAlias = Staged | Synced | StagingRoom | Cloned | Durable | Journaled
# What is evicted at once, at least: or each write would wait for the disk anew.
_EVICTED_BYTES_MIN = 64 * 1024 * 1024
# What the state may hold of written bytes, and of how many files, before they are synced.
_HELD_BYTES_MAX = 4 * 1024 * 1024
_HELD_FILES_MAX = 64
# After so many changes what is in memory is taken from the garbage collector's sight, for the
# reason that listings.py gives: most are of nodes that were made.
_TICKETS_BETWEEN_FREEZES = 4096


class State(Protocol):
    """What tells which changes are durable; disk/state.py has it."""

    @property
    def durable_up_to(self) -> int:
        """The last ticket that, with all before it, is on disk."""
        ...


class LocalPager:
    """Keeps what was written, and makes room for more.

    `run` gives up what is not to be staged any more; it ends by being cancelled. `hurry` asks for
    what was written to be brought to the Hub soon.
    """

    def __init__(
        self,
        writing: Writing,
        staging: Staging,
        state: State,
        journal: Journal,
        tasks: asyncio.TaskGroup,
        hurry: Callable[[], None],
    ) -> None:
        self._writing = writing
        self._staging = staging
        self._state = state
        self._journal = journal
        self._tasks = tasks
        self._hurry = hurry
        self._loop = asyncio.get_running_loop()
        self._waiters: list[tuple[int, Then]] = []  # for tickets
        self._asked: list[tuple[Durable, Then]] = []  # in this turn of the loop
        self._frozen_up_to = 0  # a ticket
        self._left = asyncio.Event()  # something is to be given up
        self._freed = asyncio.Event()  # there may be more room than before
        self._failed_syncs = staging.failed_syncs
        self._keep: SingleFlight[int, int] = SingleFlight(tasks, self._sync_and_keep)
        self._relieve: SingleFlight[Synced, None] = SingleFlight(tasks, self._sync_oldest)
        self._let_go: SingleFlight[None, None] = SingleFlight(tasks, self._sync_held)
        self._give_up: SingleFlight[None, None] = SingleFlight(tasks, self._give_up_left)
        writing.when_left = self._left.set
        writing.when_settled = self._freed.set
        writing.when_unsynced = self._relieve_ahead
        staging.when_freed = self._copy_is_gone

    # --------------------------------------------------------------- needs

    @asynccontextmanager
    async def meet(self, need: LocalNeed) -> AsyncIterator[None]:
        """Enter once `need` is met. Raises HfnfsError."""
        if isinstance(need, Cloned):
            async with self._copied(need):
                yield
            return
        match need:
            case Durable() | Journaled():
                await self._met(need)
            case Staged():
                await self._read_in(need)
            case Synced():
                await self._relieve(need)
            case StagingRoom(count):
                await self._make_room(count)
        yield

    async def journaled(self, ticket: int) -> None:
        """Return once all changes up to that ticket are durable. Raises why they are not yet."""
        await self._met(Journaled(ticket))

    async def _met(self, need: Durable | Journaled) -> None:
        met: asyncio.Future[None] = self._loop.create_future()
        self.when_met(need, partial(_settle, met))
        await met

    def when_met(self, need: Durable | Journaled, then: Then) -> None:
        """Call `then` once `need` is met, or cannot be."""
        if isinstance(need, Journaled):
            self._when_journaled(need.ticket, then)
            return
        if not self._asked:
            self._loop.call_soon(self._keep_asked)
        self._asked.append((need, then))

    def _when_journaled(self, ticket: int, then: Then) -> None:
        if self._state.durable_up_to >= ticket:
            then(None)
        else:
            self._waiters.append((ticket, then))

    def told(self, up_to: int, error: HfnfsError | None) -> None:
        """Hear of a transaction of the state, in its thread (disk.state.Told)."""
        self._loop.call_soon_threadsafe(self._tell, up_to, error)

    def _tell(self, up_to: int, error: HfnfsError | None) -> None:
        told = [then for ticket, then in self._waiters if ticket <= up_to]
        self._waiters = [waiter for waiter in self._waiters if waiter[0] > up_to]
        for then in told:
            then(error)
        if up_to - self._frozen_up_to >= _TICKETS_BETWEEN_FREEZES:
            self._frozen_up_to = up_to
            gc.freeze()
        if error is None and self._writing.left:
            self._left.set()  # perhaps it failed before

    # ------------------------------------------------------------- durable

    def _keep_asked(self) -> None:
        """Keep what was asked for in a turn of the loop: what is little, all at once."""
        asked, self._asked = self._asked, []
        for need, then in asked:
            try:
                ticket = self._kept_little(need)
            except Exception as error:  # a rim: who waits is told
                then(error)
                continue
            if ticket is None:
                self._tasks.create_task(self._keep_much(need, then), name="sync for a client")
            else:
                self._when_kept(need, ticket, then)
        self._bound_held()

    async def _keep_much(self, need: Durable, then: Then) -> None:
        try:
            ticket = await self._keep_up_to(need)
        except asyncio.CancelledError:
            then(CacheUnusable(f"{need!r}: not before the server ended"))
            raise
        except Exception as error:  # a rim: who waits is told
            then(error)
        else:
            self._when_kept(need, ticket, then)

    def _when_kept(self, need: Durable, ticket: int, then: Then) -> None:
        """Call `then` once the ticket is durable; if the file got not to the Hub it is told so."""

        def journaled(error: Exception | None) -> None:
            then(error or self._writing.take_failure(need.fileid))

        self._when_journaled(ticket, journaled)

    def _kept_little(self, need: Durable) -> int | None:
        """The ticket with which all that is needed is kept; None: a sync must come before."""
        if self._writing.lacks(need):
            return self._writing.keep_little(need.fileid)
        return self._journal.submit()

    async def _keep_up_to(self, need: Durable) -> int:
        """Let the state know what is written of a file, as far as is needed; the ticket."""
        while (ticket := self._kept_little(need)) is None:
            await self._keep(need.fileid)
        self._bound_held()
        return ticket

    def _bound_held(self) -> None:
        pieces = self._writing.pieces
        if pieces.bytes > _HELD_BYTES_MAX or len(pieces) > _HELD_FILES_MAX:
            self._let_go_behind()

    async def _sync_and_keep(self, fileid: int) -> int:
        """Sync what is written of a file by now, and let the state know; the ticket."""
        claim, held = self._writing.claim(fileid), self._writing.pieces.last(fileid)
        if self._writing.is_staged(fileid):
            try:
                await to_its_end(partial(self._staging.sync, fileid))
            except HfnfsError:
                self._look_for_failures(fileid)
                if self._writing.is_staged(fileid):  # else it was given up meanwhile
                    raise
            else:
                self._writing.pieces.drop(fileid, held)
        return self._writing.keep(fileid, claim)

    def _let_go_behind(self) -> None:
        """Begin to sync what the state holds, while nobody waits for it."""
        if not self._let_go.is_flying(None):
            self._tasks.create_task(self._let_go(None), name="sync what the state holds")

    async def _sync_held(self, _key: None) -> None:
        """Sync all files of which the state holds bytes by now, and let it hold them no more."""
        pieces = self._writing.pieces
        held = {f: last for f, last in pieces.marks().items() if not self._staging.doubtful(f)}
        failed = await to_its_end(partial(_sync_each, self._staging, list(held)))
        for fileid, last in held.items():
            if fileid not in failed:
                pieces.drop(fileid, last)
            else:
                self._failed(fileid, failed[fileid])
        self._journal.submit()

    async def _sync_oldest(self, need: Synced) -> None:
        """Sync files, longest waiting first, until a quarter of what may be is unsynced."""
        staging = self._staging
        while staging.is_crowded or staging.unsynced_bytes > need.unsynced_bytes_max >> 2:
            fileid = next(iter(staging.unsynced()), None)
            if fileid is None:
                return
            await self._sync(fileid)

    async def _sync(self, fileid: int) -> None:
        """Sync a file; if that fails the staging remembers it for those who ask for that file."""
        held = self._writing.pieces.last(fileid)
        try:
            await to_its_end(partial(self._staging.sync, fileid))
        except HfnfsError as error:
            self._failed(fileid, error)
        else:
            self._writing.pieces.drop(fileid, held)
            self._journal.submit()

    def _failed(self, fileid: int, error: HfnfsError) -> None:
        """Take note that a sync failed, for which nobody waits."""
        self._look_for_failures(fileid)
        if self._writing.is_staged(fileid):  # else it was given up meanwhile
            _log.warning("written bytes did not reach the disk: %s", error)

    def _look_for_failures(self, fileid: int) -> None:
        """Let clients write again what they have not committed, if some of it may be lost."""
        if self._staging.failed_syncs != self._failed_syncs:
            self._failed_syncs = self._staging.failed_syncs
            self._writing.renew_verifier()
        self._writing.distrust(fileid)

    def _relieve_ahead(self, need: Synced) -> None:
        """Begin to sync before writers have to wait for it."""
        if not self._relieve.is_flying(need):
            self._tasks.create_task(self._relieve(need), name="sync what was written")

    # ------------------------------------------------------------- reading

    async def _read_in(self, need: Staged) -> None:
        try:
            await to_its_end(partial(self._staging.read, *need))
        except HfnfsError:
            if self._writing.is_staged(need.fileid):  # else it was given up meanwhile
                raise

    @asynccontextmanager
    async def _copied(self, need: Cloned) -> AsyncIterator[None]:
        """Have a copy of what is staged of a file; none if it is not at that version any more."""
        shape = self._writing.shape_at(need)
        if shape is None:
            yield
            return
        copy = await self._copy(need.fileid, shape)
        if self._writing.shape_at(need) is not None:
            self._writing.copies.setdefault(need, copy)
        try:
            yield
        finally:
            if self._writing.copies.get(need) is copy:
                del self._writing.copies[need]
            await to_its_end(copy.discard)

    async def _copy(self, fileid: int, shape: Shape) -> Snapshot:
        made: list[Snapshot] = []

        def make() -> Snapshot:
            made.append(self._staging.snapshot(fileid, shape.ranges, shape.size))
            made[0].sync()
            self._staging.require_sure(fileid)
            return made[0]

        try:
            return await to_its_end(make)
        except BaseException:
            if made:
                await to_its_end(made[0].discard)
            raise

    # ---------------------------------------------------------------- room

    async def _make_room(self, count: int) -> None:
        """Evict until there is room; where nothing can be evicted, wait for the Hub to have more.

        For as long as that takes: how long a request waits is decided by who asks.
        """
        while not self._staging.has_room(count):
            self._freed.clear()
            if self._writing.evict(max(count, _EVICTED_BYTES_MIN)) or self._writing.left:
                await self._give_up(None)
            else:
                self._hurry()
                await self._freed.wait()

    async def _give_up_left(self, _key: None) -> None:
        """Remove staged bytes once the record that they do not count is durable."""
        left = dict(self._writing.left)
        await self.journaled(self._journal.submit())
        aside = self._writing.give_up(left)
        if aside:
            await to_its_end(partial(self._staging.unlink, aside))
        self._freed.set()

    def _copy_is_gone(self) -> None:
        """Hear, in any thread, of room that a copy took."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._freed.set)

    # ------------------------------------------------------ from begin to end

    async def begin(self, kept_verifier: object) -> None:
        """Before anything is served: choose the write verifier, and keep it no more."""
        self._writing.begin(kept_verifier)
        await self.journaled(self._journal.submit())

    async def run(self) -> None:
        """Give up what is left, as it comes."""
        while True:
            await self._left.wait()
            self._left.clear()
            await self._give_up_all()

    async def _give_up_all(self) -> None:
        """Give up what is left by now, and wait for what others are giving up."""
        try:
            while self._give_up.is_flying(None) or self._writing.left:
                await self._give_up(None)
        except HfnfsError as error:
            _log.warning("staged files that are not needed are still there: %s", error)

    async def end(self) -> None:
        """When nothing is served any more: make all that was written durable.

        Raises what it failed of; then clients write again what they have not committed. What is
        not to be staged any more is given up before, or the next start would find it.
        """
        for need in self._writing.lacking():
            await self._keep_up_to(need)
        await self._give_up_all()
        self._writing.end()
        await self.journaled(self._journal.submit())


def _settle(met: "asyncio.Future[None]", error: Exception | None) -> None:
    if met.done():  # nobody waits any more
        return
    if error is None:
        met.set_result(None)
    else:
        met.set_exception(error)


def _sync_each(staging: Staging, fileids: Iterable[int]) -> dict[int, HfnfsError]:
    """Sync files; why those failed that did."""
    failed = {}
    for fileid in fileids:
        try:
            staging.sync(fileid)
        except HfnfsError as error:
            failed[fileid] = error
    return failed
