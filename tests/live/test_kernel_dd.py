"""A file far larger than what the server may hold in memory is written, and goes to the Hub."""

import re
import time
from pathlib import Path

import pytest

from hfnfs.config import GIB, MIB
from hfnfs.localhub.hub import LocalHub
from tests.live import guest
from tests.live.product import END_TIMEOUT_S, Served, hub_with_bucket, served
from tests.live.readback import read_back
from tests.localhub.clients import run

DRAIN_S = 600
PATIENCE_S = 900.0
pytestmark = [pytest.mark.usefixtures("kernel_client"), pytest.mark.timeout(2400)]
BUCKET = "local/data"
LATER = ["--flush-debounce-ms", "3600000", "--flush-max-batch-window-ms", "3600000"]
DRAIN = ["--flush-shutdown-timeout-ms", str(DRAIN_S * 1000)]
WRITTEN, WRITTEN_DEEP = 256 * MIB, 2 * GIB
GROWTH_OF_WRITING_MAX = 64 * MIB
# hf_xet holds what it cuts and sends: 240 MiB for 256 MiB and for 1 GiB, 306 MiB for 2 GiB.
GROWTH_OF_SENDING_MAX = 400 * MIB
SIZES = 'tell({f.path: f.size for f in api.list_bucket_tree(given["bucket"], recursive=True)})'


def peak_bytes(server: Served) -> int:
    """The most memory that the server ever had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{server.pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


def wait_for(hub: LocalHub, size: int, home: Path) -> None:
    """Return once the Hub has all of the file; versions of its beginning may come before."""
    deadline = time.monotonic() + PATIENCE_S
    while (sizes := run(hub, home, SIZES, bucket=BUCKET)) != {"big": size}:
        assert time.monotonic() < deadline, sizes


def write(server: Served, size: int) -> str:
    """Let dd write the file; its digest."""
    told = guest.run_on_mount(
        server.port, "dd.py", "big", str(size // MIB), read_only=False, timeout_s=900
    )
    assert told["exit"] == 0
    digest: str = told["sha256"]
    return digest


def test_writing_takes_no_memory_for_what_is_written(tmp_path: Path) -> None:
    with hub_with_bucket(tmp_path / "hub", BUCKET, {}) as (hub, _):
        where = (hub.endpoint, BUCKET, tmp_path / "mount")
        end_s = DRAIN_S + END_TIMEOUT_S
        with served(*where, *LATER, *DRAIN, kind="bucket", end_timeout_s=end_s) as server:
            before = peak_bytes(server)
            digest = write(server, WRITTEN)
            growth = peak_bytes(server) - before
            assert not hub.counters.requests["xorb_put"], "it was being sent meanwhile"
        kept = read_back(hub, BUCKET, tmp_path)
    assert growth <= GROWTH_OF_WRITING_MAX
    assert {path: file.sha256 for path, file in kept.items()} == {"big": digest}


@pytest.mark.deep
def test_sending_takes_memory_for_a_part_of_a_file(tmp_path: Path) -> None:
    with hub_with_bucket(tmp_path / "hub", BUCKET, {}) as (hub, _):
        with served(hub.endpoint, BUCKET, tmp_path / "mount", *DRAIN, kind="bucket") as server:
            before = peak_bytes(server)
            digest = write(server, WRITTEN_DEEP)
            wait_for(hub, WRITTEN_DEEP, tmp_path / "asking")
            growth = peak_bytes(server) - before
        kept = read_back(hub, BUCKET, tmp_path)
    assert growth <= GROWTH_OF_SENDING_MAX
    assert {path: file.sha256 for path, file in kept.items()} == {"big": digest}
