"""The programs that run in the guest, here on a local disk: they find nothing wrong where nothing
is, and what is.
"""

import hashlib
import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.live.guest import INSIDE, ROOT
from tests.live.inside import endure
from tests.live.inside.fsx import NAMES
from tests.live.inside.steps import LEFT, STEPS, THEIRS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the guest's programs are Linux'")
SEED, OPERATIONS, REMOUNTS = 5, 600, 4
ENDURED = 400


def told(folder: Path, remount: str, program: str, *words: object) -> Any:
    """What inside/`program` reports that works in `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "REMOUNT": remount}
    argv = [sys.executable, str(INSIDE / program), *map(str, words)]
    out = subprocess.run(argv, cwd=folder, env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(out.stdout.splitlines()[-1])


def test_the_exerciser_knows_every_byte_of_its_file(tmp_path: Path) -> None:
    seen = told(tmp_path, "true", "fsx.py", SEED, OPERATIONS, REMOUNTS)
    assert seen["wrong"] == ""
    assert hashlib.sha256((tmp_path / seen["name"]).read_bytes()).hexdigest() == seen["sha256"]


@pytest.mark.parametrize(
    "change", ["printf X | dd bs=1 seek=7 conv=notrunc of=", "truncate -s +1 "]
)
def test_the_exerciser_notices_what_a_remount_changed(tmp_path: Path, change: str) -> None:
    files = " ".join(str(tmp_path / name) for name in NAMES)
    spoil = f"for f in {files}; do if [ -s $f ]; then {change}$f; fi; done 2> /dev/null"
    seen = told(tmp_path, spoil, "fsx.py", SEED, OPERATIONS, REMOUNTS)
    assert "remount" in seen["wrong"].splitlines()[-1]


def endured(folder: Path, spoil: Path | None) -> Any:
    """What inside/endure.py reports of ENDURED operations; one file is spoiled on the way."""
    for path, data in endure.THEIRS.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    with ThreadPoolExecutor(1) as threads, socket.create_server(("127.0.0.1", 0)) as listener:
        to = listener.getsockname()
        seen = threads.submit(told, folder, "true", "endure.py", SEED, *to)
        lines = [listener.accept()[0] for _ in range(endure.WORKERS)]
        done = 0
        while done < ENDURED and (more := len(lines[0].recv(ENDURED))):
            done += more
        if spoil is not None:
            spoil.write_bytes(b"of somebody else")
        for line in lines:
            line.shutdown(socket.SHUT_WR)
        reported = seen.result()
        for line in lines:
            line.close()
        return reported


def test_work_is_found_well_where_no_server_was_killed(tmp_path: Path) -> None:
    seen = endured(tmp_path, None)
    assert seen["wrong"] == [""] * endure.WORKERS


def test_work_that_was_spoiled_is_told(tmp_path: Path) -> None:
    seen = endured(tmp_path, tmp_path / "1" / "made by nobody")
    assert seen["wrong"][0] == ""
    assert "made by nobody" in seen["wrong"][1]


def test_the_steps_go_well_on_a_local_disk_and_leave_what_they_say(tmp_path: Path) -> None:
    for path, data in THEIRS.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    seen = told(tmp_path, "true", "steps.py")
    assert seen["outcomes"] == dict.fromkeys(STEPS, "")
    assert {p for p, facts in seen["after"].items() if facts["kind"] == "file"} == LEFT.keys()


def test_a_step_that_goes_wrong_is_told(tmp_path: Path) -> None:
    seen = told(tmp_path, "true", "steps.py")  # nothing of the Hub's is there
    assert "FileNotFoundError" in seen["outcomes"]["a_file_of_the_hub_is_truncated_to_a_part"]
