"""Single calls over libnfs, everything in the cache: against other servers, and the bare loop."""

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench import Bench
from files import BIG, MANY, MIB, make_big, make_many
from loadgen import Job, LoadGen, compiled, load_generator
from peers import Server, ganesha, hfnfs, hub, rclone
from race import CPU, RATE, Aim, Race, Sample

KIB = 1024
BIG_MIB = 64
FOUR_TIMES = (Aim(RATE, 4),)
READ_1_MIB = Job(
    "READ 1 MiB, 8 outstanding",
    "read",
    depth=8,
    size=MIB,
    unit="MiB",
    aims=(Aim(RATE, 1.8), Aim(CPU, 0.35, at_least=False)),
)
CALLS = (
    Job("GETATTR, 32 outstanding", "getattr", 32, aims=FOUR_TIMES),
    Job("LOOKUP, 32 outstanding", "lookup", 32, aims=FOUR_TIMES),
    Job("ACCESS, 32 outstanding", "access", 32, aims=FOUR_TIMES),
    Job("GETATTR, 1 outstanding", "getattr", 1, aims=(Aim(RATE, 1.3),)),
    Job("READ 4 KiB, 16 outstanding", "read", 16, 4 * KIB, aims=(Aim(RATE, 3.3),)),
    READ_1_MIB,
)


def listings(entries: int) -> tuple[Job, ...]:
    """The whole directory by one `ls -l` after the other, and by four at once."""
    return tuple(
        Job(
            f"READDIRPLUS of {entries:,} entries, {walks} outstanding",
            "readdirplus",
            depth=walks,
            size=64 * KIB,
            target=MANY,
            unit="entries",
            aims=(Aim(RATE, 6),),
        )
        for walks in (1, 4)
    )


def against_ganesha(bench: Bench) -> Iterator[Race]:
    """All kinds of call."""
    data = bench.work / "data"
    data.mkdir()
    make_big(data, BIG_MIB)
    long = [job for job in listings(bench.entries) if bench.wants(job.name)]
    if long:
        make_many(data, bench.entries)
    loadgen = load_generator(bench.work)
    with (
        hub(data, bench.work / "hub") as origin,
        hfnfs(origin.endpoint, bench.work / "hfnfs") as ours,
        ganesha(data, bench.work / "ganesha") as theirs,
    ):
        yield from warm_calls(bench, loadgen, ours, theirs)
        for job in long:
            for server in (ours, theirs):
                loadgen.walk(server, job, bench.entries)
            yield race(bench, loadgen, job, (ours, theirs))


def against_rclone(bench: Bench) -> Iterator[Race]:
    """All kinds but the listing: rclone reads the whole directory again for each page."""
    data = bench.work / "data"
    data.mkdir()
    make_big(data, BIG_MIB)
    with (
        hub(data, bench.work / "hub") as origin,
        hfnfs(origin.endpoint, bench.work / "hfnfs") as ours,
        rclone(data, bench.work / "rclone") as theirs,
    ):
        yield from warm_calls(bench, load_generator(bench.work), ours, theirs)


def warm_calls(bench: Bench, loadgen: LoadGen, ours: Server, theirs: Server) -> Iterator[Race]:
    """The calls on two servers that have read the file."""
    for server in (ours, theirs):
        loadgen.warm(server, bench.work / "data" / BIG)
    for job in CALLS:
        if bench.wants(job.name):
            yield race(bench, loadgen, job, (ours, theirs))


def race(bench: Bench, loadgen: LoadGen, job: Job, sides: tuple[Server, Server]) -> Race:
    """One job on two servers; the aims are those against nfs-ganesha."""
    ours, theirs = (partial(loadgen.sample, server, job, bench.seconds) for server in sides)
    name = sides[1].name
    return Race(job.name, job.unit, name, ours, theirs, job.aims if name == "ganesha" else ())


# -------------------------------------------------------------------------- the bare loop


def against_loopback(bench: Bench) -> Iterator[Race]:
    """READ against the same bytes, sent by one sendmsg after the other (loopback.c)."""
    data = bench.work / "data"
    data.mkdir()
    make_big(data, BIG_MIB)
    if not bench.wants(READ_1_MIB.name):
        return
    loadgen, loop = load_generator(bench.work), compiled("loopback.c", bench.work)
    with (
        hub(data, bench.work / "hub") as origin,
        hfnfs(origin.endpoint, bench.work / "hfnfs") as ours,
    ):
        loadgen.warm(ours, data / BIG)
        yield Race(
            READ_1_MIB.name,
            "MiB",
            "sendmsg loop",
            partial(loadgen.sample, ours, READ_1_MIB, bench.seconds),
            partial(bare_loop, loop, data / BIG, bench.seconds),
            (Aim(RATE, 0.75),),
        )


def bare_loop(program: Path, file: Path, seconds: float) -> Sample:
    """Run loopback.c once, with pieces of 1 MiB."""
    argv = [str(program), str(file), str(MIB), str(seconds)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"loopback: {done.stderr.strip()}")
    told = json.loads(done.stdout)
    return Sample(told["calls"] / told["seconds"], told["cpu_us"] / told["all_calls"])
