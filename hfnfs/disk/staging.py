"""Local bytes of written files, until the Hub has them and longer: one sparse file for each.

    <directory>/<16 hex of the fileid>   bytes at the offsets where they were written
    <directory>/snapshots/<16 hex>.<n>   copies for uploads, what is being removed; emptied first
    <directory>/lost+found/…             what nothing is known of, if it may count; sweep.py

Which ranges of a file are staged is for the caller to know and to keep: a byte counts once
`write` returned, and is on disk once a later `sync` did.

`write`, `read_resident`, `truncate`, `adopt`, `set_aside` may be called on the event loop; `read`,
`sync`, `snapshot`, `copy_again`, `unlink` and `open` wait for the disk: from threads. A lock guards
the tables and is never held while bytes are moved. The caller owns the directory alone (state.py).

The system tells once that written bytes did not reach the disk, and then holds them for clean:
only here is it remembered. Ranges that failed to sync are in doubt until they were written again
and synced, or cut off; until then every `sync` of that file fails. For that it must hear of the
failure: a file with unsynced bytes keeps its descriptor (descriptors.py).
"""

import errno
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from hfnfs.disk.descriptors import Descriptors
from hfnfs.disk.doubts import Doubts
from hfnfs.disk.errors import disk_errors
from hfnfs.disk.headroom import Headroom
from hfnfs.disk.ranges import OFFSET_MAX, Ranges
from hfnfs.disk.schema import PieceRecord
from hfnfs.disk.snapshot import Snapshot, copy_staged, is_allocated, pwrite_all, sync_bytes
from hfnfs.disk.staged_file import StagedFile
from hfnfs.disk.sweep import SNAPSHOTS, Swept, staged_name, sweep
from hfnfs.errors import CacheUnusable, FileTooLarge, HfnfsError, NoSpace, TryLater

DESCRIPTORS_MAX: Final = 256
# The others stay for those that are read, and are written while this is mended.
_UNSYNCED_FILES_PART: Final = 0.75
_BYTES_A_DISK_BLOCK: Final = 512  # the unit of st_blocks
_OPEN_COPY: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Usage(NamedTuple):
    """What is staged."""

    files: int
    bytes: int  # on disk, when last written to or synced; holes take none
    snapshot_bytes: int
    unsynced_bytes: int


