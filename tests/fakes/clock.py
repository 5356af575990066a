"""A clock that stands still until it is told to go on."""


class FakeClock:
    """hfnfs.clock.Clock for tests."""

    def __init__(self, now: float = 1000.0, wall_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now = now
        self._wall_ns = wall_ns

    def now(self) -> float:
        return self._now

    def wall_ns(self) -> int:
        return self._wall_ns

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._wall_ns += int(seconds * 1_000_000_000)
