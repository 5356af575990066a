"""What it costs that small files are made and flushed.

    PYTHONPATH=. .venv/bin/python scripts/bench/flushing.py [--files 1000] [--directories 10]

Prints Markdown. First the requests to a local Hub and its CAS, by kind and of all kinds for 100
files, while files are made and flushed. Then the same number of files is made and kept, the server
is killed and started again, and flushes all of them at once: of each part the time, the server's
CPU time and memory, and how long it kept a NULL call waiting that was sent every 4 ms.
"""

import argparse
import asyncio
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from answering import Waits, waits

from hfnfs.localhub.background import HubThread
from tests.live.product import Served, hub_with_bucket, launched
from tests.live.small_files import BUCKET, make, requests_of, small_files
from tests.live.test_memory import own

LATER = ("--flush-debounce-ms", "3600000", "--flush-max-batch-window-ms", "3600000")
PATIENCE_S = 3600.0
KIB = 1024
CPU_CLOCK = 2


@dataclass(frozen=True, slots=True)
class Part:
    """What a part of the work took."""

    name: str
    seconds: float
    cpu_s: float
    memory: int  # bytes of the server's own at its end
    waits: Waits


class Work:
    """The same number of files in each part."""

    def __init__(self, files: int, directories: int, folder: Path) -> None:
        self._wanted = small_files(files, directories)
        self._folder = folder
        self.parts: list[Part] = []

    def run(self) -> None:
        """Make them, kill the server, start it again, and wait until the Hub has all."""
        with hub_with_bucket(self._folder / "hub", BUCKET, {}) as (hub, thread):
            with (
                self._serving(hub.endpoint, *LATER) as server,
                self._part("made and kept", server),
            ):
                asyncio.run(make(server.port, self._wanted))
            began = time.monotonic()
            with self._serving(hub.endpoint) as server:
                up_s = time.monotonic() - began
                self.parts.append(
                    Part("killed and up again", up_s, cpu_s(server.pid), own(server.pid), Waits())
                )
                with self._part("flushed at once", server):
                    self._wait(thread)

    def _wait(self, thread: HubThread) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while (there := thread.do(thread.hub.usage(BUCKET))[1]) < len(self._wanted):
            assert time.monotonic() < deadline, f"{there} files"
            time.sleep(0.5)

    @contextmanager
    def _serving(self, endpoint: str, *options: str) -> Iterator[Served]:
        """Serve until the block is left, and then be killed."""
        where = self._folder / "mount"
        program, server = launched(endpoint, BUCKET, where, *options, kind="bucket")
        try:
            yield server
        finally:
            program.send_signal(signal.SIGKILL)
            program.communicate()

    @contextmanager
    def _part(self, name: str, server: Served) -> Iterator[None]:
        began, cpu = time.monotonic(), cpu_s(server.pid)
        with waits(server.port) as waited:
            yield
            seconds = time.monotonic() - began
        used = cpu_s(server.pid) - cpu
        self.parts.append(Part(name, seconds, used, own(server.pid), waited))


def cpu_s(pid: int) -> float:
    """CPU time of a process so far, threads that have ended included."""
    return time.clock_gettime(~pid << 3 | CPU_CLOCK)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--directories", type=int, default=10)
    parser.add_argument("--requests-only", action="store_true")
    parser.add_argument("--parts-only", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hfnfs-flushing-") as folder:
        if not asked.parts_only:
            tell_requests(asked.files, asked.directories, Path(folder) / "requests")
        if not asked.requests_only:
            tell_parts(asked.files, asked.directories, Path(folder) / "parts")


def tell_requests(files: int, directories: int, folder: Path) -> None:
    """Those of each kind."""
    folder.mkdir()
    counted = requests_of(files, folder, directories)
    print(f"| {files} files, {directories} directories: requests | number |\n|---|---|")
    for kind, number in sorted(counted.items()):
        print(f"| {kind} | {number} |")
    print(f"| all, of 100 files | {counted.total() * 100 / files:.1f} |\n")


def tell_parts(files: int, directories: int, folder: Path) -> None:
    """What they took."""
    folder.mkdir()
    work = Work(files, directories, folder)
    work.run()
    title = f"{files} files, {directories} directories"
    print(f"| {title} | s | ms CPU per file | MiB | longest wait, ms | p99.9, ms |")
    print("|---|---|---|---|---|---|")
    for part in work.parts:
        cpu_ms = part.cpu_s * 1e3 / files
        memory = part.memory / KIB**2
        waited = f"{part.waits.longest:.0f} | {part.waits.p999:.1f}"
        print(f"| {part.name} | {part.seconds:.1f} | {cpu_ms:.2f} | {memory:.0f} | {waited} |")


if __name__ == "__main__":
    main()
