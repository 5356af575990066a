"""How the demo words what it did and what that cost."""

from typing import Final

STEP_COLUMNS: Final = 68


def step(done: str, cost: str) -> str:
    """The line of one step."""
    return f"  {done:.<{STEP_COLUMNS}} {cost}"


def in_requests(count: int, requests: int) -> str:
    """So many bytes in so many requests."""
    return f"{in_bytes(count)} in {requests} request{'s' * (requests > 1)}"


def in_bytes(count: int) -> str:
    """For people: 950 B, 4.2 kB, 13.0 MB."""
    if count < 1000:
        return f"{count} B"
    if count < 1_000_000:
        return f"{count / 1000:.1f} kB"
    return f"{count / 1_000_000:.1f} MB"
