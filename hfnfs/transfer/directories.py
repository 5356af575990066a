"""Which directories the Hub has in a directory, kept from its listing on and known to be all.

    listed ──▶ known ──a file below is told of, or made by us──▶ known, with one more
                 │
                 ▼
    not believed: from before the feed began, or its gap · where there is no feed, an old one

What is not among them is not there. What is may be there no more. A directory that was not there,
as what is known of the one above says, and comes with a file that is told of or made by us, is
known as well: so what we make ourselves is not listed.
"""

from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import Final, NamedTuple

from hfnfs.clock import Clock
from hfnfs.remote import Changed, Feed, FeedEvent, Ready, Reset

# As long as what others change may be hidden where no feed tells of it.
TRUSTED_S: Final = 30.0
# Names that are kept, of all directories.
NAMES_MAX: Final = 200_000


class _Inside(NamedTuple):
    """The directories in one."""

    names: set[str]
    asked_at: float


class Directories:
    """What is known of one bucket; paths as in Remote."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: OrderedDict[str, _Inside] = OrderedDict()  # used longest ago first
        self._weight = 0
        self._told_from: float | None = None  # from then on a feed tells of all that changes
        self._asking: dict[str, set[str]] = {}  # told of while their directory is listed

    def since(self) -> float:
        """What was asked for then or later is to be believed now."""
        told_from = self._told_from
        return self._clock.now() - TRUSTED_S if told_from is None else told_from

    def is_absent(self, path: str, since: float) -> bool:
        """Whether there is certainly no such directory."""
        directory, _, name = path.rpartition("/")
        inside = self._of(directory, since)
        if inside is not None:
            return name not in inside
        for above, name in steps(directory):
            inside = self._of(above, since)
            if inside is None:
                return False
            if name not in inside:
                return True
        return False

    def is_known(self, directory: str, since: float) -> bool:
        """Whether it needs no listing."""
        return self._of(directory, since) is not None

    def first_unknown(self, directory: str, since: float) -> str:
        """What has to be listed to know of it: itself, or the highest directory above."""
        for above, _ in steps(directory):
            if self._of(above, since) is None:
                return above
        return directory

    # ---------------------------------------------------------------- what is learned

    def ask(self, directory: str) -> None:
        """It is listed from now on: what is told meanwhile counts as well."""
        self._asking[directory] = set()

    def answer(self, directory: str, asked_at: float, names: Iterable[str]) -> None:
        """These are in it, as its listing says."""
        self._know(directory, _Inside({*names, *self._asking[directory]}, asked_at))

    def answered(self, directory: str) -> None:
        """The listing has ended, with an answer or without."""
        del self._asking[directory]

    def told(self, paths: Iterable[str]) -> None:
        """There are, or were, files at these paths."""
        since = self.since()
        for path in paths:
            for directory, name in steps(path):
                if directory in self._asking:
                    self._asking[directory].add(name)
                inside = self._known.get(directory)
                if inside is None or name in inside.names:
                    continue
                inside.names.add(name)
                self._weight += 1
                if inside.asked_at >= since:
                    inner = f"{directory}/{name}" if directory else name
                    self._know(inner, _Inside(set(), inside.asked_at))

    def trim(self) -> None:
        """Forget what was used longest ago, if it is too much."""
        while self._weight > NAMES_MAX:
            _, inside = self._known.popitem(last=False)
            self._weight -= 1 + len(inside.names)

    def overhearing(self, changes: Feed) -> Feed:
        """The same feed, of which is learned what goes by."""

        async def overheard(since: str) -> AsyncGenerator[FeedEvent, None]:
            events = changes(since)
            try:
                async for event in events:
                    self._hear(event)
                    yield event
            finally:
                self._told_from = None
                if isinstance(events, AsyncGenerator):
                    await events.aclose()

        return overheard

    def _hear(self, event: FeedEvent) -> None:
        match event:
            case Changed():
                self.told(path for path, entry in event.entries.items() if entry is not None)
                self.told(event.unclear)
            case Reset() if self._told_from is not None:
                self._told_from = self._clock.now()
            case Ready() if self._told_from is None:
                self._told_from = self._clock.now()

    # ---------------------------------------------------------------- inside

    def _of(self, directory: str, since: float) -> set[str] | None:
        inside = self._known.get(directory)
        if inside is None or inside.asked_at < since:
            return None
        self._known.move_to_end(directory)
        return inside.names

    def _know(self, directory: str, inside: _Inside) -> None:
        before = self._known.pop(directory, None)
        self._weight += 1 + len(inside.names) - (0 if before is None else 1 + len(before.names))
        self._known[directory] = inside


def steps(path: str) -> Iterator[tuple[str, str]]:
    """Each directory on the way to a path, from the root on, with the next name in it."""
    directory = ""
    for name in path.split("/"):
        yield directory, name
        directory = f"{directory}/{name}" if directory else name
