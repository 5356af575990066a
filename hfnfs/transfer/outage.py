"""Whether the Hub can be reached: one pause for all that is to go there, and one word of it."""

import logging
from math import inf
from typing import Final

from hfnfs.clock import Clock
from hfnfs.errors import HfnfsError, Offline, RateLimited, RemoteUnavailable

PAUSE_S_MIN: Final = 2.0
PAUSE_S_MAX: Final = 300.0
# Failures that are no file's own, if everything that was asked for fails by them.
SILENT: Final = (RemoteUnavailable, RateLimited, Offline)

_log = logging.getLogger(__name__)


class Outage:
    """Times in which nothing is asked of the Hub."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pause_s = 0.0
        self.ends_at = -inf  # monotonic seconds; then it is tried again
        self.error = ""  # why; empty: there is none

    def begins(self, error: HfnfsError) -> None:
        """The Hub did not answer, perhaps once more."""
        if not self.error:
            _log.warning("nothing goes to the Hub for now, all of it is kept: %s", error)
        self.error = str(error)
        self._pause_s = min(max(2 * self._pause_s, PAUSE_S_MIN), PAUSE_S_MAX)
        self.ends_at = self._clock.now() + self._pause_s

    def is_over(self) -> None:
        """The Hub has answered."""
        if self.error:
            _log.warning("the Hub can be reached again")
        self.error = ""
        self._pause_s = 0.0
        self.ends_at = -inf

    def cut(self) -> None:
        """Try again now."""
        self.ends_at = -inf
