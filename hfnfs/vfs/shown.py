"""What a volume shows: nodes under their names, and how that is changed.

Whoever watches is told: `when_gone` of nodes whose handles lead elsewhere from now on, or nowhere.
"""

from collections.abc import Callable, Collection

from hfnfs.clock import Clock
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.node import Node
from hfnfs.vfs.nodes import Nodes
from hfnfs.vfs.ours import path_of


class Shown:
    """Names and nodes; where they come from is for others to know."""

    def __init__(self, nodes: Nodes, boot_verifier: bytes, clock: Clock) -> None:
        self.nodes = nodes
        self.root = nodes.root
        self.pinned: set[Node] = set()  # not to be dropped
        self.homes: dict[Node, int] = {}  # of those that were moved to another directory
        self.when_gone: list[Callable[[Collection[Node]], None]] = []
        self._boot_verifier = boot_verifier
        self._clock = clock
        self._listed: dict[Directory, None] = {}  # those that could be dropped, oldest first

    @property
    def file_count(self) -> int:
        """Files in memory."""
        return self.nodes.file_count

    @property
    def byte_count(self) -> int:
        """Bytes that those files have."""
        return self.nodes.byte_count

    def node_by_fileid(self, fileid: int) -> Node | None:
        """The node of that fileid in memory, whatever its generation."""
        return self.nodes.get(fileid)

    def path(self, node: Node) -> str:
        """Path below the root, without a leading slash; "" for the root."""
        return path_of(node)

    def at(self, path: str) -> Node | None:
        """The node that is shown at a path, if it is in memory."""
        node: Node = self.root
        for name in path.encode().split(b"/") if path else ():
            found = node.children.get(name) if isinstance(node, Directory) else None
            if found is None:
                return None
            node = found
        return node

    def home_of(self, node: Node) -> int:
        """The fileid of the directory that the node's handles name: where it was first seen."""
        parent = 0 if node.parent is None else node.parent.fileid
        return self.homes.get(node, parent) if self.homes else parent

    # ------------------------------------------------------------ changing it

    def know_all(self, directory: Directory) -> None:
        """Take a directory for listed as it is: it was made here, and nobody else knows it."""
        directory.listed_at = self._clock.now()
        directory.verifier = self._boot_verifier

    def adopt(self, directory: Directory, node: Node) -> None:
        """Show a node that was made or moved here under its name, which is free."""
        node.parent = directory
        directory.put({node.name: node})
        if directory.listed_at is not None:
            directory.number([node])
        self._touch(directory)

    def remove(self, node: Node) -> None:
        """Show it no more, nor what is below it; its handles are stale from now on."""
        self._detach(node)
        self._retire(node)

    def move(self, node: Node, directory: Directory, name: bytes) -> None:
        """Show a node under another name, which is free, perhaps in another directory."""
        home = self.home_of(node)
        self._detach(node)
        node.name = name
        node.cookie = 0
        self.adopt(directory, node)
        if home != directory.fileid:
            self.homes[node] = home
        else:
            self.homes.pop(node, None)
        self.stamp(node)

    def stamp(self, node: Node) -> None:
        """Move a node's ctime, always forward, as one of its attributes has changed."""
        node.ctime_ns = max(self._clock.wall_ns(), node.ctime_ns + 1)
        node.changed()

    def restore(self, directory: Directory, node: Node, home: int) -> None:
        """Show a node that was kept over a restart; before anything is served."""
        directory.put({node.name: node})
        if home != directory.fileid:
            self.homes[node] = home

    def drop_names(self, directory: Directory, files: Collection[Node]) -> None:
        """Show files no more that may be there all the same."""
        for file in files:
            directory.remove(file.name)
        if files:
            self.drop(files)
            self._touch(directory)

    def drop(self, files: Collection[Node]) -> None:
        """Know nothing of files that are shown no more, until they are listed again."""
        self.nodes.drop(files)
        self._gone(files)

    def _detach(self, node: Node) -> None:
        directory = node.parent
        assert directory is not None, "the root has no name"
        directory.remove(node.name)
        directory.asked.pop(node.name, None)
        self._touch(directory)

    def _touch(self, directory: Directory) -> None:
        """Move a directory's times, so that clients drop what they know of its names."""
        directory.mtime_ns = max(self._clock.wall_ns(), directory.mtime_ns + 1)
        directory.ctime_ns = max(directory.mtime_ns, directory.ctime_ns + 1)
        directory.changed()

    def _retire(self, node: Node, *, by_others: bool = False) -> None:
        retired = self.nodes.retire(node, by_others=by_others)
        for gone in retired:
            if isinstance(gone, Directory):
                self._listed.pop(gone, None)
        self._gone(retired)

    def _stays(self, node: Node) -> bool:
        """Whether a node is not to be dropped."""
        return isinstance(node, Directory) or node in self.pinned

    def _gone(self, nodes: Collection[Node]) -> None:
        for told in self.when_gone:
            told(nodes)
