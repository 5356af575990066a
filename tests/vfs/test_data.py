from math import inf

import pytest

from hfnfs.errors import IsDirectory
from hfnfs.remote import ContentId
from hfnfs.vfs.data import Data
from hfnfs.vfs.needs import Extent, NotYet, Resident
from hfnfs.vfs.node import Node
from tests.vfs.builders import SetClock, file, listing, tree

BYTES = b"0123456789"


class FixedExtents:
    """All of one content, in one of three states."""

    def __init__(self, *, present: bool = True, resident: bool = True) -> None:
        self.present = present
        self.resident = resident

    def read(self, content: ContentId, start: int, end: int) -> memoryview | None:
        return memoryview(BYTES)[start:end] if self.present and self.resident else None

    def has(self, content: ContentId, start: int, end: int) -> bool:
        return self.present

    def gap(self, content: ContentId, start: int, end: int) -> tuple[int, int] | None:
        return None if self.present else (start, end)

    def add(self, content: ContentId, offset: int, data: bytes | memoryview) -> None:
        self.present = True

    def make_resident(self, content: ContentId, start: int, end: int) -> None:
        self.resident = True

    def pin(self, content: ContentId, start: int, end: int) -> None: ...

    def unpin(self, content: ContentId, start: int, end: int) -> None: ...


def a_file(size: int = 10) -> Node:
    t = tree(SetClock(), ttl_s=inf)
    t.apply_listing(t.root, listing(file("a", size)))
    return t.lookup(t.root, b"a")


@pytest.mark.parametrize(
    ("offset", "count", "expected", "eof"),
    [
        (0, 4, b"0123", False),
        (4, 6, b"456789", True),
        (4, 5, b"45678", False),
        (8, 100, b"89", True),
        (10, 1, b"", True),
        (99, 1, b"", True),
        (3, 0, b"", False),
        (10, 0, b"", True),
    ],
)
def test_a_read_ends_at_the_file_and_says_so(
    offset: int, count: int, expected: bytes, eof: bool
) -> None:
    data, ends = Data(FixedExtents()).read(a_file(), offset, count)
    assert (bytes(data), ends) == (expected, eof)


def test_absent_and_unchecked_bytes_are_different_needs() -> None:
    node = a_file()
    assert node.content is not None
    for extents, need in (
        (FixedExtents(present=False), Extent),
        (FixedExtents(resident=False), Resident),
    ):
        with pytest.raises(NotYet) as caught:
            Data(extents).read(node, 2, 100)
        assert caught.value.need == need(node.content, 2, 10)


def test_an_empty_file_asks_for_nothing() -> None:
    assert Data(FixedExtents(present=False)).read(a_file(0), 0, 100) == (b"", True)


def test_a_directory_has_no_bytes() -> None:
    with pytest.raises(IsDirectory):
        Data(FixedExtents()).read(tree(SetClock()).root, 0, 1)


def test_who_reads_over_a_tripwire_is_told_of_though_it_has_its_bytes() -> None:
    data, node = Data(FixedExtents()), a_file()
    assert node.content is not None
    data.tripwires[node.content.key] = (3, 7)
    assert data.read(node, 4, 3) == (b"456", False)
    with pytest.raises(NotYet) as caught:
        data.read(node, 5, 3)
    assert caught.value.need == Extent(node.content, 5, 8)
