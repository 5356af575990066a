"""⏳ One mount of this machine: make it, see that it is there, take it away.

Nothing here looks at the mount itself, which would ask the server that runs in this very loop;
the mount table says all there is to know.
"""

import asyncio
import logging

from hfnfs.errors import (
    HostError,
    KernelWithoutNfs,
    MountFailed,
    MountNotPermitted,
    MountPointUnusable,
)
from hfnfs.host.helper import Outcome, run_helper
from hfnfs.host.mount_command import (
    NfsTarget,
    Unmount,
    mount_argv,
    unmount_argv,
    write_back_argv,
)
from hfnfs.host.mount_table import MountEntry, again, topmost
from hfnfs.host.mount_watch import MountTable
from hfnfs.host.preflight import INSTEAD, Machine

log = logging.getLogger(__name__)

MOUNTED_WITHIN_S = 60.0  # a loaded machine; the server answers at once
VISIBLE_WITHIN_S = 10.0
UNMOUNTED_WITHIN_S = 15.0  # umount.nfs may wait for a server that is gone
WRITTEN_BACK_WITHIN_S = 60.0  # what a client may hold of unwritten bytes, to the local disk

# What helpers and kernels say, in English, and what it means. The first that fits.
_NO_NFS = f"the kernel has no NFS client, {INSTEAD}"
_CONTAINED = (
    "a container needs --cap-add SYS_ADMIN or --privileged, "
    f"macOS wants Full Disk Access for the terminal; {INSTEAD}"
)
_FORBIDDEN = f"AppArmor, SELinux or a container's seccomp profile may forbid mounting; {INSTEAD}"
_MEANINGS: list[tuple[str, type[HostError], str]] = [
    ("a password is required", MountNotPermitted, f"run `sudo -v` first, {INSTEAD}"),
    ("not allowed to", MountNotPermitted, f"sudo refuses it: run it as root, {INSTEAD}"),
    ("operation not permitted", MountNotPermitted, _CONTAINED),
    ("permission denied", MountNotPermitted, _FORBIDDEN),
    ("must be superuser", MountNotPermitted, f"run it as root, {INSTEAD}"),
    ("no such device", KernelWithoutNfs, _NO_NFS),
    ("unknown filesystem type", KernelWithoutNfs, _NO_NFS),
    ("protocol not supported", KernelWithoutNfs, f"the kernel has no NFSv3, {INSTEAD}"),
    ("busy", MountPointUnusable, "something is mounted there; choose another directory"),
    ("no such file or directory", MountPointUnusable, "the mount point went away meanwhile"),
    ("not a directory", MountPointUnusable, "it is no directory any more"),
]


def mount_error(outcome: Outcome, target: NfsTarget, mount_point: str) -> HostError:
    """What the failure of a mount helper means."""
    heard = outcome.said.lower()
    for phrase, kind, advice in _MEANINGS:
        if phrase in heard:
            return kind(f"cannot mount {mount_point}: {advice} ({outcome.said})")
    said = outcome.said or f"the mount helper ended with {outcome.code} and said nothing"
    return MountFailed(f"cannot mount {target.device} on {mount_point}: {said}")


class Mounting:
    """`target` on the directory `mount_point`; mount() first."""

    def __init__(
        self, machine: Machine, target: NfsTarget, mount_point: str, table: MountTable
    ) -> None:
        self._machine = machine
        self._target = target
        self._mount_point = mount_point
        self._table = table
        self._mount: MountEntry | None = None

    async def mount(self) -> None:
        """Return once the mount is in the table. Raises the HostError that says why not."""
        before = topmost(self._table.read(), self._mount_point)
        try:
            await self._run_helper()
            await self._appeared(before)
        except BaseException:
            # The helper may have got further than it says, or was killed after its work.
            self._look_for_it(before)
            await self.unmount_at_any_price()
            raise

    def take_up(self, left: MountEntry) -> None:
        """Go on with a mount that an earlier server of the same volume and port has left."""
        self._mount = left

    async def _run_helper(self) -> None:
        machine = self._machine
        argv = mount_argv(
            self._target,
            self._mount_point,
            machine.system,
            helper=machine.helper,
            sudo=machine.sudo,
        )
        outcome = await run_helper(argv, MOUNTED_WITHIN_S)
        if not outcome.ok:
            raise mount_error(outcome, self._target, self._mount_point)

    async def _appeared(self, before: MountEntry | None) -> None:
        wake = asyncio.Event()
        try:
            async with asyncio.timeout(VISIBLE_WITHIN_S):
                while not self._look_for_it(before):
                    await self._table.changed(wake)
                    wake.clear()
        except TimeoutError:
            raise MountFailed(
                f"{self._machine.helper} says that it mounted {self._mount_point}, but nothing "
                "is to be seen there: does it run in another mount namespace?"
            ) from None

    def _look_for_it(self, before: MountEntry | None) -> bool:
        there = topmost(self._table.read(), self._mount_point)
        if there is None or there == before or there.source != self._target.device:
            return False
        self._mount = there
        return True

    @property
    def mount_point(self) -> str:
        """Where it is now: someone may have moved it."""
        return self._mount_point if self._mount is None else self._mount.mount_point

    def is_there(self) -> bool:
        """Whether our mount is in the table, however many others are at its place."""
        if self._mount is None:
            return False
        # Kernels before 5.8 may leave out an entry when others go while we read; never twice.
        now = again(self._table.read(), self._mount) or again(self._table.read(), self._mount)
        if now is not None:
            self._mount = now
        return now is not None

    async def unmount(self, how: Unmount) -> Outcome:
        """Try one way of unmounting; is_there() says whether it worked."""
        if not self.is_there():
            return Outcome(0, "")
        if topmost(self._table.read(), self.mount_point) != self._mount:
            return Outcome(1, f"another file system is mounted over {self.mount_point}")
        machine = self._machine
        argv = unmount_argv(self.mount_point, machine.system, how, sudo=machine.sudo)
        waits_for_writes = how is Unmount.CLEAN and not self._target.read_only
        within_s = WRITTEN_BACK_WITHIN_S if waits_for_writes else UNMOUNTED_WITHIN_S
        outcome = await run_helper(argv, within_s)
        if not outcome.ok:
            log.debug("%s unmount: %s", how.value, outcome.said)
        return outcome

    async def unmount_at_any_price(self) -> bool:
        """Detach it though it may be in use; False when even that fails.

        Not before the client was asked to send what was written, where something may be.
        """
        ways = [Unmount.LAZY, Unmount.FORCE]
        for how in ways if self._target.read_only else [Unmount.CLEAN, *ways]:
            if not self.is_there():
                return True
            if how is Unmount.LAZY and not self._target.read_only:
                await self._write_back()
            outcome = await self.unmount(how)
            if self.is_there():
                log.warning("%s unmount of %s: %s", how.value, self.mount_point, outcome.said)
        return not self.is_there()

    async def _write_back(self) -> None:
        argv = write_back_argv(self.mount_point, self._machine.system)
        outcome = await run_helper(argv, WRITTEN_BACK_WITHIN_S)
        if not outcome.ok:
            log.warning("%s: not all was written back: %s", self.mount_point, outcome.said)
