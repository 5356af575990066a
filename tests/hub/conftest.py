"""A server, a simulated clock and a client for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hfnfs.hub.http import Http
from hfnfs.localhub.hub import LocalHub
from tests.hub.fakes import Clock, Server, http_at, serving


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with serving(Server()) as running:
        yield running


@pytest.fixture
async def other() -> AsyncIterator[Server]:
    """A second server: another origin."""
    async with serving(Server()) as running:
        yield running


@pytest.fixture
async def http(clock: Clock) -> AsyncIterator[Http]:
    async with http_at(clock) as client:
        yield client


@pytest.fixture
async def hub(clock: Clock, tmp_path: Path) -> AsyncIterator[LocalHub]:
    """A real Hub and CAS of our own, over the wire."""
    async with LocalHub(tmp_path / "hub", clock=clock) as running:
        yield running
