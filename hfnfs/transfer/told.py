"""What a bucket's feed tells, shown at once where that is safe.

What nobody has looked at is not shown. What is ours to decide, or was until a while ago, is kept
as a doubt: the feed may be behind, and tell of what was there before our own commit. A doubt ends
once the name is not ours any more: as the tree then shows what was told (most are the echo of our
own commits), or with a request for the name.
"""

from collections.abc import Callable, Iterator
from math import inf
from typing import Final, NamedTuple

from hfnfs.clock import Clock
from hfnfs.remote import Changed, Kind, RemoteEntry
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.merge import differs
from hfnfs.vfs.node import FileType, Node
from hfnfs.vfs.ours import path_in
from hfnfs.vfs.tree import Tree

# Beyond it the oldest are asked for at once, by listing their directories.
_DOUBTS_MAX: Final = 10_000


class _Told(NamedTuple):
    """What a name was told to be; `is_clear` False: only that something about it changed."""

    entry: RemoteEntry | None
    is_clear: bool = True


class Told:
    """Takes in what the feed tells. `ask` is called for a directory that has to be listed again."""

    def __init__(
        self,
        tree: Tree,
        clock: Clock,
        *,
        is_asking: Callable[[int], bool],
        ask: Callable[[Directory], None],
    ) -> None:
        self._tree = tree
        self._clock = clock
        self._is_asking = is_asking
        self._ask = ask
        self._doubts: dict[str, _Told] = {}  # by path

    def taking(self, changed: Changed) -> Iterator[None]:
        """Take it in, path by path."""
        for path, entry in changed.entries.items():
            self._take(path, _Told(entry))
            yield
        for path in changed.unclear:
            self._take(path, _Told(None, is_clear=False))
            yield

    def due(self) -> dict[int, set[bytes]]:
        """Names that must be asked for, by the fileid of their directory; no doubts any more."""
        due: dict[int, set[bytes]] = {}
        for path, told in list(self._doubts.items()):
            place = self._place(path)
            if place is not None and self._is_ours(*place, self._clock.now()):
                continue
            del self._doubts[path]
            if place is not None and not _shows(*place, told):
                directory, name = place
                due.setdefault(directory.fileid, set()).add(name)
        return due

    def doubt(self, directory: Directory, names: set[bytes]) -> None:
        """Keep names in mind that could not be asked for."""
        for name in names:
            self._keep(directory, name, _Told(None, is_clear=False))

    # ---------------------------------------------------------------- one path

    def _take(self, path: str, told: _Told) -> None:
        directory = self._tree.root
        *above, last = path.split("/")
        for part in above:
            inner = directory.children.get(part.encode())
            if not isinstance(inner, Directory):
                if told.entry is not None or not told.is_clear:
                    self._take_name(directory, part, _Told(RemoteEntry(part, Kind.DIRECTORY)))
                return
            directory = inner
        self._take_name(directory, last, told)

    def _take_name(self, directory: Directory, text: str, told: _Told) -> None:
        name = text.encode()
        shown = directory.children.get(name)
        if isinstance(shown, Directory):
            # A bucket may have "a" and "a/b": the folder is shown. One of which the far side has
            # nothing may have to give way, which a listing decides.
            if self._is_local(shown) and _may_be_file(told):
                self._ask(directory)
            return
        if self._is_asking(directory.fileid):
            self._ask(directory)  # the answer on its way may be the older one
        if shown is None and directory.listed_at is None and name not in directory.asked:
            return
        if self._is_local(shown) or _shows(directory, name, told):
            return
        if not told.is_clear or self._is_ours(directory, name, -inf):
            self._keep(directory, name, told)
            return
        self._show(directory, name, told.entry)

    def _show(self, directory: Directory, name: bytes, entry: RemoteEntry | None) -> None:
        self._tree.apply_found(directory, name, entry)
        if directory.listed_at is not None:
            fresh = directory.children.get(name)
            if fresh is not None and not fresh.cookie:
                directory.number([fresh])
            if not directory.children and directory.parent is not None:
                self._ask(directory.parent)  # a bucket keeps no empty folders

    def _keep(self, directory: Directory, name: bytes, told: _Told) -> None:
        path = path_in(directory, name)
        assert path is not None, "the far side's names are UTF-8"
        self._doubts.pop(path, None)
        self._doubts[path] = told
        if len(self._doubts) > _DOUBTS_MAX:
            oldest = next(iter(self._doubts))
            del self._doubts[oldest]
            place = self._place(oldest)
            if place is not None:
                self._ask(place[0])

    def _place(self, path: str) -> tuple[Directory, bytes] | None:
        """The directory of a path, if it is in memory, and the name in it."""
        above, _, name = path.rpartition("/")
        directory = self._tree.at(above)
        return (directory, name.encode()) if isinstance(directory, Directory) else None

    def _is_ours(self, directory: Directory, name: bytes, asked_at: float) -> bool:
        ours = self._tree.ours
        return ours is not None and ours.decides(directory, name, asked_at)

    def _is_local(self, shown: Node | None) -> bool:
        ours = self._tree.ours
        return ours is not None and shown is not None and shown in ours.local


def _may_be_file(told: _Told) -> bool:
    return told.entry.kind is Kind.FILE if told.entry is not None else not told.is_clear


def _shows(directory: Directory, name: bytes, told: _Told) -> bool:
    """Whether the directory shows just what was told."""
    shown = directory.children.get(name)
    if not told.is_clear:
        return False
    if shown is None or told.entry is None:
        return shown is None and told.entry is None
    kind = FileType.DIR if told.entry.kind is Kind.DIRECTORY else FileType.REG
    return shown.type is kind and not differs(shown, told.entry)
