"""⏳ The mount table of this machine: read it, and wait until it changes.

No call here touches a mount, so all of it may be called while a mount's server is not answering.
"""

import asyncio
import select
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from hfnfs.host.mount_table import MountEntry, parse_mountinfo

# Where the kernel tells of changes this is only a safeguard (gVisor's /proc never tells).
LOOK_AGAIN_S = 2.0


class MountTable(Protocol):
    """What is mounted; enter it as a context manager first."""

    def read(self) -> Sequence[MountEntry]:
        """Every mount that this process sees, in order."""
        ...

    async def changed(self, wake: asyncio.Event) -> None:
        """Return once the table may have changed or `wake` is set, after LOOK_AGAIN_S at most.

        Sets `wake` itself to return; whoever owns it clears it.
        """
        ...


class LinuxMountTable:
    """/proc/self/mountinfo: the kernel marks the open file when a mount comes or goes (proc(5))."""

    def __init__(self, path: str = "/proc/self/mountinfo") -> None:
        self._path = path

    def __enter__(self) -> "LinuxMountTable":
        self._file = open(self._path, "rb", buffering=0)  # closed in __exit__
        # An event loop waits for "readable", which the table always is; a change is a priority
        # event. An epoll set that waits for just that becomes readable when it comes.
        self._changes = select.epoll()
        self._changes.register(self._file, select.EPOLLPRI)
        return self

    def __exit__(self, *_: object) -> None:
        self._changes.close()
        self._file.close()

    def read(self) -> Sequence[MountEntry]:
        """Every mount that this process sees, in order."""
        self._file.seek(0)
        return list(parse_mountinfo(self._file.readall()))

    async def changed(self, wake: asyncio.Event) -> None:
        """Return once the kernel says so or `wake` is set, after LOOK_AGAIN_S at most."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._changes.fileno(), wake.set)
        try:
            await set_within(wake, LOOK_AGAIN_S)
        finally:
            loop.remove_reader(self._changes.fileno())
            self._changes.poll(0)  # forget what was told


class MacosMountTable:
    """getfsstat(2) without waiting for any file system, through psutil; it has to be asked."""

    def __enter__(self) -> "MacosMountTable":
        import psutil

        self._psutil: Any = psutil
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self) -> Sequence[MountEntry]:
        """Every mount, in order."""
        return [
            MountEntry(None, "", part.mountpoint, part.fstype, part.device)
            for part in self._psutil.disk_partitions(all=True)
        ]

    async def changed(self, wake: asyncio.Event) -> None:
        """Return once `wake` is set, after LOOK_AGAIN_S at most."""
        await set_within(wake, LOOK_AGAIN_S)


async def set_within(wake: asyncio.Event, seconds: float) -> None:
    """Wait until `wake` is set, for no longer than that."""
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        pass


def mount_table() -> AbstractContextManager[MountTable]:
    """The table of the system we run on."""
    return MacosMountTable() if sys.platform == "darwin" else LinuxMountTable()
