"""What makes a volume one that takes changes: its state on the disk, its parts, begin and end.

state loaded, staging taken over --> restored --> served, flushed --> all durable

What the Hub lacks at the end stays here, for the next time; see draining.py.
"""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from hfnfs.app.draining import Draining
from hfnfs.app.ground import Ground
from hfnfs.app.status import ToldConflicts
from hfnfs.app.tree import grown
from hfnfs.config import MountConfig
from hfnfs.disk.pieces import lost, never_made, put_back
from hfnfs.disk.schema import MetaKey, SetOverlay
from hfnfs.disk.staging import Staging
from hfnfs.disk.state import Snapshot, State
from hfnfs.errors import CacheUnusable
from hfnfs.transfer.commits import Local
from hfnfs.transfer.durable import LocalPager
from hfnfs.transfer.flush import Flush
from hfnfs.transfer.uploads import Uploads
from hfnfs.vfs.aside import Aside
from hfnfs.vfs.attributes import Attributes
from hfnfs.vfs.data import Data
from hfnfs.vfs.journal import Journal
from hfnfs.vfs.keeping import Keeper
from hfnfs.vfs.means import Means
from hfnfs.vfs.naming import Naming
from hfnfs.vfs.outbox import Outbox
from hfnfs.vfs.private import is_of_clients, is_private
from hfnfs.vfs.restoring import restore
from hfnfs.vfs.setting import Setting
from hfnfs.vfs.volume import Changes, Volume
from hfnfs.vfs.writing import Bounds, Writing


@dataclass(frozen=True, slots=True)
class Kept:
    """What outlives the process, owned by this one alone."""

    state: State
    staging: Staging
    snapshot: Snapshot


@asynccontextmanager
async def kept(config: MountConfig, ground: Ground) -> AsyncIterator[Kept]:
    """Own the state of a volume until the block is left. Raises CacheUnusable, NoSpace."""
    directory = ground.state.directory
    assert directory is not None, "what is written needs a directory"
    state = State(directory)
    staging = Staging(directory / "staging", config.staging_bytes_max)
    snapshot = await asyncio.to_thread(state.load)
    try:
        known = [overlay.fileid for overlay in snapshot.overlays]
        is_new = MetaKey.WRITE_VERIFIER not in snapshot.meta  # somebody may have taken the old one
        swept = await asyncio.to_thread(partial(staging.open, known, may_lack=is_new))
        emptied = {each.fileid: each for each in never_made(snapshot.overlays, swept.missing)}
        overlays = tuple(emptied.get(each.fileid, each) for each in snapshot.overlays)
        gone = lost(overlays, snapshot.pieces, swept.missing)
        if gone:
            raise CacheUnusable(
                f"{directory / 'staging'}: {len(gone)} files with bytes that the Hub "
                "may lack are gone; put them back, or move the directory above away"
            )
        await asyncio.to_thread(put_back, staging, snapshot.pieces, known)
        for overlay in emptied.values():
            state.submit(SetOverlay(overlay))
        yield Kept(state, staging, replace(snapshot, overlays=overlays))
    finally:
        try:
            await asyncio.to_thread(state.close)
        finally:
            staging.close()


@dataclass(frozen=True, slots=True)
class Parts:
    """A volume that takes changes, as far as it stands without a loop."""

    volume: Volume
    kept: Kept
    outbox: Outbox
    means: Means
    aside: Aside

    def unsent_bytes(self) -> int:
        """Written bytes of files that the Hub does not have as they are."""
        overlays = self.volume.data.overlays.values()
        return sum(overlay.ranges.total for overlay in overlays if not overlay.is_clean)


class Begun(NamedTuple):
    """What brings changes to the disk, and to the Hub."""

    pager: LocalPager
    flush: Flush
    draining: Draining
    conflicts: ToldConflicts


def parts(config: MountConfig, ground: Ground, kept: Kept) -> Parts:
    """The volume, restored. Raises CacheUnusable."""
    clock = ground.far.clock
    journal = Journal(kept.state, kept.snapshot.done)
    outbox = Outbox(journal, clock, quiet_s=config.flush_debounce_s, window_s=config.flush_window_s)
    tree = grown(config, ground, outbox)
    assert tree.ours is not None, "it takes changes"
    data = Data(ground.extents, kept.staging)
    keeper = Keeper(tree, tree.ours, journal)

    def quota_left() -> int | None:
        return None if config.quota_bytes is None else volume.usage().free_bytes

    bounds = Bounds(config.unsynced_bytes_max, quota_left)
    writing = Writing(tree, data, journal, keeper, clock, bounds)
    means = Means(tree, tree.ours, writing, keeper, journal, clock)
    setting = Setting(means)
    private = is_private if config.filter_os_files else is_of_clients
    naming = Naming(means, outbox, setting, private)
    volume = Volume(
        ground.state.id,
        ground.far.revision,
        tree=tree,
        data=data,
        attributes=Attributes(read_only=False),
        changes=Changes(naming, setting, writing, config.quota_bytes),
    )
    restore(kept.snapshot, means, outbox)
    writing.pieces.restored(kept.snapshot.pieces)
    gc.freeze()  # most of it stays: nobody waits while the collector looks through it
    journal.submit()
    return Parts(volume, kept, outbox, means, Aside(means, outbox, naming))


@asynccontextmanager
async def begun(
    config: MountConfig, ground: Ground, parts: Parts, tasks: asyncio.TaskGroup
) -> AsyncIterator[Begun]:
    """Bring what is changed to the disk, and to the Hub, until the block is left."""
    kept, means = parts.kept, parts.means
    bucket = ground.far.bucket
    assert bucket is not None, "without it nothing is changed"
    pager = LocalPager(
        means.writing,
        kept.staging,
        kept.state,
        means.journal,
        tasks,
        hurry=parts.outbox.hurry,
    )
    conflicts = ToldConflicts(parts.aside)
    parts.aside.when_shown_again = conflicts.shown_again
    local = Local(
        outbox=parts.outbox,
        overlay=parts.volume.data.overlay,
        written=means.writing,
        conflicts=conflicts,
        journal=means.journal,
        keep=means.keeper.keep,
        kept=pager.journaled,
    )
    uploads = Uploads(bucket, kept.staging, ground.extents)
    flush = Flush(bucket, uploads, local, ground.far.clock)
    draining = Draining(
        flush, config.flush_shutdown_timeout_s, kept.staging.directory, parts.unsent_bytes
    )
    kept.state.start(pager.told)
    kept.staging.can_free = partial(_can_free, means.writing, parts.volume.data)
    await pager.begin(kept.snapshot.meta.get(MetaKey.WRITE_VERIFIER))
    tasks.create_task(pager.run(), name="give up staged bytes")
    tasks.create_task(flush.run(), name="bring changes to the Hub")
    try:
        yield Begun(pager, flush, draining, conflicts)
    finally:
        await pager.end()


def _can_free(writing: Writing, data: Data) -> bool:
    """Whether something is staged that the Hub has, or that does not count any more."""
    overlays = data.overlays.values()
    return bool(writing.left) or any(each.staged and each.is_clean for each in overlays)
