"""Joins the parts of one mount, starts them, and ends them in order.

The only place that builds objects and hands them to each other. Leaving `running` stops the
server, cancels what still reads ahead, and closes the cache and the connections to the Hub. What
the Hub lacks by then is kept: `Running.drained` sends it before.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from hfnfs.app import changing
from hfnfs.app.ground import FarSide, Ground, cache_of, far_side, prepared
from hfnfs.app.reading import Reading
from hfnfs.app.status import Status
from hfnfs.app.tree import grown
from hfnfs.clock import Clock, SystemClock
from hfnfs.config import MountConfig
from hfnfs.disk.last_mount import LastMount, last_mount, remember_mount
from hfnfs.errors import PortRefused
from hfnfs.host.control import answering
from hfnfs.hub.http import Counters
from hfnfs.nfs3.access import Access
from hfnfs.nfs3.export import Export
from hfnfs.nfs3.handle import HandleMaker
from hfnfs.nfs3.mountd import Mounts, ProgramMount3
from hfnfs.nfs3.portmap import ProgramPortmap2
from hfnfs.nfs3.program import ProgramNfs3
from hfnfs.nfs3.waiting import Waiting
from hfnfs.rpc.limits import Limits
from hfnfs.rpc.server import RpcServer
from hfnfs.vfs.attributes import Attributes
from hfnfs.vfs.data import Data
from hfnfs.vfs.journal import Journal
from hfnfs.vfs.volume import Volume

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Running:
    """A volume that is being served."""

    port: int
    export: str  # the path to mount
    source_label: str  # canonical: "datasets/rajpurkar/squad", "me/data/sub"
    kind: str  # the command's word for it: "repo" or "bucket"
    revision: str  # a repo's commit, or what a bucket was at
    read_only: bool
    resumed: bool  # it has the port it had last: mounts of then go on
    counters: Counters  # of requests to the Hub and the CAS, and their bytes
    # Returns once no client is connected; False: one is, and none asked for so many seconds.
    deserted: Callable[[float], Coroutine[None, None, bool]]
    # Returns once the Hub has all changes, or raises ChangesUnsent; the event ends the wait.
    drained: Callable[[asyncio.Event], Coroutine[None, None, None]]


@asynccontextmanager
async def running(config: MountConfig, clock: Clock | None = None) -> AsyncIterator[Running]:
    """Serve what `config` says until the block is left. Raises HostError, RemoteError."""
    cache = await asyncio.to_thread(cache_of, config)
    async with (
        far_side(config, cache, clock or SystemClock()) as far,
        prepared(config, cache, far) as ground,
        serving(config, ground) as served,
    ):
        yield served


@asynccontextmanager
async def serving(config: MountConfig, ground: Ground) -> AsyncIterator[Running]:
    """Serve what was opened until the block is left. Raises HostError."""
    far = ground.far
    async with (
        _written(config, ground) as written,
        _task_group() as tasks,
        _begun(config, ground, written, tasks) as begun,
    ):
        volume = _fixed_volume(config, ground) if written is None else written.volume
        export = Export(volume, HandleMaker(ground.state.key, ground.state.id))
        pager = Reading(config, ground, volume, tasks).begin(begun)
        waiting = Waiting(
            pager,
            attempts_max=config.attempts_max,
            deadline_s=config.serve_deadline_s,
            hold_deadline_s=config.hold_deadline_s,
        )
        mounts = Mounts(export, far.names, Access())
        journal = None if written is None else written.means.journal
        async with _served(config, ground, mounts, waiting, journal, tasks) as serves:
            served = Running(
                port=serves.port,
                export="/",
                source_label=far.source.typed,
                kind=far.source.kind,
                revision=far.revision.token,
                read_only=volume.is_read_only,
                resumed=serves.resumed,
                counters=far.http.counters,
                deserted=serves.server.deserted,
                drained=_nothing_to_send if begun is None else begun.draining.drained,
            )
            changes = None if written is None or begun is None else (written, begun)
            status = Status(_facts(config, far, served), ground.state.directory, changes)
            async with answering(status.answer):
                yield served


def _facts(config: MountConfig, far: FarSide, served: Running) -> dict[str, object]:
    """What does not change of what is told of a mount."""
    return {
        "kind": served.kind,
        "source": served.source_label,
        "endpoint": far.endpoint,
        "mount_point": None if config.mount_point is None else str(config.mount_point),
        "cache_dir": str(config.cache_dir),
        "pid": os.getpid(),
        "port": served.port,
        "read_only": served.read_only,
    }


async def _nothing_to_send(enough: asyncio.Event) -> None:
    """What takes no changes has nothing that the far side lacks."""


@asynccontextmanager
async def _written(config: MountConfig, ground: Ground) -> AsyncIterator[changing.Parts | None]:
    """What of a volume that takes changes was kept; None: it takes none."""
    if not ground.far.takes_changes:
        yield None
        return
    async with changing.kept(config, ground) as kept:
        yield changing.parts(config, ground, kept)


@asynccontextmanager
async def _begun(
    config: MountConfig, ground: Ground, parts: changing.Parts | None, tasks: asyncio.TaskGroup
) -> AsyncIterator[changing.Begun | None]:
    """Bring changes to the disk and to the Hub until the block is left, if there are any."""
    if parts is None:
        yield None
        return
    async with changing.begun(config, ground, parts, tasks) as begun:
        yield begun


class _Over(Exception):
    """The block was left: what still runs is to be cancelled."""


@asynccontextmanager
async def _task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """A TaskGroup whose tasks end with its block, and that raises a lone error as itself."""
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
            raise _Over
    except BaseExceptionGroup as group:
        _, errors = group.split(_Over)
        if errors is None:
            return
        if len(errors.exceptions) == 1:
            raise errors.exceptions[0] from None
        raise errors from None


# ------------------------------------------------------------------------- building


def _fixed_volume(config: MountConfig, ground: Ground) -> Volume:
    """A volume that takes no changes."""
    return Volume(
        ground.state.id,
        ground.far.revision,
        tree=grown(config, ground, None),
        data=Data(ground.extents),
        attributes=Attributes(read_only=True),
    )


class _Serves(NamedTuple):
    """A server that listens."""

    server: RpcServer
    port: int
    resumed: bool


@asynccontextmanager
async def _served(
    config: MountConfig,
    ground: Ground,
    mounts: Mounts,
    waiting: Waiting,
    journal: Journal | None,
    tasks: asyncio.TaskGroup,
) -> AsyncIterator[_Serves]:
    """Serve NFS, MOUNT and the port mapper on one port."""
    access = mounts.access
    nfs = ProgramNfs3(mounts.export, access=access, waiting=waiting, journal=journal)
    mount = ProgramMount3(mounts, access=access, waiting=waiting)
    portmap = ProgramPortmap2([nfs, mount], access)
    limits = Limits(calls_in_flight_max=config.calls_in_flight_max)
    server = RpcServer([nfs, mount, portmap], tasks=tasks, limits=limits)
    try:
        serves = await _listening(config, ground, server)
        portmap.port = serves.port
        yield serves
    finally:
        await server.close()


async def _listening(config: MountConfig, ground: Ground, server: RpcServer) -> _Serves:
    """On the port that the volume had last, if it is one that outlives its server."""
    far, directory = ground.far, ground.state.directory
    if not far.takes_changes or directory is None:
        return _Serves(server, await server.start(config.host, config.port), resumed=False)
    last = await asyncio.to_thread(last_mount, directory)
    port = None
    if last is not None and not config.port:
        try:
            port = await server.start(config.host, last.port)
        except PortRefused as error:
            _log.warning("a mount of before, if there is any, will not go on: %s", error)
    if port is None:
        port = await server.start(config.host, config.port)
    now = LastMount(far.source.kind, far.source.typed, far.endpoint, port)
    await asyncio.to_thread(remember_mount, directory, now)
    return _Serves(server, port, resumed=last is not None and last.port == port)
