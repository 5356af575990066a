import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from hfnfs.transfer.formats import (
    HEAD_BYTES,
    INDEX_BYTES_MAX,
    Known,
    Span,
    footer,
    known_by_head,
)


def test_safetensors_as_its_own_library_writes_it_tells_its_header(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({f"layer.{n}": np.zeros((n, 7), np.float32) for n in range(1, 40)}, path)
    data = path.read_bytes()
    known = known_by_head(data[:HEAD_BYTES], len(data))
    assert known is not None
    assert known.is_tensors
    assert known.index.start == 0
    header = json.loads(data[8 : known.index.end])
    assert "layer.39" in header


@pytest.mark.parametrize("version", [1, 2, 3])
def test_gguf_is_known_by_its_magic_and_version(version: int) -> None:
    head = b"GGUF" + struct.pack("<IQ", version, 5)
    assert known_by_head(head, 4000) == Known("GGUF", Span(0, 4000), True)
    known = known_by_head(head, 1 << 40)
    assert known is not None
    assert known.index.end < 1 << 24


def test_parquet_is_read_from_its_foot() -> None:
    known = known_by_head(b"PAR1".ljust(HEAD_BYTES, b"\x15"), 1_000_000)
    assert known == Known("parquet", Span(1_000_000 - 65536, 1_000_000), False)
    assert footer(struct.pack("<I", 3000) + b"PAR1", 1_000_000) == Span(996_992, 1_000_000)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"GGUF",
        b"GGUF" + struct.pack("<IQ", 99, 5),
        struct.pack("<Q", 1 << 60) + b"{" * 8,
        struct.pack("<Q", 100) + b"x" * 8,
        struct.pack("<Q", 1) + b"{" * 8,
        b"\x80\x02" * 8,
    ],
)
def test_what_only_looks_like_one_is_none(head: bytes) -> None:
    assert known_by_head(head, 5000) is None


def test_a_header_longer_than_its_file_is_none() -> None:
    assert known_by_head(struct.pack("<Q", 5000) + b"{" * 8, 5000) is None


@pytest.mark.parametrize(
    "foot", [b"", b"PAR1", struct.pack("<I", 10_000) + b"PAR1", struct.pack("<I", 9) + b"PARE"]
)
def test_a_foot_that_cannot_be_is_none(foot: bytes) -> None:
    assert footer(foot, 5000) is None


@given(st.binary(min_size=HEAD_BYTES, max_size=HEAD_BYTES), st.integers(0, 1 << 50))
def test_an_index_lies_in_its_file_and_within_the_bound(head: bytes, size: int) -> None:
    for start in (head, b"GGUF\3\0\0\0" + head[8:], head[:8] + b"{" + head[9:], b"PAR1" + head[4:]):
        known = known_by_head(start, size)
        if known is not None:
            assert 0 <= known.index.start <= known.index.end <= size
            assert known.index.end - known.index.start <= INDEX_BYTES_MAX
    span = footer(head[:4] + b"PAR1", size)
    if span is not None:
        assert 4 <= span.start <= span.end == size
        assert span.end - span.start <= INDEX_BYTES_MAX
