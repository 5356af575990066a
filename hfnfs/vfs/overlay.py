"""What was written to a file, above the content that it had: which byte comes from where.

    staged    in `ranges`: in the file's own file on the local disk
    base      elsewhere, below `base_end`: in the content that the Hub had, which need not be here
    zeros     elsewhere

A file that is truncated keeps of the base what is below its new end; if it grows again the rest
is zeros, so `base_end` only falls. Which bytes are staged is known three times:

    ranges    as they are read now
    claim     as they were when the sync that is running began
    kept      as the state has them, which survives a crash: of these every byte was synced

Pure: nothing here touches the disk.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from hfnfs.disk.ranges import OFFSET_MAX, Ranges
from hfnfs.disk.schema import OverlayRecord
from hfnfs.remote import ContentId


@dataclass(slots=True)
class Shape:
    """Which byte of a file comes from where, at one version."""

    ranges: Ranges
    size: int
    version: int
    base: ContentId | None
    base_end: int

    def truncate(self, size: int) -> None:
        """Let the file end at `size`."""
        self.ranges.truncate(size)
        self.base_end = min(self.base_end, size)
        self.size = size

    @property
    def content(self) -> ContentId:
        """The base, where there are gaps that are its."""
        assert self.base is not None, "without a base it ends at 0"
        return self.base

    def write(self, start: int, end: int, version: int) -> None:
        """Let [start, end) be staged bytes."""
        self.ranges.add(start, end)
        self.size = max(self.size, end)
        self.version = version

    def copy(self) -> "Shape":
        """Another of the same."""
        return Shape(self.ranges.copy(), self.size, self.version, self.base, self.base_end)

    def gaps(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of [start, end) that are the base's."""
        end = min(end, self.base_end)
        return list(self.ranges.gaps(start, end)) if start < end else []


# What was written to a file that is being copied is noted in steps, so that it stays little.
_DRIFT_BYTES: Final = 1 << 16


@dataclass(slots=True)
class Drift:
    """What a copy of a file has not got, as it was written to since."""

    ranges: Ranges = field(default_factory=Ranges)
    cut: int | None = None  # from there on nothing of the copy counts

    def write(self, start: int, end: int) -> None:
        """Something was written, or perhaps only a part of it."""
        first = start - start % _DRIFT_BYTES
        self.ranges.add(first, min(end + -end % _DRIFT_BYTES, OFFSET_MAX))

    def truncate(self, size: int) -> None:
        """It was cut, or lengthened by zeros."""
        self.ranges.truncate(size)
        self.cut = size if self.cut is None else min(self.cut, size)


class Overlay(Shape):
    """The bytes of a file that was written to. Versions only grow, whatever is read or written.

    What is `clean` the Hub has: without the overlay the node's content would give the same bytes.
    """

    __slots__ = (
        "claim",
        "drift",
        "grown",
        "kept",
        "kept_version",
        "loose",
        "sent_version",
        "staged",
    )

    def __init__(self, size: int, version: int, base: ContentId | None) -> None:
        super().__init__(Ranges(), size, version, base, 0 if base is None else base.size)
        self.kept = self.copy()
        self.kept_version = version  # all up to there is in the state, if perhaps on its way
        self.sent_version = version  # the Hub has this one
        self.claim: Shape | None = None
        self.drift: Drift | None = None  # while a copy is made
        self.staged = False  # a file of its own exists
        self.loose = False  # nothing of it was synced yet but what is kept, which is a copy
        self.grown = 0  # bytes that the file has more than what the Hub has of it

    @property
    def is_clean(self) -> bool:
        """Whether the Hub has all of it."""
        return self.sent_version == self.version

    def write(self, start: int, end: int, version: int) -> None:
        """Let [start, end) be staged bytes."""
        super().write(start, end, version)
        if self.drift is not None:
            self.drift.write(start, end)

    def scratch(self, start: int, end: int, version: int) -> None:
        """Some of what is staged in [start, end) may be other bytes now: writing there failed."""
        self.version = version
        if self.drift is not None:
            self.drift.write(start, end)

    def follow(self) -> Drift:
        """Note what is written from now on; what was since this was called last."""
        drift, self.drift = self.drift, Drift()
        return drift or Drift()

    def leave(self) -> None:
        """Note it no more."""
        self.drift = None

    def truncate(self, size: int) -> None:
        """Let the file end at `size`, in every account of it."""
        super().truncate(size)
        if self.drift is not None:
            self.drift.truncate(size)
        self.kept.truncate(size)
        if self.claim is not None:
            self.claim.truncate(size)

    def begin_claim(self) -> Shape:
        """What may be kept once everything that is written now was synced."""
        self.claim = self.copy()
        return self.claim

    def keep_claim(self) -> None:
        """What was claimed was synced."""
        claim, self.claim = self.claim, None
        self.loose = False
        if claim is not None and claim.version > self.kept_version:
            self.kept = claim
            self.kept_version = claim.version

    def settle(self, version: int, content: ContentId) -> None:
        """The Hub has `content`, which is what the file was at `version`.

        What is a gap now was one then, so its bytes are in the content as well; it may be all
        that is left of them, as the Hub forgets a content that has no name.
        """
        if version <= self.sent_version:
            return
        self.sent_version = version
        self.base = self.kept.base = content
        if self.claim is not None:
            self.claim.base = content
        if version != self.version:
            return
        self.base_end = content.size
        if self.kept_version != version:
            # Some of what is kept as staged was written over and perhaps not synced since.
            self.kept.ranges = Ranges()
            self.kept_version = version
        self.kept.size = self.kept.base_end = content.size

    def record(self, fileid: int) -> OverlayRecord:
        """What is kept, for the state."""
        kept = self.kept
        return OverlayRecord(
            fileid,
            kept.ranges.copy(),
            kept.size,
            self.version,
            kept.base,
            kept.base_end,
            is_sent=self.sent_version == self.kept_version == self.version,
            is_loose=self.loose,
        )


def restored(record: OverlayRecord) -> Overlay:
    """The overlay of which the state kept this."""
    overlay = Overlay(record.size, record.version, record.base)
    overlay.ranges = record.ranges.copy()
    overlay.base_end = record.base_end
    overlay.kept = overlay.copy()
    overlay.staged = bool(record.ranges)
    if not record.is_sent:
        overlay.sent_version = -1
        overlay.grown = record.size - (0 if record.base is None else record.base.size)
    return overlay


# By fileid, the one that was not used for longest first.
Overlays = OrderedDict[int, Overlay]
