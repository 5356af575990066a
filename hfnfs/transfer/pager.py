"""Meets what requests wait for; implements vfs.needs.Pager over the far side and the cache.

What is wanted of the local disk is another's job.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

from hfnfs.transfer.durable import LocalNeed, LocalPager
from hfnfs.transfer.listings import Listings
from hfnfs.transfer.single_flight import SingleFlight
from hfnfs.transfer.whole import Bringer
from hfnfs.vfs.needs import Durable, Extent, Journaled, Listed, Named, Need, Resident, Subtree, Then
from hfnfs.vfs.ports import Extents

FarNeed: TypeAlias = Extent | Resident | Named | Listed | Subtree


class RemotePager:
    """Brings bytes and names to where requests find them; `local` None: nothing is written."""

    def __init__(
        self,
        *,
        fetcher: Bringer,
        listings: Listings,
        extents: Extents,
        tasks: asyncio.TaskGroup,
        local: LocalPager | None = None,
    ) -> None:
        self._fetcher = fetcher
        self._listings = listings
        self._extents = extents
        self._local = local
        self._make_resident: SingleFlight[Resident, None] = SingleFlight(tasks, self._resident)

    def meet(self, need: Need) -> AbstractAsyncContextManager[None]:
        """Enter once `need` is met; its bytes stay in the cache until the block is left.

        Raises HfnfsError. Every step has a bound of its own; how long a request may wait in all
        is decided by who asks.
        """
        if isinstance(need, LocalNeed):
            assert self._local is not None, "what cannot be changed has no such needs"
            return self._local.meet(need)
        return self._meet_far(need)

    def when_met(self, need: Durable | Journaled, then: Then) -> None:
        """Call `then` once `need` is met, or cannot be."""
        assert self._local is not None, "what cannot be changed has no such needs"
        self._local.when_met(need, then)

    @asynccontextmanager
    async def _meet_far(self, need: FarNeed) -> AsyncIterator[None]:
        match need:
            case Extent() | Resident():
                self._extents.pin(need.content, need.start, need.end)
                try:
                    await self._meet_bytes(need)
                    yield
                finally:
                    self._extents.unpin(need.content, need.start, need.end)
            case Named(directory, name):
                await self._listings.named(directory, name)
                yield
            case Listed(directory, not_before):
                await self._listings.listed(directory, not_before)
                yield
            case Subtree(directory, not_before):
                await self._listings.all_listed(directory, not_before)
                yield

    async def _meet_bytes(self, need: Extent | Resident) -> None:
        if isinstance(need, Resident):
            await self._make_resident(need)
        else:
            await self._fetcher.bring(need.content, need.start, need.end)

    async def _resident(self, need: Resident) -> None:
        await asyncio.to_thread(self._extents.make_resident, need.content, need.start, need.end)
