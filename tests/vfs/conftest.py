"""Fixtures of the volume's tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vfs.changing import Desk, Made


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    desks: list[Desk] = []

    def make(**hub: bytes) -> Desk:
        paths = {path.replace("__", "/"): data for path, data in hub.items()}
        desks.append(Desk(tmp_path / "staging", paths))
        return desks[-1]

    yield make
    for desk in desks:
        desk.staging.close()
