"""A volume's writing, over a staging directory and a state that can lose what was not durable."""

from collections.abc import Callable
from pathlib import Path

from hfnfs.disk.schema import Change, DropOverlay, OverlayRecord, SetMeta, SetOverlay
from hfnfs.disk.staging import Staging
from hfnfs.remote import ContentId, Kind, RemoteEntry
from hfnfs.vfs.data import Data
from hfnfs.vfs.journal import Journal
from hfnfs.vfs.node import Node
from hfnfs.vfs.tree import Freshness, Tree
from hfnfs.vfs.writing import Bounds, Writing
from tests.fakes.clock import FakeClock
from tests.vfs.builders import APPEARANCE


class ListState:
    """What was submitted, in order; the tickets are how much that is."""

    def __init__(self) -> None:
        self.submitted: list[Change] = []
        self.is_full = False

    def submit(self, *changes: Change) -> int:
        self.submitted += changes
        return len(self.submitted)

    def overlays(self, up_to: int | None = None) -> dict[int, OverlayRecord]:
        """The overlays that are kept, of what was submitted up to a ticket."""
        kept: dict[int, OverlayRecord] = {}
        for change in self.submitted[:up_to]:
            if isinstance(change, SetOverlay):
                kept[change.overlay.fileid] = change.overlay
            elif isinstance(change, DropOverlay):
                kept.pop(change.fileid, None)
        return kept

    def meta(self) -> dict[str, object]:
        return {c.name: c.value for c in self.submitted if isinstance(c, SetMeta)}


class RecordingKeeper:
    """Remembers which nodes it was asked to keep."""

    def __init__(self) -> None:
        self.reasons: list[Callable[[Node], bool]] = []
        self.kept: list[Node] = []

    def keep(self, *nodes: Node) -> None:
        self.kept += nodes

    def needs(self, node: Node) -> bool:
        return any(reason(node) for reason in self.reasons)


class AllExtents:
    """Every byte of every content that it was told of is at hand, until it is told otherwise."""

    def __init__(self) -> None:
        self.contents: dict[ContentId, bytes] = {}
        self.absent: set[ContentId] = set()
        self.reads: list[tuple[int, int]] = []

    def read(self, content: ContentId, start: int, end: int) -> memoryview | None:
        self.reads.append((start, end))
        assert 0 <= start < end <= content.size
        return None if content in self.absent else memoryview(self.contents[content])[start:end]

    def has(self, content: ContentId, start: int, end: int) -> bool:
        return content not in self.absent

    def gap(self, content: ContentId, start: int, end: int) -> tuple[int, int] | None: ...

    def add(self, content: ContentId, offset: int, data: bytes | memoryview) -> None: ...

    def make_resident(self, content: ContentId, start: int, end: int) -> None: ...

    def pin(self, content: ContentId, start: int, end: int) -> None: ...

    def unpin(self, content: ContentId, start: int, end: int) -> None: ...


class Bench:
    """Files in one directory that can be written to."""

    def __init__(
        self,
        directory: Path,
        *,
        bytes_max: int | None = None,
        bounds: Bounds | None = None,
        known: tuple[int, ...] = (),
    ) -> None:
        self.clock = FakeClock()
        self.tree = Tree(
            APPEARANCE, Freshness(10.0, 3), boot_verifier=b"bootboot", clock=self.clock
        )
        self.staging = Staging(directory, bytes_max)
        self.staging.open(known)
        self.extents = AllExtents()
        self.data = Data(self.extents, self.staging)
        self.state = ListState()
        self.journal = Journal(self.state)
        self.keeper = RecordingKeeper()
        self.changed: list[Node] = []
        self.writing = Writing(
            self.tree,
            self.data,
            self.journal,
            self.keeper,
            self.clock,
            bounds or Bounds(1 << 30),
        )
        self.writing.when_changed = self.changed.append

    def content(self, data: bytes) -> ContentId:
        """A content that the far side has, with these bytes."""
        content = ContentId(f"git-{data.hex()}", len(data))
        self.extents.contents[content] = data
        return content

    def file(self, data: bytes, name: str = "f") -> Node:
        """A file that the far side has."""
        entry = RemoteEntry(name, Kind.FILE, self.content(data), 5_000_000_000)
        self.tree.apply_found(self.tree.root, name.encode(), entry)
        return self.tree.root.children[name.encode()]

    def read(self, node: Node) -> bytes:
        data, eof = self.data.read(node, 0, node.size + 1)
        assert eof
        return bytes(data)

    def keep(self, node: Node) -> int:
        """What COMMIT does; the ticket with which it is durable."""
        claim = self.writing.claim(node.fileid)
        if self.writing.is_staged(node.fileid):
            self.staging.sync(node.fileid)
        return self.writing.keep(node.fileid, claim)

    def settle(self, node: Node) -> ContentId:
        """An upload and its commit."""
        content = self.content(self.read(node))
        self.writing.settle(node, self.version(node), content)
        return content

    def version(self, node: Node) -> int:
        return self.writing.durable(node).version

    def give_up(self) -> None:
        self.staging.unlink(self.writing.give_up(dict(self.writing.left)))

    def crash(self) -> None:
        """Let go of the disk; nothing in memory counts any more."""
        self.staging.close()
