"""What files are made of: xorbs and files by hash, each verified before it is kept."""

import hashlib
import mmap
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from hfnfs.errors import WireError
from hfnfs.localhub.plans import plan
from hfnfs.localhub.store import Store
from hfnfs.xet import hashes, shard, xorb
from hfnfs.xet.chunk import ChunkReader
from hfnfs.xet.hashes import NO_HASH, Buffer, Sized, to_hex
from hfnfs.xet.shard import Shard, ShardFile, ShardXorb
from hfnfs.xet.xorb import XorbIndex

# Chunks whose hash ends in a multiple of this, and the first one of every file, are offered for
# deduplication across uploads.
_DEDUP_MODULUS = 1024
_PIECE_BYTES = 256 * 1024
_MAPPED_BYTES = 1024 * 1024  # of what is not copied, more at once


class Contents:
    """The content addressed store.

    Methods marked "any thread" touch files only; the others touch the database.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        # Any thread: parsed footers, 40 bytes for each of up to 8192 chunks.
        self._cached_index = lru_cache(maxsize=64)(self._read_index)

    # ------------------------------------------------------------------ xorbs

    def has_xorb(self, name: bytes) -> bool:
        """Whether it is stored. Any thread."""
        return self._store.xorb_path(to_hex(name)).exists()

    def index(self, name: bytes) -> XorbIndex:
        """Its chunks. Raises WireError when it is not stored. Any thread."""
        return self._cached_index(name)

    def keep_xorb(self, scratch: Path, name: bytes) -> bool:
        """Verify an upload by unpacking all of it, and store it; False: it was there already.

        Raises WireError. Any thread.
        """
        with scratch.open("r+b") as file:
            index = xorb.index_by_unpacking(file)
            if index.hash != name:
                raise WireError(f"the chunks are not of xorb {to_hex(name)}")
            file.seek(index.packed_ends[-1])
            file.write(xorb.pack_footer(index))
            file.truncate()
        return self._store.place(scratch, self._store.xorb_path(to_hex(name)))

    def xorb_pieces(self, name: bytes, start: int, end: int) -> Iterator[Buffer]:
        """Packed bytes [start, end) of a xorb. Any thread."""
        return mapped_pieces(self._store.xorb_path(to_hex(name)), start, end)

    def _read_index(self, name: bytes) -> XorbIndex:
        try:
            with self._store.xorb_path(to_hex(name)).open("rb") as file:
                return xorb.read_footer(file)
        except FileNotFoundError:
            raise WireError(f"xorb {to_hex(name)} is not stored") from None

    # ------------------------------------------------------------------ files

    def file(self, name: bytes) -> ShardFile | None:
        """What the file of that hash is made of."""
        if name == NO_HASH:
            return ShardFile(NO_HASH, ())
        query = "SELECT terms FROM files WHERE hash = ?"
        row = self._store.db.execute(query, (name,)).fetchone()
        return None if row is None else shard.read(row[0]).files[0]

    def verify(self, upload: Shard) -> Iterator[ShardFile]:
        """Each file of an upload once all that is said of it was found true.

        Raises WireError. Any thread.
        """
        for described in upload.xorbs:
            if self.index(described.hash).chunks != described.chunks:
                raise WireError(f"shard misdescribes xorb {to_hex(described.hash)}")
        for file in upload.files:
            self._verify_file(file)
            yield file

    def keep_files(self, files: Sequence[ShardFile], xorbs: Sequence[ShardXorb] = ()) -> None:
        """Make verified files known, and what can be deduplicated against them."""
        rows = [(f.hash, f.size, f.sha256, shard.pack_upload(Shard((f,), ()))) for f in files]
        firsts = ((self.index(f.terms[0].xorb), f.terms[0]) for f in files if f.terms)
        candidates = [(index.chunks[term.start].hash, term.xorb) for index, term in firsts]
        candidates += [
            (part.hash, described.hash)
            for described in xorbs
            for part in described.chunks
            if int.from_bytes(part.hash[24:], "little") % _DEDUP_MODULUS == 0
        ]
        with self._store.transaction() as db:
            db.executemany("INSERT OR IGNORE INTO files VALUES (?, ?, ?, ?)", rows)
            db.executemany("INSERT OR IGNORE INTO chunks VALUES (?, ?)", candidates)

    def xorb_with(self, chunk: bytes) -> ShardXorb | None:
        """A xorb that holds this chunk, if it is one that is offered for deduplication."""
        query = "SELECT xorb FROM chunks WHERE hash = ?"
        row = self._store.db.execute(query, (chunk,)).fetchone()
        return None if row is None else ShardXorb(row[0], self.index(row[0]).chunks)

    def read(self, file: ShardFile, start: int, end: int) -> Iterator[bytes]:
        """Bytes [start, end) of a file, unpacked, in pieces. Any thread."""
        made = plan(file.terms, self.index, start, end)
        skip, left = made.skip, end - start
        for term in made.terms:
            packed = self.index(term.xorb).packed(term.start, term.end)
            reader = ChunkReader()
            for raw in self.xorb_pieces(term.xorb, *packed):
                for data in reader.feed(raw):
                    piece = data[skip : skip + left]
                    skip, left = max(skip - len(data), 0), left - len(piece)
                    if piece:
                        yield piece

    def _verify_file(self, file: ShardFile) -> None:
        parts = [self._chunks_of_term(file, number) for number in range(len(file.terms))]
        chunks = [part for term in parts for part in term]
        if hashes.file_hash(chunks) != file.hash:
            raise WireError(f"the chunks are not of file {to_hex(file.hash)}")
        if file.sha256 is not None and file.sha256 != self._sha256(file):
            raise WireError(f"sha256 is not of file {to_hex(file.hash)}")

    def _chunks_of_term(self, file: ShardFile, number: int) -> tuple[Sized, ...]:
        term = file.terms[number]
        index = self.index(term.xorb)
        if term.end > len(index.chunks) or index.length(term.start, term.end) != term.length:
            raise WireError(f"term {number} of {to_hex(file.hash)} is not in its xorb")
        chunks = index.chunks[term.start : term.end]
        proof = file.verification[number] if file.verification else None
        if proof != hashes.term_hash(part.hash for part in chunks):
            raise WireError(f"term {number} of {to_hex(file.hash)} lacks its verification")
        return chunks

    def _sha256(self, file: ShardFile) -> str:
        digest = hashlib.sha256()
        for piece in self.read(file, 0, file.size):
            digest.update(piece)
        return digest.hexdigest()


def read_pieces(path: Path, start: int, end: int) -> Iterator[bytes]:
    """Bytes [start, end) of a local file, in pieces; raises WireError when it is shorter."""
    with path.open("rb") as file:
        file.seek(start)
        while start < end:
            piece = file.read(min(_PIECE_BYTES, end - start))
            if not piece:
                raise WireError(f"{path.name} ends at {start}")
            start += len(piece)
            yield piece


def mapped_pieces(path: Path, start: int, end: int) -> Iterator[memoryview]:
    """Bytes [start, end) of a file that is never altered, in pieces; WireError if it is shorter.

    They go from the page cache to the socket: only a file of the store is safe to be mapped, as
    one that is cut while it is read costs the process.
    """
    with path.open("rb") as file:
        view = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
    if len(view) < end:
        raise WireError(f"{path.name} ends at {len(view)}")
    for begin in range(start, end, _MAPPED_BYTES):
        yield view[begin : min(begin + _MAPPED_BYTES, end)]
