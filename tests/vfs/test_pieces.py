"""What the state holds of written bytes."""

from hfnfs.disk.schema import Change, DropPiece, PieceRecord, PutPiece
from hfnfs.vfs.journal import Journal
from hfnfs.vfs.pieces import Pieces


class State:
    """Takes everything."""

    is_full = False

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def submit(self, *changes: Change) -> int:
        self.changes += changes
        return 1


def submitted(state: State, journal: Journal) -> list[Change]:
    state.changes.clear()
    journal.submit()
    return list(state.changes)


def test_pieces_are_numbered_as_they_come_and_dropped_up_to_a_number() -> None:
    state = State()
    journal = Journal(state)
    pieces = Pieces(journal)
    pieces.put(7, [(0, b"ab"), (10, b"c")])
    pieces.put(8, [(0, b"x")])
    first = pieces.last(7)
    pieces.put(7, [(1, b"later")])
    assert submitted(state, journal) == [
        PutPiece(PieceRecord(1, 7, 0, b"ab")),
        PutPiece(PieceRecord(2, 7, 10, b"c")),
        PutPiece(PieceRecord(3, 8, 0, b"x")),
        PutPiece(PieceRecord(4, 7, 1, b"later")),
    ]
    assert (pieces.bytes, len(pieces), pieces.marks()) == (9, 2, {7: 4, 8: 3})
    pieces.drop(7, first)
    assert submitted(state, journal) == [DropPiece(1), DropPiece(2)]
    assert (pieces.bytes, pieces.last(7)) == (6, 4)
    pieces.drop(7)
    pieces.drop(9)
    assert submitted(state, journal) == [DropPiece(4)]
    assert (pieces.bytes, pieces.last(7), pieces.marks()) == (1, 0, {8: 3})


def test_after_a_restart_what_was_put_back_is_dropped_and_numbers_go_on() -> None:
    state = State()
    journal = Journal(state)
    pieces = Pieces(journal)
    pieces.restored([PieceRecord(5, 7, 0, b"a"), PieceRecord(9, 7, 0, b"b")])
    pieces.put(7, [(0, b"c")])
    put = PutPiece(PieceRecord(10, 7, 0, b"c"))
    assert submitted(state, journal) == [DropPiece(5), DropPiece(9), put]
