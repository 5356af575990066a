"""What staging.py knows of one staged file."""

import threading
from typing import Final

from hfnfs.disk.ranges import Ranges

# What may be kept elsewhere at a time, before it is synced: more is written faster once than twice.
# It is as much as 16 writers of pages wait for together.
LITTLE_BYTES_MAX: Final = 64 * 1024
LITTLE_PARTS_MAX: Final = 16


class StagedFile:
    """A staged file."""

    __slots__ = ("bytes", "fd", "fresh", "is_gone", "number", "syncing", "users")

    def __init__(self) -> None:
        self.fd = -1  # while it is not open
        self.fresh = Ranges()  # of what is unsynced: what is nowhere else either
        self.users = 0  # calls that work with the descriptor just now
        self.bytes = 0  # on disk
        self.number = 0  # of its creation by this process; 0: before
        self.is_gone = False  # unlinked; closed by its last user
        self.syncing = threading.Lock()  # or one caller would hear of a failure, another not

    @property
    def is_little(self) -> bool:
        """Whether what is fresh is so little that it is better kept elsewhere for now."""
        return self.fresh.total <= LITTLE_BYTES_MAX and len(self.fresh) <= LITTLE_PARTS_MAX
