"""What must outlive the process, in SQLite: one writer thread, group commit.

    submit ──▶ queued ──taken, all at once──▶ in a transaction ──synced──▶ durable
                  ▲                                  │
                  └──────── failed: told, kept ──────┘

Changes are submitted in the order in which memory made them and are never left out, so what is on
disk is at any instant what memory was at some earlier one. While a transaction is being synced
the next one gathers. Of several changes to one record the last is written. One that fails (the
disk is full) stays queued before the later ones and is tried again with them, or every second.

What the log has is brought to the database (a checkpoint) when nothing was written for a while,
as it takes much longer than a transaction; at the latest when the log has become long.

A directory has one owner: the process that holds the lock on `lock`. Nothing else opens the
database meanwhile, so it needs no shared memory beside it (which a full tmpfs turns into SIGBUS).
"""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from hfnfs.disk import schema
from hfnfs.disk.done import DoneCall, done
from hfnfs.disk.errors import disk_errors
from hfnfs.disk.schema import Change, Key, MetaKey, MetaValue
from hfnfs.errors import CacheUnusable, HfnfsError, NoSpace

# Called by the writer thread after each transaction: all changes with tickets up to this one
# are durable (None), or those that were not so yet have failed for now. It must not raise.
Told: TypeAlias = Callable[[int, HfnfsError | None], None]

