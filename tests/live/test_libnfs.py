"""libnfs' own programs (Debian's libnfs-utils) read what the Hub has, byte for byte."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import trees
from tests.live.product import Served, hub_with, served

TREE = trees.sample()


def run(program: str, *words: str) -> bytes:
    done = subprocess.run([program, *words], capture_output=True, check=False)
    assert done.returncode == 0, f"{program} {words}: {done.stderr.decode()}"
    return done.stdout


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if shutil.which("nfs-ls") is None:
        pytest.skip("nfs-ls is not installed (apt install libnfs-utils)")
    folder = tmp_path_factory.mktemp("libnfs")
    with (
        hub_with(folder / "hub", {"me/sample": TREE}) as hub,
        served(hub.endpoint, "me/sample", folder / "mount") as server,
    ):
        yield server


def listed(output: bytes) -> dict[str, int]:
    """Sizes of the files in what nfs-ls wrote: mode, links, uid, gid, size, name."""
    rows = (line.split(maxsplit=5) for line in output.decode().splitlines())
    return {row[5]: int(row[4]) for row in rows if row[0].startswith("-")}


def test_nfs_ls_lists_the_whole_tree_with_its_sizes(repo: Served) -> None:
    found = listed(run("nfs-ls", "-R", repo.url))
    assert found == {path: len(data) for path, data in TREE.items()}


def test_nfs_cat_reads_every_file_byte_for_byte(repo: Served) -> None:
    some_of_many = [path for path in TREE if not path.startswith("many/") or path.endswith("7.txt")]
    for path in some_of_many:
        assert run("nfs-cat", repo.url_of(path)) == TREE[path], path


def test_nfs_cp_copies_a_big_file_to_this_machine(repo: Served, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    run("nfs-cp", repo.url_of(trees.BIG), str(copy))
    assert copy.read_bytes() == TREE[trees.BIG]
