"""The same work for many things, a few at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def side_by_side(
    things: Iterable[T], work: Callable[[T], Awaitable[None]], *, at_once: int
) -> None:
    """Do the work for each thing, in their order. The first error ends all, raised as itself."""
    queue = iter(things)

    async def take_turns() -> None:
        for thing in queue:
            await work(thing)

    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(at_once):
                tasks.create_task(take_turns(), name=f"side by side {number}")
    except ExceptionGroup as group:
        raise group.exceptions[0] from None
