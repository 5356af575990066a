"""A system that refuses."""

import errno
import os
from collections.abc import Callable

import pytest

from hfnfs.disk import segment


def failing(number: int) -> Callable[..., int]:
    """A system call that always fails with that errno."""

    def fail(*_args: object) -> int:
        raise OSError(number, os.strerror(number))

    return fail


class CacheDisk:
    """What the block cache writes to; it takes `bytes_left` more, then fails with `refusal`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bytes_left = 1 << 40
        self.refusal = errno.ENOSPC
        self.refused = 0  # times
        self._write = segment._pwrite_all
        monkeypatch.setattr(segment, "_pwrite_all", self._written)

    def fill(self, bytes_left: int = 0, refusal: int = errno.ENOSPC) -> None:
        """Leave so much room."""
        self.bytes_left, self.refusal = bytes_left, refusal

    def clear(self) -> None:
        """Have room for all."""
        self.fill(1 << 40)

    def _written(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        taken = memoryview(data)[: self.bytes_left]
        self.bytes_left -= len(taken)
        self._write(fd, taken, offset)
        if len(taken) < len(data):
            self.refused += 1
            raise OSError(self.refusal, os.strerror(self.refusal))
