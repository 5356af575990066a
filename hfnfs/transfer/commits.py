"""One batch of names to the Hub: look what it has, decide, note what is sent, send, settle.

What is wanted may change at every wait. So it is looked at again right before the batch is sent,
and what was sent of a path that is wanted otherwise by then is only one more step on the way.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple, Protocol

from hfnfs.clock import Clock
from hfnfs.errors import HfnfsError, RemoteError
from hfnfs.remote import ContentId, Feed, Kind, Put, RemoteEntry, WritableRemote
from hfnfs.transfer import batch
from hfnfs.transfer.batch import Verdict
from hfnfs.transfer.outage import SILENT
from hfnfs.transfer.standing import Standing, directories_above, files_below
from hfnfs.vfs.journal import Journal
from hfnfs.vfs.node import Node
from hfnfs.vfs.outbox import Entry, Flight, Outbox
from hfnfs.vfs.overlay import Overlay

_SLICE_ENTRIES: Final = 128  # are settled at once: some milliseconds
_NAMED_MAX: Final = 3  # files in one line of the log

_log = logging.getLogger(__name__)


class Written(Protocol):
    """The owner of what was written; vfs/writing.py."""

    def settle(self, node: Node, version: int, content: ContentId) -> None:
        """The Hub has `content`, which is the file's bytes at `version`."""
        ...

    def fail(self, node: Node, error: HfnfsError) -> None:
        """Let the next COMMIT of a file say why it does not get to the Hub."""
        ...


class Conflicts(Protocol):
    """What is shown when somebody else has changed the same path; vfs/naming.py."""

    def set_aside(self, path: str, theirs: RemoteEntry) -> str | None:
        """Give ours another name and theirs the path; the new path of ours, if there is any."""
        ...

    def set_directory_aside(self, path: str, theirs: RemoteEntry) -> str | None:
        """Give a directory of ours another name, and theirs, a file, the path; the new path."""
        ...

    def give_way(self, path: str, theirs: RemoteEntry) -> None:
        """Show theirs again where we had removed it."""
        ...


class Local(NamedTuple):
    """The volume's side of a flush."""

    outbox: Outbox
    overlay: Callable[[Node], Overlay | None]  # what was written to a file, if anything was
    written: Written
    conflicts: Conflicts
    journal: Journal
    keep: Callable[[Node], None]  # its record, as something about it has changed
    kept: Callable[[int], Awaitable[None]]  # return once that ticket is durable


