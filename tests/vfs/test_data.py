from collections.abc import Iterator
from math import inf
from pathlib import Path

import pytest

from hfnfs.errors import IsDirectory
from hfnfs.remote import EMPTY, ContentId
from hfnfs.vfs.data import Data
from hfnfs.vfs.needs import Extent, NotYet, Resident, Staged
from hfnfs.vfs.node import Node
from tests.vfs.builders import SetClock, file, listing, tree
from tests.vfs.writers import Bench

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


# ------------------------------------------------------------------ through overlays


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.crash()


def test_what_was_written_is_read_over_the_base_and_zeros(bench: Bench) -> None:
    node = bench.file(b"0123456789")
    bench.writing.write(node, 2, b"AB")
    bench.writing.write(node, 6, b"C")
    bench.writing.write(node, 13, b"D")
    assert bench.read(node) == b"01AB45C789\0\0\0D"
    assert bench.data.read(node, 3, 4) == (b"B45C", False)


def test_a_read_from_one_place_alone_is_handed_on_as_it_is(bench: Bench) -> None:
    node = bench.file(b"0123456789")
    bench.writing.write(node, 2, b"ABCD")
    of_base, _ = bench.data.read(node, 7, 3)
    assert isinstance(of_base, memoryview)
    assert of_base.obj is bench.extents.contents[node.content or EMPTY]
    bench.extents.reads.clear()
    assert bench.data.read(node, 3, 2) == (b"BC", False)
    assert bench.extents.reads == []


def test_the_base_is_asked_for_once_however_small_its_parts(bench: Bench) -> None:
    node = bench.file(bytes(100))
    for offset in range(1, 100, 2):
        bench.writing.write(node, offset, b"x")
    bench.extents.reads.clear()
    assert bench.data.read(node, 1, 98) == (b"x\0" * 49, False)
    assert bench.extents.reads == [(2, 99)]


def test_absent_bytes_of_the_base_are_a_need_and_staged_ones_are_not(bench: Bench) -> None:
    node = bench.file(b"0123456789")
    bench.writing.write(node, 2, b"AB")
    assert node.content is not None
    bench.extents.absent.add(node.content)
    assert bench.data.read(node, 2, 2) == (b"AB", False)
    with pytest.raises(NotYet) as caught:
        bench.data.read(node, 1, 6)
    assert caught.value.need == Extent(node.content, 1, 7)


def test_staged_bytes_that_are_not_in_memory_are_a_need(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = bench.file(b"0123456789")
    bench.writing.write(node, 2, b"AB")
    bench.writing.write(node, 6, b"C")
    monkeypatch.setattr(bench.staging, "read_resident", lambda *_args: None)
    with pytest.raises(NotYet) as caught:
        bench.data.read(node, 0, 10)
    assert caught.value.need == Staged(node.fileid, 2, 7)


def test_a_tripwire_of_the_base_is_told_of_through_an_overlay(bench: Bench) -> None:
    node = bench.file(b"0123456789")
    bench.writing.write(node, 9, b"Z")
    assert node.content is not None
    bench.data.tripwires[node.content.key] = (3,)
    with pytest.raises(NotYet) as caught:
        bench.data.read(node, 2, 8)
    assert caught.value.need == Extent(node.content, 2, 9)


def test_a_file_that_was_never_anything_but_long_is_zeros(bench: Bench) -> None:
    node = bench.file(b"")
    bench.writing.truncate(node, 5)
    assert bench.read(node) == bytes(5)
