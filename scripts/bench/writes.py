"""Writing, against nfs-ganesha on the same disk: what is measured ends when all is durable.

Ours serves a bucket whose uploads wait, so that it is the local side that is measured. nfs-ganesha
answers a CREATE when the kernel knows of it, ours when it is on disk.
"""

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from bench import Bench
from files import MANY, MIB
from loadgen import Job, LoadGen, load_generator
from peers import Server, ganesha, hfnfs_writing
from race import Race, Sample

KIB = 1024
WRITTEN = "written.bin"


@dataclass(frozen=True, slots=True)
class Amount:
    """A job, and how many calls of it are one run."""

    job: Job
    calls: int


AMOUNTS = (
    Amount(Job("WRITE 256 MiB and COMMIT, 8 outstanding", "write", 8, MIB, WRITTEN, "MiB"), 256),
    Amount(Job("WRITE 4 KiB FILE_SYNC, 1 outstanding", "write_sync", 1, 4 * KIB, WRITTEN), 500),
    Amount(Job("WRITE 4 KiB FILE_SYNC, 16 outstanding", "write_sync", 16, 4 * KIB, WRITTEN), 2000),
    Amount(Job("CREATE, 1 outstanding", "create", 1, target=MANY), 500),
    Amount(Job("CREATE, 16 outstanding", "create", 16, target=MANY), 2000),
)


def by_writing(bench: Bench) -> Iterator[Race]:
    """All of it on a disk: in memory nothing has to be made durable."""
    with tempfile.TemporaryDirectory(prefix="hfnfs-bench-", dir="/var/tmp") as folder:
        yield from races(bench, Path(folder))


def races(bench: Bench, disk: Path) -> Iterator[Race]:
    """Each job on both servers."""
    data = disk / "data"
    (data / MANY).mkdir(parents=True)
    loadgen = load_generator(bench.work)
    with (
        hfnfs_writing(disk, {f"{MANY}/first": b"1"}) as ours,
        ganesha(data, disk / "ganesha") as theirs,
    ):
        for amount in AMOUNTS:
            if bench.wants(amount.job.name):
                mine, other = (partial(run, loadgen, s, amount, count(1)) for s in (ours, theirs))
                yield Race(amount.job.name, amount.job.unit, theirs.name, mine, other)


def run(loadgen: LoadGen, server: Server, amount: Amount, runs: Iterator[int]) -> Sample:
    """Do it once; names that are created are new in each run."""
    first = (amount.job.depth * 1000 + next(runs)) * amount.calls
    options = ("-n", str(amount.calls), "-f", str(first))
    told, cpu_us = loadgen.measure(server, amount.job, 1, *options)
    if told["calls"] != amount.calls:
        sys.exit(f"{server.name}, {amount.job.name}: {told['calls']} calls, not {amount.calls}")
    units = amount.job.units(told)
    return Sample(
        rate=units / told["seconds"],
        cpu_us=cpu_us / units,
        p99_us=told["p99_us"],
        client_busy=told["cpu_seconds"] / told["seconds"],
    )
