"""What the volume asks of the rooms below; they implement it without knowing the volume."""

from typing import Protocol, TypeAlias

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
