"""What the Hub shall have at each path, where that is not, or perhaps not, what it has.

It is state, not a log: whatever happens to a path meanwhile (written, renamed over, deleted while
its bytes go up) only changes what is wanted. An entry is dropped once the Hub has it.

    put, touch, delete ──▶ waiting ──quiet long enough──▶ due ──take──▶ in flight
                              ▲                                            │
                              ├──── failed: later and later ◀──────────────┤
                              └──── wanted otherwise by now ◀── settle ────┴──▶ dropped

A flight keeps what was sent, as the entry may change under it. Contents are noted before they are
sent: when no answer comes, or we die, what the Hub then has is known for our own.

Where a node left a path, what the Hub has there may be the only name of its bytes: it is deleted
only once the node was put elsewhere, or nobody wants it any more.
"""

import logging
import zlib
from collections.abc import Callable, Collection, Iterable
from heapq import heapify, heappop, heappush
from math import inf
from typing import Final, NamedTuple

from hfnfs.clock import Clock
from hfnfs.disk.schema import DropOutbox, OutboxKind, OutboxRecord, PutOutbox
from hfnfs.errors import HfnfsError
from hfnfs.remote import ContentId, same
from hfnfs.vfs.claims import Claims
from hfnfs.vfs.journal import Journal
from hfnfs.vfs.node import Node

RETRY_S_MIN: Final = 2.0
RETRY_S_MAX: Final = 300.0
# Contents that the Hub may have of a path for all we know: each needs an answer that got lost.
_SENT_MAX: Final = 16
_NS: Final = 1_000_000_000

_log = logging.getLogger(__name__)


class Flight(NamedTuple):
    """What is on its way to the Hub for a path."""

    node: Node | None  # None: nothing shall be there
    stamp: int  # Outbox.stamp of the node when its bytes were taken
    content: ContentId | None
    mtime_ns: int
    version: int  # of the node's bytes, for whoever owns them


class Pending(NamedTuple):
    """Something that the Hub lacks, for people to read."""

    path: str
    is_delete: bool
    attempts: int  # that failed
    error: str  # why the last one did
    due_in_s: float


class Entry:
    """What the Hub shall have at one path; only the outbox changes it."""

    __slots__ = (
        "attempts", "due_at", "error", "error_kind", "first_at", "flight", "is_due", "moved",
        "node", "not_before", "path", "queued_at", "sent", "theirs",
    )  # fmt: skip

    def __init__(self, path: str, theirs: ContentId | None, now: float) -> None:
        self.path = path
        self.node: Node | None = None  # whose bytes it shall be; None: nothing
        self.theirs = theirs  # what the Hub has there, as far as is known
        self.sent: tuple[ContentId, ...] = ()  # what it may have besides, by our doing
        self.moved: tuple[int, ...] = ()  # fileids of nodes that left the path
        self.flight: Flight | None = None
        self.first_at = now  # of the first change that the Hub lacks
        self.due_at = inf
        self.is_due = False  # and not in the queue any more
        self.queued_at = inf  # its place in the queue
        self.not_before = -inf  # after a failure
        self.attempts = 0
        self.error = ""
        self.error_kind = ""

    def is_ours(self, content: ContentId | None) -> bool:
        """Whether the Hub having that is as we know it, or our own doing."""
        return any(same(content, known) for known in (self.theirs, *self.sent))


class _Home:
    """Where a node shall be on the Hub."""

    __slots__ = ("is_put", "path", "stamp")

    def __init__(self, path: str, stamp: int) -> None:
        self.path = path
        self.stamp = stamp  # another one after each change of its bytes or date
        self.is_put = False  # some version of it is there


