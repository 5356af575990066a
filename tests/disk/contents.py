"""Contents whose bytes are known, for the tests of the block cache."""

import random
from functools import cache
from pathlib import Path

from hfnfs.config import BLOCK_BYTES
from hfnfs.disk.extents import DiskExtents
from hfnfs.disk.segment import SEGMENT_BYTES
from hfnfs.remote import ContentId

EMPTY = ContentId("git-" + "0" * 40, 0)
TINY = ContentId("git-" + "1" * 40, 5)
SMALL = ContentId("xet-" + "2" * 64, 3 * BLOCK_BYTES + 77)
ROUND = ContentId("xet-" + "3" * 64, 4 * BLOCK_BYTES)
# Two segments; only its edge is ever written.
LONG = ContentId("xet-" + "4" * 64, SEGMENT_BYTES + 2 * BLOCK_BYTES + 1)


@cache
def block(content: ContentId, number: int) -> bytes:
    """The bytes of one block."""
    size = min(BLOCK_BYTES, content.size - number * BLOCK_BYTES)
    return random.Random(f"{content.key} {number}").randbytes(size)


def blocks(content: ContentId, first: int, last: int) -> bytes:
    """The bytes of the blocks [first, last)."""
    return b"".join(block(content, number) for number in range(first, last))


def truth(content: ContentId, start: int, end: int) -> bytes:
    """The bytes [start, end)."""
    first = start // BLOCK_BYTES
    data = blocks(content, first, block_count(content, end))
    return data[start - first * BLOCK_BYTES : end - first * BLOCK_BYTES]


def block_count(content: ContentId, end: int | None = None) -> int:
    """Blocks that begin before `end`, or all."""
    return -(-(content.size if end is None else end) // BLOCK_BYTES)


def numbered(number: int, size: int = 8 * BLOCK_BYTES) -> ContentId:
    """One of many contents."""
    return ContentId(f"xet-{number:064x}", size)


def files_of(directory: Path) -> list[Path]:
    """All segments in a cache."""
    return sorted(path for path in directory.glob("??/*") if path.is_file())


def got(extents: DiskExtents, content: ContentId, start: int, end: int) -> bytes | None:
    """A copy of what can be read at once."""
    view = extents.read(content, start, end)
    return None if view is None else bytes(view)
