"""Whole jobs on mounts of the real Linux NFS client, each in a guest that has just started.

Ours and theirs are mounted with the same options in the same kind of guest, so its page cache is
empty; "warm" is what the server knows. Their cold files come from the disk (their pages are
dropped), ours from the local Hub: a new hfnfs with an empty cache.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench import Bench
from files import BIG, MANY, MIB, MODEL, forget, make_big, make_many, make_model
from peers import Server, ganesha, hfnfs, hub
from race import RATE, Aim, Race, Sample

HERE = Path(__file__).parent
RUN = HERE.parent / "kernel-client" / "run"
GUEST_TIMEOUT_S = 600
AIMS = (Aim(RATE, 1),)


@dataclass(frozen=True, slots=True)
class Errand:
    """A job of in_guest.py."""

    name: str
    kind: str
    target: str
    unit: str
    expected: object  # what it has to find


def run(errand: Errand, server: Server) -> Sample:
    """Start a guest, mount the server there, run the job once."""
    before = server.cpu_ns()
    argv = [str(RUN), "--port", str(server.nfs_port), "--mountport", str(server.mount_port)]
    argv += ["--export", server.export, "--mount-opts", "ro", "--timeout", str(GUEST_TIMEOUT_S)]
    argv += ["--", sys.executable, str(HERE / "in_guest.py"), errand.kind, errand.target]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    cpu_us = (server.cpu_ns() - before) / 1e3
    if done.returncode:
        sys.exit(f"{server.name}, {errand.name}: {done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if told["found"] != errand.expected:
        sys.exit(f"{server.name}, {errand.name}: {told['found']}, not {errand.expected}")
    return Sample(told["units"] / told["seconds"], cpu_us / told["units"])


def by_kernel(bench: Bench) -> Iterator[Race]:
    """All of it on a disk: files in memory have no cold state."""
    with tempfile.TemporaryDirectory(prefix="hfnfs-bench-", dir="/var/tmp") as folder:
        yield from errands(bench, Path(folder))


def errands(bench: Bench, disk: Path) -> Iterator[Race]:
    """Warm jobs on servers that know all, then cold ones."""
    data = disk / "data"
    data.mkdir()
    make_big(data, bench.mib)
    make_many(data, bench.entries)
    digest = make_model(data, bench.mib * 2 // 5)
    cat = Errand(f"cat of {bench.mib} MiB", "cat", BIG, "MiB", bench.mib * MIB)
    find = Errand(f"find of {bench.entries:,} files", "find", MANY, "files", bench.entries)
    load = Errand("load of a model in 3 shards", "load", MODEL, "MiB", digest)
    with (
        hub(data, disk / "hub") as origin,
        ganesha(data, disk / "ganesha") as theirs,
    ):
        with hfnfs(origin.endpoint, disk / "hfnfs") as ours:
            for errand in (cat, find, load):
                name = f"kernel client: {errand.name}, warm"
                if bench.wants(name):
                    yield warm_race(name, errand, ours, theirs)
        name = f"kernel client: {load.name}, cold"
        if bench.wants(name):
            yield Race(
                name,
                load.unit,
                "ganesha",
                Cold(load, origin.endpoint, disk).ours,
                partial(cold_ganesha, load, theirs, data),
                AIMS,
            )


def warm_race(name: str, errand: Errand, ours: Server, theirs: Server) -> Race:
    """An errand on both servers, who have done it before."""
    for server in (ours, theirs):
        run(errand, server)
    return Race(
        name,
        errand.unit,
        theirs.name,
        partial(run, errand, ours),
        partial(run, errand, theirs),
        AIMS,
    )


@dataclass(slots=True)
class Cold:
    """Starts an hfnfs with nothing in its cache for each run."""

    errand: Errand
    endpoint: str
    disk: Path
    number: int = 0

    def ours(self) -> Sample:
        """One run, whose cache is then thrown away."""
        self.number += 1
        folder = self.disk / f"cold-{self.number}"
        with hfnfs(self.endpoint, folder) as server:
            sample = run(self.errand, server)
        shutil.rmtree(folder)
        return sample


def cold_ganesha(errand: Errand, server: Server, data: Path) -> Sample:
    """One run on files of which memory holds nothing."""
    forget(data)
    return run(errand, server)
