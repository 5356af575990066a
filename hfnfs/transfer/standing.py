"""What the Hub has at some paths just now, files and directories alike.

It answers about a thousand files at once, and about directories only by listing what is in them or
around them. So a few names are asked about one by one, each time; for many, it is kept which
directories there are (directories.py): else each batch of new files would list all before it.
"""

from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from typing import Final

from hfnfs.clock import Clock
from hfnfs.errors import RemoteEntryMissing
from hfnfs.remote import Kind, Listing, Remote, RemoteEntry
from hfnfs.transfer.directories import Directories, steps

# That many paths are asked about one by one; for more, the directories they lie in are listed.
_ALONE_MAX: Final = 4
# That many directories are listed; for more, those above are first, as all may be new ones.
_DIRECTORIES_MAX: Final = 4


class Standing:
    """Looks at one bucket."""

    def __init__(self, remote: Remote, clock: Clock) -> None:
        self._remote = remote
        self._clock = clock
        self.directories = Directories(clock)

    async def of(
        self, paths: Sequence[str], to_be_made: Collection[str]
    ) -> Mapping[str, RemoteEntry | None]:
        """What is at each of `paths`; None: no file.

        A path where no file is can be a directory: that is looked into where a file is
        `to_be_made`. Raises RemoteError.
        """
        found = await self._remote.find(paths)
        if found is None:
            return await self._listed(paths)
        unclear = [path for path in paths if path in to_be_made and path not in found]
        directories = await self._directories_among(unclear)
        return {
            path: _directory(path) if path in directories else found.get(path) for path in paths
        }

    async def _listed(self, paths: Iterable[str]) -> Mapping[str, RemoteEntry | None]:
        """By the listings of the directories above alone."""
        listed: dict[str, Mapping[str, RemoteEntry]] = {}
        told: dict[str, RemoteEntry | None] = {}
        for path in paths:
            for directory, name in steps(path):
                if directory not in listed:
                    listed[directory] = (await _list(self._remote, directory)).entries
                told[path] = listed[directory].get(name)
                if told[path] is None:
                    break
        return told

    async def _directories_among(self, paths: Sequence[str]) -> Collection[str]:
        """Those that are directories."""
        listed: set[str] = set()
        if len(paths) > _ALONE_MAX:
            paths = await self._perhaps(paths, listed)
        sure = {path for path in paths if _above(path) in listed}
        doubtful = [path for path in paths if path not in sure]
        if len(doubtful) > _ALONE_MAX:
            around = {_above(path) for path in doubtful}
            found = {directory: await self._list(directory) for directory in around}
            return sure | {p for p in doubtful if p.rpartition("/")[2] in found[_above(p)]}
        return sure | {p for p in doubtful if (await _list(self._remote, p)).entries}

    async def _perhaps(self, paths: Sequence[str], listed: set[str]) -> Sequence[str]:
        """Without those that are certainly none; what had to be `listed` for that."""
        known = self.directories
        since = known.since()
        while True:
            paths = [path for path in paths if not known.is_absent(path, since)]
            unknown = {_above(p) for p in paths if not known.is_known(_above(p), since)}
            if len(unknown) > _DIRECTORIES_MAX:
                unknown = {known.first_unknown(directory, since) for directory in unknown}
            if not unknown:
                break
            for directory in unknown:
                await self._list(directory)
            listed |= unknown
        known.trim()
        return paths

    async def _list(self, directory: str) -> Collection[str]:
        """The directories in a directory, which are known from now on."""
        asked_at = self._clock.now()
        self.directories.ask(directory)
        try:
            entries = (await _list(self._remote, directory)).entries.values()
            names = {entry.name for entry in entries if entry.kind is Kind.DIRECTORY}
            self.directories.answer(directory, asked_at, names)
        finally:
            self.directories.answered(directory)
        return names


async def files_below(
    remote: Remote, directory: str
) -> AsyncGenerator[tuple[str, RemoteEntry], None]:
    """Every file in a directory and below, with its path; asked for as far as one goes.

    Raises RemoteError.
    """
    below = [directory]
    while below:
        at = below.pop()
        for name, entry in (await _list(remote, at)).entries.items():
            path = f"{at}/{name}"
            if entry.kind is Kind.DIRECTORY:
                below.append(path)
            else:
                yield path, entry


def directories_above(path: str) -> list[str]:
    """The directories that a path lies in, but for the root; the highest first."""
    return [directory for directory, _ in steps(path) if directory]


async def _list(remote: Remote, directory: str) -> Listing:
    """A listing; nothing is in what is not there."""
    try:
        return await remote.list(directory)
    except RemoteEntryMissing:
        return Listing("", {})


def _above(path: str) -> str:
    return path.rpartition("/")[0]


def _directory(path: str) -> RemoteEntry:
    return RemoteEntry(path.rpartition("/")[2], Kind.DIRECTORY)