class Staging:
    """The staged files of one volume: `open` first, `close` last.

    Beyond `bytes_max` (None: no bound) writers are told TryLater; so they are when all of the
    `descriptors_max` files that may be open have unsynced bytes, and when the disk is full while
    `can_free` says that something of what is staged can go.
    """

    def __init__(
        self, directory: Path, bytes_max: int | None, *, descriptors_max: int = DESCRIPTORS_MAX
    ) -> None:
        self.directory = directory
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._files: dict[int, StagedFile] = {}
        self._unsynced: dict[int, Ranges] = {}  # longest waiting first; empty: its name, its end
        self._descriptors = Descriptors(directory, descriptors_max, self._unsynced)
        self._being_synced: Counter[int] = Counter()
        self.failed_syncs = 0  # so far
        self._doubts = Doubts()
        self.when_freed: Callable[[], None] = lambda: None  # a copy is gone; from any thread
        self.can_free: Callable[[], bool] = lambda: False
        self._headroom = Headroom()
        self._bytes = self._snapshot_bytes = self.unsynced_bytes = 0
        self._snapshots = 0  # made so far

    def open(self, known: Collection[int], *, may_lack: bool = False) -> Swept:
        """Take the directory over (made if need be) with the files of the `known` fileids.

        `may_lack`: others may count as well, their records are missing; see sweep.py. Raises
        NoSpace, CacheUnusable.
        """
        with disk_errors(self.directory):
            swept = sweep(self.directory, known, may_lack=may_lack)
            self._descriptors.open()
            directory_fd = self._descriptors.directory_fd
            self._headroom.open(directory_fd)
            for fileid in swept.found:
                self._adopt(fileid)
            os.fsync(directory_fd)
        return swept

    def close(self) -> None:
        """Give back all descriptors; what is unsynced is left to the system."""
        with self._lock:
            self._descriptors.close()
            self._files.clear()

    # ------------------------------------------------------- reading, writing

    def write(self, fileid: int, offset: int, data: bytes | memoryview) -> int:
        """Put all of data at offset, in a new file if there is none; its length.

        After an error none of it counts, and bytes that it was to replace may be either. Raises
        NoSpace, TryLater, CacheUnusable.
        """
        end = offset + len(data)
        if end > OFFSET_MAX:
            raise FileTooLarge(f"{self.path(fileid)}: no file reaches as far as {end}")
        if not self.has_room(len(data)):
            raise TryLater(f"{self.directory}: {self._bytes} bytes are staged, and no room is left")
        with self._using(fileid, create=True) as file:
            if self._headroom.is_low(len(data)) and not is_allocated(file.fd, offset, end):
                raise NoSpace(f"{self.path(fileid)}: the disk is nearly full")
            try:
                pwrite_all(file.fd, data, offset)
            except OSError as error:
                if error.errno in {errno.ENOSPC, errno.EDQUOT}:
                    self._headroom.refused()
                    if self.can_free():
                        raise TryLater(f"{self.path(fileid)}: {error.strerror}") from error
                raise
            finally:
                self._changed(fileid, file, offset, end)
        self._headroom.taken(len(data))
        return len(data)

    def read(self, fileid: int, start: int, end: int) -> bytes:
        """Bytes [start, end); holes are zeros. Raises CacheUnusable if the file ends before."""
        parts = []
        with self._using(fileid, create=False) as file:
            while start < end:
                part = os.pread(file.fd, end - start, start)
                if not part:
                    raise self._cut(fileid, start)
                parts.append(part)
                start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def put_back(self, fileid: int, pieces: Iterable[PieceRecord]) -> None:
        """Write what was kept elsewhere, oldest first, and sync it.

        Raises NoSpace, CacheUnusable.
        """
        with self._using(fileid, create=True) as file:
            for _, _, start, data in pieces:
                pwrite_all(file.fd, data, start)
                self._changed(fileid, file, start, start + len(data))
        self.sync(fileid)

    def take_little(self, fileid: int) -> list[tuple[int, bytes]] | None:
        """What was written to a file and is not synced, by where it starts: kept elsewhere now.

        Once that is durable so is all that was written, as after `sync`. What is kept is given
        once. None: it is too much, or only a sync can tell what is on the disk.
        """
        with self._lock:
            file = self._files.get(fileid)
            if file is None or self._being_synced[fileid] or self._doubts.why(fileid) is not None:
                return None
            if not file.is_little:
                return None
        written = []
        for start, end in file.fresh:
            data = self.read_resident(fileid, start, end)
            if data is None:
                return None
            written.append((start, bytes(data)))
        file.fresh = Ranges()
        return written

    def read_resident(self, fileid: int, start: int, end: int) -> bytes | memoryview | None:
        """Bytes [start, end) if taking them cannot wait for the disk, else None: `read` them.

        Where the system cannot tell (macOS) they are read in any case.
        """
        if sys.platform != "linux":
            return self.read(fileid, start, end)
        data = bytearray(end - start)
        with self._using(fileid, create=False) as file:
            try:
                count = os.preadv(file.fd, [data], start, os.RWF_NOWAIT) if data else 0
            except OSError as error:
                if error.errno == errno.EAGAIN:
                    return None
                if error.errno != errno.EOPNOTSUPP:
                    raise
                count = os.preadv(file.fd, [data], start)
        return memoryview(data).toreadonly() if count == len(data) else None

    def truncate(self, fileid: int, size: int) -> None:
        """Make the file end at `size`; what is added reads as zeros.

        The bytes are gone at once: only when the record that they do not count is durable.
        Raises NoSpace, TryLater, CacheUnusable.
        """
        if size > OFFSET_MAX:
            raise FileTooLarge(f"{self.path(fileid)}: no file reaches as far as {size}")
        with self._using(fileid, create=True) as file:
            os.ftruncate(file.fd, size)
            self._headroom.freed()
            with self._lock:
                unsynced = self._unsynced.setdefault(fileid, Ranges())
                before = unsynced.total
                unsynced.truncate(size)
                file.fresh.truncate(size)
                self.unsynced_bytes += unsynced.total - before
                self._doubts.cut(fileid, size)
            self._changed(fileid, file, 0, 0)

    # ------------------------------------------------------- durable, removed

    @property
    def is_crowded(self) -> bool:
        """Whether so many files have unsynced bytes that there is hardly room to open others."""
        return len(self._unsynced) > self._descriptors.files_max * _UNSYNCED_FILES_PART

    def has_room(self, count: int) -> bool:
        """Whether so many bytes can be staged; if there are none yet, as many as one likes.

        A full disk counts as long as something can be given up to make room.
        """
        if self._headroom.is_short(count) and self.can_free():
            return False
        held = self._bytes + self._snapshot_bytes
        return self._bytes_max is None or not held or held + count <= self._bytes_max

    def unsynced(self) -> list[int]:
        """Fileids that `sync` has something to do or to wait for, longest waiting first."""
        with self._lock:
            return [*self._being_synced, *self._unsynced]

    def doubtful(self, fileid: int) -> Ranges:
        """What was written and did not reach the disk."""
        with self._lock:
            return self._doubts.ranges(fileid)

    def require_sure(self, fileid: int) -> None:
        """Raise why bytes of a file that were read before this call may not be what was written."""
        with self._lock:
            error = self._doubts.why(fileid) if self._doubts.ranges(fileid) else None
        if error is not None:
            raise error.with_traceback(None)

    def sync(self, fileid: int) -> None:
        """Bring all that was written before this call, and the file's name, to the disk.

        Raises NoSpace or CacheUnusable if that failed, now or before, for bytes that were not
        written again since.
        """
        with self._using(fileid, create=False) as file, file.syncing:
            with self._lock:
                taken = self._unsynced.pop(fileid, None)
                file.fresh = Ranges()
                self._being_synced[fileid] += 1
            try:
                if taken is not None:
                    self._bring_to_disk(fileid, file, taken)
            finally:
                with self._lock:
                    self._being_synced -= Counter((fileid,))
            with self._lock:
                error = self._doubts.why(fileid)
            if error is not None:
                raise error.with_traceback(None)

    def set_aside(self, *fileids: int) -> list[Path]:
        """Forget these files; what is to be unlinked then. What is not staged is no error.

        They are gone at once: only when the record that they do not count is durable.
        """
        with disk_errors(self.directory), self._lock:
            return [aside for fileid in fileids if (aside := self._put_aside(fileid)) is not None]

    def unlink(self, aside: Iterable[Path]) -> None:
        """Remove what was set aside, with one wait for the disk."""
        with disk_errors(self.directory):
            for path in aside:
                path.unlink()
            self._headroom.freed()
            os.fsync(self._descriptors.directory_fd)

    def adopt(self, copy: Snapshot, fileid: int) -> None:
        """Let a copy, of which all bytes are on the disk, be the staged bytes of a new file."""
        with self._lock, disk_errors(copy.path):
            assert fileid not in self._files, "another file's bytes would be lost"
            copy.path.rename(self.path(fileid))
            self._adopt(fileid)
            file = self._files[fileid]
            file.number = self._descriptors.name_made()
            file.fresh.add(0, self.path(fileid).stat().st_size)  # its name is not on the disk
            self._unsynced[fileid] = Ranges()
        copy.let_go()

    def snapshot(self, fileid: int, own: Ranges, size: int) -> Snapshot:
        """A copy of `size` bytes: those in `own` as staged, zeros for the caller to fill elsewhere.

        Where `own` is empty nothing need be staged. Raises NoSpace, CacheUnusable.
        """
        with self._lock:
            path = self._new_path(fileid)
        with disk_errors(path):
            fd = os.open(path, _OPEN_COPY, 0o600)
            try:
                if own:
                    with self._using(fileid, create=False) as file:
                        copy_staged(file.fd, fd, own, size, self._headroom.require_copy)
                else:
                    os.ftruncate(fd, size)
                return Snapshot(path, fd, self._count_snapshot)
            except BaseException:
                os.close(fd)
                path.unlink()
                raise

    def require_copy(self, count: int) -> None:
        """Raise NoSpace if so many bytes more of a copy would take what is left for others."""
        with disk_errors(self.directory):
            self._headroom.require_copy(count)

    def copy_again(self, copy: Snapshot, fileid: int, own: Ranges) -> None:
        """Put these ranges into a copy as they are staged now. Raises NoSpace, CacheUnusable."""
        with self._using(fileid, create=False) as file:
            copy.take(file.fd, own)

    def reaches(self, fileid: int, end: int) -> bool:
        """Whether a file is staged, and as long as that."""
        try:
            directory_fd = self._descriptors.directory_fd
            return os.stat(staged_name(fileid), dir_fd=directory_fd).st_size >= end
        except FileNotFoundError:
            return False

    def path(self, fileid: int) -> Path:
        """Where the bytes are; to read them there, keep in mind that they are written on."""
        return self.directory / staged_name(fileid)

    def usage(self) -> Usage:
        """What is staged."""
        return Usage(len(self._files), self._bytes, self._snapshot_bytes, self.unsynced_bytes)

    # ------------------------------------------------------- inside

    def _put_aside(self, fileid: int) -> Path | None:
        """Rename a file, as to unlink a large one takes long, and forget it; its new name."""
        file = self._files.pop(fileid, None)
        if file is None:
            return None
        self._descriptors.retire(fileid, file)
        self._doubts.forget(fileid)
        unsynced = self._unsynced.pop(fileid, None)
        self.unsynced_bytes -= 0 if unsynced is None else unsynced.total
        self._bytes -= file.bytes
        aside = self._new_path(fileid)
        self.path(fileid).rename(aside)
        return aside

    def _new_path(self, fileid: int) -> Path:
        """A name in snapshots/ that was not used before."""
        self._snapshots += 1
        return self.directory / SNAPSHOTS / f"{staged_name(fileid)}.{self._snapshots}"

    def _count_snapshot(self, size: int) -> None:
        with self._lock:
            self._snapshot_bytes += size
        if size < 0:
            self._headroom.freed()
            self.when_freed()

    def _cut(self, fileid: int, at: int) -> CacheUnusable:
        return CacheUnusable(f"{self.path(fileid)}: ends at {at}, though more was written to it")

    def _adopt(self, fileid: int) -> None:
        name, directory_fd = staged_name(fileid), self._descriptors.directory_fd
        status = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
        file = self._files[fileid] = StagedFile()
        file.bytes = status.st_blocks * _BYTES_A_DISK_BLOCK
        self._bytes += file.bytes

    def _changed(self, fileid: int, file: StagedFile, start: int, end: int) -> None:
        """Note that [start, end) may have changed. After the fact: a sync must not miss it."""
        on_disk = os.fstat(file.fd).st_blocks * _BYTES_A_DISK_BLOCK
        with self._lock:
            if file.is_gone:
                return
            self._count(file, on_disk)
            unsynced = self._unsynced.setdefault(fileid, Ranges())
            before = unsynced.total
            unsynced.add(start, end)
            file.fresh.add(start, end)
            self.unsynced_bytes += unsynced.total - before

    def _count(self, file: StagedFile, on_disk: int) -> None:
        self._bytes += on_disk - file.bytes
        file.bytes = on_disk

    def _bring_to_disk(self, fileid: int, file: StagedFile, taken: Ranges) -> None:
        """Sync what was `taken` from the unsynced; what fails is in doubt."""
        error: HfnfsError | None = None
        try:
            with disk_errors(self.path(fileid)):
                sync_bytes(file.fd)
                self._descriptors.sync_name(file.number)
                on_disk = os.fstat(file.fd).st_blocks * _BYTES_A_DISK_BLOCK
        except (NoSpace, CacheUnusable) as failed:
            error, on_disk = failed, file.bytes
        with self._lock:
            self.failed_syncs += error is not None
            self.unsynced_bytes -= taken.total
            if not file.is_gone:
                self._count(file, on_disk)
            if error is None:
                self._doubts.synced(fileid, taken)
            elif not file.is_gone:
                self._doubts.failed(fileid, taken, error)

    @contextmanager
    def _using(self, fileid: int, *, create: bool) -> Iterator[StagedFile]:
        """The file, open within the block."""
        try:
            with self._lock:
                file = self._acquired(fileid, create=create)
            try:
                yield file
            finally:
                with self._lock:
                    self._descriptors.release(file)
        except OSError:
            with disk_errors(self.path(fileid)):  # only now: a path costs as much as a write
                raise

    def _acquired(self, fileid: int, *, create: bool) -> StagedFile:
        file = self._files.get(fileid)
        if file is not None:
            self._descriptors.acquire(fileid, file)
            return file
        if not create:
            raise CacheUnusable(f"{self.path(fileid)}: nothing is staged there")
        file = StagedFile()
        self._descriptors.acquire(fileid, file, is_new=True)
        self._files[fileid] = file
        self._unsynced[fileid] = Ranges()
        return file
