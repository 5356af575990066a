"""What is to outlive the process, gathered while a procedure runs and written as one.

    note, note, note --submit--> a ticket: all of it is on the disk once the ticket is

A procedure asks for room first and notes what it changes; whoever is outermost submits. So what is
on the disk is at every instant what memory was between two procedures, never in the middle of one.

With a change that must not be made twice goes a mark of the call that asked for it. A client whose
answer was lost as the server died asks the next one, which finds the mark and makes no change.
"""

from collections.abc import Sequence

from hfnfs.disk.done import DoneCall, MarkDone
from hfnfs.disk.schema import Change
from hfnfs.errors import InvalidArgument
from hfnfs.vfs.needs import Journaled, NotYet
from hfnfs.vfs.ports import State


class Journal:
    """The changes of one volume on their way to its state."""

    def __init__(self, state: State, done: Sequence[DoneCall] = ()) -> None:
        self._state = state
        self._noted: list[Change] = []
        self._ticket = 0  # the last one given
        self._done_number = done[-1].number + 1 if done else 0
        self.done_before = frozenset(each.call for each in done)  # by servers that are no more
        self.call: bytes | None = None  # the mark of the call that runs, if it must not run twice

    def require_room(self) -> None:
        """Raise NotYet while too many changes wait for the disk; before anything is changed."""
        if self._state.is_full:
            raise NotYet(Journaled(self._ticket))

    def note(self, *changes: Change) -> None:
        """Add changes to those that become durable together."""
        self._noted += changes

    def submit(self) -> int:
        """Send off what was noted; the ticket to wait for, also if that was nothing."""
        if self._noted:
            noted, self._noted = self._noted, []
            try:
                self._ticket = self._state.submit(*noted)
            except InvalidArgument:  # a mistake of ours; no reason to leave out the others
                self._ticket = self._state.submit(*filter(_is_writable, noted))
                raise
        return self._ticket

    def done(self) -> Journaled:
        """Send off what was noted, and that the call which runs is done; what to wait for."""
        if self.call is not None:
            self._noted.append(MarkDone(DoneCall(self._done_number, self.call)))
            self._done_number += 1
        return Journaled(self.submit())


def _is_writable(change: Change) -> bool:
    try:
        change.check()
    except InvalidArgument:
        return False
    return True
