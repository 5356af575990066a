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
        self.root = self._add_directory(b"", b"", None, None)

    def __len__(self) -> int:
        return len(self._alive)

    def maker(self, directory: Directory, path: str) -> Callable[[bytes, RemoteEntry], Node]:
        """Give what makes nodes of the entries of a directory at `path` ("" is the root)."""
        prefix = f"{path}/".encode()
        alive, generations, look = self._alive, self._generations, self._file_look
        undated_ns = self._appearance.modified_ns

        def make(name: bytes, entry: RemoteEntry) -> Node:
            if entry.kind is Kind.DIRECTORY:
                return self._add_directory(prefix, name, directory, entry.mtime_ns)
            fileid = _hashed(prefix + name)
            if fileid in alive or not fileid & _LOW_HALF:
                fileid = self._free_after(fileid)
            generation = generations.pop(fileid, 0) if generations else 0
            node = alive[fileid] = Node(fileid, generation, look, name, directory)
            content = node.content = entry.content
            if content is not None:
                node.size = content.size
                self.byte_count += content.size
            date = entry.mtime_ns
            node.atime_ns = node.mtime_ns = node.ctime_ns = undated_ns if date is None else date
            self.file_count += 1
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

    def _add_directory(
        self, prefix: bytes, name: bytes, parent: Directory | None, mtime_ns: int | None
    ) -> Directory:
        fileid = self._free_after(_hashed(prefix + name + b"/"))
        generation = self._generations.pop(fileid, 0)
        node = Directory(fileid, generation, self._directory_look, name, parent)
        date = self._appearance.modified_ns if mtime_ns is None else mtime_ns
        node.atime_ns = node.mtime_ns = node.ctime_ns = date
        self._alive[fileid] = node
        return node

    def _free_after(self, fileid: int) -> int:
        """The first free fileid from there on; that two paths have one hash is not to be seen."""
        while fileid in self._alive or not fileid & _LOW_HALF:
            fileid = fileid + 1 & _FILEID_MASK
        return fileid


def _hashed(path: bytes) -> int:
    """The fileid of what is first seen at `path`; directories end in a slash."""
    return int.from_bytes(blake2b(path, digest_size=8).digest()) & _FILEID_MASK
