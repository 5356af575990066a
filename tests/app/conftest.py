"""What the tests of the whole product share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hfnfs.config import MountConfig
from hfnfs.localhub.accounts import DEFAULT_TOKEN
from hfnfs.localhub.background import HubThread
from tests.app.bucket import LATER_S, NAME, Bucket
from tests.until import PATIENCE_S


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket, of which hf_xet has never heard; nothing goes there by itself."""
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet"))
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_BASE_DELAY", "1ms")
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "2")
    with HubThread(tmp_path / "hub") as thread:
        thread.do(thread.hub.create_bucket(NAME))
        config = MountConfig(
            source=NAME,
            kind="bucket",
            cache_dir=tmp_path / "cache",
            endpoint=thread.hub.endpoint,
            token=DEFAULT_TOKEN,
            flush_debounce_s=LATER_S,
            flush_window_s=LATER_S,
            flush_shutdown_timeout_s=PATIENCE_S,
        )
        yield Bucket(thread, tmp_path, config)
