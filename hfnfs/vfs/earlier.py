"""Files as they were before others replaced or removed them, for those who have them open.

NFSv3 knows no open files: a file counts as open while its handle was used lately (`in_use`).

    in use --replaced or removed by others--> earlier: read on by its handle, without a name
           --dropped, to save memory--------> earlier, until it is listed with the same bytes
    earlier --written to--> shown again, beside what others have put there (aside.py)

Those that were unused for longest are forgotten; their handles are stale then.
"""

from collections.abc import Callable
from typing import Final

from hfnfs.remote import ContentId, same
from hfnfs.vfs.node import FileType, Node, with_fileid

EARLIER_MAX: Final = 1 << 16  # as many as handles are remembered (nfs3/export.py); 400 bytes each


class EarlierFile(Node):
    """A file that lost its name to others.

    Clients know it by the fileid that it had, so its attributes tell that one, `told`. Its own is
    like no other: what is written to it is not mixed up with what has its name now.
    """

    __slots__ = ("is_shown", "told")

    def __init__(self, was: Node, fileid: int) -> None:
        super().__init__(fileid, 0, was.look, was.name, was.parent)
        self.told = was.fileid
        self.is_shown = False  # again, under a name
        self.content, self.size = was.content, was.size
        self.atime_ns, self.mtime_ns, self.ctime_ns = was.atime_ns, was.mtime_ns, was.ctime_ns

    def pack(self) -> bytes:
        """All attributes, as clients know them."""
        return with_fileid(super().pack(), self.told)


class Earlier:
    """Those that are remembered, by the fileid and generation that their handles name."""

    def __init__(self, new_fileid: Callable[[], int]) -> None:
        self.files: dict[tuple[int, int], EarlierFile] = {}
        self.in_use: Callable[[Node], bool] = lambda _node: False
        self.when_forgotten: Callable[[Node], None] = lambda _file: None
        self._new_fileid = new_fileid

    def keep(self, node: Node) -> bool:
        """Remember a file as it is, before it changes or goes, if it is in use; whether it is."""
        if node.look.type is not FileType.REG or not self.in_use(node):
            return False
        if len(self.files) >= EARLIER_MAX:
            self.forget(next(iter(self.files)))
        self.files[node.fileid, node.generation] = EarlierFile(node, self._new_fileid())
        return True

    def find(self, fileid: int, generation: int) -> EarlierFile | None:
        """The file that a handle was made for; it is in use again by that."""
        key = fileid, generation
        file = self.files.pop(key, None)
        if file is not None:
            self.files[key] = file
        return file

    def is_back(self, fileid: int, generation: int, content: ContentId | None) -> bool | None:
        """Whether one that was dropped is listed as it was; None: none is remembered.

        If so it is the earlier one no more.
        """
        file = self.files.get((fileid, generation))
        if file is None:
            return None
        is_same = not file.is_shown and same(file.content, content)
        if is_same:
            self.forget((fileid, generation))
        return is_same

    def forget(self, key: tuple[int, int]) -> None:
        """Let a handle be stale from now on, or lead to the node that has its fileid."""
        self.when_forgotten(self.files.pop(key))
