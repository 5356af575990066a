"""What was changed here and by somebody else: both are kept, ours under a name beside theirs."""

import re
import socket
import time
from collections.abc import Callable
from math import inf
from typing import Final

from hfnfs.errors import StaleHandle
from hfnfs.remote import RemoteEntry
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.earlier import EarlierFile
from hfnfs.vfs.means import Means
from hfnfs.vfs.naming import Naming
from hfnfs.vfs.node import Node
from hfnfs.vfs.outbox import Outbox
from hfnfs.vfs.tree import NAME_BYTES_MAX

_NS: Final = 1_000_000_000
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9._-]")


class Aside:
    """Settles conflicts."""

    def __init__(self, means: Means, outbox: Outbox, naming: Naming) -> None:
        self._tree, self._ours, writing, _, self._journal, self._clock = means
        self._outbox = outbox
        self._naming = naming
        # Called with the path that is theirs, or is gone there, and that of ours.
        self.when_shown_again: Callable[[str, str], None] = lambda _path, _ours: None
        writing.show_again = self.show_again

    def set_aside(self, path: str, theirs: RemoteEntry) -> str | None:
        """Both changed it: ours gets another name beside it, theirs has the name from now on.

        Gives the new path; None if nothing of ours is there any more.
        """
        node = self._tree.at(path)
        if node is None or node.parent is None or isinstance(node, Directory):
            self._outbox.forget(path)
            return None
        home = node.parent
        name = self._conflict_name(home, node.name)
        self._outbox.forget(path)
        self._tree.move(node, home, name)
        new = self._tree.path(node)
        self._outbox.put(new, node, None)
        self._naming.keep(node, home)
        self._show(home, theirs)
        return new

    def set_directory_aside(self, path: str, theirs: RemoteEntry) -> str | None:
        """Somebody made a file where we have a directory: ours gets another name, with all in it.

        Gives the new path; None if there is no such directory of ours any more. What of it is not
        in memory only the Hub could have, and there is no such directory there.
        """
        node = self._tree.at(path)
        if not isinstance(node, Directory) or node.parent is None:
            return None
        home = node.parent
        name = self._conflict_name(home, node.name)
        files = [(file, self._tree.path(file)) for file in _files_below(node)]
        self._tree.move(node, home, name)
        for file, old in files:
            self._naming.moved(file, old, self._tree.path(file))
        self._ours.local.add(node)
        self._naming.keep(*(file for file, _ in files), node, home)
        self._show(home, theirs)
        return self._tree.path(node)

    def give_way(self, path: str, theirs: RemoteEntry) -> None:
        """We removed what somebody else has changed since: theirs is shown again."""
        self._outbox.forget(path)
        home = self._tree.at(path.rpartition("/")[0])
        if isinstance(home, Directory):
            self._show(home, theirs)
        self._journal.submit()

    def show_again(self, file: EarlierFile) -> None:
        """Somebody has replaced or removed a file that is written to: ours is shown as well.

        Under its own name if that is free, else beside theirs. Raises StaleHandle (there is no
        such directory any more), NotYet.
        """
        self._journal.require_room()
        home = file.parent
        if home is None or self._tree.node_by_fileid(home.fileid) is not home:
            raise StaleHandle(f"{file!r} was removed with its directory")
        path = self._tree.path(file)
        if self._naming.found(home, file.name) is not None:
            file.name = self._conflict_name(home, file.name)
        file.is_shown = True
        self._tree.nodes.add_earlier(file)
        self._naming.show(home, file)
        self._tree.stamp(file)
        self._journal.submit()
        self.when_shown_again(path, self._tree.path(file))

    def _show(self, home: Directory, theirs: RemoteEntry) -> None:
        """Show what is theirs, and submit: all was noted before, so it is kept as one."""
        self._tree.apply_found(home, theirs.name.encode(), theirs, inf)
        self._journal.submit()

    def _conflict_name(self, home: Directory, name: bytes) -> bytes:
        host = _NOT_IN_A_NAME.sub("-", socket.gethostname())[:40]
        when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock.wall_ns() // _NS))
        number = 0
        while True:
            tail = f".conflict-{host}-{when}{f'-{number}' if number else ''}".encode()
            short = name[: NAME_BYTES_MAX - len(tail)].decode(errors="ignore").encode()
            if short + tail not in home.children:
                return short + tail
            number += 1


def _files_below(directory: Directory) -> list[Node]:
    """All in memory below a directory but directories."""
    files, below = [], [directory]
    while below:
        for node in below.pop().children.values():
            if isinstance(node, Directory):
                below.append(node)
            else:
                files.append(node)
    return files
