"""An outbox, the nodes it tells of, and a Hub that is only a mapping."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hfnfs.disk.schema import Change, DropOutbox, OutboxRecord, PutOutbox
from hfnfs.remote import EMPTY, ContentId, Put
from hfnfs.transfer import batch
from hfnfs.transfer.backlog import Backlog
from hfnfs.vfs.journal import Journal
from hfnfs.vfs.node import FileType, Look, Node
from hfnfs.vfs.outbox import RETRY_S_MAX, Entry, Flight, Outbox
from tests.fakes.clock import FakeClock

QUIET_S, WINDOW_S = 2.0, 30.0
LOOK = Look(FileType.REG, 0o644, 0, 0, 1)


@dataclass
class Kept:
    """hfnfs.vfs.ports.State of which only the outbox is looked at."""

    records: dict[bytes, OutboxRecord] = field(default_factory=dict)
    is_full: bool = False
    tickets: int = 0

    def submit(self, *changes: Change) -> int:
        for change in changes:
            match change:
                case PutOutbox(record):
                    self.records[record.path] = record
                case DropOutbox(path):
                    self.records.pop(path, None)
        self.tickets += 1
        return self.tickets


class Desk:
    """An outbox, the nodes it tells of, and a Hub that is only a mapping."""

    def __init__(self) -> None:
        self.clock, self.kept = FakeClock(), Kept()
        self.journal = Journal(self.kept)
        self.outbox = self.new_outbox()
        self.files: dict[str, Node] = {}  # what users see
        self.bytes: dict[int, ContentId] = {}  # of each node
        self.owners: dict[str, int] = {}  # by content key, the node that had it
        self.uploaded: set[str] = set()
        self.hub: dict[str, ContentId] = {}
        self.made = 0
        self.ripened: list[Entry] = []

    def new_outbox(self) -> Outbox:
        return Outbox(self.journal, self.clock, quiet_s=QUIET_S, window_s=WINDOW_S)

    # -------------------------------------------------- what users do

    def create(self, path: str) -> Node:
        self.made += 1
        node = self.files[path] = Node(self.made, 0, LOOK, path.encode(), None)
        node.content = EMPTY
        self.fill(node)
        self.outbox.put(path, node, None)
        return node

    def fill(self, node: Node) -> None:
        self.made += 1
        content = ContentId(f"xet-{self.made:064x}", self.made)
        self.bytes[node.fileid] = content
        self.owners[content.key] = node.fileid
        node.mtime_ns += 1_000_000

    def write(self, path: str) -> None:
        self.fill(self.files[path])
        self.outbox.touch(path, self.files[path])

    def remove(self, path: str) -> None:
        self.outbox.delete(path, self.files.pop(path).content)

    def rename(self, old: str, new: str) -> None:
        if new in self.files:
            self.remove(new)
        node = self.files[new] = self.files.pop(old)
        self.outbox.delete(old, node.content, moved=node.fileid)
        self.outbox.put(new, node, None)

    def settled(self, path: str) -> Node:
        """A new file that the Hub has."""
        node = self.create(path)
        self.flush()
        assert self.hub[path] == self.bytes[node.fileid]
        return node

    # -------------------------------------------------- what the flush does

    def upload(self, node: Node) -> None:
        self.uploaded.add(self.bytes[node.fileid].key)

    def flight_of(self, node: Node) -> Flight | None:
        content = self.bytes[node.fileid]
        if content.key not in self.uploaded:
            return None
        return Flight(node, self.outbox.stamp(node), content, node.mtime_ns, 0)

    def due(self) -> list[Entry]:
        """All that is due, and not in flight."""
        self.ripened += self.outbox.ripened(self.clock.now(), 1000)
        self.ripened = [entry for entry in self.ripened if self.outbox.is_due(entry)]
        return self.ripened

    def depart(self) -> list[Entry]:
        """Take all that can go."""
        backlog = Backlog(self.outbox, self.flight_of)
        backlog.put_back(self.due())
        chosen = backlog.batch(())
        for entry, flight in chosen:
            self.outbox.take(entry, flight)
            self.outbox.sending(entry)
        self.journal.submit()
        return [entry for entry, _ in chosen]

    def apply(self, entries: list[Entry], fails: Callable[[str], bool] = lambda _: False) -> None:
        """What the Hub does when it is asked for that."""
        failed = set()
        for operation in batch.operations(entries, self.outbox):
            path = operation.path
            if fails(path):
                failed.add(path)
            elif isinstance(operation, Put):
                self.hub[path] = operation.content
            elif operation.moved_to not in failed:
                self.apply_delete(path)

    def apply_delete(self, path: str) -> None:
        content = self.hub.pop(path, None)
        owner = None if content is None else self.owners.get(content.key)
        if owner in {node.fileid for node in self.files.values()}:
            named = {self.owners.get(content.key) for content in self.hub.values()}
            assert owner in named, f"{path} went before its bytes had another name"

    def settle(self, entry: Entry) -> None:
        node = None if entry.flight is None else entry.flight.node
        content = None if entry.flight is None else entry.flight.content
        self.outbox.settle(entry)
        if node is not None and node in self.files.values():
            node.content = content
        self.journal.submit()

    def flush(self) -> None:
        """All that is wanted goes to the Hub, without a fault."""
        rounds = 0
        while len(self.outbox):
            for node in self.files.values():
                self.upload(node)
            entries = self.depart()
            self.apply(entries)
            for entry in entries:
                self.settle(entry)
            self.clock.advance(RETRY_S_MAX * 2)
            rounds += 1
            assert rounds < 20, "it does not come to an end"

    def wanted(self) -> dict[str, ContentId]:
        return {path: self.bytes[node.fileid] for path, node in self.files.items()}

    def restart(self) -> None:
        """As after a crash: what is in flight is not known any more, but what was noted is."""
        nodes = {node.fileid: node for node in self.files.values()}
        self.journal.submit()
        self.outbox = self.new_outbox()
        self.outbox.restore(list(self.kept.records.values()), nodes.get)
        self.journal.submit()
