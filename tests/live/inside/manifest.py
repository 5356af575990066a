"""What there is on a mount: every name with its kind, bytes, times and mode.

manifest.py        of all below the working directory, as a line of JSON
"""

import hashlib
import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any, TypeAlias

Manifest: TypeAlias = dict[str, dict[str, Any]]  # facts by path

NAME_OF = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}


def manifest(root: str = ".") -> Manifest:
    """Everything below root by path; of a file the size, digest and mtime, of a link the target."""
    paths = [os.path.join(folder, n) for folder, ds, fs in os.walk(root) for n in ds + fs]
    return {os.path.relpath(path, root): facts(path) for path in sorted(paths)}


def facts(path: str) -> dict[str, Any]:
    """What one name shows."""
    status = os.lstat(path)
    kind = NAME_OF[stat.S_IFMT(status.st_mode)]
    known: dict[str, Any] = {"kind": kind, "mode": stat.S_IMODE(status.st_mode)}
    if kind == "symlink":
        return {"kind": kind, "target": os.readlink(path)}
    if kind == "file":
        with open(path, "rb") as file:
            known["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
        known |= {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
    return known


def drop_caches() -> None:
    """Let the kernel forget all that it can read again."""
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def remount() -> None:
    """Unmount what we work in and mount it again, by the command in REMOUNT."""
    here = os.getcwd()
    os.chdir("/")
    subprocess.run(["sh", "-euc", os.environ["REMOUNT"]], check=True)
    os.chdir(here)


if __name__ == "__main__":
    print(json.dumps(manifest()))
