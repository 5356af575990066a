"""What goes to the Hub together, and what becomes of it in view of what the Hub has now; pure."""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Final

from hfnfs.remote import Delete, Kind, Operation, Put, RemoteEntry, same
from hfnfs.vfs.outbox import Entry, Outbox

OPERATIONS_MAX: Final = 1000  # of one request
# How long what is due waits for others that are due soon.
GATHER_S_MAX: Final = 2.0

_NS_PER_MS: Final = 1_000_000


def starts_at(due: Sequence[Entry], quiet_s: float) -> float:
    """When to begin with what is due: a little after the last of many, so that they go together.

    Never later than `quiet_s` after the first one was due. For what is in a hurry it is soon,
    however long files are to be quiet.
    """
    quiet_s = min(quiet_s, GATHER_S_MAX)
    first, last = min(entry.due_at for entry in due), max(entry.due_at for entry in due)
    return min(last + quiet_s / 4, first + quiet_s)


class Verdict(Enum):
    """What becomes of a path that is in flight."""

    SEND = auto()
    DONE = auto()  # the Hub has it already
    SET_ASIDE = auto()  # changed here and there: both are kept
    GIVE_WAY = auto()  # deleted here, changed there: theirs stays


def verdict(entry: Entry, now: RemoteEntry | None, *, is_own_directory: bool = False) -> Verdict:
    """What to do, where the Hub has `now` at the path.

    `is_own_directory`: all that it has below is for us to delete, so it is in nobody's way.
    """
    flight = entry.flight
    assert flight is not None, "it is in flight"
    if now is not None and now.kind is Kind.DIRECTORY:
        if flight.node is None:
            return Verdict.DONE
        return Verdict.SEND if is_own_directory else Verdict.SET_ASIDE
    content = None if now is None else now.content
    if flight.node is None:
        if content is None:
            return Verdict.DONE
        return Verdict.SEND if entry.is_ours(content) else Verdict.GIVE_WAY
    if now is not None and same(content, flight.content):
        return Verdict.DONE if _is_of(now, flight.mtime_ns) else Verdict.SEND
    return Verdict.SEND if content is None or entry.is_ours(content) else Verdict.SET_ASIDE


def operations(entries: Sequence[Entry], outbox: Outbox) -> list[Operation]:
    """What to ask of the Hub; a delete that has to wait for a put that is not there is left out."""
    puts = {
        entry.path: Put(entry.path, entry.flight.content, entry.flight.mtime_ns)
        for entry in entries
        if entry.flight is not None and entry.flight.content is not None
    }
    deletes = []
    for entry in entries:
        if entry.path not in puts:
            unnamed = outbox.unnamed(entry)
            if not unnamed:
                deletes.append(Delete(entry.path))
            elif len(unnamed) == 1 and unnamed[0].path in puts:
                deletes.append(Delete(entry.path, moved_to=unnamed[0].path))
    return [*puts.values(), *deletes]


def _is_of(now: RemoteEntry, mtime_ns: int) -> bool:
    """Whether that is its date, as the far side keeps it."""
    return now.mtime_ns is not None and now.mtime_ns // _NS_PER_MS == mtime_ns // _NS_PER_MS
