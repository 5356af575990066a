"""How stored bytes are handed out."""

import random
from pathlib import Path

import pytest

from hfnfs.errors import WireError
from hfnfs.localhub.contents import mapped_pieces

MIB = 1 << 20
DATA = random.Random(1).randbytes(2 * MIB + 77)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "xorb"
    path.write_bytes(DATA)
    return path


@pytest.mark.parametrize(
    ("start", "end"), [(0, len(DATA)), (5, 6), (MIB - 1, 2 * MIB + 1), (len(DATA) - 3, len(DATA))]
)
def test_the_pieces_of_a_range_are_its_bytes(stored: Path, start: int, end: int) -> None:
    pieces = list(mapped_pieces(stored, start, end))
    assert b"".join(pieces) == DATA[start:end]
    assert len(pieces) <= 1 + (end - start) // MIB + 1


def test_pieces_outlive_the_name_of_their_file(stored: Path) -> None:
    pieces = mapped_pieces(stored, 0, len(DATA))
    first = next(pieces)
    stored.unlink()
    assert bytes(first) + b"".join(pieces) == DATA


def test_a_range_beyond_the_end_is_refused(stored: Path) -> None:
    with pytest.raises(WireError, match="ends at"):
        list(mapped_pieces(stored, 0, len(DATA) + 1))
