"""What waits for a client or a need is tested on both loops."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.loops import LOOPS


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return LOOPS
