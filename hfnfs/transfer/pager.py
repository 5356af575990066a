"""Meets what requests wait for; implements vfs.needs.Pager over the far side and the cache."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hfnfs.transfer.listings import Listings
from hfnfs.transfer.single_flight import SingleFlight
from hfnfs.transfer.whole import Bringer
from hfnfs.vfs.needs import Extent, Listed, Named, Need, Resident
from hfnfs.vfs.ports import Extents


class RemotePager:
    """Brings bytes and names to where requests find them."""

    def __init__(
        self,
        *,
        fetcher: Bringer,
        listings: Listings,
        extents: Extents,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._fetcher = fetcher
        self._listings = listings
        self._extents = extents
        self._make_resident: SingleFlight[Resident, None] = SingleFlight(tasks, self._resident)

    @asynccontextmanager
    async def meet(self, need: Need) -> AsyncIterator[None]:
        """Enter once `need` is met; its bytes stay in the cache until the block is left.

        Raises HfnfsError. Every step has a bound of its own; how long a request may wait in all
        is decided by who asks.
        """
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

    async def _meet_bytes(self, need: Extent | Resident) -> None:
        if isinstance(need, Resident):
            await self._make_resident(need)
        else:
            await self._fetcher.bring(need.content, need.start, need.end)

    async def _resident(self, need: Resident) -> None:
        await asyncio.to_thread(self._extents.make_resident, need.content, need.start, need.end)
