"""The directory a local Hub lives in: SQLite for what is small, files for bytes.

    hub.db       repos, buckets, small files, the key that signs URLs and tokens
    xorbs/ab/…   xorbs in their stored form (chunks and footer), named by hash
    blobs/ab/…   plain files of repos that are not small, named by git object id
    incoming/    what is still arriving; emptied at every start

Bytes are placed by renaming before any row speaks of them, so a kill at any time loses only what
was not yet answered. (The machine losing power may lose more: nothing is fsynced.)
"""

import fcntl
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from hfnfs.errors import CacheUnusable

_FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (
    hash BLOB PRIMARY KEY, size INTEGER, sha256 TEXT, terms BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chunks (hash BLOB PRIMARY KEY, xorb BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blobs (oid TEXT PRIMARY KEY, data BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS repos (
    id INTEGER PRIMARY KEY, kind TEXT, name TEXT, private INTEGER, gated INTEGER, created INTEGER,
    UNIQUE (kind, name));
CREATE TABLE IF NOT EXISTS aliases (
    kind TEXT, name TEXT, repo INTEGER, PRIMARY KEY (kind, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commits (
    id INTEGER PRIMARY KEY, repo INTEGER, sha TEXT, parent INTEGER, title TEXT, at INTEGER,
    UNIQUE (repo, sha));
CREATE TABLE IF NOT EXISTS refs (
    repo INTEGER, name TEXT, target INTEGER, PRIMARY KEY (repo, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    commit_id INTEGER, path TEXT, oid TEXT, size INTEGER, xet BLOB, sha256 TEXT, changed INTEGER,
    PRIMARY KEY (commit_id, path)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS buckets (
    id INTEGER PRIMARY KEY, name TEXT UNIQUE, private INTEGER, created INTEGER, updated INTEGER);
CREATE TABLE IF NOT EXISTS objects (
    bucket INTEGER, path TEXT, xet BLOB, size INTEGER, mtime INTEGER, uploaded INTEGER, type TEXT,
    PRIMARY KEY (bucket, path)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, bucket INTEGER, at INTEGER, path TEXT, before TEXT,
    after TEXT);
CREATE INDEX IF NOT EXISTS changes_of_bucket ON changes (bucket, id);
"""


class Store:
    """An open directory; its database belongs to the thread that opened it."""

    def __init__(self, directory: Path) -> None:
        """Open or make it. Raises CacheUnusable when another process has it, or it is no Hub's."""
        self._directory = directory
        self._lock = _locked(directory)
        try:
            shutil.rmtree(directory / "incoming", ignore_errors=True)
            (directory / "incoming").mkdir()
            self.db = sqlite3.connect(directory / "hub.db", isolation_level=None)
            self.db.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {_SCHEMA}")
            self._check_format()
        except (OSError, sqlite3.Error) as error:
            os.close(self._lock)
            raise CacheUnusable(f"{directory}: cannot be a local Hub: {error}") from error
        self.key: bytes = self._fact("key", secrets.token_bytes(32))

    def close(self) -> None:
        """Give the directory back."""
        self.db.close()
        os.close(self._lock)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All changes made inside happen, or none."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def xorb_path(self, name: str) -> Path:
        """Where the xorb of that hash string lies, if we have it."""
        return self._directory / "xorbs" / name[:2] / name

    def blob_path(self, oid: str) -> Path:
        """Where the plain file of that git object id lies, if we have it."""
        return self._directory / "blobs" / oid[:2] / oid

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A new file's path; what is still there at the end is removed."""
        path = self._directory / "incoming" / uuid4().hex
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @staticmethod
    def place(scratch: Path, final: Path) -> bool:
        """Move a complete file to its name; False when it was there already."""
        if final.exists():
            return False
        final.parent.mkdir(parents=True, exist_ok=True)
        scratch.rename(final)
        return True

    def _check_format(self) -> None:
        found = self._fact("format", _FORMAT)
        if found != _FORMAT:
            raise OSError(f"its format is {found}, not {_FORMAT}")

    def _fact(self, name: str, default: Any) -> Any:
        self.db.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, default))
        row = self.db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return row[0]


def _locked(directory: Path) -> int:
    """Descriptor of a lock that lasts as long as the process, however that ends."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CacheUnusable(f"{directory}: cannot be a local Hub: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise CacheUnusable(f"{directory}: another local Hub uses it") from error
    return descriptor
