"""Pieces as the far side streams them, made into the whole blocks that are kept. Pure."""

from hfnfs.config import BLOCK_BYTES
from hfnfs.errors import RemoteCorrupt
from hfnfs.remote import ContentId, Piece


class Assembly:
    """Cuts the stream that covers [start, end) of a content into whole blocks.

    `start` is the beginning of a block, `end` the end of one (or of the content).
    """

    def __init__(self, content: ContentId, start: int, end: int) -> None:
        self._content = content
        self._start = start
        self._end = end
        self._taken = start  # all before it was handed out
        self._held: list[memoryview] = []  # what follows it: a block that is not whole
        self._held_bytes = 0
        self._expected: int | None = None  # where the next piece has to begin

    @property
    def is_complete(self) -> bool:
        """Whether all of [start, end) was handed out."""
        return self._taken == self._end

    def take(self, piece: Piece) -> list[memoryview]:
        """The whole blocks that this piece completes, following what was given before.

        Only a block that comes in several pieces is copied. Raises RemoteCorrupt when the piece
        does not follow the last one.
        """
        data = self._cropped(piece)
        reached = self._taken + self._held_bytes + len(data)
        whole = reached if reached == self._end else reached // BLOCK_BYTES * BLOCK_BYTES
        if whole <= self._taken:
            self._hold(data)
            return []
        out = []
        if self._held:
            rest = BLOCK_BYTES - self._held_bytes
            out.append(memoryview(b"".join((*self._held, data[:rest]))))
            data = data[rest:]
            self._held, self._held_bytes = [], 0
        more = len(data) - (reached - whole)
        if more:
            out.append(data[:more])
        self._hold(data[more:])
        self._taken = whole
        return out

    def _hold(self, data: memoryview) -> None:
        if data:
            self._held.append(data)
            self._held_bytes += len(data)

    def _cropped(self, piece: Piece) -> memoryview:
        """The part of the piece that was asked for."""
        begin, end = piece.offset, piece.offset + len(piece.data)
        follows = begin <= self._start if self._expected is None else begin == self._expected
        if not follows or end > self._content.size:
            raise RemoteCorrupt(
                f"{self._content.key}: bytes [{begin}, {end}) of {self._content.size} came "
                f"where {self._start if self._expected is None else self._expected} was due"
            )
        self._expected = end
        first = max(self._start - begin, 0)
        return memoryview(piece.data)[first : max(self._end - begin, 0)]
