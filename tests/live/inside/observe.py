"""Read everything on the mount in every way, and report what was seen as a line of JSON.

observe.py BIG SAFETENSORS SEED     names of two files on the mount; runs in the mount's root
"""

import hashlib
import json
import mmap
import os
import random
import subprocess
import sys
from pathlib import Path

PREADS = 200


def random_ranges(size: int, seed: int) -> list[tuple[int, int]]:
    """Offsets and lengths within a file, also across and at its end; the same for a seed."""
    dice = random.Random(seed)
    ranges = [(dice.randrange(size), dice.choice((1, 7, 4096, 70_000))) for _ in range(PREADS)]
    return [*ranges, (size - 1, 1), (size - 3, 4096), (size, 1), (size + 5000, 10)]


def sha256(data: bytes | mmap.mmap) -> str:
    return hashlib.sha256(data).hexdigest()


def of_all_files(command: str) -> bytes:
    """What a command writes of all files, named to it in the order of their paths."""
    script = f"find . -type f -print0 | LC_ALL=C sort -z | xargs -0 {command}"
    return subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout


def preads(path: str, seed: int) -> list[str]:
    file = os.open(path, os.O_RDONLY)
    try:
        ranges = random_ranges(os.fstat(file).st_size, seed)
        return [sha256(os.pread(file, length, offset)) for offset, length in ranges]
    finally:
        os.close(file)


def mapped(path: str) -> str:
    """Its end first: a map has no order."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
        half = len(pages) // 2
        end = pages[half:]
        return sha256(pages[:half] + end)


def tensors(path: str) -> dict[str, str]:
    from safetensors.numpy import load_file

    return {name: sha256(tensor.tobytes()) for name, tensor in load_file(path).items()}


def drop_caches() -> None:
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def main() -> None:
    big, safetensors, seed = sys.argv[1:]
    seen: dict[str, object] = {}
    seen["ls"] = subprocess.run(
        ["ls", "-lR"], capture_output=True, check=True, text=True, env={**os.environ, "LC_ALL": "C"}
    ).stdout
    seen["preads"] = preads(big, int(seed))
    drop_caches()
    seen["tensors"] = tensors(safetensors)
    drop_caches()
    seen["mapped"] = mapped(big)
    drop_caches()
    seen["cat"] = sha256(of_all_files("cat"))
    drop_caches()
    seen["sha256sum"] = of_all_files("sha256sum").decode()
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
