"""What every table of races is told."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from race import Race


@dataclass(frozen=True, slots=True)
class Bench:
    """Where to work, for how long, and on how much."""

    work: Path  # empty, in memory
    seconds: float  # of each run
    rounds: int  # runs of the others for each race
    entries: int  # of the long directory
    mib: int  # of the kernel client's big file; its model has 2/5 of that
    only: str  # races whose name contains this

    def wants(self, name: str) -> bool:
        """Whether the race of that name shall be run."""
        return self.only in name


# Starts its servers, gives its races one by one, and ends them.
Table: TypeAlias = Callable[[Bench], Iterator[Race]]
