import random
from pathlib import Path

import pytest

from hfnfs.xet import hashes
from hfnfs.xet.chunk import CHUNK_BYTES_MAX
from hfnfs.xet.gear import CHUNK_BYTES_MIN, Chunker
from hfnfs.xet.hashes import Sized
from tests.xet.clients import hashes_by_hf_xet

WINDOW = 64  # bytes that decide on a cut


def chunks_of(data: bytes, piece: int) -> list[bytes]:
    chunker, chunks = Chunker(), []
    for start in range(0, len(data), piece):
        chunks += [bytes(chunk) for chunk in chunker.feed(data[start : start + piece])]
    return chunks + [bytes(chunk) for chunk in chunker.finish()]


def file_hash(data: bytes) -> str:
    chunks = chunks_of(data, 1 << 20)
    return hashes.to_hex(hashes.file_hash([Sized(hashes.chunk_hash(c), len(c)) for c in chunks]))


def contents() -> list[bytes]:
    """Bytes of every sort: random, constant, periodic, of few values, and mixed."""
    rng = random.Random(7)
    edges = (0, 1, CHUNK_BYTES_MIN, CHUNK_BYTES_MAX)
    found = [rng.randbytes(n + d) for n in edges for d in (-1, 0, 1) if n + d >= 0]
    # The last chunk may end anywhere within its first window.
    found += [rng.randbytes(CHUNK_BYTES_MIN + d) for d in range(-2 * WINDOW, WINDOW)]
    found += [rng.randbytes(3_000_000), bytes(1_000_000), bytes(rng.choices(b"ab", k=400_000))]
    for period in (1, 2, 3, 17, 63, 64, 65, 100, 5000):
        found.append(rng.randbytes(period) * (500_000 // period))
    for _ in range(30):
        runs = [
            rng.randbytes(rng.randrange(20_000)) + rng.randbytes(1) * rng.randrange(20_000)
            for _ in range(40)
        ]
        found.append(b"".join(runs))
    return found


def test_files_get_the_hash_that_hf_xet_gives_them(tmp_path: Path) -> None:
    datas = contents()
    paths = [tmp_path / str(number) for number in range(len(datas))]
    for path, data in zip(paths, datas, strict=True):
        path.write_bytes(data)
    assert [file_hash(data) for data in datas] == hashes_by_hf_xet(paths, tmp_path)


@pytest.mark.parametrize("piece", [999, 50_000, 131_072, 700_001])
def test_the_cuts_do_not_depend_on_the_pieces_fed(piece: int) -> None:
    data = random.Random(piece).randbytes(700_000)
    assert chunks_of(data, piece) == chunks_of(data, len(data))


def test_chunks_keep_their_bounds_and_lose_nothing() -> None:
    data = random.Random(3).randbytes(5_000_000)
    chunks = chunks_of(data, 1 << 20)
    assert b"".join(chunks) == data
    assert all(CHUNK_BYTES_MIN <= len(chunk) <= CHUNK_BYTES_MAX for chunk in chunks[:-1])


def test_a_changed_byte_moves_only_the_cuts_around_it() -> None:
    data = random.Random(4).randbytes(3_000_000)
    changed = b"new" + data
    assert len(set(chunks_of(changed, 1 << 20)) - set(chunks_of(data, 1 << 20))) <= 3
