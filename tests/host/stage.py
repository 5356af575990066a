"""A stage on which mounting is played: programs and a mount table that are files."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

from hfnfs.host.lifetime import MountPlan
from hfnfs.host.mount_command import NfsTarget, System
from hfnfs.host.mount_table import MountEntry, parse_mountinfo
from hfnfs.host.mounting import Mounting
from hfnfs.host.preflight import Machine, Surroundings

TARGET = NfsTarget(port=20049)
MOUNTS = 'echo "41 1 0:52 / $2 ro - nfs $1 ro" >> "$TABLE"'
UNMOUNTS = 'sed -i "/ nfs /d" "$TABLE"'
BUSY = 'echo "umount: $1: target is busy." >&2; exit 32'


class Stage:
    """The table is a file that the programs edit; they run as real processes."""

    def __init__(self, directory: Path) -> None:
        self.table_file = directory / "mountinfo"
        self.programs = directory / "bin"
        self.calls = directory / "calls"
        self.mount_point = directory / "point"
        self.programs.mkdir()
        self.mount_point.mkdir()
        self.table_file.write_text("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n")
        self.calls.touch()
        os.environ["TABLE"] = str(self.table_file)
        os.environ["CALLS"] = str(self.calls)
        os.environ["PATH"] = f"{self.programs}{os.pathsep}{os.environ['PATH']}"

    def program(self, name: str, script: str) -> Path:
        """A program of that name, found before the machine's own; it notes how it was called."""
        path = self.programs / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> "$CALLS"\n{script}\n')
        path.chmod(0o755)
        return path

    def plan(self, path: str = "") -> MountPlan:
        """To mount there on a Linux that can, by root."""
        (self.programs.parent / "proc").mkdir(exist_ok=True)
        (self.programs.parent / "proc/filesystems").write_text("nodev\tnfs\n")
        around = Surroundings("Linux", "6.1.0", 0, str(self.programs.parent), str(self.programs))
        return MountPlan(path or str(self.mount_point), 10.0, around)

    def mounting(self) -> Mounting:
        helper = str(self.programs / "mount.nfs")
        machine = Machine(System.LINUX, helper, sudo=False)
        return Mounting(machine, TARGET, str(self.mount_point), self)

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines()

    def change(self, old: str, new: str) -> None:
        """Edit the table, as others on the machine do."""
        self.table_file.write_text(self.table_file.read_text().replace(old, new))

    # MountTable:

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self) -> Sequence[MountEntry]:
        return list(parse_mountinfo(self.table_file.read_bytes()))

    async def changed(self, wake: asyncio.Event) -> None:
        await asyncio.sleep(0)
