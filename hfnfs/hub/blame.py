"""Which of many things that were asked for together made the asking fail: halve, and ask again.

What fails because of one is so kept from holding up the others. What concerns them all (no right,
no room, no answer) is not looked for among them.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from hfnfs.errors import (
    Forbidden,
    NotAuthenticated,
    Offline,
    QuotaReached,
    RateLimited,
    RemoteCorrupt,
    RemoteError,
    RemoteUnavailable,
    SourceMissing,
)

# Failures in a row without a success between, after which it is not one of them that is at fault:
# with one at fault, of two halves one succeeds.
_SILENT_FAILURES_MAX = 3
# With many at fault, looking for each would ask too often.
_FAILURES_MAX = 64
# However few are asked for, these come back.
_OF_ALL = (NotAuthenticated, Forbidden, SourceMissing, RateLimited, QuotaReached, Offline)

T = TypeVar("T")
R = TypeVar("R")


async def each(
    items: Sequence[T], attempt: Callable[[Sequence[T]], Awaitable[Sequence[R]]]
) -> list[R | RemoteError]:
    """What `attempt` gives for each item, or the error it raises when it is about that item.

    It is asked for all at once, and for ever smaller parts while it fails; the order stays.
    """
    found: dict[int, R | RemoteError] = {}
    parts = deque([range(len(items))] if items else [])
    failures = silent_failures = 0
    while parts:
        part = parts.popleft()
        try:
            results = await attempt([items[at] for at in part])
        except RemoteError as error:
            failures += 1
            silent_failures += isinstance(error, RemoteUnavailable | RemoteCorrupt)
            is_hopeless = failures >= _FAILURES_MAX or silent_failures >= _SILENT_FAILURES_MAX
            if is_hopeless or isinstance(error, _OF_ALL):
                found |= {at: error for rest in (part, *parts) for at in rest}
                break
            if len(part) == 1:
                found[part[0]] = error
            else:
                middle = len(part) // 2
                parts += (part[:middle], part[middle:])
        else:
            silent_failures = 0
            found |= zip(part, results, strict=True)
    return [found[at] for at in range(len(items))]
