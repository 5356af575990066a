"""A server that is killed at any instant, again and again, loses nothing that it answered for.

Workers change files through our own client, each with a ledger. The server is killed when it has
given a random number of answers, while calls are in flight and uploads on their way, sometimes
when it was told to end and sends what the Hub lacks; then it is started again on its port, with
its cache directory, and must show what the ledgers allow, under the handles that they know. In the
end the Hub must have all of it.
"""

import asyncio
import hashlib
import os
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hfnfs.localhub.hub import LocalHub
from hfnfs.rpc.client import NoAnswer
from tests.live.load import Worker
from tests.live.nfs import Nfs
from tests.live.product import END_TIMEOUT_S, Served, hub_with_bucket, launched
from tests.live.readback import read_back

BUCKET = "local/data"
KILLS, KILLS_DEEP = 10, 200
ANSWERS_MAX = 250  # between two kills
WORKERS = 4
SEED_OF_CI = 1
DRAIN_S = 300
KILLED_AT_ONCE = 0.15  # share of the starts
TROUBLED = 0.3  # likewise: the Hub is in trouble
DRAINING = 0.25  # likewise: it is told to end before it is killed
NEVER = -1
EAGER = ["--flush-debounce-ms", "20", "--flush-max-batch-window-ms", "100"]
DRAIN = ["--flush-shutdown-timeout-ms", str(DRAIN_S * 1000)]
TROUBLE: tuple[dict[str, Any], ...] = (
    {"path": "/batch", "status": 503, "count": 2},
    {"path": "/batch", "drop": True, "count": 2},
    {"path": "/paths-info", "status": 500},
    {"path": "/tree", "latency_s": 0.3, "count": 3},
    {"path": "/", "latency_s": 0.05, "count": 30},
)
SLOW: dict[str, Any] = {"path": "/batch", "latency_s": 0.5, "count": 4}
pytestmark = pytest.mark.timeout(3600)


class Victim:
    """A server that is killed and started again, with the same port and the same directory."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.kills = 0
        self._where = (endpoint, BUCKET, folder)
        self._port: list[str] = []
        self.log = folder / "log"
        self._answers_left = self._answers_drained = 0

    async def start(self, answers: int, answers_drained: int = 0) -> Served:
        """Start it, to be killed after that many answers; the last ones when told to end."""
        self._program, server = await asyncio.to_thread(
            launched, *self._where, *EAGER, *DRAIN, *self._port, kind="bucket"
        )
        self._port = ["--port", str(server.port)]
        self._answers_left, self._answers_drained = answers, answers_drained
        return server

    def answered(self) -> None:
        """Count an answer; kill at the last one."""
        self._answers_left -= 1
        if self._answers_left == self._answers_drained > 0:
            self._program.terminate()
        if self._answers_left == 0:
            self._program.kill()

    def kill(self) -> None:
        self._program.kill()
        self._program.communicate(timeout=END_TIMEOUT_S)

    async def is_dead(self, workers: Sequence[Worker]) -> None:
        """Count a kill that was done; fails if it lives, and so did not answer.

        One that was told to end may have done so before.
        """
        await asyncio.to_thread(self._program.communicate, timeout=END_TIMEOUT_S)
        was_killed = self._program.returncode == -signal.SIGKILL
        assert was_killed or self._program.returncode == 0, self.log
        self.kills += was_killed
        for worker in workers:
            worker.was_killed |= was_killed

    def end(self) -> int:
        """Let it drain and end; its exit status."""
        self._program.terminate()
        return self._program.wait(DRAIN_S + END_TIMEOUT_S)


async def until_killed(worker: Worker, server: Nfs, *, check: bool) -> None:
    """Check what there is, and work."""
    try:
        if check:
            await worker.check(server)
        await worker.work(server)
    except NoAnswer:
        return


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    if (given := request.config.getoption("--seed")) is not None:
        return int(given)
    deep = request.config.getoption("--deep")
    return SEED_OF_CI if "CI" in os.environ and not deep else random.SystemRandom().getrandbits(32)


def test_nothing_that_was_answered_for_is_lost(
    tmp_path: Path, seed: int, request: pytest.FixtureRequest
) -> None:
    print(f"seed {seed}")
    kills = KILLS_DEEP if request.config.getoption("--deep") else KILLS
    dice = random.Random(seed)
    with hub_with_bucket(tmp_path / "hub", BUCKET, {}) as (hub, _):
        victim = Victim(hub.endpoint, tmp_path / "mount")
        try:
            expected = asyncio.run(killed_again_and_again(victim, hub, kills, dice))
            assert victim.end() == 0, victim.log
        finally:
            victim.kill()
        kept = read_back(hub, BUCKET, tmp_path)
    assert {path: file.sha256 for path, file in kept.items()} == expected
    assert "Traceback" not in victim.log.read_text(), "the server met a mistake of ours"


async def killed_again_and_again(
    victim: Victim, hub: LocalHub, kills: int, dice: random.Random
) -> dict[str, str]:
    """Digests of all files by path, as the ledgers say in the end."""
    workers = [Worker(dice.getrandbits(32), f"worker-{n}", victim.answered) for n in range(WORKERS)]
    begun = False
    while victim.kills < kills:
        if dice.random() < TROUBLED:
            hub.faults.add(**dice.choice(TROUBLE))
        is_told = dice.random() < DRAINING
        if is_told:
            hub.faults.add(**SLOW)
        answers = dice.randrange(1, ANSWERS_MAX)
        server = await victim.start(answers, dice.randrange(answers) if is_told else 0)
        if begun and dice.random() < KILLED_AT_ONCE:
            victim.kill()
            await victim.is_dead(workers)
            continue
        async with Nfs.on(server.port) as nfs, asyncio.TaskGroup() as tasks:
            for worker in () if begun else workers:
                await worker.begin(nfs)
            for worker in workers:
                tasks.create_task(until_killed(worker, nfs, check=begun), name=worker.name)
        begun = True
        await victim.is_dead(workers)
    hub.faults.clear()
    server = await victim.start(NEVER)
    async with Nfs.on(server.port) as nfs:
        files: dict[str, bytes] = {}
        for worker in workers:
            await worker.check(nfs)
            files |= await worker.commit_all(nfs)
    return {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
