"""Buckets: files by path without revisions, and the log of what changed in them."""

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hfnfs.clock import Clock
from hfnfs.localhub.store import Store

NS_PER_MS = 1_000_000
# Changes of a bucket that a follower of its events can catch up with.
CHANGES_KEPT = 10_000


class BucketFile(NamedTuple):
    """A file of a bucket. Times are milliseconds since 1970."""

    xet: bytes
    size: int
    mtime: int | None
    uploaded: int
    type: str | None = None


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket as it is now. Times are milliseconds since 1970."""

    number: int
    name: str
    private: bool
    created: int
    updated: int  # differs after every change


@dataclass(frozen=True, slots=True)
class Change:
    """A path's file before and after; None: there is none."""

    number: int
    at: int  # milliseconds since 1970
    path: str
    before: BucketFile | None
    after: BucketFile | None


class Listed(NamedTuple):
    """One line of a listing."""

    path: str
    file: BucketFile | None  # None: a directory
    after: str  # where the listing goes on


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All files of a bucket at one time."""

    files: Mapping[str, BucketFile]
    paths: Sequence[str]  # sorted

    def page(self, prefix: str, start: str, *, recursive: bool) -> Iterator[Listed]:
        """What begins with `prefix` and does not sort before `start`.

        The prefix is matched letter by letter: "logs" finds "logs.json" too.
        """
        at = bisect_left(self.paths, max(prefix, start))
        while at < len(self.paths) and (path := self.paths[at]).startswith(prefix):
            directory = "" if recursive else _directory_of(path, prefix)
            if directory:
                after = directory + "0"  # "0" comes after "/"
                yield Listed(directory, None, after)
                at = bisect_left(self.paths, after)
            else:
                yield Listed(path, self.files[path], path + "\0")
                at += 1


class Buckets:
    """All buckets of the Hub, in its database."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._snapshots: dict[int, Snapshot] = {}

    def create(self, name: str, *, private: bool = False) -> Bucket:
        """Make an empty bucket; raises ValueError when the name is taken."""
        if self.find(name) is not None:
            raise ValueError(f"bucket {name} exists")
        now = self._now_ms()
        query = "INSERT INTO buckets (name, private, created, updated) VALUES (?, ?, ?, ?)"
        row = self._store.db.execute(query, (name, private, now, now))
        return Bucket(row.lastrowid or 0, name, private, now, now)

    def find(self, name: str) -> Bucket | None:
        """The bucket of that name."""
        query = "SELECT id, name, private, created, updated FROM buckets WHERE name = ?"
        return _bucket(self._store.db.execute(query, (name,)).fetchone())

    def of_namespace(self, namespace: str) -> list[Bucket]:
        """All buckets of an account, by name."""
        query = """SELECT id, name, private, created, updated FROM buckets
            WHERE substr(name, 1, ?) = ? ORDER BY name"""
        prefix = f"{namespace}/"
        rows = self._store.db.execute(query, (len(prefix), prefix))
        return [bucket for row in rows if (bucket := _bucket(row))]

    def delete(self, bucket: Bucket) -> None:
        """Forget the bucket and all in it."""
        self._snapshots.pop(bucket.number, None)
        with self._store.transaction() as db:
            db.execute("DELETE FROM objects WHERE bucket = ?", (bucket.number,))
            db.execute("DELETE FROM changes WHERE bucket = ?", (bucket.number,))
            db.execute("DELETE FROM buckets WHERE id = ?", (bucket.number,))

    def rename(self, bucket: Bucket, name: str) -> None:
        """Give it another name; raises ValueError when that is taken."""
        if self.find(name) is not None:
            raise ValueError(f"bucket {name} exists")
        self._set(bucket, "name", name)

    def set_private(self, bucket: Bucket, *, private: bool) -> None:
        """Show it to everyone, or to its owner only."""
        self._set(bucket, "private", private)

    def usage(self, bucket: Bucket) -> tuple[int, int]:
        """Bytes and number of its files."""
        query = "SELECT coalesce(sum(size), 0), count(*) FROM objects WHERE bucket = ?"
        size, count = self._store.db.execute(query, (bucket.number,)).fetchone()
        return size, count

    def file(self, bucket: Bucket, path: str) -> BucketFile | None:
        """The file at a path."""
        query = """SELECT xet, size, mtime, uploaded, type FROM objects
            WHERE bucket = ? AND path = ?"""
        row = self._store.db.execute(query, (bucket.number, path)).fetchone()
        return None if row is None else BucketFile(*row)

    def snapshot(self, bucket: Bucket, late_by: int = 0) -> Snapshot:
        """All its files; `late_by` changes ago, for a Hub that is late."""
        if late_by:
            return self._snapshot_before(bucket, late_by)
        found = self._snapshots.get(bucket.number)
        if found is None:
            query = """SELECT path, xet, size, mtime, uploaded, type FROM objects
                WHERE bucket = ? ORDER BY path"""
            rows = self._store.db.execute(query, (bucket.number,))
            found = _snapshot({row[0]: BucketFile(*row[1:]) for row in rows})
            self._snapshots[bucket.number] = found
        return found

    def change(self, bucket: Bucket, files: Sequence[tuple[str, BucketFile | None]]) -> None:
        """Put and (None) delete files, in this order and all at once."""
        self._snapshots.pop(bucket.number, None)
        now = max(self._now_ms(), bucket.updated + 1)
        with self._store.transaction() as db:
            for path, after in files:
                before = self.file(bucket, path)
                db.execute(
                    "INSERT INTO changes (bucket, at, path, before, after) VALUES (?, ?, ?, ?, ?)",
                    (bucket.number, now, path, _packed(before), _packed(after)),
                )
                if after is None:
                    query = "DELETE FROM objects WHERE bucket = ? AND path = ?"
                    db.execute(query, (bucket.number, path))
                else:
                    query = "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?)"
                    db.execute(query, (bucket.number, path, *after))
            db.execute("UPDATE buckets SET updated = ? WHERE id = ?", (now, bucket.number))
            self._forget_old_changes(bucket)

    def changes(self, bucket: Bucket, after: int) -> list[Change] | None:
        """What changed after the change of that number; None: too long ago to know."""
        if after < self.first_change(bucket) - 1:
            return None
        query = """SELECT id, at, path, before, after FROM changes
            WHERE bucket = ? AND id > ? ORDER BY id"""
        rows = self._store.db.execute(query, (bucket.number, after))
        return [
            Change(number, at, path, _unpacked(before), _unpacked(then))
            for number, at, path, before, then in rows
        ]

    def first_change(self, bucket: Bucket) -> int:
        """The oldest change still known; 0 while none was forgotten."""
        query = "SELECT min(id), count(*) FROM changes WHERE bucket = ?"
        first, count = self._store.db.execute(query, (bucket.number,)).fetchone()
        return first if count >= CHANGES_KEPT else 0

    def last_change(self, bucket: Bucket, until_ms: int | None = None) -> int:
        """The newest change, or the newest one up to that time; 0: none."""
        query = "SELECT coalesce(max(id), 0) FROM changes WHERE bucket = ? AND at <= ?"
        until = 2**62 if until_ms is None else until_ms
        return int(self._store.db.execute(query, (bucket.number, until)).fetchone()[0])

    def _snapshot_before(self, bucket: Bucket, late_by: int) -> Snapshot:
        files = dict(self.snapshot(bucket).files)
        query = """SELECT path, before FROM changes WHERE bucket = ? ORDER BY id DESC LIMIT ?"""
        for path, before in self._store.db.execute(query, (bucket.number, late_by)):
            files.pop(path, None)
            if (file := _unpacked(before)) is not None:
                files[path] = file
        return _snapshot(files)

    def _forget_old_changes(self, bucket: Bucket) -> None:
        query = """DELETE FROM changes WHERE bucket = ? AND id <= (
            SELECT id FROM changes WHERE bucket = ? ORDER BY id DESC LIMIT 1 OFFSET ?)"""
        self._store.db.execute(query, (bucket.number, bucket.number, CHANGES_KEPT))

    def _set(self, bucket: Bucket, column: str, value: str | bool) -> None:
        now = max(self._now_ms(), bucket.updated + 1)
        query = f"UPDATE buckets SET {column} = ?, updated = ? WHERE id = ?"  # noqa: S608 -- ours
        self._store.db.execute(query, (value, now, bucket.number))

    def _now_ms(self) -> int:
        return self._clock.wall_ns() // NS_PER_MS


def _directory_of(path: str, prefix: str) -> str:
    """The directory just below (or beside) `prefix` that holds `path`; "" when it is a file."""
    end = path.find("/", len(prefix) + 1 if path[len(prefix) :].startswith("/") else len(prefix))
    return path[:end] if end >= 0 else ""


def _bucket(row: Any) -> Bucket | None:
    return None if row is None else Bucket(row[0], row[1], bool(row[2]), row[3], row[4])


def _snapshot(files: dict[str, BucketFile]) -> Snapshot:
    return Snapshot(files, sorted(files))


def _packed(file: BucketFile | None) -> str | None:
    return None if file is None else json.dumps([file.xet.hex(), *file[1:]])


def _unpacked(text: str | None) -> BucketFile | None:
    if text is None:
        return None
    xet, *rest = json.loads(text)
    return BucketFile(bytes.fromhex(xet), *rest)
