"""libnfs' own programs write to a bucket, and the Hub gets it byte for byte."""

import hashlib
import shutil
from pathlib import Path

import pytest

from tests.live import trees
from tests.live.product import hub_with_bucket, served
from tests.live.readback import read_back
from tests.live.test_libnfs import run

BUCKET = "local/data"
FILES = {
    "empty": b"",
    "one": b"1",
    "a name with ünïcödé #.txt": b"text\n" * 1000,
    "big.bin": trees.noise(5 * trees.MIB + 77, seed=4),
}


@pytest.fixture(autouse=True)
def nfs_cp() -> None:
    if shutil.which("nfs-cp") is None:
        pytest.skip("nfs-cp is not installed (apt install libnfs-utils)")


def test_nfs_cp_copies_files_to_a_bucket(tmp_path: Path) -> None:
    theirs = {"folder/theirs.txt": b"what was there\n"}
    with hub_with_bucket(tmp_path / "hub", BUCKET, theirs) as (hub, _):
        with served(hub.endpoint, BUCKET, tmp_path / "mount", kind="bucket") as server:
            for name, data in FILES.items():
                (tmp_path / "source").write_bytes(data)
                run("nfs-cp", str(tmp_path / "source"), server.url_of(f"folder/{name}"))
                assert run("nfs-cat", server.url_of(f"folder/{name}")) == data
        kept = read_back(hub, BUCKET, tmp_path)
    expected = theirs | {f"folder/{name}": data for name, data in FILES.items()}
    assert {path: file.sha256 for path, file in kept.items()} == {
        path: hashlib.sha256(data).hexdigest() for path, data in expected.items()
    }