class Outbox:
    """All paths of a volume where the Hub lacks something.

    A change is due when its path was quiet for `quiet_s`, or `window_s` after the first one.
    """

    def __init__(self, journal: Journal, clock: Clock, *, quiet_s: float, window_s: float) -> None:
        self.quiet_s = quiet_s
        self.when_sooner: Callable[[], None] = lambda: None  # next_due gives an earlier time
        self._window_s = window_s
        self._journal = journal
        self._clock = clock
        self._entries: dict[str, Entry] = {}
        self._homes: dict[int, _Home] = {}  # by fileid
        self._stamps = 0
        self._moving = (0, 0)  # fileid and stamp of the node that left a path last
        self._queue: list[tuple[float, int, Entry]] = []  # a heap; some are there twice
        self._queued = 0
        self._claims = Claims(clock)

    def __len__(self) -> int:
        return len(self._entries)

    # ----------------------------------------------------- what is wanted

    def put(self, path: str, node: Node, theirs: ContentId | None) -> None:
        """The Hub shall have the bytes of `node` at `path`.

        `theirs` is what it has there now; it counts only if nothing is noted of the path yet.
        """
        home = self._homes.get(node.fileid)
        (fileid, stamp), self._moving = self._moving, (0, 0)  # it may be wanted nowhere between
        if home is None:
            is_moved = fileid == node.fileid  # what goes up of it just now is good for there, too
            self._homes[node.fileid] = _Home(path, stamp if is_moved else self._next_stamp())
        elif home.path != path:
            home.path, home.is_put = path, False
        self._want(path, node, theirs)

    def touch(self, path: str, node: Node) -> None:
        """The bytes, the size or the date of the node at `path` changed."""
        home = self._homes.get(node.fileid)
        if home is None or home.path != path:
            self.put(path, node, node.content)
            return
        home.stamp = self._next_stamp()
        self._schedule_quietly(self._entries[path])

    def delete(self, path: str, theirs: ContentId | None, *, moved: int | None = None) -> None:
        """The Hub shall have nothing at `path`.

        `moved`: the fileid of the node that was there and is put elsewhere, next or already.
        """
        if moved is not None and moved in self._homes:
            self._moving = (moved, self._homes[moved].stamp)
        entry = self._want(path, None, theirs)
        if moved is not None:
            left = [fileid for fileid in entry.moved if fileid in self._homes and fileid != moved]
            entry.moved = (*left, moved)
            self._note(entry)
        self._drop_if_done(entry)

    def hide(self, directory: str) -> None:
        """We removed or renamed a directory: its name is free while files below are deleted."""
        if self._claims.hide(directory):
            record = OutboxRecord(_hidden_key(directory), OutboxKind.HIDE)
            self._journal.note(PutOutbox(record))

    def forget(self, path: str) -> None:
        """What the Hub has at `path` is right, whatever was wanted."""
        entry = self._entries.get(path)
        if entry is not None:
            entry.flight = None
            if entry.node is not None:
                self._moving = (entry.node.fileid, self.stamp(entry.node))  # perhaps put elsewhere
            self._leave(entry)
            self._drop(entry)

    # ----------------------------------------------------- for the tree

    def claims(self, directory: str, asked_at: float) -> Collection[str]:
        """Names in a directory of which a listing asked for at that time does not decide."""
        return self._claims.of(directory, asked_at)

    def claim(self, path: str, asked_at: float) -> bool:
        """Whether this is one of them."""
        return self._claims.has(path, asked_at)

    def wants(self, node: Node) -> bool:
        """Whether the Hub lacks something of that node."""
        return node.fileid in self._homes

    # ----------------------------------------------------- for the flush

    def ripened(self, now: float, count: int) -> list[Entry]:
        """What has become due, each once until it is so again; so many at most, first due first."""
        found: list[Entry] = []
        while len(found) < count and self.next_due() <= now:
            _, _, entry = heappop(self._queue)
            entry.queued_at = inf
            if entry.due_at > now:
                self._enqueue(entry)
            else:
                entry.is_due = True
                found.append(entry)
        return found

    def is_due(self, entry: Entry) -> bool:
        """Whether it is one of ours that has become due, and is not in flight."""
        return entry.is_due and self.holds(entry)

    def next_due(self) -> float:
        """When something becomes due that is not so yet (inf: nothing will)."""
        queue = self._queue
        while queue and not self._is_current(queue[0]):
            heappop(queue)
        return queue[0][0] if queue else inf

    def home(self, fileid: int) -> Entry | None:
        """The entry by which the bytes of that node are wanted."""
        home = self._homes.get(fileid)
        return None if home is None else self._entries[home.path]

    def stamp(self, node: Node) -> int:
        """Changes whenever its bytes or its date do; 0: it is not wanted."""
        home = self._homes.get(node.fileid)
        return 0 if home is None else home.stamp

    def unnamed(self, entry: Entry) -> list[Entry]:
        """Where the nodes that left its path shall be and are not yet; it is deleted after."""
        homes = (self._homes.get(fileid) for fileid in entry.moved)
        return [self._entries[home.path] for home in homes if home and not home.is_put]

    def is_to_go(self, path: str, content: ContentId | None) -> bool:
        """Whether what the Hub has at a path, that content, is for us to delete."""
        entry = self._entries.get(path)
        return entry is not None and entry.node is None and entry.is_ours(content)

    def covers_directory(self, path: str) -> bool:
        """Whether files below `path` are to be deleted."""
        return self._claims.is_doomed(path)

    def begin(self, entry: Entry) -> None:
        """Its node's bytes begin to go up: the window of later changes opens when they come."""
        entry.first_at = self._clock.now()

    def holds(self, entry: Entry) -> bool:
        """Whether it is still one of ours, and at rest."""
        return entry.flight is None and self._entries.get(entry.path) is entry

    def take(self, entry: Entry, flight: Flight) -> None:
        """It is in flight from now on, until `settle`, `failed` or `release`."""
        assert entry.flight is None, "one at a time"
        entry.flight = flight
        entry.first_at = self._clock.now()
        entry.is_due = False

    def is_still_wanted(self, entry: Entry) -> bool:
        """Whether what is in flight is of what is wanted now, be it an older version."""
        return entry.flight is not None and entry.flight.node is entry.node

    def sending(self, entry: Entry) -> None:
        """Note what is sent; it has to be durable before it is."""
        assert entry.flight is not None, "take comes first"
        content = entry.flight.content
        if content is not None and not entry.is_ours(content):
            entry.sent = (*entry.sent[1 - _SENT_MAX :], content)
        self._note(entry)

    def release(self, entry: Entry) -> None:
        """The flight came to nothing, and nobody is to blame: it is due again."""
        entry.flight = None
        if not self._drop_if_done(entry):
            self._schedule(entry, max(entry.due_at, entry.not_before))

    def settle(self, entry: Entry) -> bool:
        """The Hub has what was in flight; whether that is all that is wanted of the path."""
        flight, entry.flight = entry.flight, None
        assert flight is not None, "take comes first"
        entry.theirs, entry.sent = flight.content, ()
        entry.attempts, entry.error, entry.error_kind, entry.not_before = 0, "", "", -inf
        entry.moved = tuple(fileid for fileid in entry.moved if self._is_at(fileid, flight))
        home = None if flight.node is None else self._homes.get(flight.node.fileid)
        if home is not None and home.path == entry.path:
            home.is_put = True
        is_done = flight.node is entry.node and (home is None or home.stamp == flight.stamp)
        if is_done:
            self._leave(entry)
            self._drop(entry)
        elif not self._drop_if_done(entry):
            self._note(entry)
            self._schedule(entry, entry.due_at)
        return is_done

    def failed(self, entry: Entry, error: HfnfsError) -> bool:
        """What was in flight was refused: as `put_off`, or due again if it is wanted no more."""
        is_wanted = self.is_still_wanted(entry)
        entry.flight = None
        if is_wanted:
            return self.put_off(entry, error)
        self.release(entry)
        return False

    def put_off(self, entry: Entry, error: HfnfsError) -> bool:
        """It has to be tried again, later each time; whether the reason is a new one."""
        entry.attempts += 1
        is_new = entry.error_kind != type(error).__name__
        entry.error, entry.error_kind = str(error), type(error).__name__
        delay = min(RETRY_S_MIN * 2 ** min(entry.attempts - 1, 20), RETRY_S_MAX)
        spread = 0.75 + (zlib.crc32(entry.path.encode()) + entry.attempts * 7919) % 512 / 1024
        entry.not_before = self._clock.now() + delay * spread
        self._note(entry)
        self._schedule(entry, entry.not_before)
        return is_new

    def hurry(self, *, failed_too: bool = True) -> None:
        """All that is wanted is due now; what has failed may still have its delay."""
        now = self._clock.now()
        waiting = [queued for queued in self._queue if self._is_current(queued)]
        self._queue = []
        is_sooner = False
        for _, number, entry in waiting:
            if entry.flight is None and entry.due_at > now:
                if failed_too:
                    entry.not_before = -inf
                entry.due_at = min(entry.due_at, max(now, entry.not_before))
                is_sooner |= entry.due_at < entry.queued_at
            entry.queued_at = entry.due_at
            self._queue.append((entry.due_at, number, entry))
        heapify(self._queue)
        if is_sooner:
            self.when_sooner()

    def pending(self) -> list[Pending]:
        """All that the Hub lacks."""
        now = self._clock.now()
        return [
            Pending(e.path, e.node is None, e.attempts, e.error, max(e.due_at - now, 0.0))
            for e in self._entries.values()
        ]

    # ----------------------------------------------------- from the disk

    def restore(
        self, records: Iterable[OutboxRecord], node_of: Callable[[int], Node | None]
    ) -> None:
        """Take in what was kept."""
        hidden = []
        now, wall_ns = self._clock.now(), self._clock.wall_ns()
        for record in records:
            path = record.path.decode()
            if record.kind is OutboxKind.HIDE:
                hidden.append(path.removesuffix("/"))
                continue
            node = node_of(record.fileid) if record.kind is OutboxKind.PUT else None
            if node is None and record.kind is OutboxKind.PUT:
                _log.error("%s: it was to go to the Hub, and nothing is known of its bytes", path)
                self._journal.note(DropOutbox(record.path))
                continue
            self._restore(record, path, node)
            if record.attempts:
                entry = self._entries[path]
                wait_s = min(max((record.due_ns - wall_ns) / _NS, 0.0), RETRY_S_MAX)
                entry.not_before = now + wait_s
            self._schedule(self._entries[path], max(now, self._entries[path].not_before))
        for directory in hidden:
            if not self._claims.hide(directory):
                self._journal.note(DropOutbox(_hidden_key(directory)))

    def _restore(self, record: OutboxRecord, path: str, node: Node | None) -> None:
        entry = self._entries[path] = Entry(path, record.theirs, self._clock.now())
        entry.node, entry.sent, entry.moved = node, record.sent, record.moved
        entry.attempts, entry.error = record.attempts, record.error
        self._claims.hold(path)
        if node is None:
            self._claims.doom(path)
        else:
            self._homes[node.fileid] = _Home(path, self._next_stamp())

    # ----------------------------------------------------- inside

    def _want(self, path: str, node: Node | None, theirs: ContentId | None) -> Entry:
        """Let `node` be what is wanted at the path, and give its entry."""
        entry = self._entries.get(path)
        if entry is None:
            entry = self._entries[path] = Entry(path, theirs, self._clock.now())
            self._claims.hold(path)
            if node is None:
                self._claims.doom(path)
        else:
            if entry.node is not None and node is None:
                self._claims.doom(path)
            elif entry.node is None and node is not None:
                self._spare(path)
            if entry.node is not node:
                self._leave(entry)
        entry.node = node
        self._note(entry)
        self._schedule_quietly(entry)
        return entry

    def _leave(self, entry: Entry) -> None:
        """The node that is wanted at the path is not any more, at least not there."""
        node = entry.node
        home = None if node is None else self._homes.get(node.fileid)
        if node is not None and home is not None and home.path == entry.path:
            del self._homes[node.fileid]

    def _is_at(self, fileid: int, flight: Flight) -> bool:
        """Whether what the Hub has by that flight may be the bytes of a node that left since."""
        return flight.node is not None and flight.node.fileid == fileid and fileid in self._homes

    def _drop_if_done(self, entry: Entry) -> bool:
        """Drop it if nothing is wanted and nothing is there."""
        is_done = (
            entry.node is None and entry.theirs is None and not entry.sent and entry.flight is None
        )
        if is_done:
            self._drop(entry)
        return is_done

    def _drop(self, entry: Entry) -> None:
        path = entry.path
        del self._entries[path]
        self._claims.settle(path)
        if entry.node is None:
            self._spare(path)
        self._journal.note(DropOutbox(path.encode()))

    def _spare(self, path: str) -> None:
        for directory in self._claims.spare(path):
            self._journal.note(DropOutbox(_hidden_key(directory)))
            if directory not in self._entries:
                self._claims.settle(directory)

    def _note(self, entry: Entry) -> None:
        wait_ns = int(max(entry.not_before - self._clock.now(), 0.0) * _NS)
        record = OutboxRecord(
            path=entry.path.encode(),
            kind=OutboxKind.DELETE if entry.node is None else OutboxKind.PUT,
            fileid=0 if entry.node is None else entry.node.fileid,
            theirs=entry.theirs,
            sent=entry.sent,
            moved=entry.moved,
            attempts=entry.attempts,
            due_ns=self._clock.wall_ns() + wait_ns,
            error=entry.error,
        )
        self._journal.note(PutOutbox(record))

    def _next_stamp(self) -> int:
        self._stamps += 1
        return self._stamps

    # ----------------------------------------------------- when

    def _schedule_quietly(self, entry: Entry) -> None:
        """Due after a while without changes, but not for ever later."""
        now = self._clock.now()
        quiet = min(now + self.quiet_s, entry.first_at + self._window_s)
        self._schedule(entry, max(quiet, entry.not_before))

    def _schedule(self, entry: Entry, due_at: float) -> None:
        entry.due_at = due_at
        entry.is_due = False
        if due_at < entry.queued_at:
            self._enqueue(entry)

    def _enqueue(self, entry: Entry) -> None:
        entry.queued_at = entry.due_at
        self._queued += 1
        heappush(self._queue, (entry.due_at, self._queued, entry))
        if self._queue[0][2] is entry:
            self.when_sooner()

    def _is_current(self, queued: tuple[float, int, Entry]) -> bool:
        at, _, entry = queued
        return entry.queued_at == at and self._entries.get(entry.path) is entry


def _hidden_key(directory: str) -> bytes:
    """Under which the record of a hidden directory is kept; no file has such a path."""
    return directory.encode() + b"/"
