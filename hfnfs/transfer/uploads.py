"""Bytes of written files to the Hub: of copies that nobody writes to, with their gaps filled."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from hfnfs.config import MIB
from hfnfs.disk.snapshot import Snapshot
from hfnfs.errors import HfnfsError, RemoteCorrupt, RemoteError
from hfnfs.remote import ContentId, WritableRemote
from hfnfs.transfer.copies import Copier, Source, Taking
from hfnfs.transfer.flight import closing_stream
from hfnfs.transfer.threads import to_its_end
from hfnfs.vfs.overlay import Shape
from hfnfs.vfs.ports import Extents

# What is read from the cache at once to fill a gap.
_STEP_BYTES: Final = 8 * MIB
_ENDED_AT_ONCE: Final = 32  # copies of files that nobody writes to, in one turn of the loop

# The content that the Hub has now; why it has not; None: no copy could be taken, or is wanted.
Outcome: TypeAlias = ContentId | HfnfsError | None

_log = logging.getLogger(__name__)


class Uploads:
    """Uploads files of one volume."""

    def __init__(self, remote: WritableRemote, staging: Copier, extents: Extents) -> None:
        self._remote = remote
        self._staging = staging
        self._extents = extents

    async def upload(self, sources: Sequence[Source]) -> list[Outcome]:
        """Bring files to the Hub; for each what became of it.

        Who is cancelled leaves no copy behind.
        """
        takings = [Taking(self._staging, source) for source in sources]
        outcomes: dict[int, Outcome] = {}
        try:
            await _take(takings)
            ready = await self._complete(takings, outcomes)
            contents = await self._remote.upload([path for _, path, _ in ready]) if ready else []
            for (number, _, shape), content in zip(ready, contents, strict=True):
                outcomes[number] = takings[number].torn() or _checked(content, shape)
        except RemoteError as error:
            outcomes = dict.fromkeys(range(len(sources)), error) | outcomes
        finally:
            for taking in takings:
                taking.stop()
            await to_its_end(partial(_discard, [t.copy for t in takings if t.copy is not None]))
        return [outcomes[number] for number in range(len(sources))]

    async def _complete(
        self, takings: Sequence[Taking], outcomes: dict[int, Outcome]
    ) -> list[tuple[int, Path, Shape]]:
        """Fill what the base has of the copies, and seal them; where those are that are whole."""
        good = []
        for number, taking in enumerate(takings):
            path, copy, shape = taking.path, taking.copy, taking.shape
            if path is None or shape is None:
                outcomes[number] = taking.error
                continue
            try:
                await self._fill_gaps(copy, shape)
            except HfnfsError as error:
                outcomes[number] = error
            else:
                good.append((number, path, shape))
        await to_its_end(partial(_seal, [t.copy for t in takings if t.copy is not None]))
        return good

    async def _fill_gaps(self, copy: Snapshot | None, shape: Shape) -> None:
        """Put what the base has into the copy, if there is room for it."""
        gaps = shape.gaps(0, shape.size)
        if not gaps:
            return
        assert copy is not None, "what has gaps is read of a copy"
        self._staging.require_copy(sum(end - start for start, end in gaps))
        for start, end in gaps:
            await self._fill(copy, shape.content, start, end)

    async def _fill(self, copy: Snapshot, base: ContentId, start: int, end: int) -> None:
        """Put [start, end) of the base into the copy: from the cache, else from the Hub."""
        while start < end:
            stop = min(start + _STEP_BYTES, end)
            gap = self._extents.gap(base, start, end)
            if gap is not None:
                stop = min(stop, gap[0])
            if stop <= start:
                stop = end if gap is None else min(gap[1], end)
                await self._fetch(copy, base, start, stop)
            elif not await to_its_end(partial(self._fill_from_cache, copy, base, start, stop)):
                await self._fetch(copy, base, start, stop)
            start = stop

    def _fill_from_cache(self, copy: Snapshot, base: ContentId, start: int, end: int) -> bool:
        """Whether all of it was there; blocks."""
        self._extents.pin(base, start, end)
        try:
            self._extents.make_resident(base, start, end)
            data = self._extents.read(base, start, end)
        finally:
            self._extents.unpin(base, start, end)
        if data is not None:
            copy.fill(start, data)
        return data is not None

    async def _fetch(self, copy: Snapshot, base: ContentId, start: int, end: int) -> None:
        reached = start
        async with closing_stream(self._remote.open(base, start, end)) as pieces:
            async for offset, data in _within(pieces, start, end):
                if offset != reached:
                    break
                await to_its_end(partial(copy.fill, offset, data))
                reached += len(data)
        if reached < end:
            raise RemoteCorrupt(f"{base.key}: the stream of [{start}, {end}) ended at {reached}")


async def _within(
    pieces: AsyncIterator[tuple[int, bytes | memoryview]], start: int, end: int
) -> AsyncIterator[tuple[int, memoryview]]:
    """Pieces without what lies outside of [start, end)."""
    async for offset, data in pieces:
        first, last = max(start - offset, 0), min(end - offset, len(data))
        if first < last:
            yield offset + first, memoryview(data)[first:last]


async def _take(takings: Sequence[Taking]) -> None:
    """Copy files as they are at a moment, for each file one of its own."""
    is_wanted = True

    def copy_all() -> None:
        for taking in takings:
            if is_wanted:
                taking.copy_all()

    def stop() -> None:
        nonlocal is_wanted
        is_wanted = False

    await to_its_end(copy_all, stop)
    for number, taking in enumerate(takings, 1):
        await taking.catch_up()
        if not number % _ENDED_AT_ONCE:
            await asyncio.sleep(0)


def _checked(content: ContentId | RemoteError, shape: Shape) -> Outcome:
    if isinstance(content, ContentId) and content.size != shape.size:
        return RemoteCorrupt(f"{content.key}: {content.size} bytes were taken of {shape.size}")
    return content


def _seal(copies: Sequence[Snapshot]) -> None:
    for copy in copies:
        copy.seal()


def _discard(copies: Sequence[Snapshot]) -> None:
    for copy in copies:
        try:
            copy.discard()
        except HfnfsError as error:
            _log.warning("a copy for an upload is left until the next start: %s", error)
