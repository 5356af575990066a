"""How a test waits: for the fact itself, however long that takes on a loaded machine."""

import asyncio
from collections.abc import Callable

# Far above what anything takes; so that what never comes is a failure that says where.
PATIENCE_S = 100.0


async def until(fact: Callable[[], object]) -> None:
    """Let the loop turn, and threads work, until it is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not fact():  # noqa: ASYNC110  # a fact, not an event that someone could set
            await asyncio.sleep(0)
