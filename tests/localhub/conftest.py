"""A local Hub on a thread of its own, since the real clients block."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hfnfs.localhub.background import HubThread


@pytest.fixture
def thread(tmp_path: Path) -> Iterator[HubThread]:
    """An empty local Hub."""
    with HubThread(tmp_path / "hub") as thread:
        yield thread
