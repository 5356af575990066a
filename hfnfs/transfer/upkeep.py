"""What is done now and then for as long as a mount lives."""

import asyncio
import logging

from hfnfs.disk.extents import DiskExtents
from hfnfs.disk.memory import MemoryExtents
from hfnfs.errors import HfnfsError

# Segments that were not read for so long are closed, so that any process may evict them.
_TIDY_EVERY_S = 60.0

_log = logging.getLogger(__name__)


async def keep_tidy(extents: DiskExtents | MemoryExtents) -> None:
    """Let go of what is no longer read, for ever; a disk that fails is tried again."""
    while True:
        await asyncio.sleep(_TIDY_EVERY_S)
        try:
            await asyncio.to_thread(extents.tidy)
        except HfnfsError as error:
            _log.warning("the cache cannot be tidied: %s", error)
