"""Time, handed to whoever needs it, so that a test can simulate it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Two readings of time; nothing else in hfnfs asks the machine for it."""

    def now(self) -> float:
        """Monotonic seconds, for deadlines and ages."""
        ...

    def wall_ns(self) -> int:
        """Nanoseconds since 1970 (UTC), for what users see as a date."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> float:
        """Monotonic seconds, for deadlines and ages."""
        return time.monotonic()

    def wall_ns(self) -> int:
        """Nanoseconds since 1970 (UTC), for what users see as a date."""
        return time.time_ns()
