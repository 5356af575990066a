"""What servers demand in headers, whatever stands there, and how long we wait by ourselves."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.hub.pace import (
    PAUSE_MAX_S,
    SILENCE_S,
    SPREAD_S,
    Lane,
    Pace,
    Patience,
    Presence,
    rate_limit_s,
    retry_after_s,
)
from tests.hub.fakes import Clock

ORIGIN = "https://hub.example:443"
WALL_NS = 1_700_000_000 * 10**9


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('"api";r=0;t=55', 55),
        ('"api"; r=0 ; t=55', 55),
        ('"pages";r=3;t=10, "api";r=0;t=20', 20),
        ('"api";r=0;t=99999', PAUSE_MAX_S),
        ('"api";r=1;t=55', None),
        ("", None),
        ("nonsense", None),
        ('"api";r=;t=', None),
    ],
)
def test_rate_limits(header: str, expected: float | None) -> None:
    assert rate_limit_s({"RateLimit": header}) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("999999999999", PAUSE_MAX_S),
        ("Tue, 14 Nov 2023 22:13:30 GMT", 10),
        ("Tue, 14 Nov 2023 22:13:30", 10),
        ("Tue, 14 Nov 2022 22:13:30 GMT", 0),
        ("Tue, 14 Nov 2033 22:13:30 GMT", PAUSE_MAX_S),
        ("-7", None),
        ("7.5", None),
        ("soon", None),
        ("", None),
        ("\u0667", None),
    ],
)
def test_retry_after(header: str, expected: float | None) -> None:
    assert retry_after_s({"Retry-After": header}, WALL_NS) == expected


@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from([200, 429, 500, 503]))
def test_no_header_makes_us_wait_for_ever(limit: str, after: str, status: int) -> None:
    clock = Clock()
    pace = Pace(clock)
    alone = pace.note(Lane.API, ORIGIN, status, {"RateLimit": limit, "Retry-After": after})
    assert alone is None or 0 <= alone <= PAUSE_MAX_S
    assert 0 <= pace.wait_s(Lane.API, ORIGIN) <= PAUSE_MAX_S + SPREAD_S
    clock.advance(PAUSE_MAX_S)
    assert pace.wait_s(Lane.API, ORIGIN) == 0


def test_a_pause_is_of_one_lane_at_one_origin_and_only_grows() -> None:
    clock = Clock()
    pace = Pace(clock)
    for seconds in (30, 10):
        pace.note(Lane.API, ORIGIN, 429, {"Retry-After": str(seconds)})
    assert 30 <= pace.wait_s(Lane.API, ORIGIN) <= 30 + SPREAD_S
    assert pace.wait_s(Lane.FILES, ORIGIN) == 0
    assert pace.wait_s(Lane.API, "https://other.example:443") == 0


class Window:
    """A server's window of requests, and one who asks as fast as a Pace lets it."""

    def __init__(self, quota: int, window_s: float, *, tells_quota: bool = True) -> None:
        self.clock = Clock()
        self.pace = Pace(self.clock)
        self.quota, self.window_s = quota, window_s
        self.begun = self.clock.now()
        self.used = 0
        self.refused = 0
        self.tells_quota = tells_quota

    def answer(self) -> None:
        left_s = self.begun + self.window_s - self.clock.now()
        if left_s <= 0:
            self.begun, self.used, left_s = self.clock.now(), 0, self.window_s
        self.used += 1
        self.refused += self.used > self.quota
        headers = {"RateLimit": f'"api";r={max(self.quota - self.used, 0)};t={int(left_s) + 1}'}
        if self.tells_quota:
            headers["RateLimit-Policy"] = f'"fixed";"api";q={self.quota};w={int(self.window_s)}'
        self.pace.note(Lane.API, ORIGIN, 200, headers)

    def ask(self, count: int) -> list[float]:
        """When each of so many requests was sent, seconds from the beginning."""
        start, sent = self.clock.now(), []
        for _ in range(count):
            while wait_s := self.pace.claim(Lane.API, ORIGIN):
                assert wait_s <= PAUSE_MAX_S + SPREAD_S
                self.clock.advance(wait_s)
            sent.append(self.clock.now() - start)
            self.answer()
        return sent


