"""Names of which a listing does not decide, because we know better.

Those are the names that the outbox holds, directories that we removed while the Hub still has
files in them, and both for a while after: a listing may have been asked for before they were
settled, and then shows what was there before.
"""

from collections import Counter, deque
from collections.abc import Iterator
from math import inf
from typing import Final

from hfnfs.clock import Clock

# A listing is older than that nowhere: it is given up long before.
_REMEMBERED_S: Final = 600.0
_REMEMBERED_MAX: Final = 200_000
_TOGETHER_MAX: Final = 256  # names that are forgotten together


class _Settled:
    """Names of one directory that were settled one after the other."""

    __slots__ = ("directory", "last_at", "names")

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.names: list[str] = []
        self.last_at = -inf


class Claims:
    """What is claimed of each directory; paths as in the outbox."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[str, set[str]] = {}  # by directory, names in the outbox or hidden
        self._hidden: set[str] = set()
        self._doomed: Counter[str] = Counter()  # directories: files below that are to be deleted
        self._settled: dict[str, dict[str, float]] = {}  # by directory, names: when
        self._settled_order: deque[_Settled] = deque()
        self._remembered = 0  # names in it

    def of(self, directory: str, asked_at: float) -> set[str]:
        """Names in a directory that a listing asked for at that time does not decide."""
        names = set(self._held.get(directory, ()))
        settled = self._settled.get(directory, {})
        names.update(name for name, at in settled.items() if at >= asked_at)
        return names

    def has(self, path: str, asked_at: float) -> bool:
        """Whether this is one of them."""
        directory, _, name = path.rpartition("/")
        if name in self._held.get(directory, ()):
            return True
        settled_at = self._settled.get(directory, {}).get(name)
        return settled_at is not None and settled_at >= asked_at

    def hold(self, path: str) -> None:
        """It is in the outbox."""
        directory, _, name = path.rpartition("/")
        self._held.setdefault(directory, set()).add(name)

    def settle(self, path: str) -> None:
        """It is in the outbox no more: what is asked from now on says how it is."""
        directory, _, name = path.rpartition("/")
        if path not in self._hidden:
            self._let_go(directory, name)
        self._remember(directory, name)

    # ------------------------------------------------- directories that we removed

    def hide(self, directory: str) -> bool:
        """Show no such directory while a file below is to be deleted; whether one is.

        If none is, the name may still be in the outbox: a file was there before the directory.
        """
        if not self.is_doomed(directory):
            above, _, name = directory.rpartition("/")
            self._remember(above, name)
            return False
        self._hidden.add(directory)
        self.hold(directory)
        return True

    def is_doomed(self, directory: str) -> bool:
        """Whether files below are to be deleted."""
        return bool(self._doomed.get(directory))

    def doom(self, path: str) -> None:
        """A file is to be deleted."""
        for directory in _above(path):
            self._doomed[directory] += 1

    def spare(self, path: str) -> list[str]:
        """It is to be deleted no more, or was; which directories are hidden no more by that."""
        shown = []
        for directory in _above(path):
            self._doomed[directory] -= 1
            if not self._doomed[directory]:
                del self._doomed[directory]
                if directory in self._hidden:
                    self._hidden.discard(directory)
                    shown.append(directory)
        return shown

    # ------------------------------------------------- inside

    def _remember(self, directory: str, name: str) -> None:
        now = self._clock.now()
        self._settled.setdefault(directory, {})[name] = now
        order = self._settled_order
        if not order or order[-1].directory != directory or len(order[-1].names) >= _TOGETHER_MAX:
            order.append(_Settled(directory))
        order[-1].names.append(name)
        order[-1].last_at = now
        self._remembered += 1
        self._forget_old(now)

    def _let_go(self, directory: str, name: str) -> None:
        names = self._held.get(directory)
        if names is not None:
            names.discard(name)
            if not names:
                del self._held[directory]

    def _forget_old(self, now: float) -> None:
        order = self._settled_order
        while order[0].last_at < now - _REMEMBERED_S or self._remembered > _REMEMBERED_MAX:
            oldest = order.popleft()
            self._remembered -= len(oldest.names)
            names = self._settled.get(oldest.directory, {})
            for name in oldest.names:
                if names.get(name, inf) <= oldest.last_at:  # else it was settled again
                    del names[name]
            if not names:
                self._settled.pop(oldest.directory, None)


def _above(path: str) -> Iterator[str]:
    """The directories that a path lies in, but for the root."""
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)
