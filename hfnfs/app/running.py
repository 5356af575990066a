"""Joins the parts of one mount, starts them, and ends them in order.

The only place that builds objects and hands them to each other. Leaving `running` stops the
server, cancels what still reads ahead, and closes the cache and the connections to the Hub.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hfnfs.app import changing
from hfnfs.app.ground import Ground, cache_bytes_max, cache_of, far_side, prepared
from hfnfs.app.tree import grown
from hfnfs.clock import Clock, SystemClock
from hfnfs.config import MountConfig
from hfnfs.hub.http import Counters
from hfnfs.nfs3.access import Access
from hfnfs.nfs3.export import Export
from hfnfs.nfs3.handle import HandleMaker
from hfnfs.nfs3.mountd import Mounts, ProgramMount3
from hfnfs.nfs3.portmap import ProgramPortmap2
from hfnfs.nfs3.program import ProgramNfs3
from hfnfs.nfs3.waiting import Waiting
from hfnfs.remote import Remote
from hfnfs.rpc.limits import Limits
from hfnfs.rpc.server import RpcServer
from hfnfs.transfer.blobs import BlobRemote
from hfnfs.transfer.fetch import Fetcher
from hfnfs.transfer.foresight import Foresight
from hfnfs.transfer.listings import Listings
from hfnfs.transfer.pager import RemotePager
from hfnfs.transfer.upkeep import keep_tidy
from hfnfs.transfer.verify import Verifier
from hfnfs.transfer.whole import Bringer, EveryFile, WholeFiles
from hfnfs.vfs.attributes import Attributes
from hfnfs.vfs.data import Data
from hfnfs.vfs.ports import Extents
from hfnfs.vfs.volume import Volume

# A listing has to stay young for as long as the request that asked for it takes to run again.
_TTL_S_MIN = 1.0


@dataclass(frozen=True, slots=True)
class Running:
    """A volume that is being served."""

    port: int
    export: str  # the path to mount
    source_label: str  # canonical: "datasets/rajpurkar/squad", "me/data/sub"
    kind: str  # the command's word for it: "repo" or "bucket"
    revision: str  # a repo's commit, or what a bucket was at
    read_only: bool
    counters: Counters  # of requests to the Hub and the CAS, and their bytes


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
        verifier = Verifier(ground.extents)
        tasks.create_task(keep_tidy(ground.extents), name="keep the cache tidy")
        tasks.create_task(verifier.run(), name="verify what has come")
        if far.prepare is not None:
            tasks.create_task(far.prepare(), name="be ready for the first read")
        volume = _fixed_volume(config, ground) if written is None else written.volume
        export = Export(volume, HandleMaker(ground.state.key, ground.state.id))
        waiting = Waiting(
            _pager(config, ground, verifier.watched(), volume, begun, tasks),
            attempts_max=config.attempts_max,
            deadline_s=config.serve_deadline_s,
            hold_deadline_s=config.hold_deadline_s,
        )
        async with _served(config, Mounts(export, far.names, Access()), waiting, tasks) as port:
            yield Running(
                port=port,
                export="/",
                source_label=far.source.typed,
                kind=far.source.kind,
                revision=far.revision.token,
                read_only=volume.is_read_only,
                counters=far.http.counters,
            )


@asynccontextmanager
async def _written(config: MountConfig, ground: Ground) -> AsyncIterator[changing.Parts | None]:
    """What of a volume that takes changes was kept; None: it takes none."""
    if ground.far.bucket is None:
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


def _with_blobs(ground: Ground, tasks: asyncio.TaskGroup) -> Remote:
    """The far side, and what `hf download` has brought from there already."""
    far = ground.far
    if ground.blobs is None:
        return far.remote
    return BlobRemote(far.remote, ground.blobs, ground.hashed_blobs, far.clock, tasks)


def _pager(
    config: MountConfig,
    ground: Ground,
    extents: Extents,
    volume: Volume,
    begun: changing.Begun | None,
    tasks: asyncio.TaskGroup,
) -> RemotePager:
    remote = _with_blobs(ground, tasks)
    listings = Listings(
        remote,
        volume.tree,
        clock=ground.far.clock,
        tasks=tasks,
        stall_timeout_s=config.stall_timeout_s,
    )
    fetcher = Fetcher(
        remote,
        extents,
        config,
        tasks,
        clock=ground.far.clock,
        tripwires=volume.data.tripwires,
    )
    whole = WholeFiles(fetcher, extents, cache_bytes_max(config), tasks)
    ahead: Bringer = EveryFile(whole)
    if config.cache_mode != "file":
        ahead = Foresight(
            whole, extents, tasks, clock=ground.far.clock, linger_s=config.read_ahead_linger_s
        )
    return RemotePager(
        fetcher=ahead,
        listings=listings,
        extents=ground.extents,
        tasks=tasks,
        local=None if begun is None else begun.pager,
    )


@asynccontextmanager
async def _served(
    config: MountConfig, mounts: Mounts, waiting: Waiting, tasks: asyncio.TaskGroup
) -> AsyncIterator[int]:
    """Serve NFS, MOUNT and the port mapper on one port; gives the port."""
    access = mounts.access
    nfs = ProgramNfs3(mounts.export, access=access, waiting=waiting)
    mount = ProgramMount3(mounts, access=access, waiting=waiting)
    portmap = ProgramPortmap2([nfs, mount], access)
    limits = Limits(calls_in_flight_max=config.calls_in_flight_max)
    server = RpcServer([nfs, mount, portmap], tasks=tasks, limits=limits)
    portmap.port = await server.start(config.host, config.port)
    try:
        yield portmap.port
    finally:
        await server.close()
