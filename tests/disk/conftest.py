"""What the tests of local files share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hfnfs.disk.staging import Staging
from tests.disk.staged import opened


@pytest.fixture
def staging(tmp_path: Path) -> Iterator[Staging]:
    with opened(tmp_path / "staging") as staging:
        yield staging
