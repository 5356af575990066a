"""What the Hub has at some paths just now, files and directories alike."""

from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from typing import Final

from hfnfs.errors import RemoteEntryMissing
from hfnfs.remote import Kind, Remote, RemoteEntry

# That many paths are asked about one by one; for more, the directories they lie in are listed.
_ALONE_MAX: Final = 4
# That many directories are listed; for more, those above are first, as all may be new ones.
_DIRECTORIES_MAX: Final = 4


async def standing(
    remote: Remote, paths: Sequence[str], to_be_made: Collection[str]
) -> Mapping[str, RemoteEntry | None]:
    """What is at each of `paths`; None: no file.

    A path where no file is can be a directory: that is looked into where a file is `to_be_made`.
    Raises RemoteError.
    """
    listings = _Listings(remote)
    found = await remote.find(paths)
    if found is None:
        return {path: await listings.at(path) for path in paths}
    unclear = [path for path in paths if path in to_be_made and path not in found]
    told: dict[str, RemoteEntry | None] = {path: found.get(path) for path in paths}
    few = len({path.rpartition("/")[0] for path in unclear}) <= _DIRECTORIES_MAX
    for path in unclear:
        if len(unclear) <= _ALONE_MAX:
            told[path] = await listings.directory(path)
        else:
            told[path] = await listings.near(path) if few else await listings.at(path)
    return told


async def files_below(
    remote: Remote, directory: str
) -> AsyncGenerator[tuple[str, RemoteEntry], None]:
    """Every file in a directory and below, with its path; asked for as far as one goes.

    Raises RemoteError.
    """
    listings, below = _Listings(remote), [directory]
    while below:
        at = below.pop()
        for name, entry in (await listings.entries(at)).items():
            path = f"{at}/{name}"
            if entry.kind is Kind.DIRECTORY:
                below.append(path)
            else:
                yield path, entry


class _Listings:
    """Listings for one look; what lies in a directory that is not there is not asked for."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._listed: dict[str, Mapping[str, RemoteEntry]] = {}

    async def at(self, path: str) -> RemoteEntry | None:
        """What is there, by the listings of the directories above."""
        entry: RemoteEntry | None = None
        for directory, name in _steps(path):
            entry = (await self.entries(directory)).get(name)
            if entry is None:
                return None
        return entry

    async def near(self, path: str) -> RemoteEntry | None:
        """What is there, by the listing of its directory alone."""
        directory, _, name = path.rpartition("/")
        return (await self.entries(directory)).get(name)

    async def directory(self, path: str) -> RemoteEntry | None:
        """The directory at that path, if there is one."""
        if not await self.entries(path):
            return None
        return RemoteEntry(path.rpartition("/")[2], Kind.DIRECTORY)

    async def entries(self, directory: str) -> Mapping[str, RemoteEntry]:
        """What is in a directory; nothing if it is not there."""
        known = self._listed.get(directory)
        if known is None:
            try:
                known = (await self._remote.list(directory)).entries
            except RemoteEntryMissing:
                known = {}
            self._listed[directory] = known
        return known


def directories_above(path: str) -> list[str]:
    """The directories that a path lies in, but for the root; the highest first."""
    return [directory for directory, _ in _steps(path) if directory]


def _steps(path: str) -> Iterator[tuple[str, str]]:
    """Each directory on the way to a path, from the root on, with the next name in it."""
    directory = ""
    for name in path.split("/"):
        yield directory, name
        directory = f"{directory}/{name}" if directory else name
