"""Each test of the command line gets logging back as it was."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def same_logging_afterwards() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("hfnfs")
    before = root.level, ours.level, root.handlers[:], logging.raiseExceptions
    yield
    root.handlers[:] = before[2]
    root.setLevel(before[0])
    ours.setLevel(before[1])
    logging.raiseExceptions = before[3]
