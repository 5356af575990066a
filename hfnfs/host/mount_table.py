"""The mount table: what one entry says, and how Linux writes it in /proc/self/mountinfo. Pure.

The table is read instead of asking the mount itself: a stat of a mount goes to its server, and
that may be this very process.
"""

import os
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class MountEntry(NamedTuple):
    """One mount that this process sees."""

    mount_id: int | None  # no other mount has it at the same time; None where there is no id
    device_number: str  # "0:52", as in /sys/class/bdi
    mount_point: str  # absolute, as os.fsdecode gives it
    type: str
    source: str
    options: str = ""  # of the file system, as "rw,vers=3,port=2049"; "" where they are not told

    @property
    def port(self) -> int | None:
        """Where the server of an NFS mount is asked; None: not told."""
        for option in self.options.split(",") if self.type == "nfs" else ():
            name, _, value = option.partition("=")
            if name == "port" and value.isdigit():
                return int(value)
        return None


_ESCAPE = re.compile(rb"\\([0-7]{3})")


def unescaped(field: bytes) -> str:
    """A field of the table: space, tab, newline and backslash stand there as octal digits."""
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes([int(match[1], 8) & 0xFF]), field))


def parse_mountinfo(text: bytes) -> Iterator[MountEntry]:
    """The mounts in order; of two at one place the later one covers the earlier.

    Lines that are not what proc(5) says are passed over.
    """
    for line in text.split(b"\n"):
        before, separator, after = line.partition(b" - ")
        fields, tail = before.split(b" "), after.split(b" ")
        if not separator or len(fields) < 6 or len(tail) < 2 or not fields[0].isdigit():
            continue
        yield MountEntry(
            mount_id=int(fields[0]),
            device_number=fields[2].decode("ascii", "replace"),
            mount_point=unescaped(fields[4]),
            type=tail[0].decode("ascii", "replace"),
            source=unescaped(tail[1]),
            options=unescaped(tail[2]) if len(tail) > 2 else "",
        )


def topmost(entries: Iterable[MountEntry], mount_point: str) -> MountEntry | None:
    """What one sees at `mount_point`; None when nothing is mounted there."""
    found = None
    for entry in entries:
        if entry.mount_point == mount_point:
            found = entry
    return found


def again(entries: Iterable[MountEntry], mount: MountEntry) -> MountEntry | None:
    """That very mount as it is now, wherever it was moved to; None when it is gone."""
    for entry in entries:
        if mount.mount_id is None:
            if entry == mount:
                return entry
        elif entry.mount_id == mount.mount_id:
            return entry
    return None
