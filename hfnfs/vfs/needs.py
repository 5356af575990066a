"""What a request can be waiting for.

A procedure runs synchronously over memory. If something is not there yet it raises NotYet before
it has changed anything: a page fault. Somebody else meets the need and runs the procedure again.
If all is done and must only become durable first, it returns Held.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from hfnfs.remote import ContentId

T = TypeVar("T")


class Extent(NamedTuple):
    """Bytes [start, end) of a remote content, in the local cache."""

    content: ContentId
    start: int
    end: int


class Resident(NamedTuple):
    """Cached bytes [start, end) read into memory and checked, so that taking them cannot block."""

    content: ContentId
    start: int
    end: int


class Named(NamedTuple):
    """One name of a directory that is not listed: what it is, or that it is not there."""

    directory: int  # fileid
    name: bytes


class Listed(NamedTuple):
    """All entries of a directory, asked for at `not_before` (monotonic seconds) or later.

    So a listing that was fetched for this very call satisfies it, however long that took.
    """

    directory: int  # fileid
    not_before: float


class Subtree(NamedTuple):
    """Every directory below this one listed, at `not_before` (monotonic seconds) or later."""

    directory: int  # fileid
    not_before: float


class Staged(NamedTuple):
    """Staged bytes [start, end) of a file read into memory, so that taking them cannot block."""

    fileid: int
    start: int
    end: int


class Synced(NamedTuple):
    """No more than so many staged bytes of the volume that are not on the disk."""

    unsynced_bytes_max: int


class StagingRoom(NamedTuple):
    """Room to stage so many bytes: what the Hub has is given up, what it lacks is hurried."""

    bytes: int


class Cloned(NamedTuple):
    """A copy of what is staged of a file at that version, for another file."""

    fileid: int
    version: int


class Durable(NamedTuple):
    """All that was written to a file up to that version is on the disk, with its record."""

    fileid: int
    version: int


class Journaled(NamedTuple):
    """All changes of the volume up to this ticket are on the disk."""

    ticket: int


Need: TypeAlias = (
    Extent
    | Resident
    | Named
    | Listed
    | Subtree
    | Staged
    | Synced
    | StagingRoom
    | Cloned
    | Durable
    | Journaled
)


class NotYet(Exception):
    """Wait before: nothing has been changed; meet `need`, then run the request again."""

    def __init__(self, need: Need) -> None:
        super().__init__(need)
        self.need = need


class Held(NamedTuple, Generic[T]):
    """Wait after: all is done; send `result` once `until` is met (COMMIT, FILE_SYNC)."""

    result: T
    until: Durable | Journaled


# Called once, on the loop, when a need is met (None), or with why it cannot be.
Then: TypeAlias = Callable[[Exception | None], None]


class Pager(Protocol):
    """Meets needs; transfer/ implements it, nfs3/ waits for it."""

    def meet(self, need: Need) -> AbstractAsyncContextManager[None]:
        """Enter once `need` is met; what it brought stays at hand until the block is left.

        Raises the HfnfsError that says why it cannot be met. Bounded by its own deadlines.
        """
        ...

    def when_met(self, need: Durable | Journaled, then: Then) -> None:
        """Call `then` once `need` is met, or cannot be: now, or later and without a task."""
        ...
