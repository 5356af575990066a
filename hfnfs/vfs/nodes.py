"""The nodes of a volume by fileid: made of what the far side lists, retired, dropped.

A fileid is the hash of the path at which a node was first seen, so it is the same in every mount
and after every restart without being written down; a node that was dropped to save its memory
gets its own again when its directory is listed.
"""

from collections.abc import Callable, Iterable
from hashlib import blake2b

from hfnfs.remote import Kind, RemoteEntry
from hfnfs.vfs.attributes import Appearance
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.node import Node

_FILEID_MASK = (1 << 63) - 1
_LOW_HALF = 0xFFFFFFFF  # Darwin skips entries whose fileid has no low half
_RETIRED_MAX = 100_000  # generations remembered; beyond it the oldest may be used again


class Nodes:
    """All nodes of a volume that are in memory, and how many files and bytes they stand for."""

    def __init__(self, appearance: Appearance) -> None:
        self._appearance = appearance
        self._file_look = appearance.file()
        self._directory_look = appearance.directory()
        self._alive: dict[int, Node] = {}
        self._generations: dict[int, int] = {}  # of the next node with that fileid, if not 0
        self.file_count = 0
        self.byte_count = 0
        self.get = self._alive.get
        self.root = Directory(self._free_fileid(b"/"), 0, self._directory_look, b"", None)
        self._date(self.root, None)
        self._alive[self.root.fileid] = self.root

    def __len__(self) -> int:
        return len(self._alive)

    def maker(self, directory: Directory, path: str) -> Callable[[bytes, RemoteEntry], Node]:
        """Give what makes nodes of the entries of a directory at `path` ("" is the root)."""
        prefix = f"{path}/".encode()

        def make(name: bytes, entry: RemoteEntry) -> Node:
            node: Node
            if entry.kind is Kind.DIRECTORY:
                fileid = self._free_fileid(prefix + name + b"/")
                generation = self._generations.pop(fileid, 0)
                node = Directory(fileid, generation, self._directory_look, name, directory)
            else:
                fileid = self._free_fileid(prefix + name)
                generation = self._generations.pop(fileid, 0)
                node = Node(fileid, generation, self._file_look, name, directory)
                self.fill(node, entry)
                self.file_count += 1
            self._date(node, entry.mtime_ns)
            self._alive[fileid] = node
            return node

        return make

    def fill(self, file: Node, entry: RemoteEntry) -> None:
        """Give a file the bytes of an entry."""
        size = entry.size
        self.byte_count += size - file.size
        file.content = entry.content
        file.size = size

    def retire(self, node: Node) -> None:
        """Forget a node and all below it; their handles are stale from now on."""
        below = [node]
        while below:
            gone = below.pop()
            self._remove(gone, gone.generation + 1)
            if isinstance(gone, Directory):
                below.extend(gone.empty().values())

    def drop(self, files: Iterable[Node]) -> None:
        """Forget files that can be listed again; their handles stay good."""
        for file in files:
            self._remove(file, file.generation)

    def _remove(self, node: Node, next_generation: int) -> None:
        del self._alive[node.fileid]
        if next_generation:
            self._generations[node.fileid] = next_generation
            if len(self._generations) > _RETIRED_MAX:
                del self._generations[next(iter(self._generations))]
        if not isinstance(node, Directory):
            self.file_count -= 1
            self.byte_count -= node.size

    def _date(self, node: Node, mtime_ns: int | None) -> None:
        date = self._appearance.modified_ns if mtime_ns is None else mtime_ns
        node.atime_ns = node.mtime_ns = node.ctime_ns = date

    def _free_fileid(self, path: bytes) -> int:
        """A free fileid for what is first seen at `path`; directories end in a slash."""
        fileid = int.from_bytes(blake2b(path, digest_size=8).digest()) & _FILEID_MASK
        while fileid in self._alive or not fileid & _LOW_HALF:
            fileid = fileid + 1 & _FILEID_MASK
        return fileid
