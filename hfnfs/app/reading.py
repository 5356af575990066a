"""What brings bytes and names of the far side to a volume: on demand, ahead, and as they change."""

import asyncio
from dataclasses import dataclass

from hfnfs.app.changing import Begun
from hfnfs.app.ground import Ground
from hfnfs.config import MountConfig
from hfnfs.remote import Feed, Remote
from hfnfs.transfer.blobs import BlobRemote
from hfnfs.transfer.branch import Follow
from hfnfs.transfer.fetch import Fetcher
from hfnfs.transfer.foresight import Foresight
from hfnfs.transfer.listings import Listings
from hfnfs.transfer.pager import RemotePager
from hfnfs.transfer.poll import Poll, Rhythm
from hfnfs.transfer.upkeep import keep_tidy
from hfnfs.transfer.verify import Verifier
from hfnfs.transfer.whole import Bringer, EveryFile, WholeFiles
from hfnfs.vfs.ports import Extents
from hfnfs.vfs.volume import Volume


@dataclass(frozen=True, slots=True)
class Reading:
    """Builds it for one volume, out of tasks of that group."""

    config: MountConfig
    ground: Ground
    volume: Volume
    tasks: asyncio.TaskGroup

    def begin(self, begun: Begun | None) -> RemotePager:
        """Start what runs beside the serving; gives what meets needs. `begun`: for who writes."""
        ground, far = self.ground, self.ground.far
        verifier = Verifier(ground.extents)
        listings = self._listings()
        self.tasks.create_task(keep_tidy(ground.extents), name="keep the cache tidy")
        self.tasks.create_task(verifier.run(), name="verify what has come")
        if far.prepare is not None:
            self.tasks.create_task(far.prepare(), name="be ready for the first read")
        self._follow(listings, begun)
        return RemotePager(
            fetcher=self._fetcher(verifier.watched()),
            listings=listings,
            extents=ground.extents,
            tasks=self.tasks,
            local=None if begun is None else begun.pager,
        )

    def _remote(self) -> Remote:
        """The far side, and what `hf download` has brought from there already."""
        far, ground = self.ground.far, self.ground
        if ground.blobs is None:
            return far.remote
        return BlobRemote(far.remote, ground.blobs, ground.hashed_blobs, far.clock, self.tasks)

    def _listings(self) -> Listings:
        far = self.ground.far
        return Listings(
            far.remote,
            self.volume.tree,
            clock=far.clock,
            tasks=self.tasks,
            stall_timeout_s=self.config.stall_timeout_s,
        )

    def _follow(self, listings: Listings, begun: Begun | None) -> None:
        """Show what others change, unless what is mounted is one commit for ever."""
        far, config, volume = self.ground.far, self.config, self.volume
        rhythm = Rhythm(
            config.poll_interval_s, config.poll_listing_concurrency, far.clock, asyncio.sleep
        )
        if far.bucket is not None:
            changes: Feed = far.bucket.changes
            if begun is not None:
                changes = begun.flush.overhearing(changes)
            poll = Poll(far.remote, volume, listings, changes=changes, rhythm=rhythm)
            self.tasks.create_task(poll.run(), name="follow what others change")
        if far.branch is not None:
            follow = Follow(far.branch, volume, rhythm)
            self.tasks.create_task(follow.run(), name="follow the branch")

    def _fetcher(self, extents: Extents) -> Bringer:
        config, tasks, clock = self.config, self.tasks, self.ground.far.clock
        fetcher = Fetcher(
            self._remote(),
            extents,
            config,
            tasks,
            clock=clock,
            tripwires=self.volume.data.tripwires,
        )
        kept = self.ground.extents
        whole = WholeFiles(fetcher, extents, lambda: kept.bytes_max, tasks)
        if config.cache_mode == "file":
            return EveryFile(whole)
        return Foresight(whole, extents, tasks, clock=clock, linger_s=config.read_ahead_linger_s)
