"""Names and nodes of a volume: what is under which name, and what a handle stands for.

A directory that is listed and young answers for every name, also for those that are not there.
In one that was never listed names are asked for one by one, until there were so many that the
whole listing is cheaper. What the far side says comes in through `apply_listing` and
`apply_found` alone.

A fileid is the hash of the path at which a node was first seen, so it is the same in every mount
and after every restart without being written down.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

from hfnfs.clock import Clock
from hfnfs.errors import NameTooLong, NoEntry, NotDirectory, StaleHandle
from hfnfs.remote import Kind, Listing, RemoteEntry
from hfnfs.vfs.attributes import Appearance
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.merge import Appeared, Replaced, Vanished, changes
from hfnfs.vfs.needs import Listed, Named, NotYet
from hfnfs.vfs.node import FileType, Node

NAME_BYTES_MAX = 255
_FILEID_MASK = (1 << 63) - 1
_LOW_HALF = 0xFFFFFFFF  # Darwin skips entries whose fileid has no low half
_RETIRED_MAX = 100_000  # generations remembered; beyond it the oldest may be used again


@dataclass(frozen=True, slots=True)
class Freshness:
    """How long what the far side said is believed."""

    ttl_s: float  # age at which a listing or a found name is asked for again; inf: never
    lookups_before_listing: int


class Tree:
    """Owner of names, nodes, listings and cookies of one volume."""

    def __init__(
        self, appearance: Appearance, freshness: Freshness, *, boot_verifier: bytes, clock: Clock
    ) -> None:
        self._appearance = appearance
        self._freshness = freshness
        self._boot_verifier = boot_verifier
        self._clock = clock
        self._nodes: dict[int, Node] = {}
        self._retired: dict[int, int] = {}  # generation of the last node with that fileid
        self.file_count = 0
        self.byte_count = 0
        self.root = Directory(self._new_fileid(b"/"), 0, b"", None)
        appearance.dress(self.root, None)
        self._nodes[self.root.fileid] = self.root

    # -------------------------------------------------------------- asking

    def node(self, fileid: int, generation: int) -> Node:
        """The node a handle stands for. Raises StaleHandle."""
        node = self._nodes.get(fileid)
        if node is None or node.generation != generation:
            raise StaleHandle(f"fileid {fileid:x} is gone")
        return node

    def node_by_fileid(self, fileid: int) -> Node | None:
        """The living node of that fileid, whatever its generation."""
        return self._nodes.get(fileid)

    def lookup(self, directory: Node, name: bytes) -> Node:
        """The node of that name; "." and ".." too (RFC 1813 §3.3.3).

        Raises NotDirectory, NameTooLong, NoEntry, NotYet.
        """
        directory = _directory(directory)
        now = self._clock.now()
        if directory.listed_at is not None and now - directory.listed_at < self._freshness.ttl_s:
            node = directory.children.get(name)
            if node is not None:
                return node
        elif name not in (b".", b".."):
            return self._lookup_unlisted(directory, name, now)
        if name == b".":
            return directory
        if name == b"..":
            return directory.parent or directory
        _require_short(name)
        raise NoEntry(f"{self.path(directory)!r} has no {name!r}")

    def _lookup_unlisted(self, directory: Directory, name: bytes, now: float) -> Node:
        """The node of a name where no young listing answers for it."""
        _require_short(name)
        oldest = now - self._freshness.ttl_s
        if directory.listed_at is not None or (
            name not in directory.asked
            and len(directory.asked) >= self._freshness.lookups_before_listing
        ):
            raise NotYet(Listed(directory.fileid, oldest))
        answered_at = directory.asked.get(name)
        if answered_at is None or answered_at <= oldest:
            raise NotYet(Named(directory.fileid, name))
        node = directory.children.get(name)
        if node is None:
            raise NoEntry(f"{self.path(directory)!r} has no {name!r}")
        return node

    def page(self, directory: Node, cookie: int) -> Iterator[tuple[int, bytes, Node]]:
        """Cookie, name and node of the entries after `cookie` (0: all), "." and ".." first.

        The iterator's end is the directory's. A listing that was begun is finished even if it
        has grown old meanwhile. Raises NotDirectory, BadCookie, NotYet.
        """
        directory = _directory(directory)
        oldest = self._clock.now() - self._freshness.ttl_s
        listed_at = directory.listed_at
        if listed_at is None or (cookie == 0 and listed_at <= oldest):
            raise NotYet(Listed(directory.fileid, oldest))
        return directory.entries_after(cookie)

    def cookie_verifier(self, directory: Node) -> bytes:
        """cookieverf3 of a listed directory: changes only when its cookies mean something else."""
        return _directory(directory).verifier

    def path(self, node: Node) -> str:
        """Path below the root, without a leading slash; "" for the root."""
        names = []
        while node.parent is not None:
            names.append(node.name)
            node = node.parent
        return b"/".join(reversed(names)).decode()

    # ------------------------------------------------------------ changing

    def apply_listing(self, directory: Directory, listing: Listing) -> None:
        """Show what the far side just listed."""
        for change in tuple(changes(directory.children, listing.entries)):
            self._apply(directory, change)
        first = directory.listed_at is None
        if first:
            directory.asked.clear()
            directory.verifier = _verifier_of(listing) or self._boot_verifier
        for entry in listing.entries.values():
            node = directory.children[entry.name.encode()]
            if not node.cookie:
                directory.number(node)
        directory.listed_at = self._clock.now()

    def apply_found(self, directory: Directory, name: bytes, entry: RemoteEntry | None) -> None:
        """Show what the far side said of one name; None: it is not there."""
        shown = directory.children.get(name)
        known = {} if shown is None else {name: shown}
        for change in changes(known, {} if entry is None else {entry.name: entry}):
            self._apply(directory, change)
        directory.asked[name] = self._clock.now()

    def _apply(self, directory: Directory, change: Appeared | Replaced | Vanished) -> None:
        match change:
            case Appeared(entry):
                self._show(directory, entry)
            case Replaced(node, entry):
                self._update(node, entry)
            case Vanished(node):
                directory.remove(node.name)
                self._retire(node)
        if directory.listed_at is not None:  # else nobody has seen it otherwise
            directory.mtime_ns = directory.ctime_ns = self._clock.wall_ns()
            directory.changed()

    def _show(self, directory: Directory, entry: RemoteEntry) -> None:
        name = entry.name.encode()
        path = f"{self.path(directory)}/{entry.name}".encode()
        node: Node
        if entry.kind is Kind.DIRECTORY:
            fileid = self._new_fileid(path + b"/")
            node = Directory(fileid, self._generation(fileid), name, directory)
            directory.nlink += 1
            directory.changed()
        else:
            fileid = self._new_fileid(path)
            node = Node(fileid, self._generation(fileid), FileType.REG, name, directory)
            node.content = entry.content
            node.size = entry.size
            self.file_count += 1
            self.byte_count += node.size
        self._appearance.dress(node, entry.mtime_ns)
        self._nodes[fileid] = node
        directory.put(node)

    def _update(self, node: Node, entry: RemoteEntry) -> None:
        """Other bytes under the same name: the same node, and the client drops its pages."""
        self.byte_count += entry.size - node.size
        node.content = entry.content
        node.size = entry.size
        now_ns = self._clock.wall_ns()
        node.mtime_ns = now_ns if entry.mtime_ns is None else entry.mtime_ns
        node.ctime_ns = now_ns
        node.changed()

    def _retire(self, node: Node) -> None:
        """Forget a node and all below it; their handles are stale from now on."""
        below = [node]
        while below:
            gone = below.pop()
            del self._nodes[gone.fileid]
            self._retired[gone.fileid] = gone.generation
            if len(self._retired) > _RETIRED_MAX:
                del self._retired[next(iter(self._retired))]
            if isinstance(gone, Directory):
                below.extend(gone.children.values())
            else:
                self.file_count -= 1
                self.byte_count -= gone.size
        if isinstance(node, Directory) and node.parent is not None:
            node.parent.nlink -= 1
            node.parent.changed()

    def _generation(self, fileid: int) -> int:
        """0, or one more than the node had that lived under this fileid before."""
        return self._retired.pop(fileid, -1) + 1

    def _new_fileid(self, path: bytes) -> int:
        """A free fileid for what is first seen at `path`; directories end in a slash."""
        fileid = int.from_bytes(blake2b(path, digest_size=8).digest()) & _FILEID_MASK
        while fileid in self._nodes or not fileid & _LOW_HALF:
            fileid = fileid + 1 & _FILEID_MASK
        return fileid


def _directory(node: Node) -> Directory:
    if not isinstance(node, Directory):
        raise NotDirectory(f"{node!r} has no names")
    return node


def _require_short(name: bytes) -> None:
    if len(name) > NAME_BYTES_MAX:
        raise NameTooLong(f"a name of {len(name)} bytes; the most is {NAME_BYTES_MAX}")


def _verifier_of(listing: Listing) -> bytes | None:
    """The same for every listing of one revision, whose order is the same as well."""
    if not listing.revision:
        return None
    return blake2b(listing.revision.encode(), digest_size=8).digest()
