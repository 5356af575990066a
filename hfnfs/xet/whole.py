"""The Xet hash of a whole file that is at hand in pieces.

Cutting a file into its chunks is what costs: gear.py does 100 MB/s, the Rust of hf_xet seven times
as much. hf_xet reads a path, which here is that of a pipe; it takes 9 ms to begin with.
"""

import fcntl
import os
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

from hfnfs.xet.gear import Chunker
from hfnfs.xet.hashes import Buffer, Sized, chunk_hash, file_hash, to_hex

# Below it, what hf_xet needs to begin with would be most of the time.
_NATIVE_BYTES_MIN: Final = 1024 * 1024
_PIPE_BYTES: Final = 1024 * 1024


def whole_hash(pieces: Iterable[Buffer], size: int) -> str:
    """The hash of a file of `size` bytes, as the Hub writes it; blocks, best in a thread.

    What `pieces` raises is raised.
    """
    return _cut_here(pieces) if size < _NATIVE_BYTES_MIN else _cut_by_hf_xet(pieces)


def _cut_here(pieces: Iterable[Buffer]) -> str:
    chunker = Chunker()
    chunks = [Sized(chunk_hash(c), len(c)) for piece in pieces for c in chunker.feed(piece)]
    chunks += [Sized(chunk_hash(c), len(c)) for c in chunker.finish()]
    return to_hex(file_hash(chunks))


def _cut_by_hf_xet(pieces: Iterable[Buffer]) -> str:
    import hf_xet

    reading, writing = os.pipe()
    feeder = _Feeder(writing, pieces)
    feeder.start()
    try:
        (found,) = hf_xet.hash_files([f"/dev/fd/{reading}"])
    finally:
        os.close(reading)  # if it has not read to the end, the feeder ends now
        feeder.join()
    if feeder.failure is not None:
        raise feeder.failure
    return str(found.hash)


class _Feeder(threading.Thread):
    """Writes pieces into a pipe, and closes it."""

    def __init__(self, fd: int, pieces: Iterable[Buffer]) -> None:
        super().__init__(name="feed hf_xet", daemon=True)
        self.failure: BaseException | None = None
        self._fd = fd
        self._pieces = pieces

    def run(self) -> None:
        """Write all of it, or note why not."""
        try:
            _widen(self._fd)
            for piece in self._pieces:
                left = memoryview(piece)
                while left:
                    left = left[os.write(self._fd, left) :]
        except BaseException as error:  # handed to the thread that waits
            self.failure = error
        finally:
            os.close(self._fd)


def _widen(fd: int) -> None:
    """Let the pipe hold more than 64 KiB, where that can be had: it is three times as fast."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):  # Linux alone
        with suppress(OSError):  # more than this user may have
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
