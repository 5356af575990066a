"""Marks of the calls whose changes are in the state, for clients who had no answer to them.

The last ones are kept, in as many slots, so that nothing need be cleared away.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

TABLE: Final = """CREATE TABLE IF NOT EXISTS done (
        slot INTEGER PRIMARY KEY, number INTEGER NOT NULL, call BLOB NOT NULL)
    """
_SLOTS: Final = 1024  # more than clients wait for at a time


class DoneCall(NamedTuple):
    """A call that was done, perhaps without its client knowing."""

    number: int  # later ones are newer
    call: bytes  # what tells it from all others


@dataclass(frozen=True, slots=True)
class MarkDone:
    """That call is done; it takes the place of one so old that nobody asks for it again."""

    done: DoneCall
    sql = "INSERT OR REPLACE INTO done VALUES (?,?,?)"
    weight = 1

    @property
    def key(self) -> tuple[str, int]:
        """What it changes."""
        return "done", self.done.number % _SLOTS

    def check(self) -> None:
        """Raise InvalidArgument unless it can be written."""

    def row(self) -> tuple[int, int, bytes]:
        """As in its table."""
        return self.done.number % _SLOTS, *self.done


def done(connection: sqlite3.Connection) -> Iterator[DoneCall]:
    """The calls that were done last, oldest first."""
    return map(DoneCall._make, connection.execute("SELECT number, call FROM done ORDER BY number"))
