"""Compare hfnfs, with everything in its cache, with nfs-ganesha over the same files.

The same load generator (loadgen.c, on libnfs) calls both over loopback, in turns: hfnfs, ganesha,
hfnfs, ganesha, … hfnfs. A run of ganesha is set against the mean of the two beside it, and the
median of these ratios is what counts: a machine's speed moves from minute to minute, and both
move with it. Rates in the table are medians, good for nothing but a feeling.

Run it by scripts/bench/compare.
"""

import argparse
import dataclasses
import fcntl
import json
import os
import socket
import struct
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from loadgen import Job, Sample, compiled, run
from peers import Server, ganesha, hfnfs

KIB, MIB = 1024, 1024 * 1024
FILE_BYTES = 64 * MIB
JOBS = (
    Job("READ 1 MiB in sequence, 8 outstanding", "read", depth=8, size=MIB),
    Job("GETATTR, 32 outstanding", "getattr", depth=32),
    Job("GETATTR, one at a time", "getattr", depth=1),
)
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="compare", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=9, help="runs of ganesha for each job")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each run")
    parser.add_argument("--only", default="", help="jobs whose name contains this")
    parser.add_argument("--json", type=Path, help="write every sample to this file")
    return parser.parse_args()


def bring_up_loopback() -> None:
    """A new network namespace has its loopback down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH22x", b"lo", IFF_UP | IFF_RUNNING)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)


def warm(program: Path, server: Server, copy: Path) -> None:
    """Read the whole file once, and compare every byte."""
    job = Job("warming", "read", depth=4, size=MIB)
    seconds = 1.0
    while run(program, server, job, seconds, copy)[1] < FILE_BYTES // MIB:
        seconds *= 2


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """All runs of one job, in the order of time: ours are one more than theirs."""

    job: Job
    ours: list[Sample]
    theirs: list[Sample]

    def ratios(self, of: str) -> list[float]:
        """Ours against theirs, each of theirs with its two neighbours."""
        ours = [getattr(sample, of) for sample in self.ours]
        theirs = [getattr(sample, of) for sample in self.theirs]
        beside = [(a + b) / 2 for a, b in pairwise(ours)]
        return [a / b for a, b in zip(beside, theirs, strict=True)]

    def row(self) -> str:
        speed, cpu, slow = (self.ratios(of) for of in ("rate", "cpu_us", "p99_us"))
        return (
            f"| {self.job.name} | **{median(speed):.2f}** ({min(speed):.2f}-{max(speed):.2f}) "
            f"| {median(cpu):.2f} | {median(slow):.2f} | {self.shown(self.ours)} "
            f"| {self.shown(self.theirs)} |"
        )

    def shown(self, samples: list[Sample]) -> str:
        rate = median(sample.rate for sample in samples)
        cpu_us = median(sample.cpu_us for sample in samples)
        speed = (
            f"{rate / 1000:.1f} k/s"
            if self.job.kind != "read"
            else (f"{rate * self.job.size / MIB:.0f} MiB/s")
        )
        return f"{speed}, {cpu_us:.1f} µs"


HEAD = """\
| calls | speed, hfnfs : ganesha (range) | server CPU a call | p99 | hfnfs | ganesha |
|---|---|---|---|---|---|"""


def compare(job: Job, program: Path, pair: tuple[Server, Server], args: Any) -> Result:
    """Run `job` on both in turns."""
    ours, theirs = pair
    result = Result(job, [run(program, ours, job, args.seconds)[0]], [])
    for _ in range(args.rounds):
        result.theirs.append(run(program, theirs, job, args.seconds)[0])
        result.ours.append(run(program, ours, job, args.seconds)[0])
    return result


def main() -> None:
    """Start both servers, run the jobs, print the table."""
    args = parse()
    bring_up_loopback()
    data = args.work / "data"
    data.mkdir()
    (data / "big.bin").write_bytes(os.urandom(FILE_BYTES))
    program = compiled(args.work)
    results = []
    with ExitStack() as stack:
        pair = (
            stack.enter_context(hfnfs(data, args.work / "hfnfs")),
            stack.enter_context(ganesha(data, args.work / "ganesha")),
        )
        for server in pair:
            warm(program, server, data / "big.bin")
        print(HEAD, flush=True)
        for job in JOBS:
            if args.only in job.name:
                results.append(compare(job, program, pair, args))
                print(results[-1].row(), flush=True)
    if args.json:
        args.json.write_text(json.dumps([dataclasses.asdict(r) for r in results], indent=1))


if __name__ == "__main__":
    main()
