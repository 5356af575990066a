"""The end of a volume that takes changes: what the Hub lacks is sent, and told of meanwhile."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hfnfs.config import MIB
from hfnfs.errors import ChangesUnsent
from hfnfs.transfer.flush import Flush
from hfnfs.vfs.outbox import Pending

TOLD_EVERY_S: Final = 3.0
_NAMED_MAX: Final = 5  # files, in a line of the log

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Draining:
    """Sends what the Hub lacks, for so long at most."""

    flush: Flush
    timeout_s: float
    staging: Path  # where it is kept
    unsent_bytes: Callable[[], int]

    async def drained(self, enough: asyncio.Event) -> None:
        """Return once the Hub has all; `enough` ends the wait. Raises ChangesUnsent."""
        if self.flush.pending_count:
            await self._send(enough)
        left = self.flush.pending()
        if left:
            raise ChangesUnsent(self._told(left))

    async def _send(self, enough: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as tasks:
            draining = tasks.create_task(self.flush.drain(self.timeout_s), name="drain")
            others = [
                tasks.create_task(enough.wait(), name="wait for a second signal"),
                tasks.create_task(self._tell(), name="tell how far it is"),
            ]
            await asyncio.wait([draining, others[0]], return_when=asyncio.FIRST_COMPLETED)
            for task in (draining, *others):
                task.cancel()

    async def _tell(self) -> None:
        """Say now and then how much there is to do."""
        while True:
            await asyncio.sleep(TOLD_EVERY_S)
            _log.info(
                "sending what the Hub lacks: %s; Ctrl-C leaves the rest to the next mount",
                amount(self.flush.pending_count, self.unsent_bytes()),
            )

    def _told(self, left: list[Pending]) -> str:
        names = ", ".join(each.path for each in left[:_NAMED_MAX])
        others = f" and {len(left) - _NAMED_MAX} more" if len(left) > _NAMED_MAX else ""
        why = next((each.error for each in left if each.error), self.flush.outage or "no time")
        return (
            f"not on the Hub yet: {names}{others} ({why}). They are kept in {self.staging} "
            "and go there at the next mount"
        )


def amount(files: int, bytes_: int) -> str:
    """So many files and bytes, for people."""
    return f"{files} file{'s' * (files != 1)}, {bytes_ / MIB:.1f} MiB"
