"""What a mount's programs wrote last is on the Hub when hf-mount-nfs ends, however they left."""

import hashlib
from typing import Any

import pytest

from tests.live import guest
from tests.live.inside.last_words import CASES, LEFT, MAPPED

pytestmark = pytest.mark.usefixtures("kernel_client")


@pytest.fixture(scope="module")
def seen(kernel_client: None) -> Any:
    """All that inside/last_words.py saw, in one boot."""
    return guest.run_in_guest("last_words.py")


@pytest.mark.parametrize("case", CASES)
def test_what_was_written_last_is_on_the_hub_when_the_command_ends(seen: Any, case: str) -> None:
    outcome = seen["cases"][case]
    assert outcome["exit"] == 0, outcome["output"]
    assert outcome["left"] == [], outcome["output"]
    assert seen["hub"][case] == hashlib.sha256(LEFT[case]).hexdigest(), outcome["output"]


def test_the_last_write_back_came_after_the_end_of_the_mount(seen: Any) -> None:
    for case in ("mapped", "mapped and signalled"):
        assert seen["cases"][case]["dirty"] >= len(MAPPED)


def test_a_mount_that_was_detached_is_served_until_its_last_file_is_closed(seen: Any) -> None:
    assert seen["cases"]["detached"]["served"]
