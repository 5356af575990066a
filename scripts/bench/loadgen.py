"""Compile the load generators where they are needed, and run them against a server."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from files import BIG, MIB
from peers import Server
from race import Aim, Sample

HERE = Path(__file__).parent
RUN_TIMEOUT_S = 120.0
WARMING_SECONDS_MAX = 600.0


@dataclass(frozen=True, slots=True)
class Job:
    """One kind of call, `depth` of them outstanding."""

    name: str
    kind: str  # a job of loadgen.c
    depth: int
    size: int = 0  # bytes that a call asks for
    target: str = BIG
    unit: str = "calls"  # what is counted: calls, MiB or entries
    aims: tuple[Aim, ...] = ()

    def units(self, measured: dict[str, Any]) -> float:
        """How much of its unit was done while it was measured."""
        if self.unit == "MiB":
            return float(measured["bytes"]) / MIB
        return float(measured[self.unit])


def compiled(source: str, work: Path, *libraries: str) -> Path:
    """The program of a C source that lies here."""
    program = work / Path(source).stem
    argv = ["cc", "-O2", "-o", str(program), str(HERE / source), *libraries]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        sys.exit("cc is not installed (apt install gcc libc6-dev)")
    if done.returncode:
        sys.exit(f"{' '.join(argv)} (apt install libnfs-dev):\n{done.stderr[-2000:]}")
    return program


def load_generator(work: Path) -> "LoadGen":
    """The load generator, compiled."""
    return LoadGen(compiled("loadgen.c", work, "-lnfs"))


@dataclass(frozen=True, slots=True)
class LoadGen:
    """The program of loadgen.c."""

    program: Path

    def argv(self, server: Server, job: Job, seconds: float, *options: str) -> list[str]:
        """The command line that runs `job` on a server."""
        words = [server.nfs_port, server.mount_port, server.export, job.target, job.kind]
        return [str(self.program), *options, *map(str, [*words, job.depth, seconds, job.size])]

    def measure(
        self, server: Server, job: Job, seconds: float, *options: str
    ) -> tuple[dict[str, Any], float]:
        """What the program tells, and the server's CPU time meanwhile in µs."""
        before = server.cpu_ns()
        done = subprocess.run(
            self.argv(server, job, seconds, *options),
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_S + seconds,
            check=False,
        )
        cpu_us = (server.cpu_ns() - before) / 1e3
        if done.returncode:
            sys.exit(f"{server.name}, {job.name}: {done.stderr.strip()}")
        measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return measured, cpu_us

    def sample(self, server: Server, job: Job, seconds: float) -> Sample:
        """Run `job` once."""
        measured, cpu_us = self.measure(server, job, seconds)
        if not measured["calls"]:
            sys.exit(f"{server.name}, {job.name}: no answer in {seconds} s (use --seconds)")
        units = job.units(measured)
        per_call = units / measured["calls"]
        return Sample(
            rate=units / measured["seconds"],
            cpu_us=cpu_us / measured["all_calls"] / per_call,
            p99_us=measured["p99_us"],
            client_busy=measured["cpu_seconds"] / measured["seconds"],
        )

    def warm(self, server: Server, copy: Path) -> None:
        """Read the whole file once, and compare every byte."""
        job = Job("warming", "read", depth=4, size=MIB, target=copy.name)
        calls = copy.stat().st_size // MIB
        self._until(server, job, lambda told: told["all_calls"] >= calls, "-c", str(copy))

    def walk(self, server: Server, job: Job, entries: int) -> None:
        """List the whole directory of `job` once; ends the benchmark if it shows another number."""
        told = self._until(server, job, lambda told: told["walk"] > 0)
        if told["walk"] not in {entries, entries + 2}:  # "." and ".." are the server's choice
            sys.exit(f"{server.name} lists {told['walk']} entries of {entries}")

    def _until(self, server: Server, job: Job, is_enough: Any, *options: str) -> dict[str, Any]:
        """Run `job` longer and longer, until a run has done enough."""
        seconds = 0.2
        while seconds < WARMING_SECONDS_MAX:
            told, _ = self.measure(server, job, seconds, *options)
            if is_enough(told):
                return told
            seconds *= 2
        sys.exit(f"{server.name} is too slow for {job.kind}")
