"""⏳ What the demo writes to its bucket, and what of that goes to the Hub."""

import asyncio
import os
from collections.abc import Callable
from typing import Final

from hfnfs.app.running import Running
from hfnfs.demo.lines import Meter, in_bytes, step
from hfnfs.demo.looks import Look
from hfnfs.errors import RemoteCorrupt
from hfnfs.localhub import sample
from hfnfs.localhub.hub import LocalHub

SAVED: Final = "checkpoints/step-3000/state.bin"
RENAMED: Final = "checkpoints/last.bin"
SIZE: Final = 1_000_000


async def save_and_rename(
    look: Look, served: Running, hub: LocalHub, say: Callable[[str], None]
) -> None:
    """Write a file, have it sent, rename it; tell what of each the Hub was sent.

    Raises RemoteCorrupt if the Hub has anything else in the end, ChangesUnsent.
    """
    sent = Meter(hub.counters.requests, hub.counters.bytes_in, "nothing sent")
    data = os.urandom(SIZE)
    await look.save(SAVED, data)
    say(step(f"{SAVED}: {in_bytes(SIZE)} written, safe here", sent.since()))
    await _require_sent(served, hub, SAVED, data)
    say(step("sent to the Hub, which has it, equal", sent.since()))
    await look.rename(SAVED, RENAMED)
    await _require_sent(served, hub, RENAMED, data)
    say(step(f"renamed to {RENAMED}, there as well", sent.since()))


async def _require_sent(served: Running, hub: LocalHub, path: str, data: bytes) -> None:
    await served.drained(asyncio.Event())
    there = await hub.files(sample.BUCKET)
    if there.get(path) != data or {SAVED, RENAMED} - {path} & there.keys():
        raise RemoteCorrupt(f"{path} is not on the Hub as it was written")
