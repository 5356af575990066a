"""Run programs on mounts of the real Linux NFS client, in a guest of scripts/kernel-client.

The guest sees this machine's files, read-only, under the same paths; so the programs in inside/
run there with this very Python.
"""

import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hfnfs.host.mount_command import NfsTarget, System, mount_argv

ROOT = Path(__file__).resolve().parent.parent.parent
RUN = ROOT / "scripts" / "kernel-client" / "run"
INSIDE = Path(__file__).with_name("inside")
GUEST_TIMEOUT_S = 420
HOST_ADDRESS = "10.0.2.2"  # of this machine's loopback, seen from the guest
MOUNT_POINT = "/mnt/hf"
NEEDED = {
    "/usr/bin/linux.uml": "user-mode-linux",
    "/bin/busybox": "busybox-static",
    "/sbin/mount.nfs": "nfs-common",
    "/etc/protocols": "netbase",
}


def why_not() -> str | None:
    """Why this machine cannot run the guest; None if it can."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "the guest is a program for Linux on x86_64"
    if os.geteuid() != 0:
        return "the guest's network needs root"
    if not Path("/dev/net/tun").exists():
        return "the guest's network needs /dev/net/tun"
    missing = [package for path, package in NEEDED.items() if not Path(path).exists()]
    return f"not installed: {' '.join(missing)}" if missing else None


def run(words: list[str], *, timeout_s: int = GUEST_TIMEOUT_S) -> str:
    """What `scripts/kernel-client/run words` wrote to its standard output."""
    done = subprocess.run(
        [str(RUN), "--timeout", str(timeout_s), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
    )
    assert done.returncode == 0, (
        f"the guest ended with {done.returncode}\n{done.stderr[-6000:]}\n{done.stdout[-2000:]}"
    )
    return done.stdout


def run_on_mount(
    port: int,
    program: str,
    *words: str,
    forward: Sequence[int] = (),
    read_only: bool = True,
    timeout_s: int = GUEST_TIMEOUT_S,
) -> Any:
    """What inside/`program` reports, run on a mount of what listens on `port`.

    Mounted by the very command that hfnfs mounts with; REMOUNT in the environment is a script that
    does so again. The ports `forward` of this machine's loopback are reached at HOST_ADDRESS, too.
    """
    target = NfsTarget(port=port, host=HOST_ADDRESS, read_only=read_only)
    argv = mount_argv(target, MOUNT_POINT, System.LINUX, helper="/sbin/mount.nfs", sudo=False)
    mount, umount = shlex.join(argv), f"umount {MOUNT_POINT}"
    script = f"""
        export REMOUNT={shlex.quote(f"{umount}; {mount}")}
        mkdir {MOUNT_POINT}
        {mount}
        (cd {MOUNT_POINT}; exec {shlex.join(python(program, *words))})
        {umount}
    """
    ports = [word for number in forward for word in ("--forward", str(number))]
    words_of_run = ["--no-mount", "--port", str(port), *ports, "--", "sh", "-euc", script]
    return json.loads(run(words_of_run, timeout_s=timeout_s).splitlines()[-1])


def run_in_guest(program: str, *words: str) -> Any:
    """What inside/`program` reports that needs no server of this machine."""
    nowhere = ["--no-mount", "--port", "1"]
    return json.loads(run([*nowhere, "--", *python(program, *words)]).splitlines()[-1])


def python(program: str, *words: str) -> list[str]:
    """The command line of inside/`program`, which may import from tests.live.inside."""
    return [
        "env",
        f"PYTHONPATH={ROOT}",
        shutil.which(sys.executable) or sys.executable,
        str(INSIDE / program),
        *words,
    ]
