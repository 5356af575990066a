"""Random changes, their model, and a process that writes them until it is killed.

argv: the state's directory, a seed. Prints the last durable ticket whenever there is a new one.
"""

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hfnfs.disk.done import DoneCall, MarkDone
from hfnfs.disk.ranges import Ranges
from hfnfs.disk.schema import (
    Change,
    DropNode,
    DropOutbox,
    DropOverlay,
    DropPiece,
    MetaKey,
    MetaValue,
    NodeRecord,
    OutboxKind,
    OutboxRecord,
    OverlayRecord,
    PieceRecord,
    PutOutbox,
    PutPiece,
    Retire,
    Reuse,
    SetMeta,
    SetOverlay,
    UpsertNode,
)
from hfnfs.disk.state import Snapshot, State
from hfnfs.errors import HfnfsError
from hfnfs.remote import ContentId

FILES = 40


@dataclass
class Model:
    """What a state holds after some changes."""

    nodes: dict[int, NodeRecord] = field(default_factory=dict)
    retired: dict[int, int] = field(default_factory=dict)
    overlays: dict[int, OverlayRecord] = field(default_factory=dict)
    pieces: dict[int, PieceRecord] = field(default_factory=dict)
    outbox: dict[bytes, OutboxRecord] = field(default_factory=dict)
    done: dict[int, DoneCall] = field(default_factory=dict)
    meta: dict[MetaKey, MetaValue] = field(default_factory=dict)

    def apply(self, change: Change) -> None:
        match change:
            case UpsertNode(node):
                self.nodes[node.fileid] = node
            case DropNode(fileid):
                self.nodes.pop(fileid, None)
            case Retire(fileid, generation):
                self.retired[fileid] = generation
            case Reuse(fileid):
                self.retired.pop(fileid, None)
            case PutOutbox(entry):
                self.outbox[entry.path] = entry
            case DropOutbox(path):
                self.outbox.pop(path, None)
            case MarkDone(call):
                self.done[change.key[1]] = call
            case SetMeta(name, value):
                self.meta[name] = value
            case _:
                self._stage(change)

    def _stage(self, change: Change) -> None:
        match change:
            case SetOverlay(overlay):
                self.overlays[overlay.fileid] = overlay
            case DropOverlay(fileid):
                self.overlays.pop(fileid, None)
            case PutPiece(piece):
                self.pieces[piece.number] = piece
            case DropPiece(number):
                self.pieces.pop(number, None)

    def holds(self, snapshot: Snapshot) -> bool:
        return (
            {node.fileid: node for node in snapshot.nodes} == self.nodes
            and snapshot.retired == self.retired
            and {each.fileid: each for each in snapshot.overlays} == self.overlays
            and list(snapshot.pieces) == [self.pieces[n] for n in sorted(self.pieces)]
            and list(snapshot.outbox) == [self.outbox[n] for n in sorted(self.outbox)]
            and list(snapshot.done) == sorted(self.done.values())
            and snapshot.meta == self.meta
        )


def node(fileid: int, name: bytes = b"a", size: int = 0) -> NodeRecord:
    return NodeRecord(fileid, 1, 2, name, 1, 0o644, 1000, 1000, size, 1, 2, 3)


def any_change(rng: random.Random) -> Change:
    fileid = rng.randrange(2**64 - FILES, 2**64)
    content = rng.choice([None, ContentId(f"xet-{rng.randrange(9):064x}", rng.randrange(2**40))])
    ranges = Ranges((at, at + 5) for at in rng.sample(range(1000), rng.randrange(9)))
    choices: list[Change] = [
        UpsertNode(
            NodeRecord(
                fileid, rng.randrange(2**64), 7, rng.randbytes(9), 1, 0o600, 0, 0,
                rng.randrange(2**62), -1, rng.randrange(2**62), 3, rng.choice([None, b"../x"]),
                content, rng.choice([None, rng.randbytes(8)]), rng.randrange(2**64),
                rng.random() < 0.5,
            )
        ),
        DropNode(fileid),
        Retire(fileid, rng.randrange(2**64)),
        Reuse(fileid),
        SetOverlay(
            OverlayRecord(
                fileid, ranges, 1005, rng.randrange(99), content, 17,
                is_sent=rng.random() < 0.5, is_loose=rng.random() < 0.5,
            )
        ),
        DropOverlay(fileid),
        PutPiece(PieceRecord(rng.randrange(FILES), fileid, rng.randrange(2**62), rng.randbytes(9))),
        DropPiece(rng.randrange(FILES)),
        PutOutbox(
            OutboxRecord(
                b"a/%d" % rng.randrange(FILES), rng.choice(list(OutboxKind)), fileid, content,
                rng.choice([(), (ContentId("xet-1", 1), ContentId("xet-2", 2**62))]),
                rng.choice([(), (1, fileid)]), 3, rng.randrange(2**62), "it was busy",
            )
        ),
        DropOutbox(b"a/%d" % rng.randrange(FILES)),
        MarkDone(DoneCall(rng.randrange(2**62), rng.randbytes(16))),
    ]  # fmt: skip
    return rng.choice(choices)


def steps(seed: int) -> Iterator[tuple[Change, ...]]:
    """Changes to submit together, for ever; each step says which it is."""
    rng = random.Random(seed)
    number = 0
    while True:
        number += 1
        some = (any_change(rng) for _ in range(rng.randrange(1, 6)))
        yield (*some, SetMeta(MetaKey.WRITE_VERIFIER, number))


def main() -> None:
    state = State(Path(sys.argv[1]), changes_max=500)
    state.load()

    def told(up_to: int, error: HfnfsError | None) -> None:
        assert error is None
        print(up_to, flush=True)

    state.start(told)
    for step in steps(int(sys.argv[2])):
        while state.is_full:
            pass
        state.submit(*step)


if __name__ == "__main__":
    main()
