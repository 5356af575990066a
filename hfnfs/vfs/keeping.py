"""Which nodes are kept over a restart, and what of them.

A node has a record exactly while listing its directory anew would not give it back as it is: it
is not on the Hub (yet), was moved here, has a mode, an owner or a time of access that the Hub does
not hold, or something else still counts on it (`reasons`). Such a node is pinned, so that it is
always in memory. Directories in which a client may have a handle are kept as well, as the handle
of a file leads to it by its directory.
"""

from collections.abc import Callable

from hfnfs.disk.schema import DropNode, NodeRecord, Retire, Reuse, UpsertNode
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.journal import Journal
from hfnfs.vfs.node import FileType, Node, Symlink
from hfnfs.vfs.ours import Ours
from hfnfs.vfs.tree import Tree


class Keeper:
    """Notes the records of nodes in the journal; whoever is outermost submits."""

    def __init__(self, tree: Tree, ours: Ours, journal: Journal) -> None:
        self._tree = tree
        self._local = ours.local
        self._journal = journal
        self.reasons: list[Callable[[Node], bool]] = []  # for which a node has to be kept
        self.when_gone: Callable[[Node], None] = lambda _node: None  # for good
        self.verifiers: dict[Node, bytes] = {}  # of exclusive CREATEs (RFC 1813 §3.3.8)
        tree.nodes.when_retired = self._retired
        tree.nodes.when_superseded = lambda *now: journal.note(Retire(*now))
        tree.nodes.when_forgotten = lambda fileid: journal.note(Reuse(fileid))
        tree.when_listed.append(self._listed)
        tree.when_replaced.append(self._replaced)

    def keep(self, *nodes: Node) -> None:
        """Note the records of nodes of which something has changed, or that they need none."""
        for node in nodes:
            if self._is_needed(node):
                self._tree.pinned.add(node)
                self._journal.note(UpsertNode(self._record(node)))
            elif node in self._tree.pinned:
                self._tree.pinned.discard(node)
                self._journal.note(DropNode(node.fileid))

    def _record(self, node: Node) -> NodeRecord:
        look = node.look
        return NodeRecord(  # by place: by name it takes four times as long, two for each CREATE
            node.fileid,
            node.generation,
            0 if node.parent is None else node.parent.fileid,
            node.name,
            look.type,
            look.mode,
            look.uid,
            look.gid,
            node.size,
            node.atime_ns,
            node.mtime_ns,
            node.ctime_ns,
            node.target if isinstance(node, Symlink) else None,
            node.content,
            self.verifiers.get(node),
            self._tree.home_of(node),
            node in self._local,
        )

    def _is_needed(self, node: Node) -> bool:
        tree, look = self._tree, node.look
        if node in self._local or look.type is FileType.LNK or node in self.verifiers:
            return True
        return (
            isinstance(node, Directory)
            or node.generation != tree.nodes.generation_of(node.fileid)
            or look is not tree.nodes.default_look(look.type)
            or node.atime_ns != node.mtime_ns
            or any(reason(node) for reason in self.reasons)
            or node.fileid != tree.nodes.first_fileid(look.type, tree.path(node))  # it is hashed
        )

    # ------------------------------------------------------ what the tree tells

    def _retired(self, node: Node, generation: int) -> None:
        self.when_gone(node)
        self._local.discard(node)
        self._tree.homes.pop(node, None)
        self.verifiers.pop(node, None)
        self._journal.note(Retire(node.fileid, generation))
        if node in self._tree.pinned:
            self._tree.pinned.discard(node)
            self._journal.note(DropNode(node.fileid))

    def _listed(self, directory: Directory) -> None:
        if directory not in self._tree.pinned and directory.parent is not None:
            self.keep(directory)
        self._journal.submit()

    def _replaced(self, node: Node) -> None:
        if node in self._tree.pinned:
            self.keep(node)
