"""A tree of 20,000 files costs the Hub as many requests as it has pages, and no more."""

from pathlib import Path

import pytest

from tests.live import guest, trees
from tests.live.product import hub_with, served

pytestmark = pytest.mark.usefixtures("kernel_client")
DIRECTORIES, FILES = 200, 100
LONG = {f"long/{number:04}": b"x" for number in range(2500)}  # a page has 1000 entries
PAGES = 1 + DIRECTORIES + 3  # the root's, one of each directory, those of the long one


def test_find_asks_once_for_each_page_of_each_directory_and_for_no_file(tmp_path: Path) -> None:
    wide = trees.wide(DIRECTORIES, FILES) | LONG
    with hub_with(tmp_path / "hub", {"me/wide": wide}) as hub:
        with served(hub.endpoint, "me/wide", tmp_path / "mount") as server:
            hub.counters.clear()
            seen = guest.run_on_mount(server.port, "find.py")
        asked = list(hub.counters.log)
    assert seen == {"first": len(wide), "again": len(wide)}
    assert {request.method for request in asked} == {"GET"}
    assert sum(request.kind == "repo_tree" for request in asked) == PAGES
    assert len(asked) == PAGES
