"""The descriptors of staged files, and of the directory that they lie in.

No more than so many files are open at once: the longest unused is closed for one more, but not
one in `kept_open` (only who has it open hears that what was written did not reach the disk). Names
are made here, so here it is known which of them are on the disk.

Not locked: staging.py calls with its lock held, but for `sync_name`, which waits for the disk.
"""

import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Container
from pathlib import Path
from typing import Final

from hfnfs.disk.staged_file import StagedFile
from hfnfs.disk.sweep import staged_name
from hfnfs.errors import CacheUnusable, TryLater

_OPEN_FILE: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_NEW: Final = _OPEN_FILE | os.O_CREAT | os.O_EXCL
_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Descriptors:
    """Those of one directory: `open` first, `close` last."""

    def __init__(self, directory: Path, files_max: int, kept_open: Container[int]) -> None:
        self.directory_fd = -1
        self.files_max = files_max
        self._directory = directory
        self._kept_open = kept_open
        self._open: OrderedDict[int, StagedFile] = OrderedDict()  # longest unused first
        self._names_made = self.names_synced = 0  # so far
        self._syncing_names = threading.Lock()

    def __len__(self) -> int:
        """How many files are open."""
        return len(self._open)

    def open(self) -> None:
        """Open the directory."""
        self.directory_fd = os.open(self._directory, _OPEN_DIRECTORY)

    def close(self) -> None:
        """Give back all descriptors, those in use as soon as they are not."""
        for fileid, file in list(self._open.items()):
            self.retire(fileid, file)
        if self.directory_fd >= 0:
            os.close(self.directory_fd)
            self.directory_fd = -1

    def acquire(self, fileid: int, file: StagedFile, *, is_new: bool = False) -> None:
        """Have one more user of a file, opened if it is not; `is_new`: and made.

        Raises TryLater, CacheUnusable, OSError.
        """
        if file.fd < 0:
            self._make_room()
            file.fd = self._opened(fileid, _OPEN_NEW if is_new else _OPEN_FILE)
            self._open[fileid] = file
            if is_new:
                file.number = self.name_made()
        self._open.move_to_end(fileid)
        file.users += 1

    def release(self, file: StagedFile) -> None:
        """Have one user less."""
        file.users -= 1
        if file.is_gone and not file.users:
            os.close(file.fd)

    def retire(self, fileid: int, file: StagedFile) -> None:
        """Give up a file that is gone, or will be; its last user closes it."""
        self._open.pop(fileid, None)
        file.is_gone = True
        if not file.users and file.fd >= 0:
            os.close(file.fd)

    def name_made(self) -> int:
        """A file has a new name; its number, for `sync_name`."""
        self._names_made += 1
        return self._names_made

    def sync_name(self, number: int) -> None:
        """Bring the first `number` names that were made here to the disk; many at once."""
        with self._syncing_names:
            if number > self.names_synced:
                made = self._names_made
                _sync_names(self.directory_fd)
                self.names_synced = made

    def _opened(self, fileid: int, flags: int) -> int:
        name = staged_name(fileid)
        fd = os.open(name, flags, 0o600, dir_fd=self.directory_fd)
        status = os.fstat(fd)
        ours = status.st_uid == os.geteuid() and status.st_nlink == 1
        if not (ours and stat.S_ISREG(status.st_mode)):
            os.close(fd)
            raise CacheUnusable(f"{self._directory / name}: not a file that we made")
        return fd

    def _make_room(self) -> None:
        """Close the longest unused file that can be, if one more would be too many."""
        if len(self._open) < self.files_max:
            return
        for fileid, file in self._open.items():
            if not file.users and fileid not in self._kept_open:
                os.close(file.fd)
                file.fd = -1
                del self._open[fileid]
                return
        raise TryLater(f"{self._directory}: {len(self._open)} files are open and unsynced")


def _sync_names(fd: int) -> None:
    os.fsync(fd)
