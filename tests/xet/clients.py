"""hf_xet, asked in a process of its own: it raises limits and writes logs when imported."""

import os
import subprocess
import sys
from pathlib import Path

_HASH_FILES = """
import sys, hf_xet
for info in hf_xet.hash_files(sys.argv[1:]):
    print(info.hash)
"""


def hashes_by_hf_xet(paths: list[Path], scratch: Path) -> list[str]:
    """File hashes as the independent client computes them."""
    environment = {**os.environ, "HF_XET_LOG_DEST": f"{scratch}/", "HF_XET_CACHE": str(scratch)}
    command = [sys.executable, "-c", _HASH_FILES, *map(str, paths)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.split()
