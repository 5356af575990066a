"""What the tests of local files share."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hfnfs.disk.staging import Staging
from tests.disk.failing import CacheDisk
from tests.disk.staged import opened


@pytest.fixture
def staging(tmp_path: Path) -> Iterator[Staging]:
    with opened(tmp_path / "staging") as staging:
        yield staging


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets us mount no tmpfs")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def cache_disk(monkeypatch: pytest.MonkeyPatch) -> CacheDisk:
    """What the block cache writes to, with room."""
    return CacheDisk(monkeypatch)
