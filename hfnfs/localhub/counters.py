"""What was asked of the local Hub, counted, so that a test can say how much is too much.

Requests are classed by the handler that answers them ("repo_tree", "resolve", "xorb", …). Bytes in
are those of the body, bytes out all that was sent, with the head.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

LOG_LENGTH_MAX = 10_000


class Request(NamedTuple):
    """One request that was answered."""

    kind: str
    method: str
    path: str  # with query
    status: int
    bytes_in: int
    bytes_out: int


@dataclass(slots=True)
class Counters:
    """Sums by kind of request, and the latest requests one by one."""

    requests: Counter[str] = field(default_factory=Counter)
    bytes_in: Counter[str] = field(default_factory=Counter)
    bytes_out: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    log: deque[Request] = field(default_factory=lambda: deque(maxlen=LOG_LENGTH_MAX))

    def note(self, request: Request) -> None:
        """Count a request."""
        self.requests[request.kind] += 1
        self.bytes_in[request.kind] += request.bytes_in
        self.bytes_out[request.kind] += request.bytes_out
        self.statuses[request.status] += 1
        self.log.append(request)

    def clear(self) -> None:
        """Count from zero again."""
        for counter in (self.requests, self.bytes_in, self.bytes_out, self.statuses, self.log):
            counter.clear()

    def as_json(self) -> dict[str, Any]:
        """The sums."""
        return {
            "requests": dict(self.requests),
            "bytes_in": dict(self.bytes_in),
            "bytes_out": dict(self.bytes_out),
            "statuses": {str(status): count for status, count in self.statuses.items()},
        }
