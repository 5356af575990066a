"""A system that refuses."""

import os
from collections.abc import Callable


def failing(number: int) -> Callable[..., int]:
    """A system call that always fails with that errno."""

    def fail(*_args: object) -> int:
        raise OSError(number, os.strerror(number))

    return fail
