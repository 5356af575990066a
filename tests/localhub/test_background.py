import threading
from pathlib import Path

import pytest

from hfnfs.errors import CacheUnusable
from hfnfs.localhub.background import HubThread


def test_a_hub_that_cannot_start_says_why_and_leaves_no_thread(tmp_path: Path) -> None:
    with HubThread(tmp_path):
        before = threading.active_count()
        with pytest.raises(CacheUnusable):
            HubThread(tmp_path).__enter__()
        assert threading.active_count() == before


def test_what_a_coroutine_raises_reaches_the_caller(tmp_path: Path) -> None:
    with HubThread(tmp_path) as thread:
        thread.do(thread.hub.create_bucket("local/b"))
        with pytest.raises(ValueError, match="exists"):
            thread.do(thread.hub.create_bucket("local/b"))
