"""Small volumes for the tests of vfs/."""

from hfnfs.remote import ContentId, Kind, Listing, RemoteEntry
from hfnfs.vfs.attributes import Appearance
from hfnfs.vfs.tree import Freshness, Tree

APPEARANCE = Appearance(
    fsid=7, uid=1000, gid=100, file_mode=0o444, directory_mode=0o555, modified_ns=5_000_000_000
)


class SetClock:
    """A clock that stands still until told otherwise."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> float:
        return self.seconds

    def wall_ns(self) -> int:
        return int(self.seconds * 1e9)


def file(name: str, size: int = 3, key: str = "git-00", mtime_ns: int | None = None) -> RemoteEntry:
    return RemoteEntry(name, Kind.FILE, ContentId(key, size), mtime_ns)


def folder(name: str) -> RemoteEntry:
    return RemoteEntry(name, Kind.DIRECTORY)


def listing(*entries: RemoteEntry, revision: str = "") -> Listing:
    return Listing(revision, {entry.name: entry for entry in entries})


def tree(clock: SetClock, ttl_s: float = 10.0, lookups: int = 3) -> Tree:
    return Tree(APPEARANCE, Freshness(ttl_s, lookups), boot_verifier=b"bootboot", clock=clock)
