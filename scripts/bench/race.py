"""Two sides in turns: the same job by ours, theirs, ours, theirs, … ours; and what came of it.

A run of theirs is set against the mean of the two of ours beside it, and the median of these
ratios is what counts: a machine's speed moves from minute to minute, and both move with it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from statistics import median

RATE, CPU, P99 = "rate", "cpu_us", "p99_us"


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run measured."""

    rate: float  # units a second
    cpu_us: float  # of the server, for each unit
    p99_us: float | None = None  # of one call; None where nobody counted
    client_busy: float | None = None  # share of the time that the client was on a CPU; likewise


@dataclass(frozen=True, slots=True)
class Aim:
    """What the median ratio of ours to theirs shall be."""

    of: str  # RATE, CPU or P99
    bound: float
    at_least: bool = True

    def words(self, ratio: float) -> str:
        """The aim, and whether it is met."""
        is_met = ratio >= self.bound if self.at_least else ratio <= self.bound
        name = {RATE: "", CPU: "CPU ", P99: "p99 "}[self.of]
        sign = "≥" if self.at_least else "≤"
        return f"{name}{sign} {self.bound:g}: {'met' if is_met else '**missed**'}"


@dataclass(frozen=True, slots=True)
class Race:
    """One job, and how to run it once on either side."""

    name: str
    unit: str
    against: str
    ours: Callable[[], Sample]
    theirs: Callable[[], Sample]
    aims: tuple[Aim, ...] = ()

    def run(self, rounds: int) -> "Run":
        """Run both sides in turns."""
        run = Run(self, [self.ours()], [])
        for _ in range(rounds):
            run.theirs.append(self.theirs())
            run.ours.append(self.ours())
        return run


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a race: its samples in the order of time, ours one more than theirs."""

    race: Race
    ours: list[Sample]
    theirs: list[Sample]

    def ratios(self, of: str) -> list[float]:
        """Ours to theirs, each of theirs with its two neighbours; empty where nobody counted."""
        ours = [getattr(sample, of) for sample in self.ours]
        theirs = [getattr(sample, of) for sample in self.theirs]
        if None in ours or None in theirs:
            return []
        beside = [(a + b) / 2 for a, b in pairwise(ours)]
        return [a / b for a, b in zip(beside, theirs, strict=True)]


HEAD = """\
| what | against | speed | server CPU | p99 | client busy | hfnfs | the other | aim |
|---|---|---|---|---|---|---|---|---|"""


def row(runs: Sequence[Run]) -> str:
    """A row of the table that HEAD begins: one race, the ratios of all its runs pooled."""
    race = runs[0].race
    cells = (
        race.name,
        race.against,
        _speed([run.ratios(RATE) for run in runs]),
        _pooled(runs, CPU),
        _pooled(runs, P99),
        _busy(runs),
        _shown([sample for run in runs for sample in run.ours], race.unit),
        _shown([sample for run in runs for sample in run.theirs], race.unit),
        ", ".join(aim.words(median(_ratios(runs, aim.of))) for aim in race.aims),
    )
    return f"| {' | '.join(cells)} |"


def _ratios(runs: Sequence[Run], of: str) -> list[float]:
    return [ratio for run in runs for ratio in run.ratios(of)]


def _speed(by_run: list[list[float]]) -> str:
    """The median of all ratios; behind it each run's own, or the range of the only one."""
    if len(by_run) == 1:
        around = f"{min(by_run[0]):.2f}-{max(by_run[0]):.2f}"
    else:
        around = ", ".join(f"{median(ratios):.2f}" for ratios in by_run)
    return f"**{median(chain(*by_run)):.2f}** ({around})"


def _pooled(runs: Sequence[Run], of: str) -> str:
    return f"{median(ratios):.2f}" if (ratios := _ratios(runs, of)) else ""


def _busy(runs: Sequence[Run]) -> str:
    """How busy the client was with us and with the other: near 1 it is the client that limits."""
    sides = [[s for run in runs for s in run.ours], [s for run in runs for s in run.theirs]]
    busy = [[s.client_busy for s in side if s.client_busy is not None] for side in sides]
    return " / ".join(f"{median(side):.2f}" for side in busy) if all(busy) else ""


def _shown(samples: list[Sample], unit: str) -> str:
    rate = median(sample.rate for sample in samples)
    cpu_us = median(sample.cpu_us for sample in samples)
    many = f"{rate / 1000:.1f} k" if rate >= 10_000 else f"{rate:.0f} "
    return f"{many}{unit}/s, {cpu_us:.3g} µs"
