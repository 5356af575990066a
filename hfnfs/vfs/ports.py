"""What the volume asks of the rooms below; they implement it without knowing the volume."""

from pathlib import Path
from typing import Protocol, TypeAlias

from hfnfs.disk.ranges import Ranges
from hfnfs.disk.schema import Change
from hfnfs.disk.snapshot import Snapshot
from hfnfs.remote import ContentId

# By content key, offsets whose reader is to be told of though it has its bytes: who reads ahead
# stretches them, or would hear only of those who have run out.
Tripwires: TypeAlias = dict[str, tuple[int, ...]]


class Extents(Protocol):
    """Remote bytes kept on the local disk, in blocks of BLOCK_BYTES (the last one shorter).

    Offsets are bytes, ranges half open and within the content's size.
    """

    def read(self, content: ContentId, start: int, end: int) -> memoryview | None:
        """Bytes [start, end), or None unless all of them are present, checked and in memory.

        The view stays valid, and its bytes what they are, for as long as it is held.
        """
        ...

    def has(self, content: ContentId, start: int, end: int) -> bool:
        """Whether all of [start, end) is present, perhaps still to be made resident."""
        ...

    def gap(self, content: ContentId, start: int, end: int) -> tuple[int, int] | None:
        """The smallest range of whole blocks with all of [start, end) that is not present."""
        ...

    def add(self, content: ContentId, offset: int, data: bytes | memoryview) -> None:
        """Keep whole blocks from `offset` (a multiple of BLOCK_BYTES) on; resident from now on.

        Raises NoSpace.
        """
        ...

    def make_resident(self, content: ContentId, start: int, end: int) -> None:
        """Read present blocks into memory and check them; a corrupt one is present no more.

        Blocks: run it in a thread.
        """
        ...

    def pin(self, content: ContentId, start: int, end: int) -> None:
        """Keep what lies in [start, end) from eviction until as many unpins have followed."""
        ...

    def unpin(self, content: ContentId, start: int, end: int) -> None:
        """Undo one pin of the same range."""
        ...


class Staging(Protocol):
    """Local bytes of written files, by fileid. None of these waits for the disk."""

    @property
    def unsynced_bytes(self) -> int:
        """What was written and is perhaps not on the disk yet."""
        ...

    @property
    def is_crowded(self) -> bool:
        """Whether so many files have unsynced bytes that some must be synced first."""
        ...

    def has_room(self, count: int) -> bool:
        """Whether so many bytes can be staged."""
        ...

    def write(self, fileid: int, offset: int, data: bytes | memoryview) -> int:
        """Put all of data at offset, in a new file if there is none; its length.

        Raises NoSpace, TryLater, CacheUnusable; then none of it counts.
        """
        ...

    def read_resident(self, fileid: int, start: int, end: int) -> bytes | memoryview | None:
        """Bytes [start, end) if taking them cannot wait for the disk, else None."""
        ...

    def take_little(self, fileid: int) -> list[tuple[int, bytes]] | None:
        """What was written and is not on the disk, to be kept elsewhere; None: `sync` it."""
        ...

    def truncate(self, fileid: int, size: int) -> None:
        """Give up what is staged from `size` on; once its record is durable."""
        ...

    def adopt(self, copy: Snapshot, fileid: int) -> None:
        """Let a copy, of which all bytes are on the disk, be the staged bytes of a new file."""
        ...

    def set_aside(self, *fileids: int) -> list[Path]:
        """Give up all that is staged of files, once their records are durable.

        What is given is then to be unlinked.
        """
        ...

    def doubtful(self, fileid: int) -> Ranges:
        """What was written, did not reach the disk, and may not be what is read."""
        ...

    def reaches(self, fileid: int, end: int) -> bool:
        """Whether a file is staged, and as long as that."""
        ...


class State(Protocol):
    """What outlives the process."""

    @property
    def is_full(self) -> bool:
        """Whether so many changes wait for the disk that no more should be made."""
        ...

    def submit(self, *changes: Change) -> int:
        """Queue changes that become durable together; their ticket. Never waits."""
        ...
