"""What is due, by what has to be done next: each look takes from the front, however much there is.

    due ──▶ large, small ──uploaded, or needs no upload──▶ named · gone

An entry is in one queue at most, and left there when it is due no more: who comes to it drops it.
What is taken comes back when it is due again; `put_back` is for what came to nothing.
"""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from hfnfs.config import MIB
from hfnfs.transfer.batch import OPERATIONS_MAX
from hfnfs.vfs.node import Node
from hfnfs.vfs.outbox import Entry, Flight, Outbox

# Files from this size on go up alone, so that none of them holds up another.
LARGE_BYTES: Final = 8 * MIB
GROUP_FILES_MAX: Final = 1000
GROUP_BYTES_MAX: Final = 256 * MIB  # also what the copies of a group may take on the disk
# What is sent of a path where nothing shall be.
NOTHING: Final = Flight(None, 0, None, 0, 0)
# Entries that are taken in, and sorted, at once: some milliseconds.
TAKEN_IN_MAX: Final = OPERATIONS_MAX

_Queue: TypeAlias = dict[Entry, None]
_Test: TypeAlias = Callable[[Entry], bool]


class Group(NamedTuple):
    """Files that are uploaded together."""

    entries: list[Entry]
    is_full: bool


class Backlog:
    """What is due and has not begun. `flight_of`: what to send of a file that needs no upload."""

    def __init__(self, outbox: Outbox, flight_of: Callable[[Node], Flight | None]) -> None:
        self._outbox = outbox
        self._flight_of = flight_of
        self._large: _Queue = {}
        self._small: _Queue = {}
        self._named: _Queue = {}
        self._gone: _Queue = {}
        self.has_moved = False  # something from one queue to another: look again

    def take_in(self, now: float) -> None:
        """Sort what has become due; the rest at the next look, if it is much."""
        self.put_back(self._outbox.ripened(now, TAKEN_IN_MAX))

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Sort these, as far as they are due."""
        for entry in entries:
            self._sort(entry)

    def large(self, going: set[int], count: int) -> list[Entry]:
        """Files that go up alone, and not just now; so many at most."""
        return self._front(self._large, count, self._has_to_go_up, _not_in(going))

    def group(self, going: set[int]) -> Group:
        """Small files that go up together, and not just now."""
        found = self._front(self._small, GROUP_FILES_MAX, self._has_to_go_up, _not_in(going))
        total = 0
        for number, entry in enumerate(found):
            total += _size(entry)
            if number and total > GROUP_BYTES_MAX:
                return Group(found[:number], is_full=True)
        return Group(found, is_full=len(found) == GROUP_FILES_MAX)

    def batch(self, ready: Iterable[Entry]) -> list[tuple[Entry, Flight]]:
        """What to send together: of what is ready, what needs no upload, and what is gone.

        A path that a node has left is deleted after, or together with, the node's put elsewhere.
        """
        flights: dict[Entry, Flight] = {}

        def fits(entry: Entry) -> bool:
            flight = None if entry.node is None else self._flight_of(entry.node)
            if flight is not None:
                flights[entry] = flight
            return flight is not None

        puts = {entry.path: entry for entry in islice(filter(fits, ready), OPERATIONS_MAX)}
        named = self._front(self._named, OPERATIONS_MAX - len(puts), fits, _any)
        puts |= {entry.path: entry for entry in named}

        def may_go(entry: Entry) -> bool:
            unnamed = self._outbox.unnamed(entry)
            return not unnamed or (len(unnamed) == 1 and unnamed[0].path in puts)

        gone = self._front(self._gone, OPERATIONS_MAX - len(puts), _is_delete, may_go)
        return [*((e, flights[e]) for e in puts.values()), *((e, NOTHING) for e in gone)]

    def begin(self, entries: Iterable[Entry]) -> None:
        """These have begun."""
        for entry in entries:
            self._remove(entry)

    # ---------------------------------------------------------------- inside

    def _sort(self, entry: Entry) -> None:
        self._remove(entry)
        if not self._outbox.is_due(entry):
            return
        if entry.node is None:
            self._gone[entry] = None
        elif not self._has_to_go_up(entry):
            self._named[entry] = None
        elif _size(entry) >= LARGE_BYTES:
            self._large[entry] = None
        else:
            self._small[entry] = None

    def _remove(self, entry: Entry) -> None:
        for queue in (self._large, self._small, self._named, self._gone):
            queue.pop(entry, None)

    def _front(self, queue: _Queue, count: int, fits: _Test, is_wanted: _Test) -> list[Entry]:
        """The first that are wanted; what is before them and does not fit is sorted anew."""
        found: list[Entry] = []
        wrong: list[Entry] = []
        for entry in queue:
            if len(found) >= count:
                break
            if not self._outbox.is_due(entry) or not fits(entry):
                wrong.append(entry)
            elif is_wanted(entry):
                found.append(entry)
        self.put_back(wrong)
        self.has_moved |= any(self._outbox.is_due(entry) for entry in wrong)
        return found

    def _has_to_go_up(self, entry: Entry) -> bool:
        return entry.node is not None and self._flight_of(entry.node) is None


def _not_in(going: set[int]) -> _Test:
    return lambda entry: entry.node is not None and entry.node.fileid not in going


def _any(_entry: Entry) -> bool:
    return True


def _is_delete(entry: Entry) -> bool:
    return entry.node is None


def _size(entry: Entry) -> int:
    return 0 if entry.node is None else entry.node.size
