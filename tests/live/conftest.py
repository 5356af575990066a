"""Real clients: slow, and one after another, because a guest wants a processor of its own."""

from pathlib import Path

import pytest

from tests.live import guest

LIVE_TIMEOUT_S = 600
HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # xdist looks at the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies here; all of it goes to one worker."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.live)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(LIVE_TIMEOUT_S))
            item.add_marker(pytest.mark.xdist_group("live"))


@pytest.fixture(scope="module")
def kernel_client() -> None:
    """Skips what needs the guest where there can be none."""
    if reason := guest.why_not():
        pytest.skip(reason)
