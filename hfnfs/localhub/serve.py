"""Run a local Hub until told to stop."""

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hfnfs.localhub import sample
from hfnfs.localhub.hub import LocalHub


async def serve(
    directory: Path,
    *,
    port: int = 0,
    faults: Sequence[Mapping[str, Any]] = (),
    with_sample: bool = False,
    ready: Callable[[LocalHub], None] = lambda hub: None,
) -> None:
    """Serve `directory`; `ready` is called once it is. Ends on SIGINT or SIGTERM.

    Raises CacheUnusable, PortRefused, UsageError.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with LocalHub(directory, port=port) as hub:
        if with_sample:
            await sample.fill(hub)
        for fault in faults:
            hub.faults.add_described(fault)
        ready(hub)
        await stop.wait()
