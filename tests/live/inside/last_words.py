"""Write to a bucket that hf-mount-nfs itself has mounted, and end the mount before it was sent.

    last_words.py

Starts a local Hub, mounts a bucket of it case by case, has a file written there, and reports as a
line of JSON how each mount ended, and in "hub" what the bucket holds by then.
"""

import hashlib
import json
import mmap
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hfnfs.localhub.accounts import DEFAULT_TOKEN
from tests.live.inside.mount_command import BIN, nfs_mounts, until
from tests.live.product import hub_with_bucket
from tests.live.trees import noise

PLACE, POINT = Path("/mnt/place"), Path("/mnt/place/point")
BUCKET = "local/data"
PATIENCE_S = 120.0
MAPPED = noise(16 * 1024 * 1024, seed=6)
WRITTEN = noise(3_000_000, seed=7)
LINES = "".join(f"line {n}\n" for n in range(300)).encode()
Mount = subprocess.Popen[bytes]


def umount(_: Mount) -> None:
    subprocess.run(["umount", POINT], check=True)


def terminate(mount: Mount) -> None:
    mount.send_signal(signal.SIGTERM)


def dirty_bytes() -> int:
    """What the client has yet to write."""
    told = Path("/proc/meminfo").read_text()
    return 1024 * sum(map(int, re.findall(r"\b(?:Dirty|Writeback):\s+(\d+) kB", told)))


def close_all_of(path: Path) -> None:
    """Close the descriptors of a file that Python's maps have for themselves."""
    for number in os.listdir("/proc/self/fd"):
        if os.path.realpath(f"/proc/self/fd/{number}") == str(path):
            os.close(int(number))


def mapped(name: str, end: Callable[[Mount], None]) -> Callable[[Mount], dict[str, Any]]:
    """Put bytes into a file by a map that outlives its descriptors: closing one would send them."""

    def write(mount: Mount) -> dict[str, Any]:
        with (POINT / name).open("w+b") as file:
            file.truncate(len(MAPPED))
            pages = mmap.mmap(file.fileno(), len(MAPPED))
        close_all_of(POINT / name)
        pages[:] = MAPPED
        pages.close()
        dirty = dirty_bytes()
        end(mount)
        return {"dirty": dirty}

    return write


def appended(mount: Mount) -> dict[str, Any]:
    loop = f"""
        n=0
        while [ $n -lt {len(LINES.splitlines())} ]; do
            echo "line $n" >> {POINT}/appended
            n=$((n + 1))
        done
        umount {POINT}
    """
    subprocess.run(["sh", "-euc", loop], check=True)
    return {}


def detached(mount: Mount) -> dict[str, Any]:
    """A program goes on writing to what was unmounted lazily."""
    with (POINT / "detached").open("wb") as file:
        file.write(WRITTEN[:100_000])
        subprocess.run(["umount", "-l", POINT], check=True)
        os.fsync(file.fileno())
        file.write(WRITTEN[100_000:])
        os.fsync(file.fileno())
        return {"served": mount.poll() is None}


CASES: dict[str, Callable[[Mount], dict[str, Any]]] = {
    "appended": appended,
    "mapped": mapped("mapped", umount),
    "mapped and signalled": mapped("mapped and signalled", terminate),
    "detached": detached,
}
LEFT = {
    "appended": LINES,
    "mapped": MAPPED,
    "mapped and signalled": MAPPED,
    "detached": WRITTEN,
}


def observe(case: str, url: str) -> dict[str, Any]:
    argv = [str(BIN / "hf-mount-nfs"), "bucket", BUCKET, str(POINT), "--hub-endpoint", url]
    output = PLACE / f"{case}.log"
    with output.open("wb") as log:
        mount = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    until("it is mounted", lambda: str(POINT) in nfs_mounts() or mount.poll() is not None)
    until("it says so", lambda: "mounted" in output.read_text() or mount.poll() is not None)
    seen = CASES[case](mount)
    ended = {"exit": mount.wait(PATIENCE_S), "left": nfs_mounts(), "output": output.read_text()}
    return {**seen, **ended}


def main() -> None:
    PLACE.mkdir()
    os.environ |= {"HOME": str(PLACE), "HF_HOME": str(PLACE), "HF_TOKEN": DEFAULT_TOKEN}
    with hub_with_bucket(PLACE / "hub", BUCKET, {}) as (hub, thread):
        seen = {case: observe(case, hub.endpoint) for case in CASES}
        files = thread.do(hub.files(BUCKET))
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
    print(json.dumps({"cases": seen, "hub": digests}))


if __name__ == "__main__":
    main()
