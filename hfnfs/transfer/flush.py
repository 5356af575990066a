"""What was changed goes to the Hub: when it is quiet, many together, each file for itself.

    due ──▶ uploads (several at a time) ──▶ ready ──▶ one batch of names at a time ──▶ settled
     ▲                                                                                   │
     └────────────────── failed, or written meanwhile: due again ◀───────────────────────┘

One loop looks at what is due and ready and starts tasks; whatever ends wakes it. Files that are
large go up alone, so that one that stalls holds up no other. While the Hub cannot be reached
there is one pause for all.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Final

from hfnfs.clock import Clock
from hfnfs.errors import HfnfsError, RemoteError
from hfnfs.remote import EMPTY, ContentId, Feed, WritableRemote
from hfnfs.transfer import batch
from hfnfs.transfer.backlog import Backlog
from hfnfs.transfer.commits import Commits, Local
from hfnfs.transfer.copies import Source
from hfnfs.transfer.outage import SILENT, Outage
from hfnfs.transfer.uploads import Outcome, Uploads
from hfnfs.vfs.node import Node
from hfnfs.vfs.outbox import Entry, Flight, Pending
from hfnfs.vfs.overlay import Overlay

LARGE_IN_FLIGHT_MAX: Final = 4  # files
GROUPS_IN_FLIGHT_MAX: Final = 2  # of small files
_LOOKS_WHILE_QUIET: Final = 16  # at what becomes due, within the time that files are to be quiet
# Copies given up in a row, as the file was written to faster than it was copied; then it is told.
_MOVED_TOLD: Final = 10

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Going:
    """A file that goes up; what it is at the moment of which the copy is."""

    node: Node
    overlay: Overlay
    stamp: int = 0
    mtime_ns: int = 0
    version: int = 0


class Flush:
    """Brings it about that the Hub has what the outbox wants: `run`, and at the end `drain`."""

    def __init__(
        self, remote: WritableRemote, uploads: Uploads, local: Local, clock: Clock
    ) -> None:
        self._remote = remote
        self._uploads = uploads
        self._local = local
        self._clock = clock
        self._commits = Commits(remote, local, clock)
        self._outage = Outage(clock)
        self._going: set[int] = set()  # fileids
        self._ready: dict[int, Flight] = {}  # by fileid: uploaded, to be given its name
        self._backlog = Backlog(local.outbox, self._flight_of)
        self._moved: Counter[int] = Counter()  # fileids: copies thrown away in a row
        self._large_going = self._groups_going = 0
        self._is_committing = self._is_draining = False
        self._hurried_at = -inf  # what was due by then waits for no others
        self._woken = asyncio.Event()  # there may be something to start
        self._progress = asyncio.Event()  # something has ended
        local.outbox.when_sooner = self._woken.set

    # ------------------------------------------------------------ for others

    async def run(self) -> None:
        """Work for ever; who is cancelled ends all uploads."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._woken.clear()
                await self._rest(self._start(tasks))

    def hurry(self) -> None:
        """All that the Hub lacks is due now, whatever has failed before."""
        self._local.outbox.hurry()
        self._hurried_at = self._clock.now()
        self._outage.cut()
        self._woken.set()

    def overhearing(self, changes: Feed) -> Feed:
        """The same feed of what others change, from which is learned what need not be asked."""
        return self._commits.overhearing(changes)

    def wake(self) -> None:
        """Look again at what is due."""
        self._woken.set()

    async def drain(self, timeout_s: float) -> list[Pending]:
        """Send all that the Hub lacks, for so long at most; what is left."""
        self._is_draining = True
        self.hurry()
        try:
            async with asyncio.timeout(timeout_s):
                while len(self._local.outbox):
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            _log.debug("draining ended by its time-out")
        finally:
            self._is_draining = False
        return self._local.outbox.pending()

    def pending(self) -> list[Pending]:
        """All that the Hub lacks."""
        return self._local.outbox.pending()

    @property
    def pending_count(self) -> int:
        """At how many paths."""
        return len(self._local.outbox)

    @property
    def outage(self) -> str:
        """Why nothing goes to the Hub just now; "" where it can be reached."""
        return self._outage.error

    @property
    def conflicts(self) -> int:
        """How often somebody else had changed the same path."""
        return self._commits.conflicts

    # ------------------------------------------------------------ the loop

    async def _rest(self, until: float) -> None:
        """Wait until something happens, or that time (monotonic seconds)."""
        try:
            async with asyncio.timeout(None if until == inf else until - self._clock.now()):
                await self._woken.wait()
        except TimeoutError:
            return

    def _start(self, tasks: asyncio.TaskGroup) -> float:
        """Start all that can be; when to look again if nothing happens."""
        outbox, now = self._local.outbox, self._clock.now()
        if self._is_draining:
            outbox.hurry(failed_too=False)
        if self._outage.ends_at > now:
            return self._outage.ends_at
        self._backlog.take_in(now)
        # What becomes due one by one is looked at together.
        together_s = min(outbox.quiet_s, batch.GATHER_S_MAX) / _LOOKS_WHILE_QUIET
        looks = [max(outbox.next_due(), now + together_s), self._start_uploads(now, tasks)]
        if not self._is_committing:
            looks.append(self._start_commit(now, tasks))
        if self._backlog.has_moved:
            self._backlog.has_moved = False
            return now
        return min(looks)

    def _start_uploads(self, now: float, tasks: asyncio.TaskGroup) -> float:
        """Let go up what has to and may; when to look again."""
        for entry in self._backlog.large(self._going, LARGE_IN_FLIGHT_MAX - self._large_going):
            self._start_upload([entry], tasks, is_large=True)
        while self._groups_going < GROUPS_IN_FLIGHT_MAX:
            group = self._backlog.group(self._going)
            if not group.entries:
                break
            begin = -inf if group.is_full else self._begins(group.entries)
            if begin > now:
                return begin
            self._start_upload(group.entries, tasks, is_large=False)
        return inf

    def _start_commit(self, now: float, tasks: asyncio.TaskGroup) -> float:
        """Send names for what is ready; when to look again."""
        ready = self._ready_entries(now)
        chosen = self._backlog.batch(ready)
        if not chosen:
            return inf
        entries = [entry for entry, _ in chosen]
        is_full = len(entries) >= batch.OPERATIONS_MAX
        is_ready = any(f.node is not None and f.node.fileid in self._ready for _, f in chosen)
        begin = -inf if is_ready or is_full else self._begins(entries)
        if begin > now:
            return begin
        self._backlog.begin(entries)
        self._is_committing = True
        tasks.create_task(self._guarded(self._commit(chosen)), name="commit to the Hub")
        return inf

    def _begins(self, due: Sequence[Entry]) -> float:
        is_hurried = all(entry.due_at <= self._hurried_at for entry in due)
        if self._is_draining or is_hurried:
            return -inf
        return batch.starts_at(due, self._local.outbox.quiet_s)

    async def _guarded(self, work: Awaitable[None]) -> None:
        """A mistake of ours keeps nobody from reading and writing on; all is kept."""
        try:
            await work
        except Exception as error:  # a background loop
            _log.exception("sending changes to the Hub failed")
            self._outage.begins(HfnfsError(f"{type(error).__name__}: {error}"))
        finally:
            self._progress.set()
            self._woken.set()

    # ------------------------------------------------------------ uploads

    def _flight_of(self, node: Node) -> Flight | None:
        """What to send of a file; None: it has to go up before."""
        ready = self._ready.get(node.fileid)
        if ready is not None and ready.node is node:
            return ready
        overlay = self._local.overlay(node)
        content = EMPTY if node.size == 0 else node.content
        if node.size and overlay is not None and not overlay.is_clean:
            return None
        version = 0 if overlay is None else overlay.version
        return Flight(node, self._local.outbox.stamp(node), content, node.mtime_ns, version)

    def _start_upload(
        self, entries: Sequence[Entry], tasks: asyncio.TaskGroup, *, is_large: bool
    ) -> None:
        self._backlog.begin(entries)
        going = [self._taken(entry) for entry in entries]
        self._going.update(file.node.fileid for file in going)
        self._large_going += is_large
        self._groups_going += not is_large
        name = f"upload {len(going)} files"
        tasks.create_task(self._guarded(self._upload(going, is_large=is_large)), name=name)

    def _taken(self, entry: Entry) -> _Going:
        node = entry.node
        assert node is not None, "there is nothing to upload"
        overlay = self._local.overlay(node)
        assert overlay is not None, "else there was nothing to upload"
        self._local.outbox.begin(entry)
        return _Going(node, overlay)

    async def _upload(self, going: Sequence[_Going], *, is_large: bool) -> None:
        sources = [
            Source(file.node.fileid, file.overlay, partial(self._freeze, file)) for file in going
        ]
        try:
            outcomes = await self._uploads.upload(sources)
            if await self._is_outage(outcomes):
                return
            self._take_in(going, outcomes)
        finally:
            self._going.difference_update(source.fileid for source in sources)
            homes = [self._local.outbox.home(source.fileid) for source in sources]
            self._backlog.put_back(home for home in homes if home is not None)
            self._large_going -= is_large
            self._groups_going -= not is_large

    def _freeze(self, file: _Going) -> bool:
        """Note what a file is now that its copy is the same; False: it is that file no more."""
        node, overlay = file.node, file.overlay
        if self._local.overlay(node) is not overlay:
            return False
        file.stamp, file.mtime_ns = self._local.outbox.stamp(node), node.mtime_ns
        file.version = overlay.version
        return True

    async def _is_outage(self, outcomes: Sequence[Outcome]) -> bool:
        """Whether all failed because the Hub cannot be reached."""
        errors = [outcome for outcome in outcomes if isinstance(outcome, SILENT)]
        if not errors or len(errors) < len(outcomes):
            return False
        try:
            await self._remote.revision()
        except SILENT as error:
            self._outage.begins(error)
            return True
        except RemoteError:
            return False  # an answer
        return False

    def _take_in(self, going: Sequence[_Going], outcomes: Sequence[Outcome]) -> None:
        failed = []
        for file, outcome in zip(going, outcomes, strict=True):
            fileid = file.node.fileid
            home = self._local.outbox.home(fileid)
            if home is None or home.node is not file.node:
                self._moved.pop(fileid, None)
            elif isinstance(outcome, ContentId):
                self._outage.is_over()
                self._moved.pop(fileid, None)
                if file.version <= file.overlay.sent_version:
                    continue  # it was emptied meanwhile, which needs no upload: the Hub is further
                self._ready[fileid] = Flight(
                    file.node, file.stamp, outcome, file.mtime_ns, file.version
                )
            elif outcome is None:
                self._moved[fileid] += 1
                if self._moved[fileid] == _MOVED_TOLD:
                    _log.warning("%s is written to all the time, and not on the Hub", home.path)
            else:
                failed.append((home, outcome))
        self._commits.refused(failed)
        self._local.journal.submit()

    # ------------------------------------------------------------ names

    def _ready_entries(self, now: float) -> Iterator[Entry]:
        """Where what was uploaded is wanted; what is wanted nowhere any more is forgotten."""
        for fileid, flight in list(self._ready.items()):
            home = self._local.outbox.home(fileid)
            if home is None or home.node is not flight.node:
                del self._ready[fileid]
            elif home.flight is None and home.not_before <= now:
                yield home

    async def _commit(self, chosen: Sequence[tuple[Entry, Flight]]) -> None:
        try:
            await self._commits.send(chosen)
        except HfnfsError as error:  # no answer, or the state cannot be written
            self._outage.begins(error)
        else:
            self._outage.is_over()
            self._forget_sent(chosen)
        finally:
            self._is_committing = False

    def _forget_sent(self, chosen: Sequence[tuple[Entry, Flight]]) -> None:
        """What has its name by now, or was written over, is no longer ready to be sent."""
        for _, flight in chosen:
            node = flight.node
            if node is None or self._ready.get(node.fileid) is not flight:
                continue
            overlay = self._local.overlay(node)
            is_new = overlay is not None and not overlay.is_clean
            if not is_new or self._local.outbox.stamp(node) != flight.stamp:
                del self._ready[node.fileid]
