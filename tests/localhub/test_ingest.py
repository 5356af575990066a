"""The Hub's own files are packed as clients would pack them, and pass the checks for uploads."""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from hfnfs.localhub.contents import Contents
from hfnfs.localhub.ingest import Packer
from hfnfs.localhub.store import Store
from hfnfs.xet import xorb
from hfnfs.xet.hashes import to_hex
from hfnfs.xet.shard import Shard, ShardFile
from tests.xet.clients import hashes_by_hf_xet

DATA = random.Random(5).randbytes(1_500_000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "hub")
    yield store
    store.close()


def packed(store: Store, *datas: bytes, piece: int = 1 << 20) -> tuple[Packer, list[ShardFile]]:
    with Packer(store) as packer:
        for data in datas:
            packer.add(data[start : start + piece] for start in range(0, len(data), piece))
    return packer, packer.files()


def read(contents: Contents, file: ShardFile, start: int = 0, end: int | None = None) -> bytes:
    return b"".join(contents.read(file, start, file.size if end is None else end))


def test_files_share_a_xorb_and_read_back(store: Store, tmp_path: Path) -> None:
    datas = [DATA, b"small", b"", DATA[:900_000] + b"other"]
    packer, files = packed(store, *datas, piece=77_777)
    contents = Contents(store)
    contents.keep_files(files, packer.xorbs)
    assert len(packer.xorbs) == 1
    known = [contents.file(file.hash) for file in files]
    assert [read(contents, file) for file in known if file] == datas
    assert [file.sha256 for file in files] == [hashlib.sha256(d).hexdigest() for d in datas]
    paths = [tmp_path / str(number) for number in range(len(datas))]
    for path, data in zip(paths, datas, strict=True):
        path.write_bytes(data)
    assert [to_hex(file.hash) for file in files] == hashes_by_hf_xet(paths, tmp_path)


def test_a_full_xorb_is_followed_by_another(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xorb, "XORB_BYTES_MAX", 400_000)
    packer, (file,) = packed(store, DATA)
    assert len(packer.xorbs) >= 4
    assert len(file.terms) == len(packer.xorbs)
    contents = Contents(store)
    assert read(contents, file) == DATA
    for start, end in ((0, 1), (399_000, 900_001), (len(DATA) - 1, len(DATA)), (7, 7)):
        assert read(contents, file, start, end) == DATA[start:end]


def test_too_many_chunks_begin_another_xorb(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xorb, "XORB_CHUNKS_MAX", 5)
    packer, (file,) = packed(store, DATA)
    assert max(len(part.chunks) for part in packer.xorbs) == 5
    assert read(Contents(store), file) == DATA


def test_equal_chunks_are_stored_once(store: Store) -> None:
    packer, (file,) = packed(store, bytes(5_000_000))
    assert sum(len(part.chunks) for part in packer.xorbs) <= 2
    assert len(file.terms) >= 38
    assert read(Contents(store), file, 131_000, 400_000) == bytes(269_000)


def test_what_was_packed_passes_the_checks_for_uploads(store: Store) -> None:
    packer, files = packed(store, DATA, b"", bytes(300_000))
    upload = Shard(tuple(files), tuple(packer.xorbs))
    assert list(Contents(store).verify(upload)) == files


def test_a_source_that_fails_leaves_nothing(store: Store, tmp_path: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield DATA
        raise OSError("the disk went away")

    with pytest.raises(OSError, match="went away"), Packer(store) as packer:
        packer.add(failing())
    assert not (tmp_path / "hub" / "xorbs").exists()
    assert list((tmp_path / "hub" / "incoming").iterdir()) == []
