"""How much to fetch when a range is asked for: decided from what was asked for before. Pure.

A reader that goes forward is a run. NFS clients send the reads of one run in parallel and out of
order, several programs read one file at once, and what is cached is seldom asked for here; so a
read belongs to a run when it lies near what the run has had or was given ahead of its reads.
Each time a run is given more, its window doubles; the run then has one or two windows
beyond the furthest read. Any other read begins a run of its own with the smallest window.

A reader slower than the far side would find all it asks for, be heard of no more, and run into
the end of its last window. So each run that went on stretches a wire one window before the end of
what it was given: whoever reads over it is asked for here although the bytes are there.
"""

from typing import Final, NamedTuple

from hfnfs.config import BLOCK_BYTES

# Readers of one content that are followed at once; the one that was quiet for longest goes.
RUNS_MAX: Final = 16
# A read belongs to a run within so many of the run's windows, or of its own lengths, before the
# run's furthest read or behind what the run was given; the largest window bounds both.
_WINDOWS_NEAR: Final = 2
_LENGTHS_NEAR: Final = 8


class Windows(NamedTuple):
    """Bounds of what is fetched at once, bytes; multiples of BLOCK_BYTES."""

    bytes_min: int
    bytes_max: int


class Plan(NamedTuple):
    """Fetch what is missing of [start, end): whole blocks, or up to the content's end.

    Up to `needed` somebody waits for it, the rest is ahead; in streams of `window` bytes each.
    """

    start: int
    needed: int
    end: int
    window: int


class _Run:
    __slots__ = ("given", "last", "window", "wire")

    def __init__(self, start: int, window: int) -> None:
        self.last = start  # end of the furthest read
        self.given = start  # end of what was planned
        self.window = window
        self.wire: int | None = None  # whose reader is to be given more


class History:
    """What was asked for of one content, as far as it matters for what is asked for next."""

    def __init__(self, size: int, windows: Windows) -> None:
        self._size = size
        self._windows = windows
        self._runs: list[_Run] = []  # the one that was quiet for longest first

    def plan(self, start: int, end: int) -> Plan:
        """What to fetch for a read of [start, end), 0 <= start < end <= size."""
        run = self._run_of(start, end)
        needed = self._whole(end)
        if run is None:
            run = _Run(start, self._windows.bytes_min)
            self._runs = self._runs[1 - RUNS_MAX :]
            ahead = self._whole(start // BLOCK_BYTES * BLOCK_BYTES + run.window)
        else:
            self._runs.remove(run)
            ahead = self._ahead(run, start, end)
        self._runs.append(run)
        run.last = max(run.last, end)
        run.given = max(run.given, needed, ahead)
        if run.window > self._windows.bytes_min:  # it has gone on
            run.wire = max(run.last, run.given - run.window)
        self._drop_wires(start, end)
        first = start // BLOCK_BYTES * BLOCK_BYTES
        return Plan(first, needed, max(needed, ahead), run.window)

    @property
    def wires(self) -> tuple[int, ...]:
        """Offsets whose reader is to be planned for even if it has its bytes."""
        return tuple(run.wire for run in self._runs if run.wire is not None)

    def _drop_wires(self, start: int, end: int) -> None:
        """Who reads [start, end) was heard of; and nobody reads behind the content's end."""
        for run in self._runs:
            if run.wire is not None and (start <= run.wire < end or run.given >= self._size):
                run.wire = None

    def _run_of(self, start: int, end: int) -> _Run | None:
        """The run that the read goes on with; the latest of several."""
        for run in reversed(self._runs):
            reach = max(_WINDOWS_NEAR * run.window, _LENGTHS_NEAR * (end - start))
            reach = min(reach, self._windows.bytes_max)
            if run.last - reach <= start <= max(run.given, run.last) + reach:
                return run
        return None

    def _ahead(self, run: _Run, start: int, end: int) -> int:
        """Where the run is to have bytes up to, now that it reads [start, end)."""
        if end <= run.last:
            return 0  # a late read
        first = start // BLOCK_BYTES * BLOCK_BYTES
        if run.given >= min(end + run.window, self._size):
            # Enough is on its way; unless it was put off or failed, then a window comes now.
            return min(first + run.window, run.given)
        run.window = max(2 * run.window, -(-end // BLOCK_BYTES) * BLOCK_BYTES - first)
        run.window = min(run.window, self._windows.bytes_max)
        return self._whole(max(run.given, end) + run.window)

    def _whole(self, offset: int) -> int:
        """The end of the last block that begins before `offset`, at most the content's."""
        return min(-(-offset // BLOCK_BYTES) * BLOCK_BYTES, self._size)
