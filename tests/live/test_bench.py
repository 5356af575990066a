"""The benchmarks run from one end to the other; what they measure is not for a test to judge."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.guest import ROOT

COMPARE = ROOT / "scripts" / "bench" / "compare"
NEEDED = {"ganesha.nfsd": "nfs-ganesha nfs-ganesha-vfs", "cc": "gcc", "unshare": "util-linux"}
SHORT = ["--rounds", "1", "--seconds", "0.05", "--entries", "700"]
RACES = [
    ("GETATTR, 32 outstanding", "ganesha"),
    ("LOOKUP, 32 outstanding", "ganesha"),
    ("ACCESS, 32 outstanding", "ganesha"),
    ("GETATTR, 1 outstanding", "ganesha"),
    ("READ 4 KiB, 16 outstanding", "ganesha"),
    ("READ 1 MiB, 8 outstanding", "ganesha"),
    ("READDIRPLUS of 700 entries, 1 outstanding", "ganesha"),
    ("READDIRPLUS of 700 entries, 4 outstanding", "ganesha"),
    ("READ 1 MiB, 8 outstanding", "sendmsg loop"),
    ("GETATTR, 1 outstanding, while 64 READ misses wait", "idle"),
]


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
    return [str(COMPARE), "ganesha", "loopback", "waiting", *SHORT]


def test_every_job_runs_and_its_row_is_what_its_samples_say(
    benchmark: list[str], tmp_path: Path
) -> None:
    environment = {**os.environ, "VENV": str(Path(sys.executable).parent.parent)}
    samples = tmp_path / "samples.json"
    argv = [*benchmark, "--json", str(samples)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    _, _, *rows = done.stdout.splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [(name, against) for name, against, *_ in cells] == RACES
    for row, told in zip(cells, json.loads(samples.read_text()), strict=True):
        (before, after), [between] = told["ours"], told["theirs"]
        ratio = (before["rate"] + after["rate"]) / 2 / between["rate"]
        assert row[2].startswith(f"**{ratio:.2f}**")
