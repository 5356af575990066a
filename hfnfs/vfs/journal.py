"""What is to outlive the process, gathered while a procedure runs and written as one.

    note, note, note --submit--> a ticket: all of it is on the disk once the ticket is

A procedure asks for room first and notes what it changes; whoever is outermost submits. So what is
on the disk is at every instant what memory was between two procedures, never in the middle of one.
"""

from hfnfs.disk.schema import Change
from hfnfs.vfs.needs import Journaled, NotYet
from hfnfs.vfs.ports import State


class Journal:
    """The changes of one volume on their way to its state."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._noted: list[Change] = []
        self._ticket = 0  # the last one given

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
            self._ticket = self._state.submit(*noted)
        return self._ticket
