"""Small calls while many READs wait for a Hub that takes its time, against the same when idle."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from bench import Bench
from files import make_big
from loadgen import RUN_TIMEOUT_S, Job, LoadGen, load_generator
from peers import Server, hfnfs, hub
from race import P99, Aim, Race, Sample

from hfnfs.localhub.hub import LocalHub

MIB_OF_A_RUN = 32  # 256 blocks, each of which can be missed once
LATENCY_S = 0.25  # of each request
MISSES = 64
GETATTR = Job("GETATTR, 1 outstanding", "getattr", 1)
SCATTER = Job("misses", "scatter", MISSES, 4096)
NAME = f"{GETATTR.name}, while {MISSES} READ misses wait"


def against_idle(bench: Bench) -> Iterator[Race]:
    """One race: ours is the loaded server, theirs the same server when it is idle."""
    if not bench.wants(NAME):
        return
    data = bench.work / "data"
    data.mkdir()
    make_big(data, MIB_OF_A_RUN * (bench.rounds + 1))
    with (
        hub(data, bench.work / "hub") as origin,
        hfnfs(origin.endpoint, bench.work / "hfnfs") as server,
    ):
        loaded = Loaded(load_generator(bench.work), server, origin, bench.seconds)
        loaded.idle()  # names are fetched, code is warm
        aims = (Aim(P99, 3, at_least=False),)
        yield Race(NAME, "calls", "idle", loaded.busy, loaded.idle, aims)


@dataclass(slots=True)
class Loaded:
    """A server that can be given misses to wait for."""

    loadgen: LoadGen
    server: Server
    origin: LocalHub
    seconds: float
    next_block: int = 0

    def idle(self) -> Sample:
        """Run the small calls alone."""
        return self.loadgen.sample(self.server, GETATTR, self.seconds)

    def busy(self) -> Sample:
        """Run them while MISSES reads wait all the time."""
        self.origin.faults.add("/", latency_s=LATENCY_S, count=None)
        seconds = 1.5 * self.seconds + 0.5  # the small calls' own beginning included
        argv = self.loadgen.argv(self.server, SCATTER, seconds, "-f", str(self.next_block))
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as misses:
            assert misses.stdout is not None
            begun = misses.stdout.readline()
            sample = self.idle()
            told, _ = misses.communicate(timeout=RUN_TIMEOUT_S)
        self.origin.faults.clear()
        if misses.returncode or begun != "begun\n":
            sys.exit("the misses could not be read")
        made = json.loads(told)
        if made["fastest_us"] < LATENCY_S * 1e6:
            sys.exit("a READ that should have missed was answered from the cache")
        self.next_block += made["all_calls"]
        return sample
