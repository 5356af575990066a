"""Whole files, fetched in the background: those that are wanted, or every file that is read.

It stands before the fetcher and sees what is asked for. Two files at a time are walked from front
to back, in steps that wait while somebody asks for bytes of his own; where that never ends, a
step is taken every second all the same.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from hfnfs.config import MIB
from hfnfs.errors import HfnfsError
from hfnfs.remote import ContentId
from hfnfs.vfs.ports import Extents

FILES_AT_ONCE: Final = 2
STEP_BYTES: Final = 8 * MIB
_GIVES_WAY_S: Final = 1.0  # at most, before each step
_WAITING_MAX: Final = 10_000  # files; those that were asked for first go unfetched

# Asked before each step: whether the rest of the file is still wanted.
GoesOn: TypeAlias = Callable[[], bool]

_log = logging.getLogger(__name__)


class Bringer(Protocol):
    """Brings ranges of contents into the cache; Fetcher is one."""

    async def bring(self, content: ContentId, start: int, end: int) -> None:
        """Return once [start, end) is in the cache; pin it before. Raises HfnfsError."""
        ...


class WholeFiles:
    """Brings what is asked for, and the rest of the files that are wanted."""

    def __init__(
        self,
        fetcher: Bringer,
        extents: Extents,
        bytes_max: Callable[[], int],
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._fetcher = fetcher
        self._extents = extents
        self._bytes_max = bytes_max  # of the cache just now: what is larger would push itself out
        self._tasks = tasks
        self._waiting: dict[ContentId, GoesOn] = {}
        self._walked: set[ContentId] = set()
        self._asking = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def bring(self, content: ContentId, start: int, end: int) -> None:
        """Return once [start, end) is in the cache; pin it before. Raises HfnfsError."""
        self._asking += 1
        self._quiet.clear()
        try:
            await self._fetcher.bring(content, start, end)
        finally:
            self._asking -= 1
            if not self._asking:
                self._quiet.set()

    def want(self, content: ContentId, goes_on: GoesOn = lambda: True) -> None:
        """Fetch the rest of it when there is time, for as long as `goes_on` says so."""
        if content in self._walked or content in self._waiting or not self._fits(content):
            return
        self._waiting[content] = goes_on
        if len(self._waiting) > _WAITING_MAX:
            del self._waiting[next(iter(self._waiting))]
        if len(self._walked) < FILES_AT_ONCE:
            self._walk_next()

    def _walk_next(self) -> None:
        content = next(iter(self._waiting))
        goes_on = self._waiting.pop(content)
        self._walked.add(content)
        self._tasks.create_task(self._walk(content, goes_on), name=f"fetch all of {content.key}")

    async def _walk(self, content: ContentId, goes_on: GoesOn) -> None:
        try:
            await self._fetch(content, goes_on)
        except HfnfsError as error:  # whoever reads on is told; a later miss begins anew
            _log.debug("%s is not fetched as a whole: %s", content.key, error)
        finally:
            self._walked.discard(content)
        if self._waiting:
            self._walk_next()

    async def _fetch(self, content: ContentId, goes_on: GoesOn) -> None:
        for start in range(0, content.size, STEP_BYTES):
            end = min(start + STEP_BYTES, content.size)
            if await asyncio.to_thread(self._extents.has, content, start, end):
                continue
            await self._give_way()
            if not goes_on() or not self._fits(content):
                return
            self._extents.pin(content, start, end)
            try:
                await self._fetcher.bring(content, start, end)
            finally:
                self._extents.unpin(content, start, end)

    def _fits(self, content: ContentId) -> bool:
        return content.size <= self._bytes_max()

    async def _give_way(self) -> None:
        try:
            async with asyncio.timeout(_GIVES_WAY_S):
                await self._quiet.wait()
        except TimeoutError:
            return


class EveryFile:
    """Brings what is asked for, and then the rest of its file (--cache-mode file)."""

    def __init__(self, whole: WholeFiles) -> None:
        self._whole = whole

    async def bring(self, content: ContentId, start: int, end: int) -> None:
        """Return once [start, end) is in the cache; pin it before. Raises HfnfsError."""
        await self._whole.bring(content, start, end)
        self._whole.want(content)
