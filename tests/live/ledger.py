"""What a server answered, call by call, and so what must be there whenever it was killed.

One worker makes one call after the other. So when the server dies at most one call was not
answered, and what is found afterwards is what the calls before it left, or what that one makes of
it. Of a file the bytes that were answered for as stable must be there; of those that were not, any.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np


@dataclass(frozen=True, slots=True)
class Directory:
    """A name of a directory."""

    handle: bytes | None  # None: the call that made it was not answered

    def refuses(self, data: bytes | None) -> str:
        """Why this cannot be what is there; "" if it can."""
        return "" if data is None else "a file where a directory must be"


@dataclass(frozen=True, slots=True)
class File:
    """A name of a file."""

    handle: bytes | None  # likewise
    stable: bytes = b""
    loose: tuple[tuple[int, bytes], ...] = ()  # written since, and where

    @property
    def latest(self) -> bytes:
        """What a READ gives while the server lives."""
        data = bytearray(self.stable)
        for at, piece in self.loose:
            data.extend(bytes(max(0, at - len(data))))
            data[at : at + len(piece)] = piece
        return bytes(data)

    def refuses(self, data: bytes | None) -> str:
        """Why these cannot be the file's bytes after a crash; "" if they can."""
        if data is None:
            return "a directory where a file must be"
        latest = self.latest
        if not len(self.stable) <= len(data) <= len(latest):
            return f"{len(data)} bytes, of {len(self.stable)} stable and {len(latest)} in all"
        seen = np.frombuffer(data, np.uint8)
        possible = seen == np.frombuffer(self.stable.ljust(len(data), b"\0")[: len(data)], np.uint8)
        for at, piece in self.loose:
            end = min(at + len(piece), len(data))
            if at < end:
                possible[at:end] |= seen[at:end] == np.frombuffer(piece[: end - at], np.uint8)
        return (
            "" if possible.all() else f"another byte at {int(np.argmin(possible))} of {len(data)}"
        )


Tree: TypeAlias = Mapping[str, File | Directory]  # by path; nothing is changed in place
Seen: TypeAlias = Mapping[str, tuple[bytes, bytes | None]]  # handle, and bytes of a file


class Call(Protocol):
    """A call that changes something."""

    def applied(self, tree: Tree) -> Tree:
        """What there is once it was answered."""
        ...

    def sent(self, tree: Tree) -> Tree:
        """What there may be from when it was sent."""
        ...


# ------------------------------------------------------------------------------- calls


@dataclass(frozen=True, slots=True)
class Stable(ABC):
    """A call whose effect is stable when it is answered, and which happens or does not."""

    def sent(self, tree: Tree) -> Tree:
        return self.applied(tree)

    @abstractmethod
    def applied(self, tree: Tree) -> Tree:
        """What there is once it was answered."""


@dataclass(frozen=True, slots=True)
class Make(Stable):
    """CREATE of a file, MKDIR."""

    path: str
    made: File | Directory

    def applied(self, tree: Tree) -> Tree:
        return {**tree, self.path: self.made}


@dataclass(frozen=True, slots=True)
class Remove(Stable):
    """REMOVE, RMDIR."""

    path: str

    def applied(self, tree: Tree) -> Tree:
        return {path: entry for path, entry in tree.items() if path != self.path}


@dataclass(frozen=True, slots=True)
class Rename(Stable):
    """RENAME, also of a directory and of all that is in it."""

    source: str
    target: str

    def applied(self, tree: Tree) -> Tree:
        stays = {p: e for p, e in tree.items() if p != self.target and not below(p, self.source)}
        moves = {
            self.target + p[len(self.source) :]: e for p, e in tree.items() if below(p, self.source)
        }
        return {**stays, **moves}


@dataclass(frozen=True, slots=True)
class Truncate(Stable):
    """SETATTR of a size."""

    path: str
    size: int

    def applied(self, tree: Tree) -> Tree:
        file = file_at(tree, self.path)
        loose = tuple((at, piece[: self.size - at]) for at, piece in file.loose if at < self.size)
        stable = file.stable[: self.size].ljust(self.size, b"\0")
        # What was cut off and shows zeros now may only be stable as zeros, or as what it was.
        return {**tree, self.path: File(file.handle, stable, loose)}


@dataclass(frozen=True, slots=True)
class Write:
    """WRITE; stable if FILE_SYNC was asked for."""

    path: str
    at: int
    data: bytes
    stable: bool

    def sent(self, tree: Tree) -> Tree:
        file = file_at(tree, self.path)
        loose = (*file.loose, (self.at, self.data))
        return {**tree, self.path: File(file.handle, file.stable, loose)}

    def applied(self, tree: Tree) -> Tree:
        return Commit(self.path).applied(self.sent(tree)) if self.stable else self.sent(tree)


@dataclass(frozen=True, slots=True)
class Commit:
    """COMMIT of a whole file."""

    path: str

    def sent(self, tree: Tree) -> Tree:
        return tree

    def applied(self, tree: Tree) -> Tree:
        file = file_at(tree, self.path)
        return {**tree, self.path: File(file.handle, file.latest)}


def below(path: str, directory: str) -> bool:
    """Whether it is the directory or lies in it."""
    return path == directory or path.startswith(directory + "/")


def file_at(tree: Tree, path: str) -> File:
    entry = tree[path]
    assert isinstance(entry, File)
    return entry


# ------------------------------------------------------------------------------ ledger


@dataclass(slots=True)
class Ledger:
    """What one worker was answered."""

    tree: Tree = field(default_factory=dict)
    waiting: Call | None = None

    def sending(self, call: Call) -> None:
        """Note a call before it is made."""
        assert self.waiting is None
        self.waiting = call

    def answered(self, call: Call) -> None:
        """Note its answer; of a Make it carries the handle."""
        self.tree = call.applied(self.tree)
        self.waiting = None

    def settle(self, seen: Seen, *, was_killed: bool = True) -> list[str]:
        """Take what a restarted server shows; says what cannot be, nothing if all can.

        If it was not killed, but ended in order, nothing is lost of what was loose, either. All
        that was loose is stable then as it was found; it is what `loose` still has to say
        that the worker has to write again.
        """
        if not was_killed:
            for path, entry in self.tree.items():
                if isinstance(entry, File):
                    self.tree = Commit(path).applied(self.tree)
        possible = [self.tree]
        if self.waiting is not None:
            possible.append(self.waiting.sent(self.tree))
        refusals = [list(refused(tree, seen)) for tree in possible]
        for tree, refusal in zip(possible, refusals, strict=True):
            if not refusal:
                self.tree = {path: found(tree[path], *seen[path]) for path in tree}
                self.waiting = None
                return []
        return [line for refusal in refusals for line in ("if it was so:", *refusal)]


def refused(tree: Tree, seen: Seen) -> Iterator[str]:
    """What is seen and cannot be if `tree` was answered."""
    yield from (f"{path}: is not there" for path in tree.keys() - seen.keys())
    yield from (f"{path}: should not be there" for path in seen.keys() - tree.keys())
    for path in tree.keys() & seen.keys():
        handle, data = seen[path]
        entry = tree[path]
        if entry.handle not in {None, handle}:
            yield f"{path}: another handle"
        if why := entry.refuses(data):
            yield f"{path}: {why}"


def found(entry: File | Directory, handle: bytes, data: bytes | None) -> File | Directory:
    """An entry as it was found; what was loose is still to be written again."""
    if isinstance(entry, Directory) or data is None:
        return Directory(handle)
    return File(handle, data, entry.loose)
