"""The real Linux NFS client reads what the Hub has: names, bytes, ranges, maps, tensors."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.live import guest, trees
from tests.live.inside.observe import random_ranges
from tests.live.product import hub_with, served

pytestmark = pytest.mark.usefixtures("kernel_client")
TREE = trees.sample()
SEED = 11


def sha256(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def seen(kernel_client: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """All that inside/observe.py saw, in one boot."""
    folder = tmp_path_factory.mktemp("kernel")
    with (
        hub_with(folder / "hub", {"me/sample": TREE}) as hub,
        served(hub.endpoint, "me/sample", folder / "mount") as server,
    ):
        yield guest.run_on_mount(server.port, "observe.py", trees.BIG, trees.TENSORS, str(SEED))


def sizes_of(listing: str) -> dict[str, int]:
    """Sizes of the files in what `ls -lR .` wrote."""
    sizes, folder = {}, ""
    for line in listing.splitlines():
        if line.endswith(":") and line.startswith("."):
            folder = line[2:-1]
        elif line.startswith("-"):
            fields = line.split(maxsplit=8)
            sizes[str(Path(folder, fields[8]))] = int(fields[4])
    return sizes


def test_ls_lists_every_file_with_its_size(seen: Any) -> None:
    assert sizes_of(seen["ls"]) == {path: len(data) for path, data in TREE.items()}


def test_cat_shows_all_files_byte_for_byte(seen: Any) -> None:
    in_order = sorted(TREE, key=lambda path: b"./" + path.encode())
    assert seen["cat"] == sha256(b"".join(TREE[path] for path in in_order))


def test_sha256sum_agrees_on_every_file(seen: Any) -> None:
    rows = (line.split("  ./", 1) for line in seen["sha256sum"].splitlines())
    assert {path: digest for digest, path in rows} == {p: sha256(d) for p, d in TREE.items()}


def test_reads_at_random_places_give_the_bytes_of_that_place(seen: Any) -> None:
    data = TREE[trees.BIG]
    ranges = random_ranges(len(data), SEED)
    assert seen["preads"] == [sha256(data[at : at + length]) for at, length in ranges]


def test_a_memory_map_shows_the_file(seen: Any) -> None:
    assert seen["mapped"] == sha256(TREE[trees.BIG])


def test_safetensors_loads_its_tensors_from_the_mount(seen: Any) -> None:
    expected: Mapping[str, str] = {
        name: sha256(tensor.tobytes()) for name, tensor in trees.tensors().items()
    }
    assert seen["tensors"] == expected