class Commits:
    """Sends batches; one at a time."""

    def __init__(self, remote: WritableRemote, local: Local, clock: Clock) -> None:
        self._remote = remote
        self._local = local
        self._standing = Standing(remote, clock)
        self.conflicts = 0  # so far

    def overhearing(self, changes: Feed) -> Feed:
        """The same feed of what others change, from which is learned what need not be asked."""
        return self._standing.directories.overhearing(changes)

    async def send(self, chosen: Sequence[tuple[Entry, Flight]]) -> None:
        """Bring it about that the Hub has these, and take note of what became of each.

        Raises the RemoteError for which nothing of it was done, and no file is to blame.
        """
        outbox, journal = self._local.outbox, self._local.journal
        # What was chosen may have been dropped since, in the turn before this one.
        flights = {entry: flight for entry, flight in chosen if outbox.holds(entry)}
        for entry, flight in flights.items():
            outbox.take(entry, flight)
        try:
            try:
                sent = await self._decide(list(flights))
            except RemoteError as error:
                self._all_failed(list(flights), error)
                return
            for entry in sent:
                outbox.sending(entry)
            if sent:
                await self._local.kept(journal.submit())
                await self._commit([entry for entry in sent if outbox.is_still_wanted(entry)])
        finally:
            for entry, flight in flights.items():
                if entry.flight is flight:
                    outbox.release(entry)
            journal.submit()

    async def _decide(self, entries: Sequence[Entry]) -> list[Entry]:
        """What has to be sent, in view of what the Hub has now; the rest is done with."""
        outbox, conflicts = self._local.outbox, self._local.conflicts
        paths = [entry.path for entry in entries]
        puts = {entry.path for entry in entries if entry.node is not None}
        above = sorted({one for path in puts for one in directories_above(path)} - set(paths))
        now = await self._standing.of([*paths, *above], puts)
        own = await self._own_directories(now)
        self._set_directories_aside(now, above)
        sent = []
        for entry in entries:
            if not outbox.is_still_wanted(entry):
                continue
            theirs = now.get(entry.path)
            what = batch.verdict(entry, theirs, is_own_directory=entry.path in own)
            if what is Verdict.SEND:
                sent.append(entry)
            elif what is Verdict.DONE:
                self._settle(entry)
            elif theirs is not None and what is Verdict.SET_ASIDE:
                self.conflicts += 1
                new = conflicts.set_aside(entry.path, theirs)
                _log.warning("%s was changed here and on the Hub: ours is now %s", entry.path, new)
            elif theirs is not None:
                self.conflicts += 1
                conflicts.give_way(entry.path, theirs)
                _log.warning("%s was deleted here and changed on the Hub: it stays", entry.path)
        return sent

    def _set_directories_aside(
        self, now: Mapping[str, RemoteEntry | None], above: Sequence[str]
    ) -> None:
        """Where there is a file on the Hub ours, a directory, gets another name.

        The Hub takes files below a file, and then nobody sees one of both.
        """
        for path in above:
            there = now[path]
            if there is None or there.kind is not Kind.FILE:
                continue
            if not self._local.outbox.is_to_go(path, there.content):
                self.conflicts += 1
                new = self._local.conflicts.set_directory_aside(path, there)
                _log.warning("%s is a file on the Hub now: our directory is %s", path, new)

    async def _own_directories(self, now: Mapping[str, RemoteEntry | None]) -> set[str]:
        """Those directories on the Hub of which all files are for us to delete.

        In others there are files of somebody else, which a file of ours in their place would hide.
        """
        outbox = self._local.outbox
        own = set()
        for path, there in now.items():
            if there is None or there.kind is not Kind.DIRECTORY:
                continue
            if outbox.covers_directory(path) and await self._is_all_to_go(path):
                own.add(path)
        return own

    async def _is_all_to_go(self, directory: str) -> bool:
        async with aclosing(files_below(self._remote, directory)) as files:
            async for path, entry in files:
                if not self._local.outbox.is_to_go(path, entry.content):
                    return False
        return True

    async def _commit(self, entries: Sequence[Entry]) -> None:
        operations = batch.operations(entries, self._local.outbox)
        if not operations:
            return
        made = (operation.path for operation in operations if isinstance(operation, Put))
        self._standing.directories.told(made)
        try:
            failures = await self._remote.commit(operations)
        except RemoteError as error:
            failures = {operation.path: error for operation in operations}
        asked = {operation.path for operation in operations}
        if len(failures) == len(asked) and all(isinstance(e, SILENT) for e in failures.values()):
            raise next(iter(failures.values()))
        sent = [entry for entry in entries if entry.path in asked]
        self.refused([(e, failures[e.path]) for e in sent if e.path in failures])
        await self._settle_all([entry for entry in sent if entry.path not in failures])

    async def _settle_all(self, entries: Sequence[Entry]) -> None:
        """Take note that the Hub has what was sent of these; others are served in between."""
        for start in range(0, len(entries), _SLICE_ENTRIES):
            for entry in entries[start : start + _SLICE_ENTRIES]:
                self._settle(entry)
            self._local.journal.submit()
            await asyncio.sleep(0)

    def _settle(self, entry: Entry) -> None:
        flight = entry.flight
        assert flight is not None, "it is in flight"
        is_done = self._local.outbox.settle(entry)
        node = flight.node
        if node is None or flight.content is None:
            return
        if is_done or self._local.outbox.home(node.fileid) is not None:  # else it is gone
            self._local.written.settle(node, flight.version, flight.content)
            self._local.keep(node)

    def _all_failed(self, entries: Sequence[Entry], error: RemoteError) -> None:
        """Nothing could be asked; raises the error if that is no file's own."""
        if isinstance(error, SILENT):
            raise error
        self.refused([(entry, error) for entry in entries])

    def refused(self, failed: Sequence[tuple[Entry, HfnfsError]]) -> None:
        """These are tried again later; what is new about it is told."""
        told: list[tuple[str, HfnfsError]] = []
        for entry, error in failed:
            node = entry.node
            if entry.flight is None:
                is_new = self._local.outbox.put_off(entry, error)
            else:
                is_new = self._local.outbox.failed(entry, error)
            if node is not None and entry.error:
                self._local.written.fail(node, error)
            if is_new:
                told.append((entry.path, error))
        for path, error in told[:_NAMED_MAX]:
            _log.warning("%s is not on the Hub yet, and kept: %s", path, error)
        if len(told) > _NAMED_MAX:
            _log.warning("nor are %d others", len(told) - _NAMED_MAX)
