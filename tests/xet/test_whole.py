"""The hash of a whole file, by either way of cutting it, is the one that the Hub gives it."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import hf_xet
import pytest

from hfnfs.xet.hashes import NO_HASH, to_hex
from hfnfs.xet.whole import _cut_by_hf_xet, _cut_here, whole_hash


def pieces(data: bytes, seed: int = 1) -> Iterator[memoryview]:
    rng, left = random.Random(seed), memoryview(data)
    while left:
        count = rng.randrange(1, 300_000)
        yield left[:count]
        left = left[count:]


@pytest.mark.parametrize("size", [1, 8191, 65_536, 131_073, 1_048_575, 1_048_576, 5_000_001])
def test_it_is_the_hash_that_hf_xet_gives_the_file(size: int, tmp_path: Path) -> None:
    data = random.Random(size).randbytes(size)
    (tmp_path / "file").write_bytes(data)
    (expected,) = hf_xet.hash_files([str(tmp_path / "file")])
    assert whole_hash(pieces(data), size) == expected.hash
    assert _cut_here(pieces(data)) == _cut_by_hf_xet(pieces(data)) == expected.hash


def test_an_empty_file_has_the_hash_of_nothing() -> None:
    assert whole_hash([], 0) == to_hex(NO_HASH)


@pytest.mark.parametrize("size", [10, 5_000_000])
def test_what_the_pieces_raise_is_raised_and_no_descriptor_is_left(size: int) -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(size // 2)
        raise KeyError("gone")

    before = len(os.listdir("/dev/fd"))
    for _ in range(3):
        with pytest.raises(KeyError):
            whole_hash(broken(), size)
    assert len(os.listdir("/dev/fd")) == before
