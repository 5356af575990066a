"""hf-mount-nfs itself does the mounting, in a guest whose kernel can, and lets go in order."""

import hashlib
from typing import Any

import pytest

from tests.live import guest, trees
from tests.live.inside.mount_command import CASES
from tests.live.product import hub_with

pytestmark = pytest.mark.usefixtures("kernel_client")
FILE = "config.json"
CONTENT = trees.sample()[FILE]


@pytest.fixture(scope="module")
def seen(kernel_client: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All that inside/mount_command.py saw, in one boot."""
    folder = tmp_path_factory.mktemp("mount") / "hub"
    with hub_with(folder, {"me/sample": {FILE: CONTENT}}):
        pass  # the guest starts a Hub of its own on what is left in the folder
    return guest.run_in_guest("mount_command.py", str(folder), "me/sample", FILE)


@pytest.mark.parametrize("case", CASES)
def test_it_mounts_reads_and_lets_go_in_order(seen: Any, case: str) -> None:
    outcome = seen[case]
    assert outcome["sha256"] == hashlib.sha256(CONTENT).hexdigest(), outcome["output"]
    assert outcome["left"] == [], outcome["output"]
    assert outcome["exit"] == 0, outcome["output"]
    assert "me/sample on /mnt/base" in outcome["output"]


def test_the_demo_mounts_shows_and_leaves_nothing(seen: Any) -> None:
    outcome = seen["demo"]
    assert outcome["exit"] == 0, outcome["output"]
    assert outcome["left"] == [], outcome["output"]
    assert "Mounted local/tiny-model on" in outcome["output"]
