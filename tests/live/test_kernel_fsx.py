"""Random work on a file of a bucket, through the real Linux NFS client and many mounts of it."""

import os
import random
from pathlib import Path

import pytest

from tests.live import guest
from tests.live.product import hub_with_bucket, served
from tests.live.readback import read_back

pytestmark = [pytest.mark.usefixtures("kernel_client"), pytest.mark.timeout(2400)]
BUCKET = "local/data"
OPERATIONS, OPERATIONS_DEEP = 3000, 50_000
REMOUNTS, REMOUNTS_DEEP = 5, 25
SEED_OF_CI = 1


def test_whatever_is_done_to_a_file_is_read_back_and_ends_on_the_hub(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    deep = request.config.getoption("--deep")
    seed = SEED_OF_CI if "CI" in os.environ and not deep else random.SystemRandom().getrandbits(32)
    work = (OPERATIONS_DEEP, REMOUNTS_DEEP) if deep else (OPERATIONS, REMOUNTS)
    print(f"fsx.py {seed} {work[0]} {work[1]}")
    # So eager that most versions of the file are on their way to the Hub when the next one comes.
    eager = ["--flush-debounce-ms", "20", "--flush-max-batch-window-ms", "200"]
    with hub_with_bucket(tmp_path / "hub", BUCKET, {}) as (hub, _):
        where = (hub.endpoint, BUCKET, tmp_path / "mount")
        with served(*where, *eager, kind="bucket", end_timeout_s=120) as server:
            told = guest.run_on_mount(
                server.port, "fsx.py", str(seed), *map(str, work), read_only=False, timeout_s=2000
            )
        kept = read_back(hub, BUCKET, tmp_path)
    assert not told["wrong"], f"fsx.py {seed} {work[0]} {work[1]}: {told['wrong']}"
    assert {path: file.sha256 for path, file in kept.items()} == {told["name"]: told["sha256"]}