# Changes that wait, at up to a kilobyte each; a node with a long name takes as much.
CHANGES_MAX: Final = 50_000
_RETRY_S: Final = 1.0
# Changes in the log, each of one page or a few, with which it is worth while, or must be emptied.
_LOGGED_WORTH: Final = 512
_LOGGED_MAX: Final = 8192
_QUIET_S: Final = 0.05
# The log is this long from the beginning. To sync what lengthens a file takes a second write to
# the disk, the file system's own; after a checkpoint the log is written from its beginning again.
_LOG_BYTES: Final = 4 * 1024 * 1024
_OPEN: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_PID_DIGITS_MAX: Final = 20
_SETTINGS: Final = (
    "PRAGMA locking_mode = EXCLUSIVE",  # first, or a -shm file is made
    "PRAGMA synchronous = FULL",  # a commit is on disk when it returns
    "PRAGMA fullfsync = ON",  # macOS: through the drive's cache, too
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA cache_size = -16384",  # KiB: where fileids lie is random
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that was kept."""

    nodes: tuple[schema.NodeRecord, ...]
    retired: dict[int, int]  # next generation by fileid
    overlays: tuple[schema.OverlayRecord, ...]
    pieces: tuple[schema.PieceRecord, ...]  # oldest first
    outbox: tuple[schema.OutboxRecord, ...]  # by path
    done: tuple[DoneCall, ...]  # oldest first
    meta: dict[MetaKey, MetaValue]


class State:
    """The state database of one volume: `load`, then `start`, then `submit`, at last `close`.

    `submit` is for one thread, the event loop's.
    """

    def __init__(self, directory: Path, *, changes_max: int = CHANGES_MAX) -> None:
        self._directory = directory
        self._path = directory / "state.db"
        self._changes_max = changes_max
        self._lock_fd: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._writer: threading.Thread | None = None
        self._told: Told = lambda _up_to, _error: None
        # Guards what follows; held for moments only, never while the disk is used.
        self._changed = threading.Condition()
        self._queued: dict[Key, Change] = {}
        self._queued_weight = 0
        self._taken_weight = 0  # of what is in the transaction just now
        self._ticket = 0
        self._durable = 0
        self._logged = 0  # changes that are in the log alone; the writer's
        self._error: HfnfsError | None = None  # why the last transaction failed
        self._ends = False
        self.transactions = 0  # that were committed

    @property
    def durable_up_to(self) -> int:
        """The last ticket that, with all before it, is on disk."""
        return self._durable

    @property
    def is_full(self) -> bool:
        """Whether so many changes wait for the disk that no more should be made.

        So it is while the disk takes none of them: a change that is made would be answered with an
        error, and be there all the same.
        """
        if self._error is not None:
            return True
        return self._queued_weight + self._taken_weight >= self._changes_max

    # ------------------------------------------------------------- opening

    def load(self) -> Snapshot:
        """Become the owner of the directory (made if need be), check the database and read it.

        Raises CacheUnusable: another process owns it, a newer version made it, or it is damaged.
        """
        try:
            self._own()
            with self._mapped("cannot be opened"):
                return self._opened()
        except BaseException:
            self._release()
            raise

    def _own(self) -> None:
        with disk_errors(self._directory):
            self._directory.mkdir(mode=0o700, exist_ok=True)
            self._lock_fd = fd = os.open(self._directory / "lock", _OPEN, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                pid = os.pread(fd, _PID_DIGITS_MAX, 0).decode("ascii", "replace").strip()
                raise CacheUnusable(
                    f"process {pid or '?'} has this mounted read-write already "
                    f"({self._directory}): use that mount, or mount it with --read-only"
                ) from error
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)

    def _opened(self) -> Snapshot:
        with disk_errors(self._path):
            os.close(os.open(self._path, _OPEN, 0o600))  # SQLite gives its own files that mode
            _sync_directory(self._directory)
        connection = self._connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=0
        )
        for setting in _SETTINGS:
            connection.execute(setting)
        self._refuse_foreign(connection)
        (journal,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if journal != "wal":
            raise CacheUnusable(f"{self._path}: no write-ahead log here, but {journal}")
        (checked,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if checked != "ok":
            raise self._damaged(checked)
        _bring_up_to_date(connection)
        try:
            return Snapshot(
                tuple(schema.nodes(connection)),
                schema.retired(connection),
                tuple(schema.overlays(connection)),
                tuple(schema.pieces(connection)),
                tuple(schema.outbox(connection)),
                tuple(done(connection)),
                schema.meta(connection),
            )
        except (CacheUnusable, ValueError, TypeError) as error:  # a value that none can be
            raise self._damaged(str(error)) from error

    def _refuse_foreign(self, connection: sqlite3.Connection) -> None:
        """Before anything is written, see that it is ours and of a version that we know."""
        version = _pragma(connection, "user_version")
        empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        ours = _pragma(connection, "application_id") == schema.APPLICATION_ID
        if not ours and not (empty and version == 0):
            raise CacheUnusable(f"{self._path}: a database, but none of hfnfs; move it away")
        if version > schema.VERSION:
            raise CacheUnusable(
                f"{self._path}: made by a newer hfnfs (schema {version}, this one knows "
                f"{schema.VERSION}); use that one, its unsent changes are safe"
            )

    # ------------------------------------------------------------- writing

    def start(self, told: Told) -> None:
        """Begin to write; `told` hears of every transaction, in the writer thread."""
        assert self._connection is not None, "load comes first"
        assert self._writer is None, "once"
        self._told = told
        self._writer = threading.Thread(target=self._write_on, name="state writer", daemon=True)
        self._writer.start()

    def submit(self, *changes: Change) -> int:
        """Queue changes that become durable together; their ticket. Never waits.

        They are taken also when it is full: what was changed in memory must not be left out. Who
        changes something asks `is_full` before. Raises InvalidArgument for what SQLite cannot hold
        and CacheUnusable when nothing is written any more; then none of them was queued.
        """
        for change in changes:
            change.check()
        with self._changed:
            if self._ends:
                raise CacheUnusable(f"{self._path}: closed")
            self._queue(changes)
            self._ticket += 1
            self._changed.notify()
            return self._ticket

    def close(self) -> None:
        """Write what is queued and give the directory back.

        Raises what kept the last changes from being written.
        """
        with self._changed:
            self._ends = True
            self._changed.notify()
        if self._writer is not None:
            self._writer.join()
        self._release()
        if self._error is not None:
            raise self._error

    def _queue(self, changes: Iterable[Change]) -> None:
        queued = self._queued
        for change in changes:
            key = change.key
            before = queued.get(key)
            self._queued_weight += change.weight - (0 if before is None else before.weight)
            queued[key] = change

    def _write_on(self) -> None:
        try:
            ends = False
            self._lengthen_log()
            while not ends:
                up_to, changes, ends = self._taken()
                if changes:
                    error = self._write(changes)
                    self._settle(up_to, changes, error)
                    self._told(up_to, error)
                if self._logged >= (_LOGGED_MAX if changes else 1):
                    self._empty_log()
        finally:
            with self._changed:
                self._ends = True  # also when it ends by a mistake of ours

    def _taken(self) -> tuple[int, dict[Key, Change], bool]:
        """Everything that is queued, once there is something; and whether it is the last.

        Nothing if nothing came for a while, and it is a moment to empty the log.
        """
        with self._changed:
            if self._error is not None and not self._ends:
                self._changed.wait(_RETRY_S)  # or until something new comes
            while not self._queued and not self._ends:
                is_worth = self._logged >= _LOGGED_WORTH
                if not self._changed.wait(_QUIET_S if is_worth else None):
                    break
            changes, self._queued = self._queued, {}
            self._taken_weight, self._queued_weight = self._queued_weight, 0
            return self._ticket, changes, self._ends

    def _write(self, changes: dict[Key, Change]) -> HfnfsError | None:
        """One transaction; what it failed of."""
        connection = self._connection
        assert connection is not None, "the writer ends before the connection"
        try:
            with self._mapped("cannot be written"):
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    schema.apply(connection, changes.values())
                    connection.execute("COMMIT")
                    self._logged += sum(change.weight for change in changes.values())
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
        except (NoSpace, CacheUnusable) as error:
            return error
        return None

    def _empty_log(self) -> None:
        """Bring what is in the log to the database; where that fails it is no worse than before."""
        assert self._connection is not None, "the writer ends before the connection"
        self._logged = 0
        with suppress(sqlite3.Error):  # the next transaction tells, or the next time succeeds
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def _lengthen_log(self) -> None:
        """Let the log have its length already, zeros behind what is in it; only for speed."""
        with suppress(OSError), open(f"{self._path}-wal", "r+b") as log:
            lacking = _LOG_BYTES - log.seek(0, os.SEEK_END)
            if lacking > 0:
                log.write(bytes(lacking))
                log.flush()
                os.fsync(log.fileno())

    def _settle(self, up_to: int, changes: dict[Key, Change], error: HfnfsError | None) -> None:
        with self._changed:
            self._taken_weight = 0
            self._error = error
            if error is None:
                self._durable = up_to
                self.transactions += 1
                return
            later, self._queued, self._queued_weight = self._queued, {}, 0
            self._queue(changes.values())
            self._queue(later.values())

    # ------------------------------------------------------------- the rest

    @contextmanager
    def _mapped(self, what: str) -> Iterator[None]:
        """Make NoSpace or CacheUnusable of what SQLite says."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            if code == sqlite3.SQLITE_FULL:
                raise NoSpace(f"{self._path}: {error}") from error
            if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
                raise self._damaged(str(error)) from error
            raise CacheUnusable(f"{self._path}: {what}: {error}") from error

    def _damaged(self, how: str) -> CacheUnusable:
        return CacheUnusable(
            f"{self._path}: damaged ({how}). Nothing was deleted: bytes that the Hub may lack are "
            f"in {self._directory / 'staging'}, a file for each. To mount without what this knew, "
            f"move {self._directory} away"
        )

    def _release(self) -> None:
        connection, self._connection = self._connection, None
        fd, self._lock_fd = self._lock_fd, None
        try:
            if connection is not None:
                with self._mapped("cannot be closed"), closing(connection):
                    pass
        finally:
            if fd is not None:
                os.close(fd)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Make what a new database lacks, or one of an older version: all or nothing."""
    version = _pragma(connection, "user_version")
    if version == schema.VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    for lacking in (*schema.TABLES, *(schema.ADDED if version else ())):
        connection.execute(lacking)
    connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {schema.VERSION}")
    connection.execute("COMMIT")


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
