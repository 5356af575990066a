"""How fast to ask: what servers demand (RateLimit, Retry-After), and how long to wait unasked."""

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum

from hfnfs.clock import Clock

# The Hub counts requests in windows of 5 minutes; nobody can rightly ask for a longer pause.
PAUSE_MAX_S = 300.0
# An origin that gave no answer to all tries of a request is left alone for so long.
SILENCE_S = 5.0
# Those that waited for the same moment come back spread over this time.
SPREAD_S = 1.0

# A lane that has used up a window's requests this much faster than time passes is slowed down: at
# half of the window, when less than an eighth of its requests remain.
RESERVE = 0.25

# `"api";r=0;t=55`: of the class "api", 0 requests remain until a reset in 55 s.
_RATE_LIMIT = re.compile(r'"[^"]*"\s*;\s*r\s*=\s*(\d{1,9})\s*;\s*t\s*=\s*(\d{1,9})')
# `"fixed window";"api";q=500;w=300`: 500 requests in 300 s.
_QUOTA = re.compile(r";\s*q\s*=\s*(\d{1,9})\s*;\s*w\s*=\s*(\d{1,9})")
# Two answers that say when a window ends differ by rounding alone.
_SAME_WINDOW_S = 1.5


class Lane(Enum):
    """Requests that share a limit and are counted together."""

    API = "Hub API"
    FILES = "plain files"
    CAS = "Xet plans"
    XORBS = "Xet data"


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long a request is tried."""

    attempts_max: int = 5
    # Longer than a client's request waits (it is told to come back), shorter than a user does.
    total_s: float = 90.0
    first_delay_s: float = 0.5
    delay_max_s: float = 8.0

    def delay_s(self, attempts: int) -> float:
        """How long to wait after so many attempts, when nobody says; half of it is chance."""
        delay = min(self.first_delay_s * 2.0 ** (attempts - 1), self.delay_max_s)
        return delay * random.uniform(0.5, 1.0)


class Budget:
    """What remains of a window's requests, spread over the rest of the window when it is little.

    A burst may take three quarters of them at once; so that the rest lasts, they are sent at equal
    distances from then on.
    """

    def __init__(self, remaining: int, resets_at: float, quota: int, window_s: float) -> None:
        self.resets_at = resets_at
        self._remaining = remaining
        self._quota = max(quota, remaining)
        self._window_s = max(window_s, 1.0)
        self._next_at = 0.0

    def note(self, remaining: int) -> None:
        """Take in what an answer says of the same window; those under way are not in it yet."""
        self._remaining = min(self._remaining, remaining)

    def wait_s(self, now: float) -> float:
        """How long the next request has to wait; 0: not at all."""
        left_s = self.resets_at - now
        on_time = self._quota * left_s / self._window_s
        if left_s <= 0 or self._remaining > RESERVE * on_time:
            return 0.0
        return max(self._next_at - now, 0.0)

    def take(self, now: float) -> None:
        """Count a request that is sent now."""
        self._remaining = max(self._remaining - 1, 0)
        self._next_at = now + (self.resets_at - now) / (self._remaining + 1)


class Presence:
    """Which origins give answers, so that one that is gone costs its users no time.

    answering --all tries of a request unanswered--> silent --SILENCE_S--> doubtful
    silent: nobody asks · doubtful: asked once each · any answer: answering
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._silent_since: dict[str, float] = {}
        self._answered_at: dict[str, float] = {}

    def tries(self, origin: str, attempts_max: int) -> int:
        """How often a request may be tried now; 0: not at all."""
        since = self._silent_since.get(origin)
        if since is None:
            return attempts_max
        return 0 if self._clock.now() - since < SILENCE_S else 1

    def note_answer(self, origin: str) -> None:
        """Take in that it answers, whatever it says."""
        self._answered_at[origin] = self._clock.now()
        self._silent_since.pop(origin, None)

    def note_silence(self, origin: str, asked_at: float) -> None:
        """Take in that a request of that time had no answer, unless others have had one since."""
        if self._answered_at.get(origin, asked_at - 1) < asked_at:
            self._silent_since[origin] = self._clock.now()


class Pace:
    """Keeps back whole lanes that a server asked to pause; one for all requests."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._paused_until: dict[tuple[Lane, str], float] = {}
        self._budgets: dict[tuple[Lane, str], Budget] = {}

    def claim(self, lane: Lane, origin: str) -> float:
        """0: send one request of this lane now. Else ask again after so many seconds."""
        wait_s = self.wait_s(lane, origin)
        budget = self._budgets.get((lane, origin))
        if wait_s or budget is None:
            return wait_s
        now = self._clock.now()
        if now >= budget.resets_at:
            del self._budgets[lane, origin]
            return 0.0
        wait_s = budget.wait_s(now)
        if not wait_s:
            budget.take(now)
        return wait_s

    def wait_s(self, lane: Lane, origin: str) -> float:
        """How long requests of this lane have to wait now; 0: not at all."""
        until = self._paused_until.get((lane, origin))
        if until is None:
            return 0.0
        left = until - self._clock.now()
        if left > 0:
            return left + random.uniform(0, SPREAD_S)
        del self._paused_until[lane, origin]
        return 0.0

    def note(
        self, lane: Lane, origin: str, status: int, headers: Mapping[str, str]
    ) -> float | None:
        """Take in what an answer demands: that the lane pauses, or this request alone.

        Returns the seconds that this request has to wait besides; None: the answer says nothing.
        """
        self._note_budget(lane, origin, headers)
        limit_s = rate_limit_s(headers)
        after_s = retry_after_s(headers, self._clock.wall_ns())
        pause_s = max(limit_s or 0.0, after_s or 0.0) if status == 429 else limit_s
        if pause_s:
            until = self._clock.now() + pause_s
            known = self._paused_until.get((lane, origin), until)
            self._paused_until[lane, origin] = max(until, known)
        if status == 429:
            return 0.0 if pause_s else None
        return after_s if status >= 500 else None

    def _note_budget(self, lane: Lane, origin: str, headers: Mapping[str, str]) -> None:
        limits = _RATE_LIMIT.findall(headers.get("RateLimit", ""))
        if not limits:
            return
        remaining, reset_s = min((int(r), float(t)) for r, t in limits)
        resets_at = self._clock.now() + min(reset_s, PAUSE_MAX_S)
        known = self._budgets.get((lane, origin))
        if known is not None and resets_at - known.resets_at < _SAME_WINDOW_S:
            known.note(remaining)
            return
        quotas = _QUOTA.findall(headers.get("RateLimit-Policy", ""))
        quota, window_s = min((int(q), float(w)) for q, w in quotas) if quotas else (0, reset_s)
        self._budgets[lane, origin] = Budget(
            remaining, resets_at, quota, min(window_s, PAUSE_MAX_S)
        )


def rate_limit_s(headers: Mapping[str, str]) -> float | None:
    """Seconds until the server takes more requests, if none remain (RateLimit)."""
    waits = [
        min(float(reset), PAUSE_MAX_S)
        for remaining, reset in _RATE_LIMIT.findall(headers.get("RateLimit", ""))
        if int(remaining) == 0
    ]
    return max(waits, default=None)


def retry_after_s(headers: Mapping[str, str], wall_ns: int) -> float | None:
    """Seconds that Retry-After asks for, which may be a number or a date (RFC 9110 §10.2.3)."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), PAUSE_MAX_S)
    try:
        date = parsedate_to_datetime(value)
        seconds = date.replace(tzinfo=date.tzinfo or UTC).timestamp() - wall_ns / 1e9
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), PAUSE_MAX_S)
