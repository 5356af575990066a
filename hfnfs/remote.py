"""The vocabulary of the far side: what a repo or bucket is made of, and how to ask for it.

What comes from the far side is a snapshot and frozen; what the mount shows is vfs/'s own.
Paths are relative to the mounted folder, without a leading or trailing slash; "" is the folder
itself. Nothing here is trusted for sizes, names or paths until it was checked by hub/.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeAlias

from hfnfs.errors import RemoteError


@dataclass(frozen=True, slots=True)
class ContentId:
    """Identity of immutable remote bytes: equal ids, equal bytes.

    `key` is "xet-" and Xet's 64 hex digits, or "git-" and the object id of a plain file: fit to
    be a file's name. `path` and `revision` say where plain bytes are fetched and are no part of
    the identity.
    """

    key: str
    size: int  # bytes
    path: str = field(default="", compare=False)
    revision: str = field(default="", compare=False)

    @property
    def xet_hash(self) -> str | None:
        """Xet's hash string of 64 hex digits; None for a plain file."""
        return self.key[4:] if self.key.startswith("xet-") else None


def same(one: ContentId | None, other: ContentId | None) -> bool:
    """Whether these are the same bytes; all files without any are alike."""
    if one is None or other is None:
        return one is other
    return one == other or (one.size == 0 and other.size == 0)


# No bytes at all, as Xet names them: they need no upload.
EMPTY: Final = ContentId(f"xet-{'0' * 64}", 0)


class Kind(Enum):
    """What an entry is; the Hub knows no others."""

    FILE = "file"
    DIRECTORY = "directory"


@dataclass(frozen=True, slots=True)
class RemoteEntry:
    """One file or directory as the far side has it."""

    name: str  # a single component, valid as a file name
    kind: Kind
    content: ContentId | None = None  # a file's bytes; None for a directory
    mtime_ns: int | None = None  # since 1970; None: the far side keeps none

    @property
    def size(self) -> int:
        """Bytes; 0 for a directory."""
        return 0 if self.content is None else self.content.size


@dataclass(frozen=True, slots=True)
class Revision:
    """The state of a repo or bucket that everything shown belongs to."""

    token: str  # a commit's sha, or a bucket's updatedAt: equal tokens, nothing changed
    modified_ns: int  # date of that state, since 1970
    total_bytes: int | None = None  # of all files, where the far side tells
    total_files: int | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """All entries of one directory, by name."""

    revision: str  # Revision.token it belongs to; "" when the far side does not say
    entries: Mapping[str, RemoteEntry]


class Piece(NamedTuple):
    """Consecutive bytes of a content, from `offset` (bytes) on."""

    offset: int
    data: bytes | memoryview


class Remote(Protocol):
    """One repo at one revision, or one bucket, seen from the mounted folder.

    Every method retries what is worth it within its own bounds and then raises a RemoteError.
    """

    immutable: bool  # a listing, once fetched, stays true (a repo pinned to a commit)

    async def revision(self) -> Revision:
        """What the far side has now; also the cheap probe for changes."""
        ...

    async def list(self, directory: str) -> Listing:
        """All entries of `directory`. Raises RemoteEntryMissing."""
        ...

    async def find(self, paths: Sequence[str]) -> Mapping[str, RemoteEntry | None] | None:
        """The entries of `paths`, None for what is not there; None in all: list instead.

        A bucket's far side answers for files only, so a path that it does not know may be a
        directory: such paths are left out of the mapping.
        """
        ...

    def open(self, content: ContentId, start: int, end: int) -> AsyncIterator[Piece]:
        """Stream pieces that follow each other and cover [start, end) of `content`.

        They may begin before `start` and reach beyond `end` (whole Xet chunks), never beyond
        the content's size. Ends only when all of the range was given, else raises RemoteError.
        """
        ...


# --------------------------------------------------------------------- changing it


@dataclass(frozen=True, slots=True)
class Put:
    """Let `path` be a file of `content`, which the far side has: uploaded, or at another path.

    A copy (LINK) is this alone, with the content of the other file; no bytes move.
    """

    path: str
    content: ContentId
    mtime_ns: int  # since 1970; the far side keeps milliseconds


@dataclass(frozen=True, slots=True)
class Delete:
    """Let there be no file at `path`.

    A rename is a Put at the new path and this with `moved_to` that path: the old one goes only
    once the new one is there, so that no failure leaves the content without a name.
    """

    path: str
    moved_to: str | None = None


Operation: TypeAlias = Put | Delete


@dataclass(frozen=True, slots=True)
class Changed:
    """Files that somebody, perhaps we ourselves, changed."""

    entries: Mapping[str, RemoteEntry | None]  # by path; None: deleted
    unclear: frozenset[str] = frozenset()  # changed in a way that was told in part: find them


@dataclass(frozen=True, slots=True)
class Ready:
    """All that changed since the point asked for was told; from now on it is told as it happens."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Some changes will never be told: list again what is known. The feed goes on from here."""

    reason: str


FeedEvent: TypeAlias = Changed | Ready | Reset
# As WritableRemote.changes: what changes after a point.
Feed: TypeAlias = Callable[[str], AsyncIterator[FeedEvent]]


class WritableRemote(Remote, Protocol):
    """A bucket, seen from the mounted folder, that takes changes."""

    async def upload(self, files: Sequence[Path]) -> Sequence[ContentId | RemoteError]:
        """Bring the bytes of local files to the far side; for each its content, or why not.

        The files are not changed meanwhile. One that fails holds up no other. When this ends,
        also by being cancelled, nothing reads them any more. What was uploaded has no name yet:
        that is for commit.
        """
        ...

    async def commit(self, operations: Sequence[Operation]) -> Mapping[str, RemoteError]:
        """Do all of `operations`; the paths of those that failed, with why. Empty: all is done.

        Of several for one path the last counts. All Puts are done before all Deletes. It may be
        repeated, whole or in part, whatever became of it: a path that is to be deleted and is
        not there counts as done.
        """
        ...

    def changes(self, since: str = "") -> AsyncIterator[FeedEvent]:
        """What changes, as it changes, without end; our own commits too.

        `since` is a Revision.token, after which it begins; "": now, so list after Ready. Raises
        FeedUnavailable: look for changes by asking for the revision now and then.
        """
        ...
