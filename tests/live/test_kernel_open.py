"""A program that has a file open goes on with it, through the real Linux NFS client."""

import hashlib
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from hfnfs.config import MIB
from tests.live import guest
from tests.live.product import hub_with_bucket, served
from tests.live.trees import noise

pytestmark = [pytest.mark.usefixtures("kernel_client"), pytest.mark.timeout(900)]
BUCKET = "local/data"
FILES = {"replaced": noise(8 * MIB, seed=1), "removed": noise(8 * MIB, seed=2)}
OTHERS = "what others put there"


@pytest.fixture(scope="module")
def seen(kernel_client: None, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """All that inside/held_open.py saw, and the files that the Hub has in the end."""
    folder: Path = tmp_path_factory.mktemp("open")
    prompt = ["--flush-debounce-ms", "0", "--flush-max-batch-window-ms", "0"]
    with (
        hub_with_bucket(folder / "hub", BUCKET, FILES) as (hub, thread),
        ThreadPoolExecutor(1) as others,
    ):
        with served(hub.endpoint, BUCKET, folder / "mount", *prompt, kind="bucket") as server:
            words = ["held_open.py", str(8 * MIB), OTHERS]
            told = others.submit(guest.run_on_mount, server.port, *words, read_only=False)
            while "opened" not in thread.do(hub.files(BUCKET)) and not told.done():
                wait([told], timeout=0.2)
            thread.do(hub.put(BUCKET, {"replaced": OTHERS.encode()}))
            thread.do(hub.delete(BUCKET, ["removed"]))
            seen = told.result()
        return {**seen, "hub": thread.do(hub.files(BUCKET))}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_what_is_open_is_read_on_as_it_was(seen: Any) -> None:
    assert {name: seen[name] for name in FILES} == {n: sha256(d) for n, d in FILES.items()}
    assert seen["sizes"] == [8 * MIB, 8 * MIB]
    assert seen["names"] == ["opened", "replaced"]


def test_w15_what_is_written_to_it_is_kept_here_and_on_the_hub(seen: Any) -> None:
    conflict, removed = sorted(seen["beside"], key=lambda name: name == "removed")
    assert conflict.startswith("replaced.conflict-")
    assert removed == "removed"
    assert seen["theirs"] == OTHERS
    assert seen["hub"] == {
        "opened": b"",
        "replaced": OTHERS.encode(),
        conflict: FILES["replaced"] + b"ours",
        removed: FILES["removed"] + b"ours",
    }
