"""Write to a bucket that hf-mount-nfs itself has mounted, and end the mount before it was sent.

    last_words.py

Starts a local Hub, mounts a bucket of it case by case, has a file written there, and reports as a
line of JSON how each mount ended, and in "hub" what the bucket holds by then.
"""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

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


class Mount(NamedTuple):
    """A bucket that is mounted by a process of its own."""

    process: subprocess.Popen[bytes]
    said: Path
    on_hub: Callable[[], dict[str, bytes]]  # the bucket's files

    def ended(self) -> bool:
        return self.process.poll() is not None

    def until_sent(self, name: str, data: bytes) -> None:
        """The Hub lacks nothing: what comes now alone is what the server is still needed for."""
        until(f"{name} on the Hub", lambda: self.on_hub().get(name) == data)


def umount(_: Mount) -> None:
    subprocess.run(["umount", POINT], check=True)


def terminate(mount: Mount) -> None:
    mount.process.send_signal(signal.SIGTERM)


def dirty_bytes() -> int:
    """What the client has yet to write."""
    told = Path("/proc/meminfo").read_text()
    return 1024 * sum(map(int, re.findall(r"\b(?:Dirty|Writeback):\s+(\d+) kB", told)))


# Maps a file, and writes to the map when it is told to. Closing a descriptor of the file would
# send what is in the map, so all of them are closed before, the map's own as well.
MAP = """
import mmap, os, sys
from tests.live.inside.last_words import MAPPED
with open(sys.argv[1], "w+b") as file:
    file.truncate(len(MAPPED))
    pages = mmap.mmap(file.fileno(), len(MAPPED))
for number in os.listdir("/proc/self/fd"):
    if os.path.realpath(f"/proc/self/fd/{number}") == sys.argv[1]:
        os.close(int(number))
input()
pages[:] = MAPPED
os._exit(0)
"""


def mapped(name: str, end: Callable[[Mount], None]) -> Callable[[Mount], dict[str, Any]]:
    """Put bytes into a file that nobody sends before the mount ends."""

    def write(mount: Mount) -> dict[str, Any]:
        argv = [sys.executable, "-c", MAP, str(POINT / name)]
        with subprocess.Popen(argv, stdin=subprocess.PIPE) as mapping:
            mount.until_sent(name, bytes(len(MAPPED)))
            mapping.communicate(b"now\n")
        assert mapping.returncode == 0, "it could not write"
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
    with (POINT / "detached").open("wb", buffering=0) as file:
        file.write(WRITTEN[:100_000])
        os.fsync(file.fileno())
        mount.until_sent("detached", WRITTEN[:100_000])
        subprocess.run(["umount", "-l", POINT], check=True)
        until("it is noticed", lambda: "until it has hung up" in mount.said.read_text())
        file.write(WRITTEN[100_000:])
        os.fsync(file.fileno())
        return {"served": not mount.ended()}


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


def observe(case: str, url: str, on_hub: Callable[[], dict[str, bytes]]) -> dict[str, Any]:
    argv = [str(BIN / "hf-mount-nfs"), "bucket", BUCKET, str(POINT), "-v", "--hub-endpoint", url]
    said = PLACE / f"{case}.log"
    with said.open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    mount = Mount(process, said, on_hub)
    until("it is mounted", lambda: str(POINT) in nfs_mounts() or mount.ended())
    until("it says so", lambda: "mounted" in said.read_text() or mount.ended())
    seen = CASES[case](mount)
    code = process.wait(PATIENCE_S)
    return {**seen, "exit": code, "left": nfs_mounts(), "output": said.read_text()}


def main() -> None:
    PLACE.mkdir()
    os.environ |= {"HOME": str(PLACE), "HF_HOME": str(PLACE), "HF_TOKEN": DEFAULT_TOKEN}
    with hub_with_bucket(PLACE / "hub", BUCKET, {}) as (hub, thread):

        def on_hub() -> dict[str, bytes]:
            return thread.do(hub.files(BUCKET))

        seen = {case: observe(case, hub.endpoint, on_hub) for case in CASES}
        digests = {path: hashlib.sha256(data).hexdigest() for path, data in on_hub().items()}
    print(json.dumps({"cases": seen, "hub": digests}))


if __name__ == "__main__":
    main()
