"""A server that is killed under a mount of the real Linux NFS client is missed by no program.

It is killed when the programs of inside/endure.py have done a random number of operations, and
started again by the same command: it finds its port and takes up the mount. The programs wait, and
lose nothing, neither what they had open or locked nor what they had written and never synced.
"""

import os
import random
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.live import guest
from tests.live.inside.endure import THEIRS, WORKERS
from tests.live.product import END_TIMEOUT_S, hub_with_bucket, launched
from tests.live.readback import files_of, read_back

pytestmark = [pytest.mark.usefixtures("kernel_client"), pytest.mark.timeout(3600)]
BUCKET = "local/data"
KILLS, KILLS_DEEP = 6, 60
OPERATIONS_MAX = 200  # between two kills
KILLED_AT_ONCE = 0.2  # share of the starts
SEED_OF_CI = 1
GUEST_S, GUEST_DEEP_S = 600, 3000
DRAIN_S = 300
EAGER = ["--flush-debounce-ms", "50", "--flush-max-batch-window-ms", "300"]
DRAIN = ["--flush-shutdown-timeout-ms", str(DRAIN_S * 1000)]


class Victim:
    """A server that is killed and started again by the same command."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.log = folder / "log"
        self._where = (endpoint, BUCKET, folder)
        self._program, server = launched(*self._where, *EAGER, *DRAIN, kind="bucket")
        self.port = server.port

    def kill(self) -> None:
        self._program.kill()
        self._program.communicate()

    def start(self) -> None:
        self._program, server = launched(*self._where, *EAGER, *DRAIN, kind="bucket")
        assert server.port == self.port, "its mount is lost"

    def end(self) -> int:
        """Let it drain and end; its exit status."""
        self._program.terminate()
        return self._program.wait(DRAIN_S + END_TIMEOUT_S)


class Workers:
    """What the programs in the guest tell of their work."""

    def __init__(self, told: Future[Any], listener: socket.socket, timeout_s: float) -> None:
        self._told = told
        listener.settimeout(timeout_s)
        self._lines = [listener.accept()[0] for _ in range(WORKERS)]
        for line in self._lines:
            line.settimeout(timeout_s)

    def wait_for(self, operations: int) -> bool:
        """Return once the first has done so many more; False if it does no more."""
        while operations > 0:
            if not (done := self._lines[0].recv(operations)):
                return False
            operations -= len(done)
        return True

    def dismiss(self) -> Any:
        """Let them come to an end; what they report."""
        for line in self._lines:
            line.shutdown(socket.SHUT_WR)
        told = self._told.result()
        for line in self._lines:
            line.close()
        return told


@contextmanager
def at_work(seed: int, port: int, timeout_s: int) -> Iterator[Workers]:
    """Programs in a guest, on a mount of what listens on `port`."""
    with ThreadPoolExecutor(1) as threads, socket.create_server(("127.0.0.1", 0)) as listener:
        to = listener.getsockname()[1]
        words = ["endure.py", str(seed), guest.HOST_ADDRESS, str(to)]
        told = threads.submit(
            guest.run_on_mount, port, *words, forward=[to], read_only=False, timeout_s=timeout_s
        )
        yield Workers(told, listener, timeout_s)


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    if (given := request.config.getoption("--seed")) is not None:
        return int(given)
    deep = request.config.getoption("--deep")
    return SEED_OF_CI if "CI" in os.environ and not deep else random.SystemRandom().getrandbits(32)


def test_programs_only_wait_for_a_server_that_is_killed(
    tmp_path: Path, seed: int, request: pytest.FixtureRequest
) -> None:
    deep = request.config.getoption("--deep")
    kills, timeout_s = (KILLS_DEEP, GUEST_DEEP_S) if deep else (KILLS, GUEST_S)
    print(f"seed {seed}")
    dice = random.Random(seed)
    with hub_with_bucket(tmp_path / "hub", BUCKET, THEIRS) as (hub, _):
        victim = Victim(hub.endpoint, tmp_path / "mount")
        try:
            with at_work(seed, victim.port, timeout_s) as workers:
                for _ in range(kills):
                    at_once = dice.random() < KILLED_AT_ONCE
                    if not (at_once or workers.wait_for(dice.randrange(1, OPERATIONS_MAX))):
                        break  # it reports why
                    victim.kill()
                    victim.start()
                told = workers.dismiss()
            assert victim.end() == 0, victim.log
        finally:
            victim.kill()
        kept = read_back(hub, BUCKET, tmp_path)
    assert told["wrong"] == [""] * WORKERS, "\n".join([f"seed {seed}", *told["wrong"]])
    assert told["after"] == told["before"]
    assert kept == files_of(told["after"])
    assert "Traceback" not in victim.log.read_text(), "the server met a mistake of ours"
