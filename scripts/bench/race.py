"""Two sides in turns: the same job by ours, theirs, ours, theirs, … ours; and what came of it.

A run of theirs is set against the mean of the two of ours beside it, and the median of these
ratios is what counts: a machine's speed moves from minute to minute, and both move with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

RATE, CPU, P99 = "rate", "cpu_us", "p99_us"


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run measured."""

    rate: float  # units a second
    cpu_us: float  # of the server, for each unit
    p99_us: float | None = None  # of one call; None where nobody counted


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

    def run(self, rounds: int) -> "Result":
        """Run both sides in turns."""
        result = Result(self, [self.ours()], [])
        for _ in range(rounds):
            result.theirs.append(self.theirs())
            result.ours.append(self.ours())
        return result


HEAD = """\
| what | against | speed (range) | server CPU | p99 | hfnfs | the other | aim |
|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True, slots=True)
class Result:
    """All runs of a race, in the order of time: ours are one more than theirs."""

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

    def row(self) -> str:
        """A row of the table that HEAD begins."""
        race, speed = self.race, self.ratios(RATE)
        return (
            f"| {race.name} | {race.against} "
            f"| **{median(speed):.2f}** ({min(speed):.2f}-{max(speed):.2f}) "
            f"| {self._median_of(CPU)} | {self._median_of(P99)} "
            f"| {self._shown(self.ours)} | {self._shown(self.theirs)} "
            f"| {', '.join(aim.words(median(self.ratios(aim.of))) for aim in race.aims)} |"
        )

    def _median_of(self, of: str) -> str:
        return f"{median(ratios):.2f}" if (ratios := self.ratios(of)) else ""

    def _shown(self, samples: list[Sample]) -> str:
        rate = median(sample.rate for sample in samples)
        cpu_us = median(sample.cpu_us for sample in samples)
        many = f"{rate / 1000:.1f} k" if rate >= 10_000 else f"{rate:.0f} "
        return f"{many}{self.race.unit}/s, {cpu_us:.3g} µs"
