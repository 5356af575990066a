"""What a loader will want next, from what its file is: the index at once, and then all tensors.

It stands before the fetcher and looks at the files that are read. Whoever reads the beginning of
a safetensors or GGUF file is given its whole header in one go, whoever reads the beginning or the
end of a parquet file its footer. A tensor file that is read here and there, mostly forwards or in
a good part of it, is being loaded: the rest of it follows, for as long as it is asked for at all.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Final, Protocol

from hfnfs.clock import Clock
from hfnfs.errors import HfnfsError
from hfnfs.remote import ContentId
from hfnfs.transfer.formats import FOOT_BYTES, HEAD_BYTES, Span, footer, known_by_head
from hfnfs.transfer.whole import Bringer
from hfnfs.vfs.ports import Extents

# Who has missed so often behind the header, most of the time forwards or for this part of the
# file in all, loads it.
LOAD_MISSES: Final = 8
_FORWARDS_MIN: Final = 0.75
_PART_MIN: Final = 1 / 16
# Files that are followed; those looked at longest ago are looked at anew.
_CONTENTS_MAX: Final = 1024
_INDEXES_AT_ONCE: Final = 4

_log = logging.getLogger(__name__)


class WholeBringer(Bringer, Protocol):
    """Brings ranges, and whole files in the background; WholeFiles is one."""

    def want(self, content: ContentId, goes_on: Callable[[], bool]) -> None:
        """Fetch the rest of it when there is time, for as long as `goes_on` says so."""
        ...


class _Look:
    """What is known of one file, and how it was read since."""

    __slots__ = (
        "asked_at",
        "bytes",
        "forwards",
        "has_foot",
        "has_head",
        "index",
        "is_tensors",
        "last",
        "misses",
    )

    def __init__(self) -> None:
        self.has_head = self.has_foot = False
        self.index: Span | None = None
        self.is_tensors = False
        self.misses = self.forwards = self.bytes = 0  # behind the index, while it is asked for
        self.last = 0  # end of the last miss
        self.asked_at = -inf  # monotonic seconds


class Foresight:
    """Brings what is asked for, and what its file's format says is asked for next."""

    def __init__(
        self,
        fetcher: WholeBringer,
        extents: Extents,
        tasks: asyncio.TaskGroup,
        *,
        clock: Clock,
        linger_s: float,
    ) -> None:
        self._fetcher = fetcher
        self._extents = extents
        self._tasks = tasks
        self._clock = clock
        self._linger_s = linger_s  # who misses nothing for so long has stopped, or needs no help
        self._looks: dict[ContentId, _Look] = {}
        self._indexes = 0

    async def bring(self, content: ContentId, start: int, end: int) -> None:
        """Return once [start, end) is in the cache; pin it before. Raises HfnfsError."""
        await self._fetcher.bring(content, start, end)
        look = self._looks.pop(content, None) or _Look()
        self._looks[content] = look
        if len(self._looks) > _CONTENTS_MAX:
            del self._looks[next(iter(self._looks))]
        self._recognise(content, look, start, end)
        if look.is_tensors and self._is_loading(content, look, start, end):
            self._fetcher.want(content, partial(self._is_asked_for, look))

    def _recognise(self, content: ContentId, look: _Look, start: int, end: int) -> None:
        """Look at the file's first and last bytes when they have come."""
        if start == 0 and end >= HEAD_BYTES and not look.has_head:
            look.has_head = True
            head = self._extents.read(content, 0, HEAD_BYTES)
            known = known_by_head(head or b"", content.size)
            if known is not None:
                look.is_tensors = known.is_tensors
                self._bring_index(content, look, known.index)
        if end == content.size >= FOOT_BYTES and not look.has_foot:
            look.has_foot = True
            foot = self._extents.read(content, end - FOOT_BYTES, end)
            span = footer(foot or b"", content.size)
            if span is not None:
                self._bring_index(content, look, span)

    def _is_loading(self, content: ContentId, look: _Look, start: int, end: int) -> bool:
        """Take in a miss; whether the misses of late are those of a loader."""
        if not self._is_asked_for(look):
            look.misses = look.forwards = look.bytes = 0
        look.asked_at = self._clock.now()
        if look.index is not None and start < look.index.end:
            return False
        look.misses += 1
        look.forwards += start >= look.last
        look.bytes += end - start
        look.last = end
        return look.misses >= LOAD_MISSES and (
            look.forwards >= look.misses * _FORWARDS_MIN or look.bytes >= content.size * _PART_MIN
        )

    def _is_asked_for(self, look: _Look) -> bool:
        return self._clock.now() - look.asked_at < self._linger_s

    def _bring_index(self, content: ContentId, look: _Look, span: Span) -> None:
        if look.index != span and span.start < span.end and self._indexes < _INDEXES_AT_ONCE:
            look.index = span
            self._indexes += 1
            name = f"fetch the index of {content.key}"
            self._tasks.create_task(self._bring_quietly(content, span), name=name)

    async def _bring_quietly(self, content: ContentId, span: Span) -> None:
        self._extents.pin(content, *span)
        try:
            await self._fetcher.bring(content, *span)
        except HfnfsError as error:  # whoever reads it is told
            _log.debug("the index of %s is not there yet: %s", content.key, error)
        finally:
            self._extents.unpin(content, *span)
            self._indexes -= 1
