"""What programs do to a bucket through the real Linux NFS client is what it would be on a disk.

What they leave is on the Hub with its names, bytes, hashes and times, and the next mount shows it.
"""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.live import guest
from tests.live.inside.manifest import Manifest
from tests.live.inside.steps import EMPTY_DIRECTORIES, LEFT, STEPS, THEIRS
from tests.live.inside.work import VIM, WORK
from tests.live.product import END_TIMEOUT_S, hub_with_bucket, served
from tests.live.readback import Kept, files_of, read_back

STORY_TIMEOUT_S = 2400
pytestmark = [
    pytest.mark.usefixtures("kernel_client"),
    pytest.mark.timeout(STORY_TIMEOUT_S),
]
BUCKET = "local/data"
FILES, FILES_DEEP = 500, 5000
GUEST_S = 900
DRAIN_S = 600  # all that the Hub lacks goes up on SIGTERM, however long it takes here


@pytest.fixture(scope="module")
def programs() -> None:
    """Skips what people's work is done with where that is not installed."""
    missing = [name for name in ("git", "rsync") if shutil.which(name) is None]
    missing += [] if VIM else ["vim"]
    if missing:
        pytest.skip(f"not installed: {' '.join(missing)}")


@dataclass(frozen=True, slots=True)
class Story:
    """What became of a bucket on which a program of inside/ worked."""

    outcomes: dict[str, str]  # by piece of work: "", or what went wrong
    before: Manifest  # what there was when it was done
    remounted: Manifest  # … after the client had forgotten all
    kept: dict[str, Kept]  # what the Hub has after the server's end
    restarted: Manifest  # what a server shows that finds what the first one left on disk
    afresh: Manifest  # … that knows nothing but the Hub


def story(folder: Path, program: str, *words: str) -> Story:
    """Run a program on a bucket with THEIRS, and look at it from all sides."""

    def on_mount(cache: str, program: str, *words: str) -> Any:
        drain = ["--flush-shutdown-timeout-ms", str(DRAIN_S * 1000)]
        end_s = DRAIN_S + END_TIMEOUT_S
        where = (hub.endpoint, BUCKET, folder / cache)
        with served(*where, *drain, kind="bucket", end_timeout_s=end_s) as server:
            return guest.run_on_mount(
                server.port, program, *words, read_only=False, timeout_s=GUEST_S
            )

    with hub_with_bucket(folder / "hub", BUCKET, THEIRS) as (hub, _):
        done = on_mount("mount", program, *words)
        kept = read_back(hub, BUCKET, folder / "read back")
        restarted = on_mount("mount", "manifest.py")
        afresh = on_mount("afresh", "manifest.py")
    return Story(done["outcomes"], done["before"], done["after"], kept, restarted, afresh)


@pytest.fixture(scope="module")
def steps(kernel_client: None, tmp_path_factory: pytest.TempPathFactory) -> Story:
    return story(tmp_path_factory.mktemp("steps"), "steps.py")


@pytest.fixture(scope="module")
def work(
    kernel_client: None,
    programs: None,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Story:
    files = FILES_DEEP if request.config.getoption("--deep") else FILES
    return story(tmp_path_factory.mktemp("work"), "work.py", str(files))


@pytest.fixture(params=["steps", "work"])
def either(request: pytest.FixtureRequest) -> Story:
    """Both, one after the other."""
    chosen: Story = request.getfixturevalue(request.param)
    return chosen


@pytest.mark.parametrize("step", STEPS)
def test_a_step_goes_as_on_a_local_disk(steps: Story, step: str) -> None:
    assert not (wrong := steps.outcomes[step]), wrong


@pytest.mark.parametrize("piece", WORK)
def test_work_goes_as_on_a_local_disk(work: Story, piece: str) -> None:
    assert not (wrong := work.outcomes[piece]), wrong


def test_the_hub_has_exactly_the_files_that_the_steps_leave(steps: Story) -> None:
    expected = {path: hashlib.sha256(data).hexdigest() for path, data in LEFT.items()}
    assert {path: kept.sha256 for path, kept in steps.kept.items()} == expected


def test_a_directory_left_empty_is_there_after_a_restart(steps: Story) -> None:
    assert steps.restarted.keys() >= EMPTY_DIRECTORIES


def test_a_remount_shows_all_that_was_there(either: Story) -> None:
    assert either.remounted == either.before


def test_the_hub_has_every_file_with_its_bytes_and_mtime(either: Story) -> None:
    assert either.kept == files_of(either.remounted)


def test_a_restarted_server_shows_all_that_was_there(either: Story) -> None:
    assert either.restarted == either.remounted


def test_a_mount_that_knows_only_the_hub_shows_every_file_with_its_bytes_and_mtime(
    either: Story,
) -> None:
    assert files_of(either.afresh) == either.kept
