"""What the system refused, in our words."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hfnfs.errors import CacheUnusable, NoSpace

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Make NoSpace or CacheUnusable of an OSError, naming the path."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise NoSpace(f"{path}: {error.strerror}") from error
        raise CacheUnusable(f"{path}: {error.strerror or error}") from error
