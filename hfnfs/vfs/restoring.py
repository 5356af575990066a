"""A volume as it was when its process ended: nodes, staged bytes and what the Hub lacks."""

import logging
from collections.abc import Iterable

from hfnfs.disk.schema import NodeRecord
from hfnfs.disk.state import Snapshot
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.means import Means
from hfnfs.vfs.node import FileType, Node, Symlink
from hfnfs.vfs.outbox import Outbox

_log = logging.getLogger(__name__)


def restore(snapshot: Snapshot, means: Means, outbox: Outbox) -> None:
    """Show in an empty tree what was kept, before anything is served."""
    tree = means.tree
    tree.nodes.remember(snapshot.retired)
    for record in _parents_first(snapshot.nodes, tree.root):
        _restore_node(record, means)
    for overlay in snapshot.overlays:
        node = tree.node_by_fileid(overlay.fileid)
        if node is None or node.look.type is not FileType.REG:
            _log.error("staged bytes of a file that is not known: %016x", overlay.fileid)
            continue
        means.writing.restore(node, overlay)
    outbox.restore(snapshot.outbox, tree.node_by_fileid)


def _parents_first(records: Iterable[NodeRecord], root: Node) -> Iterable[NodeRecord]:
    """The records, each after that of its directory; others are not to be found by anyone."""
    below: dict[int, list[NodeRecord]] = {}
    for record in records:
        if record.fileid == root.fileid:
            yield record
        else:
            below.setdefault(record.parent, []).append(record)
    reached = [root.fileid]
    while reached:
        for record in below.pop(reached.pop(), ()):
            yield record
            if record.type == FileType.DIR:
                reached.append(record.fileid)
    for lost in (record for records_ in below.values() for record in records_):
        _log.error("%r was kept without its directory, and is not shown", lost.name)


def _restore_node(record: NodeRecord, means: Means) -> None:
    tree = means.tree
    nodes = tree.nodes
    if record.fileid == tree.root.fileid:
        node: Node = tree.root
    else:
        parent = nodes.get(record.parent)
        assert isinstance(parent, Directory), "parents come first"
        type_ = FileType(record.type)
        node = nodes.add(type_, record.fileid, record.generation, parent, record.name)
        tree.restore(parent, node, record.home)
    node.look = nodes.look(node.look, record.mode, record.uid, record.gid)
    node.atime_ns, node.mtime_ns, node.ctime_ns = record.atime_ns, record.mtime_ns, record.ctime_ns
    node.content = record.content
    if isinstance(node, Symlink):
        node.target = record.target or b""
    if not isinstance(node, Directory):
        nodes.resize(node, record.size)
    if record.verifier is not None:
        means.keeper.verifiers[node] = record.verifier
    if record.is_local:
        means.ours.local.add(node)
    tree.pinned.add(node)
