"""Which written bytes are in doubt, as bringing them to the disk has failed.

The system tells that once and then holds the pages for clean: it may forget them, and give what
was there before. So it is remembered here, until the bytes were written again and brought to the
disk, or were cut off.
"""

from typing import NamedTuple

from hfnfs.disk.ranges import Ranges
from hfnfs.errors import HfnfsError


class _Doubt(NamedTuple):
    ranges: Ranges  # empty: only the file's name, or its end
    error: HfnfsError


class Doubts:
    """Of the files of one volume, by fileid."""

    def __init__(self) -> None:
        self._doubts: dict[int, _Doubt] = {}

    def ranges(self, fileid: int) -> Ranges:
        """What of a file is in doubt."""
        doubt = self._doubts.get(fileid)
        return Ranges() if doubt is None else doubt.ranges.copy()

    def why(self, fileid: int) -> HfnfsError | None:
        """Why something of it is; None: nothing is."""
        doubt = self._doubts.get(fileid)
        return None if doubt is None else doubt.error

    def failed(self, fileid: int, taken: Ranges, error: HfnfsError) -> None:
        """Bringing that to the disk has failed."""
        ranges = self.ranges(fileid)
        ranges.update(taken)
        self._doubts[fileid] = _Doubt(ranges, error)

    def synced(self, fileid: int, taken: Ranges) -> None:
        """That is on the disk."""
        doubt = self._doubts.get(fileid)
        if doubt is not None:
            doubt.ranges.subtract(taken)
            if not doubt.ranges:
                del self._doubts[fileid]

    def cut(self, fileid: int, size: int) -> None:
        """What is beyond counts no more."""
        doubt = self._doubts.get(fileid)
        if doubt is not None:
            doubt.ranges.truncate(size)

    def forget(self, fileid: int) -> None:
        """The file is gone."""
        self._doubts.pop(fileid, None)
