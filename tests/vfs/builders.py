"""Small volumes for the tests of vfs/."""

from hfnfs.remote import ContentId, Kind, Listing, RemoteEntry
from hfnfs.vfs.attributes import Appearance
from hfnfs.vfs.directory import COOKIE_PARENT, COOKIE_SELF, Directory
from hfnfs.vfs.node import FileType, Look, Node
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


def tree(
    clock: SetClock, ttl_s: float = 10.0, lookups: int = 3, nodes_soft_max: int = 1_000_000
) -> Tree:
    freshness = Freshness(ttl_s, lookups, nodes_soft_max)
    return Tree(APPEARANCE, freshness, boot_verifier=b"bootboot", clock=clock)


def look(type_: FileType = FileType.REG, mode: int = 0o444) -> Look:
    return Look(type_, mode, 1000, 100, 7)


def a_file(fileid: int = 1, name: bytes = b"f", parent: Directory | None = None) -> Node:
    return Node(fileid, 0, look(), name, parent)


def a_directory(fileid: int = 1, name: bytes = b"", parent: Directory | None = None) -> Directory:
    return Directory(fileid, 0, look(FileType.DIR), name, parent)


def entries_after(directory: Directory, cookie: int) -> list[tuple[int, bytes, Node]]:
    """Cookie, name and node of all that a reader of the directory is still to be given."""
    dots = [
        (COOKIE_SELF, b".", directory),
        (COOKIE_PARENT, b"..", directory.parent or directory),
    ]
    found: list[tuple[int, bytes, Node]] = [dot for dot in dots if dot[0] > cookie]
    while (number := directory.block_after(cookie)) is not None:
        found += [(n.cookie, n.name, n) for n in directory.block(number) if n.cookie > cookie]
        cookie = directory.last_cookie(number)
    return found
