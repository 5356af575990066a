"""Runs in the guest, in a directory that a server exports: one job, timed.

    in_guest.py cat FILE | find DIRECTORY | load DIRECTORY

Prints one line of JSON: seconds, units (MiB or files), and found, by which the caller knows that
it was all there.
"""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

MIB = 1024 * 1024


def cat(name: str) -> tuple[float, float, object]:
    """Read a file as `cat` does, from its beginning to its end."""
    begun = time.perf_counter()
    with Path("/dev/null").open("wb") as nowhere:
        subprocess.run(["cat", name], stdout=nowhere, check=True)
    seconds = time.perf_counter() - begun
    size = Path(name).stat().st_size
    return seconds, size / MIB, size


def find(name: str) -> tuple[float, float, object]:
    """List a directory as `find` does."""
    begun = time.perf_counter()
    done = subprocess.run(["find", name, "-type", "f"], stdout=subprocess.PIPE, check=True)
    seconds = time.perf_counter() - begun
    files = done.stdout.count(b"\n")
    return seconds, files, files


def load(name: str) -> tuple[float, float, object]:
    """Load every tensor of a model, shard after shard."""
    begun = time.perf_counter()
    index = json.loads(Path(name, "model.safetensors.index.json").read_text())
    tensors: dict[str, np.ndarray] = {}
    for shard in sorted(set(index["weight_map"].values())):
        tensors |= load_file(Path(name, shard))
    seconds = time.perf_counter() - begun
    digest = hashlib.sha256()
    for _, tensor in sorted(tensors.items()):
        digest.update(tensor.data)
    return seconds, sum(tensor.nbytes for tensor in tensors.values()) / MIB, digest.hexdigest()


JOBS = {"cat": cat, "find": find, "load": load}


def main() -> None:
    """Run the job that the command line names."""
    seconds, units, found = JOBS[sys.argv[1]](sys.argv[2])
    print(json.dumps({"seconds": seconds, "units": units, "found": found}))


if __name__ == "__main__":
    main()
