"""The benchmark runs from one end to the other; what it measures is not for a test to judge."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.guest import ROOT

COMPARE = ROOT / "scripts" / "bench" / "compare"
NEEDED = {"ganesha.nfsd": "nfs-ganesha nfs-ganesha-vfs", "cc": "gcc", "unshare": "util-linux"}


@pytest.fixture
def benchmark() -> list[str]:
    """The command, short; skips where it cannot run."""
    if os.geteuid() != 0:
        pytest.skip("the benchmark's namespaces need root")
    everywhere = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [p for name, p in NEEDED.items() if shutil.which(name, path=everywhere) is None]
    if not Path("/usr/include/nfsc/libnfs.h").exists():
        missing.append("libnfs-dev")
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)}")
    return [str(COMPARE), "--rounds", "1", "--seconds", "0.05"]


def test_it_compares_equal_bytes_in_every_job(benchmark: list[str]) -> None:
    environment = {**os.environ, "VENV": str(Path(sys.executable).parent.parent)}
    done = subprocess.run(benchmark, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    head, _, *rows = done.stdout.splitlines()
    assert head.startswith("| calls |")
    assert [row.split(" | ")[0] for row in rows] == [
        "| READ 1 MiB in sequence, 8 outstanding",
        "| GETATTR, 32 outstanding",
        "| GETATTR, one at a time",
    ]
