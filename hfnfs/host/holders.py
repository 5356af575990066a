"""Which processes keep a mount busy, found without touching it (Linux)."""

import os
from collections.abc import Iterator
from typing import NamedTuple


class Holder(NamedTuple):
    """A process with a file, a directory or a mapping under the mount point."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


def holders(mount_point: str, proc: str = "/proc") -> list[Holder]:
    """Processes of which we may look and that hold something under `mount_point`.

    Reads only the names of what they hold: a link in /proc does not lead through the mount.
    Empty where there is no /proc, and for what only the kernel holds (a nested mount, swap).
    """
    try:
        pids = sorted(int(name) for name in os.listdir(proc) if name.isdigit())
    except OSError:
        return []
    return [
        Holder(pid, _name(f"{proc}/{pid}"))
        for pid in pids
        if any(_is_under(path, mount_point) for path in _held(f"{proc}/{pid}"))
    ]


def _is_under(path: str, mount_point: str) -> bool:
    path = path.removesuffix(" (deleted)")
    return path == mount_point or path.startswith(mount_point.rstrip("/") + "/")


def _held(process: str) -> Iterator[str]:
    """Paths that a process holds; nothing once it has ended or where we may not look."""
    yield from _links(process, ["cwd", "root", "exe"])
    for kind in ("fd", "map_files"):
        try:
            names = os.listdir(f"{process}/{kind}")
        except OSError:
            continue
        yield from _links(f"{process}/{kind}", names)


def _links(directory: str, names: list[str]) -> Iterator[str]:
    for name in names:
        try:
            yield os.readlink(f"{directory}/{name}")
        except OSError:
            continue


def _name(process: str) -> str:
    try:
        with open(f"{process}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "?"
