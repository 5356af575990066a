"""A local Hub on a thread of its own, since the real clients block; and one on the test's loop."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from hfnfs.localhub.background import HubThread
from hfnfs.localhub.hub import LocalHub
from tests.fakes.clock import FakeClock


@pytest.fixture
def thread(tmp_path: Path) -> Iterator[HubThread]:
    """An empty local Hub."""
    with HubThread(tmp_path / "hub") as thread:
        yield thread


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def hub(tmp_path: Path, clock: FakeClock) -> AsyncIterator[LocalHub]:
    """A local Hub with one empty bucket, local/b."""
    async with LocalHub(tmp_path / "hub", clock=clock) as hub:
        await hub.create_bucket("local/b")
        yield hub


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session
