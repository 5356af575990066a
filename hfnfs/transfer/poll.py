"""What others change in a bucket, shown without anybody asking for it.

    followed    the feed tells each change (told.py)
        │ ▲     lost: asked · found, and all caught up with: followed
        ▼ │
    asked       every `interval_s`, for the bucket's revision

Another revision than the one that all directories in memory are known to show has them listed
again, those in use first. It counts as shown only when each of them was, so what failed is tried
again; a directory that fails holds up no other, and one that nobody has looked at is not listed.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from itertools import islice
from math import inf
from typing import Final, NamedTuple

from hfnfs.clock import Clock
from hfnfs.errors import (
    FeedUnavailable,
    HfnfsError,
    Offline,
    RateLimited,
    RemoteEntryMissing,
    RemoteError,
    RemoteUnavailable,
    StaleHandle,
)
from hfnfs.remote import Changed, Feed, FeedEvent, Ready, Remote, Reset
from hfnfs.transfer.listings import Listings
from hfnfs.transfer.loaded import loaded
from hfnfs.transfer.side_by_side import side_by_side
from hfnfs.transfer.told import Told
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.volume import Volume

# What there is to do is looked for so often.
TICK_S: Final = 2.0
# A listing that failed is tried again after so long.
RETRY_S: Final = 30.0
# A feed that was given up is tried again after so long.
FEED_AGAIN_S: Final = 300.0
# Paths of one event that are taken in before others are served.
_SLICE: Final = 256
# Directories listed before what else there is to do is looked for.
_LISTINGS_MAX: Final = 256
# After these others would fare no better.
_HOPELESS: Final = (RemoteUnavailable, RateLimited, Offline)

_log = logging.getLogger(__name__)


class Rhythm(NamedTuple):
    """When to ask, and how much at once."""

    interval_s: float  # 0: ask for no revision but to catch up with the feed
    at_once: int
    clock: Clock
    pause: Callable[[float], Awaitable[None]]


class _Due(NamedTuple):
    """A directory that must be listed."""

    not_before: float  # asked for then or later (monotonic seconds)
    try_at: float


class Poll:
    """Shows what others change in one bucket.

    `changes` is the bucket's feed (WritableRemote.changes); None: there is none.
    """

    def __init__(
        self,
        remote: Remote,
        volume: Volume,
        listings: Listings,
        *,
        changes: Feed | None,
        rhythm: Rhythm,
    ) -> None:
        self._remote = remote
        self._volume = volume
        self._listings = listings
        self._changes = changes
        self._interval_s, self._at_once, self._clock, self._pause = rhythm
        self._shown = volume.revision.token  # what all directories in memory show at least
        self._wanted: str | None = None  # what they will, once all that is due was listed
        self._due: OrderedDict[int, _Due] = OrderedDict()  # by fileid, the most urgent first
        self._told = Told(
            volume.tree, self._clock, is_asking=listings.is_asking, ask=self._list_again
        )
        self._is_fed = False
        self._is_behind = True  # another revision may have more than what was told
        self._was_told = False  # of a change, since the revision was asked for
        self._lists_all_since: float | None = None  # all directories are to be made due
        self._ask_at = self._clock.now() + (self._interval_s or inf)
        self._rests_until = -inf
        self._said: set[type[Exception]] = set()

    async def run(self) -> None:
        """Do so for ever."""
        async with asyncio.TaskGroup() as tasks:
            if self._changes is not None:
                tasks.create_task(self._follow(self._changes), name="follow the feed of changes")
            while True:
                await self._pause(TICK_S)
                await self._take_turn()

    async def _take_turn(self) -> None:
        try:
            if self._clock.now() >= self._rests_until:
                await self.turn()
        except HfnfsError as error:
            self._rests_until = self._clock.now() + RETRY_S
            self._say(error)
        except Exception:  # a rim: a bug costs freshness, not the mount
            _log.exception("looking for what others changed failed")

    async def turn(self) -> None:
        """Ask for what is due now. Raises RemoteError."""
        if self._clock.now() >= self._ask_at:
            await self._ask_revision()
        if self._lists_all_since is not None:
            await self._make_all_due(self._lists_all_since)
        await self._ask_doubts()
        await self._list_due()

    # ------------------------------------------------------------------ the feed

    async def _follow(self, changes: Feed) -> None:
        while True:
            events = changes("")
            try:
                async for event in events:
                    await self._take(event)
            except FeedUnavailable as error:
                _log.info("changes are asked for now and then: %s", error)
            except Exception:  # a rim, as above
                _log.exception("following the feed of changes failed")
            finally:
                if isinstance(events, AsyncGenerator):
                    await events.aclose()
            if self._is_fed:
                self._is_fed, self._is_behind = False, True
                self._ask_at = self._clock.now()
            await self._pause(FEED_AGAIN_S)

    async def _take(self, event: FeedEvent) -> None:
        match event:
            case Changed():
                self._was_told = True
                for number, _ in enumerate(self._told.taking(event), 1):
                    if number % _SLICE == 0:
                        await asyncio.sleep(0)  # others are served in between
            case Reset(reason):
                _log.info("the feed of changes has a gap (%s): all is listed again", reason)
                self._lists_all_since = self._clock.now()
            case Ready() if not self._is_fed:
                self._is_fed, self._is_behind = True, True
                self._ask_at = self._clock.now()  # for what was changed before it began

    # ---------------------------------------------------------------- what is due

    async def _ask_revision(self) -> None:
        asked_at, was_fed = self._clock.now(), self._is_fed
        self._ask_at = asked_at + (self._interval_s or RETRY_S)
        if self._is_behind or self._was_told:
            self._was_told = False
            revision = await self._remote.revision()
            self._volume.revision = revision
            if self._is_behind and revision.token not in (self._shown, self._wanted):
                self._wanted = revision.token
                self._lists_all_since = asked_at
            if was_fed:
                self._is_behind = False  # from here on all is told
        if not self._interval_s and self._is_fed is was_fed:
            self._ask_at = inf

    async def _make_all_due(self, since: float) -> None:
        """Let all that is shown be listed again, and what is being listed just now."""
        self._lists_all_since = None
        flying = self._listings.flying
        now = self._clock.now()
        found = await loaded(self._volume.tree)
        all_of_it = [*(each.fileid for each in found), *flying]
        self._due = OrderedDict.fromkeys(all_of_it, _Due(since, now))

    def _list_again(self, directory: Directory) -> None:
        """Let one directory be listed again, before all others."""
        now = self._clock.now()
        self._due[directory.fileid] = _Due(now, now)
        self._due.move_to_end(directory.fileid, last=False)

    async def _ask_doubts(self) -> None:
        tree = self._volume.tree
        for fileid, names in self._told.due().items():
            try:
                await self._listings.renewed_names(fileid, names)
            except (StaleHandle, RemoteEntryMissing):
                continue  # gone, with all that was in it
            except RemoteError as error:
                directory = tree.node_by_fileid(fileid)
                if isinstance(directory, Directory):
                    self._told.doubt(directory, names)
                self._rest_after(error)

    async def _list_due(self) -> None:
        now = self._clock.now()
        ready = (fileid for fileid, due in self._due.items() if due.try_at <= now)
        await side_by_side(list(islice(ready, _LISTINGS_MAX)), self._renew, at_once=self._at_once)
        if self._due or self._lists_all_since is not None:
            return
        self._said.clear()
        if self._wanted is not None:
            self._shown, self._wanted = self._wanted, None

    async def _renew(self, fileid: int) -> None:
        due = self._due.get(fileid)
        if due is None:
            return
        try:
            await self._listings.renewed(fileid, due.not_before)
        except (StaleHandle, RemoteEntryMissing):
            pass  # gone, with all that was in it
        except RemoteError as error:
            if self._due.get(fileid) is due:
                self._due[fileid] = due._replace(try_at=self._clock.now() + RETRY_S)
            self._rest_after(error)
            return
        if self._due.get(fileid) is due:
            del self._due[fileid]

    # ------------------------------------------------------------------ failing

    def _rest_after(self, error: RemoteError) -> None:
        """Raise what would happen to all others as well; of the rest, say it once."""
        if isinstance(error, _HOPELESS):
            raise error
        self._say(error)

    def _say(self, error: HfnfsError) -> None:
        level = logging.DEBUG if type(error) in self._said else logging.WARNING
        self._said.add(type(error))
        _log.log(level, "what others changed is not shown yet: %s", error)
