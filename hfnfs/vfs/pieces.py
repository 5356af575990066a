"""Written bytes that are kept in the state: little ones, for which a sync of their own costs more.

    put --durable--> held --where they are staged all was synced--> dropped
                       |                                               ^
                       +------ the file's staged bytes do not count ---+

What is staged of a file after a crash is what was synced, and over it what is held, oldest first.
So bytes may be dropped once they, or newer ones in their place, were synced, and only then.
"""

from collections.abc import Iterable

from hfnfs.disk.schema import DropPiece, PieceRecord, PutPiece
from hfnfs.vfs.journal import Journal


class Pieces:
    """What the state holds of written bytes; changes are noted in the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._held: dict[int, list[tuple[int, int]]] = {}  # numbers and lengths, by fileid
        self._number = 0  # the last one given
        self.bytes = 0

    def __len__(self) -> int:
        """How many files have any."""
        return len(self._held)

    def put(self, fileid: int, written: Iterable[tuple[int, bytes]]) -> None:
        """Hold bytes of a file, given with where they start."""
        for start, data in written:
            self._number += 1
            self._journal.note(PutPiece(PieceRecord(self._number, fileid, start, data)))
            self._held.setdefault(fileid, []).append((self._number, len(data)))
            self.bytes += len(data)

    def last(self, fileid: int) -> int:
        """The last number that is held of a file: with all before it `drop` takes it."""
        held = self._held.get(fileid)
        return held[-1][0] if held else 0

    def marks(self) -> dict[int, int]:
        """That of each file of which any is held, longest waiting first."""
        return {fileid: held[-1][0] for fileid, held in self._held.items()}

    def drop(self, fileid: int, last: int | None = None) -> None:
        """Hold of a file no more what was put up to `last`, or nothing at all."""
        later = []
        for number, length in self._held.pop(fileid, ()):
            if last is not None and number > last:
                later.append((number, length))
            else:
                self.bytes -= length
                self._journal.note(DropPiece(number))
        if later:
            self._held[fileid] = later

    def restored(self, records: Iterable[PieceRecord]) -> None:
        """Take note that these were synced where they are staged, before anything is served."""
        for record in records:
            self._number = max(self._number, record.number)
            self._journal.note(DropPiece(record.number))
