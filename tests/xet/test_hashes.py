import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import WireError
from hfnfs.xet import hashes
from hfnfs.xet.hashes import Sized

RAW = st.binary(min_size=32, max_size=32)


@given(RAW)
def test_hash_strings_read_back(raw: bytes) -> None:
    assert hashes.from_hex(hashes.to_hex(raw)) == raw


def test_a_hash_string_turns_each_group_of_eight_bytes_around() -> None:
    assert hashes.to_hex(bytes(range(32)))[:20] == "07060504030201000f0e"


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64, "0" * 64 + "\n"])
def test_what_is_no_hash_string_is_refused(text: str) -> None:
    with pytest.raises(WireError):
        hashes.from_hex(text)


def test_a_file_without_chunks_has_the_hash_of_zeros() -> None:
    assert hashes.file_hash([]) == hashes.NO_HASH


def test_a_xorb_of_one_chunk_has_its_hash() -> None:
    chunk = Sized(hashes.chunk_hash(b"alone"), 5)
    assert hashes.xorb_hash([chunk]) == chunk.hash
    assert hashes.file_hash([chunk]) != chunk.hash


@given(st.lists(RAW, min_size=2, max_size=40, unique=True), st.data())
def test_the_file_hash_depends_on_every_chunk_and_its_size(
    raws: list[bytes], data: st.DataObject
) -> None:
    chunks = [Sized(raw, 7) for raw in raws]
    index = data.draw(st.integers(0, len(chunks) - 1))
    resized = [*chunks]
    resized[index] = Sized(raws[index], 8)
    swapped = [*chunks[1:], chunks[0]]
    assert hashes.file_hash(chunks) not in {hashes.file_hash(resized), hashes.file_hash(swapped)}


def test_keys_keep_the_kinds_of_hashes_apart() -> None:
    raw = hashes.chunk_hash(b"x")
    kinds = {raw, hashes.term_hash([raw]), hashes.file_hash([Sized(raw, 1)])}
    assert len(kinds) == 3
