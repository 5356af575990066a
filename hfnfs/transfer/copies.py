"""Copies of written files for uploads: each the bytes of one moment, while the file is written on.

    all of it, in a thread --> what was written meanwhile, in a thread, while that is much
        --> the last piece, on the loop: between two writes, so the copy is the file as it is then

Nobody who writes is held up. Each turn copies what was written during the one before, which is
less each time, as copying is faster than writing. Where it is not, the copy is given up.

Where there is no room for a copy, the staged file itself is read, if that is all of the file. What
was read of it counts only if nobody has written to it until then.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from hfnfs.config import MIB
from hfnfs.disk.ranges import Ranges
from hfnfs.disk.snapshot import Snapshot
from hfnfs.errors import CacheUnusable, HfnfsError, NoSpace
from hfnfs.transfer.threads import to_its_end
from hfnfs.vfs.overlay import Drift, Overlay, Shape

# What is copied on the loop at most: some tenths of a millisecond.
LAST_BYTES_MAX: Final = MIB
LAST_PIECES_MAX: Final = 128
TURNS_MAX: Final = 16


class Copier(Protocol):
    """Makes copies; disk/staging.py does. The first two and `sync` block."""

    def snapshot(self, fileid: int, own: Ranges, size: int) -> Snapshot:
        """A copy of `size` bytes, zeros but for `own`. Raises NoSpace, CacheUnusable."""
        ...

    def copy_again(self, copy: Snapshot, fileid: int, own: Ranges) -> None:
        """Put these ranges into a copy as they are now. Raises NoSpace, CacheUnusable."""
        ...

    def require_copy(self, count: int) -> None:
        """Raise NoSpace if so many bytes more of a copy would take what is left for others."""
        ...

    def read_resident(self, fileid: int, start: int, end: int) -> bytes | memoryview | None:
        """Bytes [start, end) if taking them cannot wait for the disk, else None."""
        ...

    def doubtful(self, fileid: int) -> Ranges:
        """What did not reach the disk, and may not be what was written."""
        ...

    def sync(self, fileid: int) -> None:
        """Bring all that was written to the disk. Raises NoSpace, CacheUnusable."""
        ...

    def require_sure(self, fileid: int) -> None:
        """Raise why what was read of a file may not be what was written."""
        ...

    def reaches(self, fileid: int, end: int) -> bool:
        """Whether a file is staged, and as long as that."""
        ...

    def path(self, fileid: int) -> Path:
        """Where the bytes are that are written on."""
        ...


class Source(NamedTuple):
    """A file that is to go up."""

    fileid: int
    overlay: Overlay
    # The copy is the file as it is now: note when that was. False: the file is not that any more.
    freeze: Callable[[], bool]


class Taking:
    """A copy of one file; it is the `shape` once that is there.

    If it never is there is an `error`, or neither: the file is gone, or was written to faster than
    it was copied.
    """

    def __init__(self, staging: Copier, source: Source) -> None:
        self.source = source
        self.path: Path | None = None  # where the bytes are to be read
        self.copy: Snapshot | None = None
        self.shape: Shape | None = None
        self.error: HfnfsError | None = None
        self._staging = staging
        self._lacks_room: NoSpace | None = None  # then the staged file itself is read
        self._from = source.overlay.copy()  # what the running turn copies
        source.overlay.follow()

    def copy_all(self) -> None:
        """The first turn; in a thread."""
        self._do(self._copy_all)

    async def catch_up(self) -> None:
        """The other turns, and the end."""
        for _ in range(TURNS_MAX):
            if self.error is not None:
                if isinstance(self.error, CacheUnusable) and self._has_moved():
                    self.error = None  # it was cut while it was copied
                elif isinstance(self.error, NoSpace):
                    self._do_without(self.error)
                return
            if self._ends():
                return
            await to_its_end(partial(self._do, partial(self._copy_again, self._next_turn())))

    def torn(self) -> HfnfsError | None:
        """Why what was read may be of no one moment, once it was."""
        if self._lacks_room is None:
            return None
        assert self.shape is not None, "there is what was to be read"
        if self.source.overlay.version != self.shape.version:
            lacks = self._lacks_room
            return type(lacks)(f"no room for a copy, and it was written to as it was sent: {lacks}")
        try:
            self._staging.require_sure(self.source.fileid)
        except HfnfsError as error:
            return error
        return None

    def stop(self) -> None:
        """It is not followed any more what is written."""
        self.source.overlay.leave()

    # ------------------------------------------------------- inside

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except HfnfsError as error:
            self.error = error

    def _has_moved(self) -> bool:
        return self.source.overlay.version != self._from.version

    def _copy_all(self) -> None:
        fileid, shape = self.source.fileid, self._from
        if self._staging.doubtful(fileid):  # it may have been written again since
            self._staging.sync(fileid)
        self.copy = self._staging.snapshot(fileid, shape.ranges, shape.size)

    def _next_turn(self) -> Drift:
        drift = self.source.overlay.follow()
        self._from = self.source.overlay.copy()
        return drift

    def _copy_again(self, drift: Drift) -> None:
        copy, shape = self.copy, self._from
        assert copy is not None, "there was a first turn"
        if drift.cut is not None:
            copy.resize(min(drift.cut, shape.size))
        copy.resize(shape.size)
        own = Ranges()
        for start, end in drift.ranges:
            own.update(shape.ranges.intersect(start, end))
        if own:
            self._staging.copy_again(copy, self.source.fileid, own)

    def _do_without(self, error: NoSpace) -> None:
        """Let the staged file itself be read, if nothing is missing there, nor too much."""
        fileid, overlay = self.source.fileid, self.source.overlay
        is_all = (
            overlay.ranges.covers(0, overlay.size)
            and self._staging.reaches(fileid, overlay.size)
            and not self._staging.reaches(fileid, overlay.size + 1)
        )
        if is_all and self.source.freeze():
            self._lacks_room, self.error = error, None
            self.shape = overlay.copy()
            self.path = self._staging.path(fileid)

    def _ends(self) -> bool:
        """Copy what is left if it is little, on the loop; whether it is over by that."""
        overlay = self.source.overlay
        if not self.source.freeze():
            return True
        drift = overlay.drift
        assert drift is not None, "it is followed"
        is_much = drift.ranges.total > LAST_BYTES_MAX or len(drift.ranges) > LAST_PIECES_MAX
        if is_much or drift.cut is not None:
            return False
        pieces = []
        for start, end in drift.ranges:
            for at, until in overlay.ranges.intersect(start, end):
                data = self._staging.read_resident(self.source.fileid, at, until)
                if data is None:
                    return False
                pieces.append((at, data))
        self._do(partial(self._copy_last, pieces))
        return True

    def _copy_last(self, pieces: list[tuple[int, bytes | memoryview]]) -> None:
        copy, overlay = self.copy, self.source.overlay
        assert copy is not None, "there was a first turn"
        if overlay.size != self._from.size:
            copy.resize(overlay.size)
        for at, data in pieces:
            copy.fill(at, data)
        self._staging.require_sure(self.source.fileid)
        self.shape = overlay.copy()
        self.path = copy.path
