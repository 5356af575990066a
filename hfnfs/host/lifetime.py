"""⏳ From the first check to the last unmount: how long a mount, or a bare server, lives.

    starting --mounted--> mounted --gone from the mount table--> over
       |                     | SIGINT, SIGTERM, SIGHUP
       | signal              v
       v                  leaving: clean unmount --done--> over
    Interrupted              | busy: say who holds it, go on serving, try again
                             v a second signal, or the patience is over
                          detached: lazy unmount, then by force --> over, or UnmountFailed

    over --its client has hung up--> drained: the far side has all --> ended
                                        | a second signal, or out of time
                                        v
                                     ChangesUnsent

Only the mount table says that a mount is gone: what clients tell on their way (UMNT) comes before
they have written back all, or never.

What is served is handed in as a context manager: this room knows no server.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar

from hfnfs.errors import UnmountFailed
from hfnfs.host.holders import holders
from hfnfs.host.mount_command import NfsTarget, Unmount
from hfnfs.host.mount_watch import MountTable, mount_table, set_within
from hfnfs.host.mounting import Mounting
from hfnfs.host.preflight import (
    MountPoint,
    Surroundings,
    busy,
    check_machine,
    prepare_mount_point,
    remove_made,
)
from hfnfs.host.stopping import StopRequests

log = logging.getLogger(__name__)

# How often, and after how long, a busy mount is tried again before it is detached: 20 s in all,
# less than the 30 s or more that service managers wait before SIGKILL, which would leave a dead
# mount behind.
BUSY_TRIES = 10
BUSY_RETRY_S = 2.0
# After its mount has gone a client is waited for until it has hung up, or was silent for so long:
# Linux takes a mount from the table first, and writes back then.
SILENCE_S = 60.0
HOLDERS_NAMED_MAX = 5


class Served(Protocol):
    """What a server says of itself once it serves."""

    @property
    def port(self) -> int:
        """Where NFS and MOUNT are served on 127.0.0.1."""
        ...

    @property
    def export(self) -> str:
        """The path to mount."""
        ...

    @property
    def resumed(self) -> bool:
        """Whether it goes on where a server ended: what was mounted then is good again."""
        ...

    @property
    def read_only(self) -> bool:
        """Whether every change is refused."""
        ...

    async def deserted(self, silence_s: float) -> bool:
        """Return once no client is connected; False: one is, and none asked for that long."""
        ...

    async def drained(self, enough: asyncio.Event) -> None:
        """Return once the far side has all changes; `enough` ends the wait.

        Raises ChangesUnsent.
        """
        ...


S = TypeVar("S", bound=Served)
Serving = AbstractAsyncContextManager[S]


@dataclass(frozen=True, slots=True)
class MountPlan:
    """Where to mount, as typed, and how."""

    path: str
    attributes_cached_s: float
    around: Surroundings = field(default_factory=Surroundings)


@dataclass(frozen=True, slots=True)
class Mounted(Generic[S]):
    """What came of a plan."""

    served: S
    mounting: Mounting
    point: MountPoint
    target: NfsTarget
    sudo: bool  # unmounting needs it too


async def _mount(mounting: Mounting, point: MountPoint, served: Served) -> None:
    if point.left is None:
        await mounting.mount()
    elif served.resumed and point.left.port == served.port:
        mounting.take_up(point.left)
        log.info("%s was left mounted by an earlier process, and goes on", point.path)
    else:
        raise busy(point.left)


@asynccontextmanager
async def mounted(
    plan: MountPlan, serving: Serving[S], table: MountTable
) -> AsyncIterator[Mounted[S]]:
    """Serve and mount until the block is left, and by then have unmounted, best in order.

    A mount that an earlier server has left there is taken up where that is possible. Raises the
    HostError of the check that failed, before anything was served.
    """
    machine = await asyncio.to_thread(check_machine, plan.around)
    point = await asyncio.to_thread(prepare_mount_point, plan.path, table.read())
    try:
        async with serving as served:
            target = _target(served, plan)
            mounting = Mounting(machine, target, point.path, table)
            await _mount(mounting, point, served)
            try:
                yield Mounted(served, mounting, point, target, machine.sudo)
            finally:
                # Still there only if the server, or we, have failed: rather no mount than one on
                # which everybody hangs.
                await mounting.unmount_at_any_price()
    finally:
        await asyncio.to_thread(remove_made, point.made)


async def stay_mounted(
    plan: MountPlan, serving: Serving[S], on_mounted: Callable[[Mounted[S]], None]
) -> None:
    """Serve and mount, and return when the mount is gone: by itself or after a signal.

    Raises the HostError of a check, Interrupted, or UnmountFailed.
    """
    with StopRequests() as stop, mount_table() as table:
        async with mounted(plan, serving, table) as mount:
            stop.orderly()
            on_mounted(mount)
            await until_over(mount.mounting, stop, table)
            await _let_go(mount.served, stop.last_call())
            await mount.served.drained(stop.last_call())


async def _let_go(served: Served, enough: asyncio.Event) -> None:
    """Serve until the client has hung up, if it may have something to write; or until `enough`."""
    if served.read_only:
        return
    log.debug("the mount is gone; its client is served until it has hung up")
    async with asyncio.TaskGroup() as tasks:
        deserted = tasks.create_task(served.deserted(SILENCE_S), name="wait for clients to hang up")
        told = tasks.create_task(enough.wait(), name="wait for a second signal")
        await asyncio.wait([deserted, told], return_when=asyncio.FIRST_COMPLETED)
        hung_up = deserted.done() and deserted.result()
        deserted.cancel()
        told.cancel()
    if not hung_up:
        log.warning("a client is still connected; what it writes from now on is lost to it")


async def stay_serving(
    plan: MountPlan, serving: Serving[S], on_serving: Callable[[S, NfsTarget], None]
) -> None:
    """Serve without mounting, until a signal."""
    with StopRequests() as stop:
        async with serving as served:
            stop.orderly()
            on_serving(served, _target(served, plan))
            await stop.wake.wait()
            await served.drained(stop.last_call())


def _target(served: Served, plan: MountPlan) -> NfsTarget:
    target = NfsTarget(served.port, served.export)
    return replace(target, read_only=served.read_only, attributes_cached_s=plan.attributes_cached_s)


async def until_over(mounting: Mounting, stop: StopRequests, table: MountTable) -> None:
    """Return when the mount is gone; take it away when a signal asks. Raises UnmountFailed."""
    while mounting.is_there():
        if stop.asked:
            await _leave(mounting, stop)
            return
        await table.changed(stop.wake)
        stop.wake.clear()


async def _leave(mounting: Mounting, stop: StopRequests) -> None:
    """Unmount; wait for those who use it, up to a second signal or BUSY_TRIES."""
    for attempt in range(BUSY_TRIES):
        outcome = await mounting.unmount(Unmount.CLEAN)
        if not mounting.is_there():
            return
        if stop.asked > 1:
            break
        if attempt == 0:
            await _say_who(mounting, outcome.said)
        stop.wake.clear()
        await set_within(stop.wake, BUSY_RETRY_S)
    log.warning("%s is in use; detaching it all the same", mounting.mount_point)
    if not await mounting.unmount_at_any_price():
        raise UnmountFailed(
            f"{mounting.mount_point} is still mounted and will not answer any more: "
            f"run `umount -f -l {mounting.mount_point}` as root"
        )


async def _say_who(mounting: Mounting, said: str) -> None:
    found = await asyncio.to_thread(holders, mounting.mount_point)
    named = ", ".join(str(holder) for holder in found[:HOLDERS_NAMED_MAX]) or said
    more = f" and {len(found) - HOLDERS_NAMED_MAX} more" if len(found) > HOLDERS_NAMED_MAX else ""
    log.warning(
        "%s is in use by %s%s: still serving, and trying again; "
        "end them, or send the signal once more to detach it at once",
        mounting.mount_point,
        named,
        more,
    )
