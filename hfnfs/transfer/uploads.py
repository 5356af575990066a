"""Bytes of written files to the Hub: of a copy that nobody writes to, with its gaps filled.

A copy is taken in a thread while the file may be written on. If it was, the copy is of no single
moment: it is thrown away, and the file goes up another time.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeAlias

from hfnfs.config import MIB
from hfnfs.disk.ranges import Ranges
from hfnfs.errors import HfnfsError, RemoteCorrupt, RemoteError
from hfnfs.remote import ContentId, WritableRemote
from hfnfs.transfer.flight import closing_stream
from hfnfs.vfs.overlay import Shape
from hfnfs.vfs.ports import Extents

# What is read from the cache at once to fill a gap.
_STEP_BYTES: Final = 8 * MIB

# The content that the Hub has now; why it has not; None: the file was written to meanwhile.
Outcome: TypeAlias = ContentId | HfnfsError | None

_log = logging.getLogger(__name__)


class Copy(Protocol):
    """A copy of a staged file; disk/snapshot.py has it."""

    path: Path

    def fill(self, offset: int, data: bytes | memoryview) -> None:
        """Put bytes where nothing was staged. Raises NoSpace, CacheUnusable."""
        ...

    def seal(self) -> None:
        """No byte of it will change any more."""
        ...

    def discard(self) -> None:
        """Remove it."""
        ...


class Copier(Protocol):
    """Makes copies; disk/staging.py does."""

    def snapshot(self, fileid: int, own: Ranges, size: int) -> Copy:
        """A copy of `size` bytes, zeros but for `own`. Blocks. Raises NoSpace, CacheUnusable."""
        ...


class Source(NamedTuple):
    """A file as it is to go up."""

    fileid: int
    shape: Shape  # nobody changes it any more


class Uploads:
    """Uploads files of one volume."""

    def __init__(self, remote: WritableRemote, staging: Copier, extents: Extents) -> None:
        self._remote = remote
        self._staging = staging
        self._extents = extents

    async def upload(
        self, sources: Sequence[Source], is_still: Callable[[Source], bool]
    ) -> list[Outcome]:
        """Bring files to the Hub; for each what became of it.

        `is_still` says whether a file is what it was. Who is cancelled leaves no copy behind.
        """
        outcomes: dict[int, Outcome] = {}
        copies: dict[int, Copy] = {}
        try:
            await self._copy(sources, copies, outcomes)
            for number, source in enumerate(sources):
                if number in copies and not is_still(source):
                    outcomes[number] = None
            await self._complete(sources, copies, outcomes)
            ready = [number for number in copies if number not in outcomes]
            contents = await self._remote.upload([copies[n].path for n in ready]) if ready else []
            for number, content in zip(ready, contents, strict=True):
                outcomes[number] = _checked(content, sources[number])
        except RemoteError as error:
            outcomes = dict.fromkeys(range(len(sources)), error) | outcomes
        finally:
            await asyncio.to_thread(_discard, list(copies.values()))
        return [outcomes[number] for number in range(len(sources))]

    async def _copy(
        self, sources: Sequence[Source], copies: dict[int, Copy], outcomes: dict[int, Outcome]
    ) -> None:
        """Take copies, all in one turn of a thread; it has ended when this does."""
        is_wanted = True

        def take() -> None:
            for number, (fileid, shape) in enumerate(sources):
                if not is_wanted:
                    return
                try:
                    copies[number] = self._staging.snapshot(fileid, shape.ranges, shape.size)
                except HfnfsError as error:
                    outcomes[number] = error

        taking = asyncio.get_running_loop().run_in_executor(None, take)
        try:
            await asyncio.shield(taking)
        except asyncio.CancelledError:
            is_wanted = False
            await asyncio.wait([taking])
            raise

    async def _complete(
        self, sources: Sequence[Source], copies: dict[int, Copy], outcomes: dict[int, Outcome]
    ) -> None:
        """Fill what the base has of the copies, and seal them."""
        for number, copy in copies.items():
            shape = sources[number].shape
            if number in outcomes:
                continue
            try:
                for start, end in shape.gaps(0, shape.size):
                    await self._fill(copy, shape.content, start, end)
            except HfnfsError as error:
                outcomes[number] = error
        good = [copy for number, copy in copies.items() if number not in outcomes]
        await asyncio.to_thread(_seal, good)

    async def _fill(self, copy: Copy, base: ContentId, start: int, end: int) -> None:
        """Put [start, end) of the base into the copy: from the cache, else from the Hub."""
        while start < end:
            stop = min(start + _STEP_BYTES, end)
            gap = self._extents.gap(base, start, end)
            if gap is not None:
                stop = min(stop, gap[0])
            if stop <= start:
                stop = end if gap is None else min(gap[1], end)
                await self._fetch(copy, base, start, stop)
            elif not await asyncio.to_thread(self._fill_from_cache, copy, base, start, stop):
                await self._fetch(copy, base, start, stop)
            start = stop

    def _fill_from_cache(self, copy: Copy, base: ContentId, start: int, end: int) -> bool:
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

    async def _fetch(self, copy: Copy, base: ContentId, start: int, end: int) -> None:
        reached = start
        async with closing_stream(self._remote.open(base, start, end)) as pieces:
            async for offset, data in _within(pieces, start, end):
                if offset != reached:
                    break
                await asyncio.to_thread(copy.fill, offset, data)
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


def _checked(content: ContentId | RemoteError, source: Source) -> Outcome:
    if isinstance(content, ContentId) and content.size != source.shape.size:
        return RemoteCorrupt(
            f"{content.key}: {content.size} bytes were taken of {source.shape.size}"
        )
    return content


def _seal(copies: Sequence[Copy]) -> None:
    for copy in copies:
        copy.seal()


def _discard(copies: Sequence[Copy]) -> None:
    for copy in copies:
        try:
            copy.discard()
        except HfnfsError as error:
            _log.warning("a copy for an upload is left until the next start: %s", error)
