"""Work in threads that is never left alone."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def _nothing() -> None:
    """There is nothing to hurry."""


async def to_its_end(work: Callable[[], T], when_cancelled: Callable[[], None] = _nothing) -> T:
    """Let a thread do it. A thread cannot be stopped: who is cancelled waits for it as well.

    So when a group of tasks has ended, none of its threads still has a file in its hands.
    `when_cancelled` may tell the work to be short.
    """
    working = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        when_cancelled()
        await asyncio.wait([working])
        if not working.cancelled():
            working.exception()  # who is cancelled does not hear of it
        raise
