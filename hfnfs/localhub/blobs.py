"""Plain files of repos, named by git object id: small ones in the database, others as files.

20 000 files of a few bytes are one transaction, not 20 000 inodes.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hfnfs.localhub.contents import read_pieces
from hfnfs.localhub.store import Store

_IN_DATABASE_MAX = 64 * 1024  # bytes


class Staged(NamedTuple):
    """A plain file whose bytes are hashed, and in place unless they come along."""

    oid: str
    size: int
    data: bytes | None


class Blobs:
    """The plain files of all repos."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def stage(self, pieces: Iterable[bytes]) -> Staged:
        """Hash a file, and store it unless it is small. Any thread."""
        head, rest = b"", iter(pieces)
        for piece in rest:
            head += piece
            if len(head) > _IN_DATABASE_MAX:
                return self._stage_large(head, rest)
        return Staged(git_object_id(head), len(head), head)

    def keep(self, staged: Iterable[Staged]) -> None:
        """Store the small ones; belongs to the database's thread."""
        rows = ((blob.oid, blob.data) for blob in staged if blob.data is not None)
        with self._store.transaction() as db:
            db.executemany("INSERT OR IGNORE INTO blobs VALUES (?, ?)", rows)

    def read(self, oid: str, start: int, end: int) -> Iterable[bytes]:
        """Bytes [start, end) of a stored file; belongs to the database's thread."""
        row = self._store.db.execute("SELECT data FROM blobs WHERE oid = ?", (oid,)).fetchone()
        if row is not None:
            return [row[0][start:end]]
        return read_pieces(self._store.blob_path(oid), start, end)

    def _stage_large(self, head: bytes, rest: Iterator[bytes]) -> Staged:
        with self._store.scratch() as scratch:
            with scratch.open("wb") as file:
                size = file.write(head)
                for piece in rest:
                    size += file.write(piece)
            digest = _git_digest(size)
            for piece in read_pieces(scratch, 0, size):
                digest.update(piece)
            self._store.place(scratch, self._store.blob_path(digest.hexdigest()))
        return Staged(digest.hexdigest(), size, None)


def git_object_id(data: bytes) -> str:
    """How git calls a file of these bytes."""
    digest = _git_digest(len(data))
    digest.update(data)
    return digest.hexdigest()


def _git_digest(size: int) -> "hashlib._Hash":
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
