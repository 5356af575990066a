"""One Xet-backed file of 1 GiB: all of it is right, and a little of it costs little."""

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from hfnfs.config import GIB, MIB
from hfnfs.localhub.hub import LocalHub
from tests.live import guest
from tests.live.product import hub_with, served

pytestmark = pytest.mark.usefixtures("kernel_client")
PIECE_BYTES = 8 * MIB
READ_BYTES = 4096
FETCHED_BYTES_MAX = MIB


def pieces() -> Iterator[bytes]:
    """The file, which is never in memory as a whole; it has no two equal chunks."""
    dice = random.Random(1)
    for _ in range(GIB // PIECE_BYTES):
        yield dice.randbytes(PIECE_BYTES)


@pytest.fixture(scope="module")
def hub(kernel_client: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    folder = tmp_path_factory.mktemp("gigabyte")
    with hub_with(folder / "hub", {"me/big": {"big.bin": pieces()}}) as hub:
        yield hub


def test_it_reads_byte_for_byte(hub: LocalHub, tmp_path: Path) -> None:
    expected = hashlib.sha256()
    for piece in pieces():
        expected.update(piece)
    with served(hub.endpoint, "me/big", tmp_path) as server:
        seen = guest.run_on_mount(server.port, "whole_read.py", "big.bin")
    assert seen == {"sha256": expected.hexdigest()}


def test_4_kib_at_a_random_place_fetch_less_than_1_mib(hub: LocalHub, tmp_path: Path) -> None:
    offset = random.Random(2).randrange(GIB - READ_BYTES)
    number, within = divmod(offset, PIECE_BYTES)
    near = b"".join(piece for i, piece in enumerate(pieces()) if i in {number, number + 1})
    with served(hub.endpoint, "me/big", tmp_path) as server:
        hub.counters.clear()
        seen = guest.run_on_mount(server.port, "random_read.py", "big.bin", str(offset))
        fetched = sum(hub.counters.bytes_out.values())
    expected = near[within : within + READ_BYTES]
    assert seen == {"sha256": hashlib.sha256(expected).hexdigest(), "size": GIB}
    assert READ_BYTES <= fetched < FETCHED_BYTES_MAX
