"""What the system refused, in our words."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hfnfs.errors import CacheUnusable, FileTooLarge, NoSpace, QuotaExceeded

_NO_SPACE = {
    errno.ENOSPC: NoSpace,
    errno.EDQUOT: QuotaExceeded,
    errno.EFBIG: FileTooLarge,
}


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Make NoSpace (or a kind of it) or CacheUnusable of an OSError, naming the path."""
    try:
        yield
    except OSError as error:
        kind = _NO_SPACE.get(error.errno or 0, CacheUnusable)
        raise kind(f"{path}: {error.strerror or error}") from error
