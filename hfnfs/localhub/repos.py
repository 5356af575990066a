"""Repos: models, datasets and spaces; their commits, refs and trees."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from hfnfs.clock import Clock
from hfnfs.localhub.store import Store

KINDS = ("model", "dataset", "space")
DEFAULT_BRANCH = "main"

_SHA = re.compile(r"[0-9a-f]{40}\Z")


@dataclass(frozen=True, slots=True)
class Repo:
    """One repo; `name` is canonical, whatever name it was found by."""

    number: int
    kind: str
    name: str
    private: bool
    gated: bool
    created_ns: int


@dataclass(frozen=True, slots=True)
class Commit:
    """A state of a repo."""

    number: int
    sha: str
    title: str
    at_ns: int


class RepoFile(NamedTuple):
    """A file of a tree: plain, or Xet-backed when it has `xet`."""

    oid: str  # git object id: of the bytes, or of the pointer to them
    size: int
    xet: bytes | None = None
    sha256: str | None = None
    changed: int = 0  # number of the commit that brought it


@dataclass(frozen=True, slots=True)
class Tree:
    """All paths of a commit; a directory has no RepoFile. Both in order of path."""

    entries: Mapping[str, RepoFile | None]
    children: Mapping[str, tuple[str, ...]]  # of each directory: full paths


class Repos:
    """All repos of the Hub, in its database."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        # Commits are immutable; a tree of 20 000 files takes some 10 MB.
        self._cached_tree = lru_cache(maxsize=8)(self._read_tree)

    def create(self, kind: str, name: str, *, private: bool = False, gated: bool = False) -> Repo:
        """Make an empty repo with one commit; raises ValueError when the name is taken."""
        if self.find(kind, name) is not None:
            raise ValueError(f"{kind} {name} exists")
        now = self._clock.wall_ns()
        with self._store.transaction() as db:
            query = "INSERT INTO repos (kind, name, private, gated, created) VALUES (?, ?, ?, ?, ?)"
            row = db.execute(query, (kind, name, private, gated, now))
            number = row.lastrowid or 0
            self._add_commit(number, DEFAULT_BRANCH, {}, "initial commit")
        return Repo(number, kind, name, private, gated, now)

    def add_alias(self, repo: Repo, alias: str) -> None:
        """Let the repo be found by an older name, as "gpt2" finds "openai-community/gpt2"."""
        query = "INSERT OR REPLACE INTO aliases VALUES (?, ?, ?)"
        self._store.db.execute(query, (repo.kind, alias, repo.number))

    def find(self, kind: str, name: str) -> Repo | None:
        """The repo of that name, or of that older name."""
        query = """SELECT id, kind, name, private, gated, created FROM repos WHERE kind = :kind
            AND (name = :name OR id = (
                SELECT repo FROM aliases WHERE kind = :kind AND name = :name))"""
        row = self._store.db.execute(query, {"kind": kind, "name": name}).fetchone()
        if row is None:
            return None
        return Repo(row[0], row[1], row[2], bool(row[3]), bool(row[4]), row[5])

    def resolve(self, repo: Repo, revision: str) -> Commit | None:
        """The commit that a branch, tag, full ref or sha names."""
        query = "SELECT target FROM refs WHERE repo = ? AND name = ?"
        for name in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if row := self._store.db.execute(query, (repo.number, name)).fetchone():
                return self.commit_of(row[0])
        if not _SHA.match(revision):
            return None
        query = "SELECT id FROM commits WHERE repo = ? AND sha = ?"
        row = self._store.db.execute(query, (repo.number, revision)).fetchone()
        return None if row is None else self.commit_of(row[0])

    def commit_of(self, number: int) -> Commit:
        """The commit of that number."""
        query = "SELECT id, sha, title, at FROM commits WHERE id = ?"
        return Commit(*self._store.db.execute(query, (number,)).fetchone())

    def refs(self, repo: Repo) -> dict[str, str]:
        """Commit shas by full name ("refs/heads/main")."""
        query = """SELECT name, sha FROM refs JOIN commits ON commits.id = target
            WHERE refs.repo = ? ORDER BY name"""
        return dict(self._store.db.execute(query, (repo.number,)))

    def commit(
        self, repo: Repo, revision: str, changes: Mapping[str, RepoFile | None], title: str
    ) -> Commit:
        """Add a commit to a branch (or a full ref); None as a file deletes it."""
        with self._store.transaction():
            return self.commit_of(self._add_commit(repo.number, revision, changes, title))

    def point(self, repo: Repo, ref: str, commit: Commit) -> None:
        """Set a full ref ("refs/tags/v1") to a commit."""
        query = "INSERT OR REPLACE INTO refs VALUES (?, ?, ?)"
        self._store.db.execute(query, (repo.number, ref, commit.number))

    def tree(self, commit: Commit) -> Tree:
        """All files and directories of a commit."""
        return self._cached_tree(commit.number)

    def _add_commit(
        self, repo: int, revision: str, changes: Mapping[str, RepoFile | None], title: str
    ) -> int:
        db, ref = self._store.db, _full_ref(revision)
        heads = "SELECT target FROM refs WHERE repo = ? AND name IN (?, ?) ORDER BY name = ? DESC"
        main = _full_ref(DEFAULT_BRANCH)
        row = db.execute(heads, (repo, ref, main, ref)).fetchone()
        parent = row[0] if row else None
        number, now = self._next_commit(), self._clock.wall_ns()
        seed = repr((repo, number, parent, title, now, sorted(changes.items())))
        sha = hashlib.sha1(seed.encode(), usedforsecurity=False).hexdigest()
        insert = "INSERT INTO commits VALUES (?, ?, ?, ?, ?, ?)"
        db.execute(insert, (number, repo, sha, parent, title, now))
        copy = """INSERT INTO entries SELECT ?, path, oid, size, xet, sha256, changed FROM entries
            WHERE commit_id = ?"""
        db.execute(copy, (number, parent))
        gone = [(number, path) for path, file in changes.items() if file is None]
        db.executemany("DELETE FROM entries WHERE commit_id = ? AND path = ?", gone)
        rows = [(number, path, *file[:4], number) for path, file in changes.items() if file]
        db.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        db.execute("INSERT OR REPLACE INTO refs VALUES (?, ?, ?)", (repo, ref, number))
        return number

    def _next_commit(self) -> int:
        row: tuple[Any] = self._store.db.execute("SELECT max(id) FROM commits").fetchone()
        return int(row[0] or 0) + 1

    def _read_tree(self, number: int) -> Tree:
        query = """SELECT path, oid, size, xet, sha256, changed FROM entries WHERE commit_id = ?
            ORDER BY path"""
        files = {row[0]: RepoFile(*row[1:]) for row in self._store.db.execute(query, (number,))}
        entries: dict[str, RepoFile | None] = {**files}
        for path in files:
            parent = path.rpartition("/")[0]
            while parent and parent not in entries:
                entries[parent] = None
                parent = parent.rpartition("/")[0]
        ordered = {path: entries[path] for path in sorted(entries)}
        children: dict[str, list[str]] = {"": []}
        for path, file in ordered.items():
            children.setdefault(path.rpartition("/")[0], []).append(path)
            if file is None:
                children.setdefault(path, [])
        return Tree(ordered, {parent: tuple(paths) for parent, paths in children.items()})


def _full_ref(revision: str) -> str:
    return revision if revision.startswith("refs/") else f"refs/heads/{revision}"
