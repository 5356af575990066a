"""Compile the load generator where it is needed, and run it against a server."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from peers import Server

SOURCE = Path(__file__).with_name("loadgen.c")
RUN_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Job:
    """One kind of call, `depth` of them outstanding."""

    name: str
    kind: str  # a job of loadgen.c
    depth: int
    size: int = 0  # bytes that a call asks for
    target: str = "big.bin"


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run measured."""

    rate: float  # calls a second
    cpu_us: float  # of the server, for each call
    p50_us: float
    p99_us: float
    entries: float  # a second, of directory listings


def compiled(work: Path) -> Path:
    """The load generator's program."""
    program = work / "loadgen"
    argv = ["cc", "-O2", "-o", str(program), str(SOURCE), "-lnfs"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        sys.exit("cc is not installed (apt install gcc libc6-dev)")
    if done.returncode:
        sys.exit(f"{' '.join(argv)} (apt install libnfs-dev):\n{done.stderr[-2000:]}")
    return program


def run(
    program: Path, server: Server, job: Job, seconds: float, check: Path | None = None
) -> tuple[Sample, int]:
    """Run `job`; also all calls that were made. `check`: a copy to compare what is read with."""
    words = [server.nfs_port, server.mount_port, server.export, job.target, job.kind]
    words += [job.depth, seconds, job.size, *([check] if check else [])]
    before = server.cpu_ns()
    done = subprocess.run(
        [program, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    cpu_ns = server.cpu_ns() - before
    if done.returncode:
        sys.exit(f"{server.name}, {job.name}: {done.stderr.strip()}")
    measured = json.loads(done.stdout)
    sample = Sample(
        rate=measured["calls"] / measured["seconds"],
        cpu_us=cpu_ns / 1e3 / measured["all_calls"],
        p50_us=measured["p50_us"],
        p99_us=measured["p99_us"],
        entries=measured["entries"] / measured["seconds"],
    )
    return sample, measured["all_calls"]
