"""Joins the parts of one mount, starts them, and ends them in order.

The only place that builds objects and hands them to each other. Leaving `running` stops the
server, cancels what still reads ahead, and closes the cache and the connections to the Hub.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TypeAlias

from hfnfs.clock import Clock, SystemClock
from hfnfs.config import MountConfig
from hfnfs.disk.extents import DiskExtents
from hfnfs.disk.layout import CacheLayout, VolumeState, open_cache
from hfnfs.disk.memory import MemoryCache, MemoryExtents
from hfnfs.disk.records import Records
from hfnfs.hub.account import find_account, is_offline
from hfnfs.hub.http import Counters, Http
from hfnfs.hub.local_cache import blobs_of
from hfnfs.hub.source import Source, parse
from hfnfs.hub.xet_reader import HfXetReader
from hfnfs.nfs3.access import Access
from hfnfs.nfs3.export import Export
from hfnfs.nfs3.handle import HandleMaker
from hfnfs.nfs3.mountd import Mounts, ProgramMount3
from hfnfs.nfs3.portmap import ProgramPortmap2
from hfnfs.nfs3.program import ProgramNfs3
from hfnfs.nfs3.waiting import Waiting
from hfnfs.remote import Remote, Revision
from hfnfs.rpc.limits import Limits
from hfnfs.rpc.server import RpcServer
from hfnfs.transfer.blobs import BlobRemote
from hfnfs.transfer.fetch import Fetcher
from hfnfs.transfer.foresight import Foresight
from hfnfs.transfer.listings import Listings
from hfnfs.transfer.opening import Opening, Prepare, ReadBy
from hfnfs.transfer.pager import RemotePager
from hfnfs.transfer.upkeep import keep_tidy
from hfnfs.transfer.verify import Verifier
from hfnfs.transfer.whole import Bringer, EveryFile, WholeFiles
from hfnfs.vfs.attributes import Appearance, Attributes
from hfnfs.vfs.data import Data
from hfnfs.vfs.ports import Extents
from hfnfs.vfs.tree import Freshness, Tree
from hfnfs.vfs.volume import Volume

# A listing has to stay young for as long as the request that asked for it takes to run again.
_TTL_S_MIN = 1.0
# Without a disk cache: the rest is for what is on its way in and out.
_PART_OF_MEMORY_FOR_BLOCKS = 0.5

Cache: TypeAlias = CacheLayout | MemoryCache


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
    cache = await asyncio.to_thread(_cache, config)
    async with (
        _far_side(config, cache, clock or SystemClock()) as far,
        _ground(config, cache, far) as ground,
        _task_group() as tasks,
    ):
        verifier = Verifier(ground.extents)
        tasks.create_task(keep_tidy(ground.extents), name="keep the cache tidy")
        tasks.create_task(verifier.run(), name="verify what has come")
        if far.prepare is not None:
            tasks.create_task(far.prepare(), name="be ready for the first read")
        volume = _volume(config, ground)
        export = Export(volume, HandleMaker(ground.state.key, ground.state.id))
        waiting = Waiting(
            _pager(config, ground, verifier.watched(), volume, tasks),
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
                read_only=True,
                counters=far.http.counters,
            )


# ---------------------------------------------------------------- what a volume stands on


@dataclass(frozen=True, slots=True)
class _FarSide:
    """The repo or bucket, and what leads to it."""

    clock: Clock
    http: Http
    source: Source  # under its canonical id
    revision: Revision
    remote: Remote
    prepare: Prepare | None  # see Opened
    identity: str  # the same for every mount of the same thing

    @property
    def names(self) -> list[bytes]:
        """Exports besides "/": "me/data" and, for short, "data"."""
        id_ = self.source.id
        return [name.encode() for name in dict.fromkeys((id_, id_.rpartition("/")[2]))]


@dataclass(frozen=True, slots=True)
class _Ground:
    """The far side, and the local disk."""

    far: _FarSide
    extents: DiskExtents | MemoryExtents
    state: VolumeState
    blobs: Path | None  # where huggingface_hub keeps the source's
    hashed_blobs: Records


def _cache(config: MountConfig) -> Cache:
    return open_cache(config.cache_dir) if config.disk_cache else MemoryCache()


@asynccontextmanager
async def _far_side(config: MountConfig, cache: Cache, clock: Clock) -> AsyncIterator[_FarSide]:
    account = await find_account(
        clock, endpoint=config.endpoint, token=config.token, token_file=config.token_file
    )
    source = parse(config.source, config.kind, config.revision, endpoint=account.endpoint)
    offline = config.offline or await is_offline()
    async with (
        Http(
            clock,
            connect_timeout_s=config.connect_timeout_s,
            read_timeout_s=config.read_timeout_s,
            offline=offline,
        ) as http,
        _reader(config, http) as read_by,
    ):
        opening = Opening(account, http, cache, clock, read_by)
        opened = await opening.open(source, offline=offline)
        identity = f"{account.endpoint} {opened.source.kind} {opened.source.typed}"
        yield _FarSide(
            clock, http, opened.source, opened.revision, opened.remote, opened.prepare, identity
        )


@asynccontextmanager
async def _reader(config: MountConfig, http: Http) -> AsyncIterator[ReadBy | None]:
    """Who reads Xet content; None: the remote itself."""
    if config.reader == "hfnfs":
        yield None
        return
    with await asyncio.to_thread(HfXetReader, http) as reader:
        yield reader.over


@asynccontextmanager
async def _ground(config: MountConfig, cache: Cache, far: _FarSide) -> AsyncIterator[_Ground]:
    state = await asyncio.to_thread(cache.volume_state, far.identity)
    extents = cache.extents(_cache_bytes_max(config))
    try:
        blobs = await asyncio.to_thread(blobs_of, far.source)
        yield _Ground(far, extents, state, blobs, cache.hashed_blobs())
    finally:
        await asyncio.to_thread(extents.close)


def _cache_bytes_max(config: MountConfig) -> int:
    if config.disk_cache:
        return config.cache_bytes_max
    return int(config.memory_bytes_max * _PART_OF_MEMORY_FOR_BLOCKS)


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


def _volume(config: MountConfig, ground: _Ground) -> Volume:
    appearance = Appearance(
        fsid=int.from_bytes(ground.state.id),
        uid=config.uid,
        gid=config.gid,
        file_mode=config.file_mode,
        directory_mode=config.directory_mode,
        modified_ns=ground.far.revision.modified_ns,
    )
    ttl_s = inf if ground.far.remote.immutable else max(config.metadata_ttl_s, _TTL_S_MIN)
    tree = Tree(
        appearance,
        Freshness(ttl_s, config.lookups_before_listing, config.nodes_soft_max),
        boot_verifier=secrets.token_bytes(8),
        clock=ground.far.clock,
    )
    return Volume(
        ground.state.id,
        ground.far.revision,
        tree=tree,
        data=Data(ground.extents),
        attributes=Attributes(read_only=True),
    )


def _with_blobs(ground: _Ground, tasks: asyncio.TaskGroup) -> Remote:
    """The far side, and what `hf download` has brought from there already."""
    far = ground.far
    if ground.blobs is None:
        return far.remote
    return BlobRemote(far.remote, ground.blobs, ground.hashed_blobs, far.clock, tasks)


def _pager(
    config: MountConfig,
    ground: _Ground,
    extents: Extents,
    volume: Volume,
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
    whole = WholeFiles(fetcher, extents, _cache_bytes_max(config), tasks)
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
