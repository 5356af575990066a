"""Let hf-mount-nfs do the mounting, in every way a user may name a mount point and end it.

    mount_command.py HUB_FOLDER REPO FILE

Starts a local Hub on a copy of HUB_FOLDER, mounts REPO case by case, reads FILE of it, ends the
mount as the case says, and reports what was seen as a line of JSON.
"""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

BIN = Path(sys.executable).parent
PATIENCE_S = 60.0
HUB, BASE, OUTPUT = Path("/mnt/hub"), Path("/mnt/base"), Path("/mnt/output")
Mount = subprocess.Popen[bytes]


class Case(NamedTuple):
    """A mount point as typed, in BASE as working directory, and how the mount is ended."""

    typed: str
    real: str  # where it must appear, below BASE
    end: Callable[[Mount, str], object]


def umount(_: Mount, point: str) -> None:
    subprocess.run(["umount", point], check=True)


def sends(number: signal.Signals) -> Callable[[Mount, str], object]:
    return lambda mount, _: mount.send_signal(number)


def sends_twice_while_in_use(number: signal.Signals) -> Callable[[Mount, str], object]:
    """The first asks in vain: a process works in there; the second insists."""

    def end(mount: Mount, point: str) -> None:
        user = subprocess.Popen(["sleep", "600"], cwd=point)
        mount.send_signal(number)
        until("it is told to be in use", lambda: "in use by sleep" in OUTPUT.read_text())
        mount.send_signal(number)
        mount.wait(PATIENCE_S)
        user.kill()

    return end


CASES = {
    "absolute": Case(f"{BASE}/absolute", "absolute", umount),
    "relative": Case("relative", "relative", sends(signal.SIGTERM)),
    "symlinked": Case("link/inner", "real/inner", sends(signal.SIGINT)),
    "spaced": Case("with a space", "with a space", sends(signal.SIGTERM)),
    "busy": Case("busy", "busy", sends_twice_while_in_use(signal.SIGTERM)),
}


def until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            sys.exit(f"not within {PATIENCE_S:.0f} s: {what}")
        time.sleep(0.05)


def nfs_mounts() -> list[str]:
    """Mount points of NFS file systems; mountinfo writes a space as \\040."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = [line.split()[4] for line in lines if " - nfs" in line]
    return [point.encode().decode("unicode_escape") for point in points]


def start_hub(folder: str) -> str:
    """URL of a local Hub on a copy of `folder`; it ends with the guest."""
    shutil.copytree(folder, HUB)
    said = Path("/mnt/hub.log")
    with said.open("w") as log:
        subprocess.Popen([BIN / "hf-mount", "localhub", HUB], stdout=log, stderr=log)
    address = re.compile(r"http://127\.0\.0\.1:\d+")
    until("the local Hub's address", lambda: bool(address.search(said.read_text())))
    found = address.search(said.read_text())
    assert found
    return found[0]


def observe(case: Case, url: str, repo: str, file: str) -> dict[str, object]:
    point = str(BASE / case.real)
    argv = [str(BIN / "hf-mount-nfs"), "repo", repo, case.typed, "--hub-endpoint", url]
    with OUTPUT.open("w") as output:
        mount = subprocess.Popen(argv, cwd=BASE, stdout=output, stderr=output)
    until(f"{point} mounted", lambda: point in nfs_mounts() or mount.poll() is not None)
    until("it says so", lambda: "mounted" in OUTPUT.read_text() or mount.poll() is not None)
    read = b""
    with suppress(OSError):
        read = Path(point, file).read_bytes()
    case.end(mount, point)
    return {
        "sha256": hashlib.sha256(read).hexdigest(),
        "exit": mount.wait(PATIENCE_S),
        "left": nfs_mounts(),
        "output": OUTPUT.read_text(),
    }


def run_demo() -> dict[str, object]:
    """The demo, which ends its mounts by itself."""
    argv = [str(BIN / "hf-mount"), "demo"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return {"exit": done.returncode, "left": nfs_mounts(), "output": done.stdout + done.stderr}


def main() -> None:
    folder, repo, file = sys.argv[1:]
    os.environ["HOME"] = os.environ["HF_HOME"] = "/mnt/home"
    (BASE / "real").mkdir(parents=True)
    (BASE / "link").symlink_to("real")
    url = start_hub(folder)
    seen = {name: observe(case, url, repo, file) for name, case in CASES.items()}
    print(json.dumps({**seen, "demo": run_demo()}))


if __name__ == "__main__":
    main()
