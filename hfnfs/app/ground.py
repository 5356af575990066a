"""What a volume stands on: the far side, and what is kept of it on the local disk."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from hfnfs.clock import Clock
from hfnfs.config import MountConfig
from hfnfs.disk.layout import CacheLayout, VolumeState, open_cache
from hfnfs.disk.memory import MemoryCache, MemoryExtents
from hfnfs.disk.overflow import OverflowingExtents
from hfnfs.disk.records import Records
from hfnfs.errors import Forbidden, NotAuthenticated, SourceMissing
from hfnfs.hub.account import find_account, is_offline
from hfnfs.hub.http import Http
from hfnfs.hub.local_cache import blobs_of
from hfnfs.hub.source import Source, parse
from hfnfs.hub.xet_reader import HfXetReader
from hfnfs.remote import Remote, Revision, WritableRemote
from hfnfs.transfer.branch import Branch
from hfnfs.transfer.kept import UNREACHABLE
from hfnfs.transfer.opening import Opening, Prepare, ReadBy

# Where there is no disk for them: the rest is for what is on its way in and out.
_PART_OF_MEMORY_FOR_BLOCKS = 0.5

_log = logging.getLogger(__name__)

Cache: TypeAlias = CacheLayout | MemoryCache


@dataclass(frozen=True, slots=True)
class FarSide:
    """The repo or bucket, and what leads to it."""

    clock: Clock
    http: Http
    source: Source  # under its canonical id
    revision: Revision
    remote: Remote
    prepare: Prepare | None  # see Opened
    bucket: WritableRemote | None  # the same one, if it is a bucket that can be asked
    branch: Branch | None  # of a repo, whose commits are followed
    takes_changes: bool  # of ours; then it is a bucket
    endpoint: str
    identity: str  # the same for every mount of the same thing

    @property
    def names(self) -> list[bytes]:
        """Exports besides "/": "me/data" and, for short, "data"."""
        id_ = self.source.id
        return [name.encode() for name in dict.fromkeys((id_, id_.rpartition("/")[2]))]


@dataclass(frozen=True, slots=True)
class Ground:
    """The far side, and the local disk."""

    far: FarSide
    extents: OverflowingExtents | MemoryExtents
    state: VolumeState
    blobs: Path | None  # where huggingface_hub keeps the source's
    hashed_blobs: Records


def cache_of(config: MountConfig) -> Cache:
    """What keeps what is read. Raises CacheUnusable."""
    return open_cache(config.cache_dir) if config.disk_cache else MemoryCache()


@asynccontextmanager
async def far_side(config: MountConfig, cache: Cache, clock: Clock) -> AsyncIterator[FarSide]:
    """Open the source until the block is left. Raises HostError, RemoteError."""
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
        # A folder of a bucket comes with its first file.
        opened = await opening.open(source, offline=offline, folder_may_miss=not config.read_only)
        takes_changes = opened.bucket is not None and not config.read_only
        if takes_changes and opened.check_write_access is not None:
            await _require_write_access(opened.check_write_access)
        identity = f"{account.endpoint} {opened.source.kind} {opened.source.typed}"
        yield FarSide(
            clock,
            http,
            opened.source,
            opened.revision,
            opened.remote,
            opened.prepare,
            opened.bucket,
            opened.branch,
            takes_changes,
            account.endpoint,
            identity,
        )


async def _require_write_access(check: Prepare) -> None:
    """See now that what will be written can be sent. Raises RemoteError."""
    try:
        await check()
    except (NotAuthenticated, Forbidden, SourceMissing) as error:
        raise type(error)(f"{error}. To read it only: --read-only") from error
    except UNREACHABLE as error:
        _log.warning("what is written is kept until the Hub can be reached: %s", error)


@asynccontextmanager
async def _reader(config: MountConfig, http: Http) -> AsyncIterator[ReadBy | None]:
    """Who reads Xet content; None: the remote itself."""
    if config.reader == "hfnfs":
        yield None
        return
    with await asyncio.to_thread(HfXetReader, http) as reader:
        yield reader.over


@asynccontextmanager
async def prepared(config: MountConfig, cache: Cache, far: FarSide) -> AsyncIterator[Ground]:
    """Have what is kept of the source at hand until the block is left. Raises HostError."""
    # What is written has to be kept on the disk, wherever that is which is read.
    keeps_state = open_cache(config.cache_dir) if far.takes_changes else cache
    state = await asyncio.to_thread(keeps_state.volume_state, far.identity)
    extents = _extents(config, cache, far.clock)
    try:
        blobs = await asyncio.to_thread(blobs_of, far.source)
        yield Ground(far, extents, state, blobs, cache.hashed_blobs())
    finally:
        await asyncio.to_thread(extents.close)


def _extents(config: MountConfig, cache: Cache, clock: Clock) -> OverflowingExtents | MemoryExtents:
    """The block cache: on the disk, as far as that takes what is read, or in memory alone."""
    memory = MemoryExtents(int(config.memory_bytes_max * _PART_OF_MEMORY_FOR_BLOCKS))
    if isinstance(cache, MemoryCache):
        return memory
    return OverflowingExtents(cache.blocks, config.cache_bytes_max, memory, clock)
