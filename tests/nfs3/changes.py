"""What takes a volume's changes, as far as nfs3/ sees it: notes what it is asked, and does little.

Whatever is asked moves the ctime of the nodes it is about, so that replies have a before and an
after. What must be durable waits for a need of its own.
"""

from typing import Any, cast

from hfnfs.vfs.attributes import Attributes, Wanted
from hfnfs.vfs.needs import Durable, Held, Journaled, Need, NotYet
from hfnfs.vfs.node import Node
from hfnfs.vfs.volume import Volume

JOURNALED = Journaled(7)


class Changes:
    """Plays Naming, Setting and Writing; gives `made`, or raises `error`."""

    def __init__(self) -> None:
        self.naming = self.setting = self.writing = self
        self.asked: list[tuple[Any, ...]] = []
        self.made: Node | None = None
        self.error: Exception | None = None
        self.missing: list[Need] = []  # raised one by one before anything is done
        self.write_verifier = b"verifier"

    def create(
        self, directory: Node, name: bytes, wanted: Wanted, *, guarded: bool = False
    ) -> Held[Node]:
        return self._make(directory, "create", name, wanted, guarded)

    def create_exclusive(
        self, directory: Node, name: bytes, verifier: bytes, wanted: Wanted
    ) -> Held[Node]:
        return self._make(directory, "create_exclusive", name, verifier, wanted)

    def make_directory(self, directory: Node, name: bytes, wanted: Wanted) -> Held[Node]:
        return self._make(directory, "make_directory", name, wanted)

    def make_symlink(
        self, directory: Node, name: bytes, target: bytes, wanted: Wanted
    ) -> Held[Node]:
        return self._make(directory, "make_symlink", name, target, wanted)

    def remove(self, directory: Node, name: bytes) -> Held[None]:
        return self._do([directory], "remove", name)

    def remove_directory(self, directory: Node, name: bytes) -> Held[None]:
        return self._do([directory], "remove_directory", name)

    def rename(
        self, from_directory: Node, from_name: bytes, to_directory: Node, to_name: bytes
    ) -> Held[None]:
        return self._do([from_directory, to_directory], "rename", from_name, to_name)

    def link(self, node: Node, directory: Node, name: bytes) -> Held[None]:
        return self._do([directory, node], "link", name)

    def set(self, node: Node, wanted: Wanted, guard_ns: int | None = None) -> Held[None]:
        return self._do([node], "set", wanted, guard_ns)

    def write(self, node: Node, offset: int, data: bytes | memoryview) -> int:
        self._do([node], "write", offset, bytes(data))
        return len(data)

    def durable(self, node: Node) -> Durable:
        return Durable(node.fileid, 1)

    def _make(self, directory: Node, *asked: Any) -> Held[Node]:
        until = self._do([directory], *asked).until
        assert self.made is not None
        return Held(self.made, until)

    def _do(self, nodes: list[Node], *asked: Any) -> Held[None]:
        if self.missing:
            raise NotYet(self.missing.pop(0))
        if self.error is not None:
            raise self.error
        self.asked.append(asked)
        for node in nodes:
            node.ctime_ns += 1
            node.changed()
        return Held(None, JOURNALED)


class _Writable:
    """A volume but for what takes its changes."""

    is_read_only = False
    attributes = Attributes(read_only=False)

    def __init__(self, volume: Volume, changes: Changes) -> None:
        self.changes = changes
        self._volume = volume

    def __getattr__(self, name: str) -> Any:
        return getattr(self._volume, name)


def writable(volume: Volume, changes: Changes) -> Volume:
    """The volume as one that takes changes, by those that are given."""
    return cast(Volume, _Writable(volume, changes))
