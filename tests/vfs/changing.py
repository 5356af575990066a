"""A volume that takes changes, without a server: its parts over a state in memory."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from hfnfs.disk.schema import Change
from hfnfs.disk.staging import Staging
from hfnfs.disk.state import Snapshot
from hfnfs.remote import ContentId, Kind, Listing, RemoteEntry
from hfnfs.vfs.aside import Aside
from hfnfs.vfs.attributes import Appearance, Wanted
from hfnfs.vfs.data import Data
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.journal import Journal
from hfnfs.vfs.keeping import Keeper
from hfnfs.vfs.means import Means
from hfnfs.vfs.naming import Naming
from hfnfs.vfs.needs import Extent, Held, Listed, Named, Need, NotYet, Resident, Subtree
from hfnfs.vfs.node import Node
from hfnfs.vfs.outbox import Outbox
from hfnfs.vfs.restoring import restore
from hfnfs.vfs.setting import Setting
from hfnfs.vfs.tree import Freshness, Tree
from hfnfs.vfs.writing import Bounds, Writing
from tests.disk.state_writer import Model
from tests.fakes.clock import FakeClock
from tests.fakes.volume import MemoryExtents

T = TypeVar("T")
MTIME_NS = 1_600_000_000_123_000_000


class FakeState:
    """hfnfs.vfs.ports.State in memory: what was submitted is durable at once."""

    def __init__(self) -> None:
        self.model = Model()
        self.tickets = 0
        self.is_full = False

    def submit(self, *changes: Change) -> int:
        for change in changes:
            change.check()
        for change in changes:
            self.model.apply(change)
        self.tickets += 1
        return self.tickets

    def snapshot(self) -> Snapshot:
        m = self.model
        pieces = tuple(m.pieces[number] for number in sorted(m.pieces))
        outbox = tuple(m.outbox.values())
        overlays = tuple(m.overlays.values())
        done = tuple(sorted(m.done.values()))
        return Snapshot(tuple(m.nodes.values()), m.retired, overlays, pieces, outbox, done, m.meta)


class Desk:
    """The parts, and a far side that is asked in between."""

    def __init__(
        self, home: Path, hub: Mapping[str, bytes], state: FakeState | None = None
    ) -> None:
        self.home = home
        self.hub = dict(hub)  # bytes by path
        self.clock = FakeClock()
        self.state = state or FakeState()
        self.journal = Journal(self.state, self.state.snapshot().done)
        self.outbox = Outbox(self.journal, self.clock, quiet_s=2.0, window_s=30.0)
        appearance = Appearance(7, 1000, 100, 0o644, 0o755, modified_ns=1)
        self.tree = Tree(
            appearance,
            Freshness(10.0, 3),
            boot_verifier=b"bootboot",
            clock=self.clock,
            claims=self.outbox,
        )
        assert self.tree.ours is not None
        self.ours = self.tree.ours
        self.extents = MemoryExtents()
        self.staging = Staging(home, None)
        self.staging.open([each.fileid for each in self.state.snapshot().overlays])
        self.data = Data(self.extents, self.staging)
        self.keeper = Keeper(self.tree, self.ours, self.journal)
        bounds = Bounds(unsynced_bytes_max=1 << 30)
        self.writing = Writing(self.tree, self.data, self.journal, self.keeper, self.clock, bounds)
        self.means = Means(
            self.tree, self.ours, self.writing, self.keeper, self.journal, self.clock
        )
        self.setting = Setting(self.means)
        self.naming = Naming(
            self.means, self.outbox, self.setting, lambda path: "private" in path.split("/")
        )
        self.aside = Aside(self.means, self.outbox, self.naming)
        self.root = self.tree.root
        self.met: list[Need] = []
        restore(self.state.snapshot(), self.means, self.outbox)

    def restarted(self) -> "Desk":
        """A new process over what was kept of this one, which ended in order."""
        self.sync()
        return self.killed()

    def killed(self) -> "Desk":
        """A new process over what was kept of this one by now."""
        self.staging.close()
        return Desk(self.home, self.hub, self.state)

    def sync(self) -> None:
        """Let everything that was written be durable."""
        for fileid in list(self.data.overlays):
            claim = self.writing.claim(fileid)
            if self.writing.is_staged(fileid):
                self.staging.sync(fileid)
            self.writing.keep(fileid, claim)

    # ----------------------------------------------------------------- working

    def do(self, work: Callable[..., T], *args: object, **named: object) -> T:
        """The result of some work, as often as something is missing; nothing is changed before."""
        for _ in range(20):
            before = self.shown(), self.state.tickets
            try:
                result = work(*args, **named)
            except NotYet as not_yet:
                assert (self.shown(), self.state.tickets) == before, "asked after it had changed"
                self.meet(not_yet.need)
            else:
                if isinstance(result, Held):
                    assert not self.journal._noted, "somebody forgot to submit"
                self.journal.submit()
                return result
        raise AssertionError("it never has enough")

    def at(self, path: str) -> Node:
        """The node at a path, looked up name by name."""
        node: Node = self.root
        for name in filter(None, path.split("/")):
            node = self.do(self.tree.lookup, node, name.encode())
        return node

    def split(self, path: str) -> tuple[Node, bytes]:
        """The directory of a path, and the name in it."""
        directory, _, name = path.rpartition("/")
        return self.at(directory), name.encode()

    def create(self, path: str, data: bytes = b"") -> Node:
        """A new file with some bytes."""
        held: Held[Node] = self.do(self.naming.create, *self.split(path), Wanted(), guarded=True)
        if data:
            self.do(self.writing.write, held.result, 0, data)
        return held.result

    def read(self, path: str) -> bytes:
        """All bytes of a file."""
        data, eof = self.do(self.data.read, self.at(path), 0, 1 << 30)
        assert eof
        return bytes(data)

    def shown(self) -> dict[str, int]:
        """All paths in memory, with the fileids of what they stand for."""
        found: dict[str, int] = {}
        below: list[Directory] = [self.root]
        while below:
            directory = below.pop()
            for node in directory.children.values():
                found[self.tree.path(node)] = node.fileid
                if isinstance(node, Directory):
                    below.append(node)
        return found

    def walk(self) -> dict[str, bytes | None]:
        """Everything that a client sees: the bytes of files, None for directories."""
        found: dict[str, bytes | None] = {}
        below = [""]
        while below:
            path = below.pop()
            directory = self.do(self.tree.listed, self.at(path), 0)
            for node in list(directory.children.values()):
                inner = self.tree.path(node)
                is_directory = isinstance(node, Directory)
                found[inner] = None if is_directory else self.read(inner)
                if is_directory:
                    below.append(inner)
        return found

    def wanted(self) -> dict[str, str]:
        """What the outbox has: "put" or "delete" by path."""
        return {each.path: "delete" if each.is_delete else "put" for each in self.outbox.pending()}

    # ------------------------------------------------------------- the far side

    def meet(self, need: Need) -> None:
        self.met.append(need)
        match need:
            case Listed(fileid):
                self._list(fileid)
            case Named(fileid, name):
                directory = self._directory(fileid)
                entries = self.entries(self.tree.path(directory))
                self.tree.apply_found(directory, name, entries.get(name.decode(errors="replace")))
            case Subtree(fileid):
                below = [self._directory(fileid)]
                while below:
                    directory = below.pop()
                    self._list(directory.fileid)
                    inner = directory.children.values()
                    below += [node for node in inner if isinstance(node, Directory)]
            case Extent(content) | Resident(content):
                data = next(d for p, d in self.hub.items() if self.content(p) == content)
                self.extents.add(content, 0, data)
            case _:
                raise AssertionError(need)

    def content(self, path: str) -> ContentId:
        data = self.hub[path]
        return ContentId(f"xet-{data.hex():0>64}", len(data))

    def _list(self, fileid: int) -> None:
        directory = self._directory(fileid)
        self.tree.apply_listing(directory, Listing("", self.entries(self.tree.path(directory))))

    def entries(self, directory: str) -> dict[str, RemoteEntry]:
        base = f"{directory}/" if directory else ""
        entries: dict[str, RemoteEntry] = {}
        for path in self.hub:
            if path.startswith(base):
                name, _, below = path[len(base) :].partition("/")
                entries[name] = (
                    RemoteEntry(name, Kind.DIRECTORY)
                    if below
                    else RemoteEntry(name, Kind.FILE, self.content(path), MTIME_NS)
                )
        return entries

    def _directory(self, fileid: int) -> Directory:
        node = self.tree.node_by_fileid(fileid)
        assert isinstance(node, Directory)
        return node


Made = Callable[..., Desk]  # of files by path, with __ for /
