"""Random writing, syncing, uploading and losses of power, against bytes in a list.

Whatever was answered as stable is there afterwards; a byte that was not is one that it was at some
time since.
"""

import random
from pathlib import Path
from typing import cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hfnfs.disk.ranges import Ranges
from hfnfs.disk.snapshot import Snapshot
from hfnfs.errors import CacheUnusable
from hfnfs.remote import ContentId
from hfnfs.vfs.data import Data
from hfnfs.vfs.journal import Journal
from hfnfs.vfs.needs import Cloned
from hfnfs.vfs.node import FileType, Node
from hfnfs.vfs.overlay import Shape
from hfnfs.vfs.tree import Freshness, Tree
from hfnfs.vfs.writing import Bounds, Writing
from tests.fakes.clock import FakeClock
from tests.vfs.builders import APPEARANCE
from tests.vfs.writers import AllExtents, ListState, RecordingKeeper

PLACES = st.integers(0, 40)
SEEDS = st.integers(0, 2**32)


class Staged:
    """A staged file: as it is, and what a loss of power may leave of it."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.synced = bytes(data)
        self.unsynced: list[tuple[int, bytes | None]] = []  # None: the end of the file
        self.is_named = False  # on the disk

    def do(self, offset: int, data: bytes | None) -> None:
        _do(self.data, offset, data)
        self.unsynced.append((offset, data))

    def sync(self) -> None:
        self.synced, self.unsynced, self.is_named = bytes(self.data), [], True

    def after_power_loss(self, rng: random.Random) -> "Staged":
        left = bytearray(self.synced)
        for offset, data in self.unsynced:
            if rng.random() < 0.5:
                _do(left, offset, data)
        again = Staged(bytes(left))
        again.is_named = True
        return again


def _do(file: bytearray, offset: int, data: bytes | None) -> None:
    end = offset if data is None else offset + len(data)
    file.extend(bytes(max(end - len(file), 0)))
    if data is None:
        del file[offset:]
    else:
        file[offset:end] = data


class FrailStaging:
    """hfnfs.vfs.ports.Staging in memory, of which a loss of power leaves what was synced."""

    unsynced_bytes = 0
    is_crowded = False

    def __init__(self) -> None:
        self.files: dict[int, Staged] = {}
        self.removed: dict[int, Staged] = {}  # which may come back

    def has_room(self, count: int) -> bool:
        return True

    def write(self, fileid: int, offset: int, data: bytes | memoryview) -> int:
        self.files.setdefault(fileid, Staged()).do(offset, bytes(data))
        return len(data)

    def read_resident(self, fileid: int, start: int, end: int) -> bytes:
        data = bytes(self.files[fileid].data[start:end])
        assert len(data) == end - start, "read beyond what was staged"
        return data

    def truncate(self, fileid: int, size: int) -> None:
        self.files[fileid].do(size, None)

    def adopt(self, copy: Snapshot, fileid: int) -> None:
        assert fileid not in self.files
        self.files[fileid] = cast("Staged", copy)

    def set_aside(self, *fileids: int) -> list[Path]:
        for fileid in fileids:
            if fileid in self.files:
                self.removed[fileid] = self.files.pop(fileid)
        return []

    def take_little(self, fileid: int) -> list[tuple[int, bytes]] | None:
        return None

    def doubtful(self, fileid: int) -> Ranges:
        return Ranges()

    def reaches(self, fileid: int, end: int) -> bool:
        return fileid in self.files and len(self.files[fileid].data) >= end

    def lose_power(self, rng: random.Random) -> None:
        for fileid, removed in self.removed.items():
            here = self.files.get(fileid)
            if (here is None or not here.is_named) and removed.is_named and rng.random() < 0.5:
                self.files[fileid] = removed
        self.files = {
            fileid: file.after_power_loss(rng)
            for fileid, file in self.files.items()
            if file.is_named or rng.random() < 0.5
        }
        self.removed = {}


class Model:
    """What a file may be after a crash: one of its states since the last that is stable."""

    def __init__(self, state: bytes) -> None:
        self.states = [state]
        self.number = 0  # of the first of them
        self.promises: list[tuple[int, int, int | None]] = []  # ticket, state, truncated to

    @property
    def now(self) -> bytes:
        return self.states[-1]

    @property
    def last(self) -> int:
        return self.number + len(self.states) - 1

    def redeem(self, up_to: int) -> None:
        """All tickets up to this one are durable."""
        for ticket, number, size in list(self.promises):
            if ticket > up_to:
                continue
            self.promises.remove((ticket, number, size))
            at = max(number - self.number, 0)
            if size is None:
                del self.states[:at]
                self.number += at
            else:
                self.states[:at] = [s[:size].ljust(size, b"\0") for s in self.states[:at]]

    def check(self, left: bytes) -> None:
        assert len(left) in {len(state) for state in self.states}
        for at, byte in enumerate(left):
            assert byte in {state[at] if at < len(state) else 0 for state in self.states}
        if len(self.states) == 1:
            assert left == self.now


class WritingAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.staging = FrailStaging()
        self.state = ListState()
        self.durable = 0
        self.boundaries = [0]  # tickets that were given
        self.extents = AllExtents()
        self.models: dict[bytes, Model] = {}
        self.contents: list[tuple[int, bytes, ContentId | None]] = []  # ticket, name, content
        self.claims: dict[bytes, tuple[Shape | None, int]] = {}  # of syncs that run
        self.uploads: dict[bytes, tuple[int, ContentId, int]] = {}
        self.clones = 0
        self.boot()

    def boot(self) -> None:
        clock = FakeClock()
        freshness = Freshness(1e9, 3)
        self.tree = Tree(APPEARANCE, freshness, boot_verifier=b"bootboot", clock=clock)
        self.data = Data(self.extents, self.staging)
        self.journal = Journal(self.state)
        keeper = RecordingKeeper()
        self.writing = Writing(self.tree, self.data, self.journal, keeper, clock, Bounds(1 << 30))

    def node(self, name: bytes = b"f") -> Node:
        return self.tree.root.children[name]

    def a_node(self, name: bytes) -> Node:
        node = self.tree.nodes.make(FileType.REG, self.tree.root, name.decode())
        self.tree.root.put({name: node})
        return node

    def content(self, data: bytes) -> ContentId:
        content = ContentId(f"git-{data.hex()}", len(data))
        self.extents.contents[content] = data
        return content

    def submit(self) -> int:
        return self.given(self.journal.submit())

    def given(self, ticket: int) -> int:
        """A ticket; 0 if nothing was submitted since the last crash: what was before is durable."""
        ticket = max(ticket, self.durable)
        self.boundaries.append(ticket)
        return ticket

    @initialize(base=st.binary(max_size=40))
    def begin(self, base: bytes) -> None:
        node = self.a_node(b"f")
        node.content = self.content(base)
        self.tree.nodes.resize(node, len(base))
        self.contents.append((0, b"f", node.content))
        self.models[b"f"] = Model(base)

    # ------------------------------------------------------------ ours

    @rule(offset=PLACES, data=st.binary(min_size=1, max_size=30))
    def write(self, offset: int, data: bytes) -> None:
        self.writing.write(self.node(), offset, data)
        state = bytearray(self.models[b"f"].now)
        _do(state, offset, data)
        self.models[b"f"].states.append(bytes(state))

    @rule(size=PLACES)
    def truncate(self, size: int) -> None:
        model = self.models[b"f"]
        self.writing.truncate(self.node(), size)
        model.states.append(model.now[:size].ljust(size, b"\0"))
        model.promises.append((self.submit(), model.last, size))

    @precondition(lambda self: b"f" not in self.claims)
    @rule()
    def begin_to_sync(self) -> None:
        node = self.node()
        self.claims[b"f"] = self.writing.claim(node.fileid), self.models[b"f"].last
        if self.writing.is_staged(node.fileid):
            self.staging.files[node.fileid].sync()  # what is written from now on it may miss

    @precondition(lambda self: b"f" in self.claims)
    @rule()
    def synced(self) -> None:
        claim, number = self.claims.pop(b"f")
        ticket = self.given(self.writing.keep(self.node().fileid, claim))
        self.models[b"f"].promises.append((ticket, number, None))

    @rule()
    def journaled(self) -> None:
        self.durable = self.submit()
        for model in self.models.values():
            model.redeem(self.durable)

    # --------------------------------------------------- the Hub's, and room

    @precondition(lambda self: b"f" not in self.uploads)
    @rule()
    def begin_to_upload(self) -> None:
        model = self.models[b"f"]
        version = self.writing.durable(self.node()).version
        self.uploads[b"f"] = version, self.content(model.now), model.last

    @precondition(lambda self: b"f" in self.uploads)
    @rule()
    def uploaded(self) -> None:
        version, content, number = self.uploads.pop(b"f")
        node, model = self.node(), self.models[b"f"]
        self.writing.settle(node, version, content)
        ticket = self.submit()
        if number == model.last:
            assert node.content == content
            assert not self.writing.is_dirty(node)
            model.promises.append((ticket, number, None))
            self.contents.append((ticket, b"f", content))

    @rule()
    def evict(self) -> None:
        self.writing.evict(1000)

    @rule()
    def give_up(self) -> None:
        left = dict(self.writing.left)
        self.journaled()
        self.writing.give_up(left)

    # ------------------------------------------------------------ copies

    @rule()
    def link(self) -> None:
        node, model = self.node(), self.models[b"f"]
        need = Cloned(node.fileid, self.writing.durable(node).version)
        shape = self.writing.shape_at(need)
        if shape is not None and self.writing.is_dirty(node) and shape.ranges:
            copy = Staged()
            for start, end in shape.ranges:
                copy.do(start, bytes(self.staging.files[node.fileid].data[start:end]))
            copy.synced, copy.unsynced = bytes(copy.data), []
            self.writing.copies[need] = cast("Snapshot", copy)
        self.writing.require_copy(node)
        self.clones += 1
        name = b"clone %d" % self.clones
        to = self.a_node(name)
        self.writing.clone(node, to)
        self.models[name] = Model(b"")
        self.models[name].states.append(model.now)
        claim = self.writing.claim(to.fileid)
        if self.writing.is_staged(to.fileid):
            self.staging.files[to.fileid].sync()
        self.contents.append((len(self.state.submitted), name, to.content))
        ticket = self.given(self.writing.keep(to.fileid, claim))
        self.models[name].promises.append((ticket, 1, None))

    # ----------------------------------------------------------- the worst

    @rule(seed=SEEDS)
    def lose_power(self, seed: int) -> None:
        rng = random.Random(seed)
        up_to = rng.choice([ticket for ticket in self.boundaries if ticket >= self.durable])
        for model in self.models.values():
            model.redeem(up_to)
        self.staging.lose_power(rng)
        fileids = {name: node.fileid for name, node in self.tree.root.children.items()}
        records = self.state.overlays(up_to)
        del self.state.submitted[up_to:]
        self.boundaries = [ticket for ticket in self.boundaries if ticket <= up_to]
        self.contents = [each for each in self.contents if each[0] <= up_to]
        self.durable = up_to
        self.claims.clear()
        self.uploads.clear()
        self.boot()
        for name, fileid in fileids.items():
            node = self.tree.nodes.add(FileType.REG, fileid, 0, self.tree.root, name)
            self.tree.root.put({name: node})
            known = [content for _, of, content in self.contents if of == name]
            node.content = known[-1] if known else None
            self.tree.nodes.resize(node, 0 if node.content is None else node.content.size)
            if fileid in records:
                try:
                    self.writing.restore(node, records[fileid])
                except CacheUnusable:  # a copy's name did not get to the disk, nor was it promised
                    assert self.models[name].states[0] == b""
                    self.tree.root.remove(name)
                    del self.models[name]
                    continue
            left = self.shown(node)
            self.models[name].check(left)
            self.models[name] = Model(left)
            # What may still be lost of it: nothing, as all that is left is on the disk.
        unknown = self.staging.files.keys() - records.keys()
        for fileid in unknown:
            del self.staging.files[fileid]

    def shown(self, node: Node) -> bytes:
        return bytes(self.data.read(node, 0, node.size + 1)[0])

    @invariant()
    def files_are_what_was_written(self) -> None:
        for name, model in self.models.items():
            assert self.shown(self.node(name)) == model.now


WritingAgainstModel.TestCase.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None
)
test_writing_against_the_model = WritingAgainstModel.TestCase
