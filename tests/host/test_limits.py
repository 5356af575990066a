"""The limit of open files."""

import resource
import subprocess
import sys

RAISED = """
import resource
from hfnfs.host.limits import raise_open_files_limit
print(raise_open_files_limit(), resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def raised(soft: int, hard: int) -> str:
    """What a child with those limits ends up with."""
    done = subprocess.run(
        [sys.executable, "-c", RAISED],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_low_limit_is_raised_as_far_as_we_may() -> None:
    assert raised(128, 600) == "600 (600, 600)"


def test_a_limit_that_cannot_be_raised_stays() -> None:
    assert raised(500, 500) == "500 (500, 500)"