@pytest.mark.parametrize("tells_quota", [True, False])
def test_a_burst_goes_at_once_and_what_is_left_is_spread_over_the_window(
    tells_quota: bool,
) -> None:
    window = Window(1000, 300.0, tells_quota=tells_quota)
    sent = window.ask(1500)
    assert sent[700] == 0, "three quarters at once"
    assert window.refused == 0, "the server never had to say 429"
    gaps = [after - before for before, after in pairwise(sent[800:991])]
    assert min(gaps) > 0.5, "evenly"
    assert sent[999] <= 310
    assert sent[-1] <= 310, "a new window is a new burst"


def test_few_requests_are_never_slowed_down() -> None:
    window = Window(1000, 300.0)
    for _ in range(50):
        assert window.ask(4) == [0] * 4
        window.clock.advance(2)


def test_those_under_way_are_counted_before_they_are_answered() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.note(Lane.API, ORIGIN, 200, {"RateLimit": '"api";r=1000;t=100'})
    claimed = sum(pace.claim(Lane.API, ORIGIN) == 0 for _ in range(2000))
    assert 700 < claimed < 800
    assert pace.claim(Lane.FILES, ORIGIN) == 0


def test_what_another_mount_used_counts_too() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.note(Lane.API, ORIGIN, 200, {"RateLimit": '"api";r=900;t=100'})
    pace.note(Lane.API, ORIGIN, 200, {"RateLimit": '"api";r=20;t=99'})
    assert pace.claim(Lane.API, ORIGIN) == 0
    assert 4 < pace.claim(Lane.API, ORIGIN) < 6
    clock.advance(101)
    assert pace.claim(Lane.API, ORIGIN) == 0
    assert pace.claim(Lane.API, ORIGIN) == 0


@given(st.text(max_size=40), st.integers(0, 2000), st.integers(0, 10**6))
def test_no_answer_makes_a_budget_that_never_ends(policy: str, remaining: int, reset: int) -> None:
    clock = Clock()
    pace = Pace(clock)
    headers = {"RateLimit": f'"api";r={remaining};t={reset}', "RateLimit-Policy": policy}
    pace.note(Lane.API, ORIGIN, 200, headers)
    for _ in range(3):
        assert 0 <= pace.claim(Lane.API, ORIGIN) <= PAUSE_MAX_S + SPREAD_S
    clock.advance(PAUSE_MAX_S + SPREAD_S)
    assert pace.claim(Lane.API, ORIGIN) == 0


def test_delays_grow_to_a_bound() -> None:
    patience = Patience(first_delay_s=1, delay_max_s=5)
    for attempts, most in enumerate((1, 2, 4, 5, 5), start=1):
        assert most / 2 <= patience.delay_s(attempts) <= most


def test_an_origin_that_gave_no_answer_is_left_alone_and_then_asked_once() -> None:
    clock = Clock()
    presence = Presence(clock)
    assert presence.tries(ORIGIN, 5) == 5
    presence.note_silence(ORIGIN, asked_at=clock.now())
    assert presence.tries(ORIGIN, 5) == 0
    assert presence.tries("https://other.example:443", 5) == 5
    clock.advance(SILENCE_S)
    assert presence.tries(ORIGIN, 5) == 1
    presence.note_answer(ORIGIN)
    assert presence.tries(ORIGIN, 5) == 5


def test_one_request_without_an_answer_is_not_silence_while_others_have_theirs() -> None:
    clock = Clock()
    presence = Presence(clock)
    asked_at = clock.now()
    clock.advance(3)
    presence.note_answer(ORIGIN)
    clock.advance(3)
    presence.note_silence(ORIGIN, asked_at)
    assert presence.tries(ORIGIN, 5) == 5
    presence.note_silence(ORIGIN, clock.now())
    assert presence.tries(ORIGIN, 5) == 0
