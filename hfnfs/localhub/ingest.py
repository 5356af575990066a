"""The local Hub's own files: cut, hashed, packed and stored as a Xet client would upload them."""

import hashlib
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

from hfnfs.localhub.store import Store
from hfnfs.xet import chunk, hashes, xorb
from hfnfs.xet.gear import Chunker
from hfnfs.xet.hashes import Sized, to_hex
from hfnfs.xet.shard import ShardFile, ShardXorb, Term

Pieces = Iterable[bytes]


class _Place(NamedTuple):
    """A chunk and where it lies."""

    sized: Sized
    xorb: int  # number among Packer.xorbs
    chunk: int  # number in it


@dataclass(slots=True)
class _Laid:
    """A file's chunks in order."""

    places: list[_Place] = field(default_factory=list)
    sha256: str = ""


@dataclass(slots=True)
class _OpenXorb:
    """The xorb that is being filled."""

    scratch: Path
    file: BinaryIO
    chunks: list[Sized] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    unpacked: int = 0


class Packer:
    """Packs files into xorbs, many small ones into one; leaving the block stores the last xorb.

    Equal chunks are stored once. `xorbs` and the results are to be given to
    Contents.keep_files after that. Touches files only, so it may run in any thread.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places: dict[bytes, tuple[int, int]] = {}  # chunk -> number of xorb, of chunk
        self._files: list[_Laid] = []
        self._open: _OpenXorb | None = None
        self._stack = ExitStack()
        self.xorbs: list[ShardXorb] = []

    def __enter__(self) -> "Packer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._stack:
            if kind is None:
                self._close_xorb()

    def add(self, pieces: Pieces) -> None:
        """Pack a file, the next one of `files()`."""
        laid, chunker, digest = _Laid(), Chunker(), hashlib.sha256()
        for piece in pieces:
            digest.update(piece)
            for data in chunker.feed(piece):
                laid.places.append(self._lay(data))
        for data in chunker.finish():
            laid.places.append(self._lay(data))
        laid.sha256 = digest.hexdigest()
        self._files.append(laid)

    def files(self) -> list[ShardFile]:
        """All files added, in that order, once the block was left."""
        return [self._described(laid) for laid in self._files]

    def _lay(self, data: memoryview) -> _Place:
        """Store a chunk unless an equal one is; where it lies."""
        sized = Sized(hashes.chunk_hash(data), len(data))
        if (known := self._places.get(sized.hash)) is not None:
            return _Place(sized, *known)
        opened = self._xorb_with_room(len(data))
        packed = chunk.encode(data)
        opened.file.write(packed)
        opened.ends.append((opened.ends[-1] if opened.ends else 0) + len(packed))
        opened.chunks.append(sized)
        opened.unpacked += len(data)
        place = (len(self.xorbs), len(opened.chunks) - 1)
        self._places[sized.hash] = place
        return _Place(sized, *place)

    def _xorb_with_room(self, length: int) -> _OpenXorb:
        opened = self._open
        if opened is not None and (
            opened.unpacked + length > xorb.XORB_BYTES_MAX
            or len(opened.chunks) == xorb.XORB_CHUNKS_MAX
        ):
            self._close_xorb()
            opened = None
        if opened is None:
            scratch = self._stack.enter_context(self._store.scratch())
            file = self._stack.enter_context(scratch.open("wb"))
            opened = self._open = _OpenXorb(scratch, file)
        return opened

    def _close_xorb(self) -> None:
        opened, self._open = self._open, None
        if opened is None:
            return
        index = xorb.index_of(opened.chunks, opened.ends)
        opened.file.write(xorb.pack_footer(index))
        opened.file.close()
        self._store.place(opened.scratch, self._store.xorb_path(to_hex(index.hash)))
        self.xorbs.append(ShardXorb(index.hash, index.chunks))

    def _described(self, laid: _Laid) -> ShardFile:
        name = hashes.file_hash([place.sized for place in laid.places])
        terms, proofs = [], []
        for run in _runs(laid.places):
            start, end = run[0].chunk, run[-1].chunk + 1
            length = sum(place.sized.size for place in run)
            terms.append(Term(self.xorbs[run[0].xorb].hash, start, end, length))
            proofs.append(hashes.term_hash(place.sized.hash for place in run))
        return ShardFile(name, tuple(terms), tuple(proofs), laid.sha256)


def _runs(places: Iterable[_Place]) -> Iterable[list[_Place]]:
    """Split where a chunk does not follow the one before in the same xorb."""
    run: list[_Place] = []
    for place in places:
        if run and (place.xorb, place.chunk) != (run[-1].xorb, run[-1].chunk + 1):
            yield run
            run = []
        run.append(place)
    if run:
        yield run
