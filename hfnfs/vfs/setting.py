"""SETATTR: attributes that callers set (RFC 1813 §3.3.2)."""

from hfnfs.errors import GuardMismatch, InvalidArgument, IsDirectory
from hfnfs.vfs.attributes import SERVER_TIME, Wanted, in_steps
from hfnfs.vfs.earlier import EarlierFile
from hfnfs.vfs.means import Means
from hfnfs.vfs.needs import Held, Journaled
from hfnfs.vfs.node import FileType, Node


class Setting:
    """Sets attributes; the size is Writing's."""

    def __init__(self, means: Means) -> None:
        self._tree, _, self._writing, self._keeper, self._journal, self._clock = means

    def set(self, node: Node, wanted: Wanted, guard_ns: int | None = None) -> Held[None]:
        """Set what is wanted of a node whose ctime is `guard_ns`, if that is given.

        Raises GuardMismatch, IsDirectory or InvalidArgument (a size of what has none), NotYet.
        """
        self._journal.require_room()
        if guard_ns is not None and guard_ns != node.ctime_ns:
            raise GuardMismatch(f"{node!r} was changed since")
        if wanted.size is not None:
            _require_sizable(node)
            self._writing.truncate(node, wanted.size)
        self.dress(node, wanted)
        self._tree.stamp(node)
        if type(node) is EarlierFile and not node.is_shown:
            return Held(None, Journaled(self._journal.submit()))  # for who has it open
        self._keeper.verifiers.pop(node, None)  # whoever made it knows now that it did
        if wanted.mtime_ns is not None and node.look.type is FileType.REG:
            self._writing.when_changed(node)
        self._keeper.keep(node)
        return Held(None, self._journal.done())

    def set_mode(self, node: Node, mode: int) -> None:
        """Set a mode that a change of something else brings with it; nobody waits for it."""
        if mode != node.look.mode:
            self.dress(node, Wanted(mode=mode))
            self._tree.stamp(node)
            self._keeper.keep(node)
            self._journal.submit()

    def dress(self, node: Node, wanted: Wanted) -> None:
        """Give a node mode, owner and times, and nothing else."""
        node.look = self._tree.nodes.look(node.look, wanted.mode, wanted.uid, wanted.gid)
        if wanted.atime_ns is not None:
            node.atime_ns = self._time(wanted.atime_ns)
        if wanted.mtime_ns is not None:
            node.mtime_ns = in_steps(self._time(wanted.mtime_ns))

    def _time(self, time_ns: int) -> int:
        return self._clock.wall_ns() if time_ns == SERVER_TIME else time_ns


def _require_sizable(node: Node) -> None:
    if node.look.type is FileType.DIR:
        raise IsDirectory(f"{node!r} has no size to set")
    if node.look.type is not FileType.REG:
        raise InvalidArgument(f"{node!r} has no size to set")
