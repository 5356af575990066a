"""Staging, open for the length of a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hfnfs.disk.staging import Staging


@contextmanager
def opened(
    directory: Path, known: set[int] | None = None, *, may_lack: bool = False
) -> Iterator[Staging]:
    staging = Staging(directory, None)
    staging.open(known or set(), may_lack=may_lack)
    try:
        yield staging
    finally:
        staging.close()
