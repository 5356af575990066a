"""How the demo words what it did and what that cost."""

from collections.abc import Mapping
from typing import Any, Final

STEP_COLUMNS: Final = 68


def step(done: str, cost: str) -> str:
    """The line of one step."""
    return f"  {done:.<{STEP_COLUMNS}} {cost}"


def in_bytes(count: int) -> str:
    """For people: 950 B, 4.2 kB, 13.0 MB."""
    if count < 1000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1000:.1f} kB"
    return f"{count / 1_000_000:.1f} MB"


class Meter:
    """What goes over the network, by counters of requests and of bytes."""

    def __init__(
        self, requests: Mapping[Any, int], bytes_: Mapping[Any, int], nothing: str
    ) -> None:
        self._counters = requests, bytes_
        self._nothing = nothing
        self._told = self._sums()

    def since(self) -> str:
        """What went since the last call."""
        before, self._told = self._told, self._sums()
        requests, count = (now - then for now, then in zip(self._told, before, strict=True))
        if not requests:
            return self._nothing
        return f"{in_bytes(count)} in {requests} request{'s' * (requests > 1)}"

    def _sums(self) -> list[int]:
        return [sum(counter.values()) for counter in self._counters]
