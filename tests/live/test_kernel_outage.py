"""A Hub that is slow, fails and breaks off costs time, not bytes; one that is down, an error."""

import errno
import hashlib
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.live import guest, trees
from tests.live.product import hub_with, served

pytestmark = pytest.mark.usefixtures("kernel_client")
TREE = {path: data for path, data in trees.sample().items() if not path.startswith("many/")}
LAST = trees.TENSORS
FLAKY: list[dict[str, Any]] = [
    {"path": "/tree/", "status": 500, "count": 2},
    {"path": "/xet-read-token", "status": 503},
    {"path": "/xet-read-token", "lie": "expired-token"},
    {"path": "/reconstructions/", "drop": "yes", "count": 2},
    {"path": "/reconstructions/", "lie": "expired-url"},
    {"path": "/xorbs/", "cut_after": 50_000, "count": 4},
    {"path": "/xorbs/", "status": 429, "headers": {"Retry-After": "1"}},
    {"path": "/resolve/", "drop": "yes", "count": 2},
    {"path": "/", "latency_s": 0.1, "count": "all"},
]
DOWN = {"path": "/(api|xorbs|v1|v2|.*/resolve)/", "status": 503, "count": "all"}


@pytest.fixture(scope="module")
def seen(kernel_client: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All that inside/outage.py saw, in one boot."""
    folder = tmp_path_factory.mktemp("outage")
    with hub_with(folder / "hub", {"me/sample": TREE}) as hub:
        hub_port = urlsplit(hub.endpoint).port or 0
        control = f"http://{guest.HOST_ADDRESS}:{hub_port}/_localhub/faults"
        words = [control, json.dumps(FLAKY), json.dumps(DOWN), LAST]
        with served(hub.endpoint, "me/sample", folder / "mount") as server:
            seen = guest.run_on_mount(server.port, "outage.py", *words, forward=[hub_port])
        return {**seen, "statuses": hub.counters.statuses}


def sha256(path: str) -> str:
    return hashlib.sha256(TREE[path]).hexdigest()


def test_every_byte_is_right_however_often_the_hub_fails(seen: Any) -> None:
    assert seen["statuses"].keys() >= {429, 500, 503}
    assert seen["flaky"] == {path: sha256(path) for path in TREE if path != LAST}


def test_reading_ends_with_an_error_when_the_hub_stays_down(seen: Any) -> None:
    assert seen["down"] == errno.EIO


def test_what_failed_reads_well_once_the_hub_is_back(seen: Any) -> None:
    assert seen["after"] == sha256(LAST)
