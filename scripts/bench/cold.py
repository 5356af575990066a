"""Compare hfnfs, with nothing in its cache, with hf_xet downloading whole files.

Both get the same files from the same local Hub, which runs in a process of its own, in turns:
hfnfs, hf_xet, hfnfs, … hfnfs; each time with an empty cache. A run of hf_xet is set against the
mean of the two beside it, and the median of these ratios is what counts. hfnfs is read through
NFS by a bare socket with several READs outstanding; hf_xet is called as `hf download` calls it,
and writes a file. After that single reads are timed while the Hub takes its time to answer.

Run it from a checkout: python scripts/bench/cold.py --help. What it needs on disk is three times
the files' size.
"""

import argparse
import asyncio
import hashlib
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice, pairwise
from pathlib import Path
from random import Random
from statistics import median

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from hfnfs.host.allocator import keep_freed_memory  # noqa: E402  # once the checkout is on the path
from hfnfs.localhub.background import HubThread  # noqa: E402  # as above
from hfnfs.nfs3.client import NfsClient  # noqa: E402  # as above
from hfnfs.nfs3.data import READ_ARGS, ReadArgs  # noqa: E402  # as above
from hfnfs.nfs3.program import NFS_PROGRAM, NFS_VERSION  # noqa: E402  # as above
from hfnfs.rpc.client import encode_call  # noqa: E402  # as above
from hfnfs.rpc.message import AuthNone  # noqa: E402  # as above
from hfnfs.rpc.xdr import encode  # noqa: E402  # as above
from tests.live.product import PROGRAM, Served, served  # noqa: E402  # as above

KIB, MIB = 1024, 1024 * 1024
REPO = "local/cold"
DEPTH = 8  # READs outstanding
LATENCY_S = 0.03
ROUND_TRIPS = 2  # a plan, then its data: what nobody can do without
MANY = [f"many-{n}.bin" for n in range(20)]
MANY_BYTES = 16 * MIB
READERS = 64
LIMIT_MIB = 128
AIMS = {"random.bin": 1.5, "bf16.bin": 1.2}
AIM_MEMORY = 0.3
AIM_LATENCY = 1.2

OWN_MEMORY = re.compile(r"Rss(?:Anon|Shmem):\s+(\d+) kB")

DOWNLOAD = """
import sys, time
import hf_xet
from huggingface_hub import hf_hub_download
begun = time.perf_counter()
hf_hub_download(sys.argv[1], sys.argv[2], local_dir=sys.argv[3])
print(time.perf_counter() - begun)
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One cold run over a whole file."""

    seconds: float
    memory: int  # bytes, at most
    first_s: float = 0.0  # until the first READ was answered


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cold", description=__doc__.partition("\n")[0])
    parser.add_argument("--mib", type=int, default=1024, help="size of each file")
    parser.add_argument("--rounds", type=int, default=3, help="downloads by hf_xet of each file")
    parser.add_argument("--work", type=Path, help="keep the Hub here for the next run")
    parser.add_argument("--only", default="", help="files whose name contains this")
    parser.add_argument("--json", type=Path, help="write every sample to this file")
    return parser.parse_args()


# ------------------------------------------------------------------------- the local Hub


def random_pieces(mib: int) -> Iterator[bytes]:
    """Bytes that nothing compresses."""
    for seed in range(mib // 16):
        yield np.random.default_rng(seed).bytes(16 * MIB)


def bf16_pieces(mib: int) -> Iterator[bytes]:
    """Weights as models have them: normally distributed, cut to 16 bits."""
    for seed in range(mib // 16):
        weights = np.random.default_rng(seed).standard_normal(8 * MIB, np.float32) * 0.02
        yield (weights.view(np.uint32) >> 16).astype(np.uint16).tobytes()


def hashes(pieces: Iterator[bytes]) -> dict[int, bytes]:
    """The SHA-256 of each MiB, by its offset."""
    parts = (piece[at : at + MIB] for piece in pieces for at in range(0, len(piece), MIB))
    return {number * MIB: hashlib.sha256(part).digest() for number, part in enumerate(parts)}


def fill(folder: Path, mib: int) -> None:
    """Make the Hub's files, unless they are there."""
    done = folder / f"{mib} MiB and {len(MANY)} files"
    if done.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    with HubThread(folder) as thread:
        thread.do(thread.hub.create_repo("model", REPO))
        for name, pieces in (("random.bin", random_pieces), ("bf16.bin", bf16_pieces)):
            thread.do(thread.hub.commit("model", REPO, {name: pieces(mib)}, plain=False))
        many = {name: np.random.default_rng(n).bytes(MANY_BYTES) for n, name in enumerate(MANY)}
        thread.do(thread.hub.commit("model", REPO, many, plain=False))
    done.touch()


@contextmanager
def hub_over(folder: Path, *faults: str) -> Iterator[str]:
    """The endpoint of a local Hub in a process of its own."""
    argv = [str(PROGRAM.with_name("hf-mount")), "localhub", str(folder)]
    argv += [word for fault in faults for word in ("--fault", fault)]
    program = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert program.stdout is not None
    try:
        for line in program.stdout:
            if found := re.search(r"HF_ENDPOINT=(\S+)", line):
                yield found[1]
                break
        else:
            sys.exit("the local Hub did not start")
    finally:
        program.terminate()
        program.communicate()


# ------------------------------------------------------------------------- one cold run


class Memory(threading.Thread):
    """Watches the memory of a process: what is its own, not the files that it maps.

    Those are the page cache's, which the other side fills by its writes as well.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.most = 0  # bytes
        self._status = Path(f"/proc/{pid}/status")
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.01):
            try:
                status = self._status.read_text()
            except (FileNotFoundError, ProcessLookupError):  # it has ended
                return
            self.most = max(self.most, KIB * sum(map(int, OWN_MEMORY.findall(status))))

    def __enter__(self) -> "Memory":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()


async def opened(port: int, name: str) -> tuple[NfsClient, bytes]:
    client = await NfsClient.connect("127.0.0.1", port, timeout_s=120)
    return client, await client.lookup(await client.mount(), name.encode())


# A record's mark, then a reply with its verifier, then READ3resok up to the data (RFC 1813 §3.3.6).
READ_HEAD = struct.Struct(">IIII8xII88xIII")
READ_PROCEDURE = 6


def read_whole(port: int, name: str, check: dict[int, bytes] | None) -> tuple[float, float]:
    """Read the file in sequence; seconds until the first answer, and until the last.

    Into memory that is used again, as the kernel's client does: what a client spends is the same
    two cores' time. `check` is given the SHA-256 of each MiB, by its offset.
    """
    handle, size = asyncio.run(found(port, name))
    room = memoryview(bytearray(READ_HEAD.size + MIB))
    head, data = room[: READ_HEAD.size], room[READ_HEAD.size :]
    begun = time.perf_counter()
    first_s = 0.0
    offsets = iter(range(0, size, MIB))
    with socket.create_connection(("127.0.0.1", port)) as line:
        for offset in islice(offsets, DEPTH):
            line.sendall(read_call(handle, offset))
        for _ in range(0, size, MIB):
            receive(line, head)
            _, xid, _, _, accepted, status, count, _, _ = READ_HEAD.unpack(head)
            start = xid * MIB
            if accepted or status or count != min(MIB, size - start):
                sys.exit(f"READ at {start}: status {status}, {count} bytes")
            receive(line, data[:count])
            first_s = first_s or time.perf_counter() - begun
            for offset in islice(offsets, 1):
                line.sendall(read_call(handle, offset))
            if check is not None:
                check[start] = hashlib.sha256(data[:count]).digest()
    return first_s, time.perf_counter() - begun


async def found(port: int, name: str) -> tuple[bytes, int]:
    """The file's handle and size."""
    client, handle = await opened(port, name)
    size = (await client.getattr(handle)).size
    await client.close()
    return handle, size


def read_call(handle: bytes, offset: int) -> bytes:
    """A READ of a MiB; its xid is the number of that MiB."""
    arguments = encode(READ_ARGS, ReadArgs(handle, offset, MIB))
    target = NFS_PROGRAM, NFS_VERSION, READ_PROCEDURE
    return encode_call(offset // MIB, target, AuthNone(), arguments)


def receive(line: socket.socket, room: memoryview) -> None:
    """Fill the room."""
    if line.recv_into(room, flags=socket.MSG_WAITALL) < len(room):
        sys.exit("the server hung up")


def by_hfnfs(endpoint: str, name: str, work: Path, check: dict[int, bytes] | None) -> Sample:
    """Read it through a server that has nothing yet."""
    with empty(work / "hfnfs") as folder, served(endpoint, REPO, folder) as server:
        with Memory(server.pid) as memory:
            first_s, seconds = read_whole(server.port, name, check)
        return Sample(seconds, memory.most, first_s)


def by_hf_xet(endpoint: str, name: str, work: Path) -> Sample:
    """Download it into a file by a process that has nothing yet."""
    with empty(work / "hf_xet") as folder:
        environment = os.environ | {
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(folder / "home"),
            "HF_XET_CACHE": str(folder / "xet"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
        }
        argv = [sys.executable, "-c", DOWNLOAD, REPO, name, str(folder / "files")]
        pipe = subprocess.PIPE
        program = subprocess.Popen(argv, env=environment, stdout=pipe, stderr=pipe, text=True)
        with Memory(program.pid) as memory:
            seconds, said = program.communicate()
        if program.returncode:
            sys.exit(f"hf_xet: {said[-2000:]}")
        return Sample(float(seconds), memory.most)


@contextmanager
def empty(folder: Path) -> Iterator[Path]:
    """A directory for the time of the block."""
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


# -------------------------------------------------------------------------- whole files


@dataclass(frozen=True, slots=True)
class Result:
    """All runs over one file, in the order of time: ours are one more than theirs."""

    name: str
    ours: list[Sample]
    theirs: list[Sample]

    def ratios(self, of: str) -> list[float]:
        """Theirs against ours, each of theirs with its two neighbours."""
        ours = [getattr(sample, of) for sample in self.ours]
        theirs = [getattr(sample, of) for sample in self.theirs]
        beside = [(a + b) / 2 for a, b in pairwise(ours)]
        return [b / a for a, b in zip(beside, theirs, strict=True)]

    def row(self, mib: int) -> str:
        speed = self.ratios("seconds")
        memory = 1 / median(self.ratios("memory"))
        rates = (mib / median(s.seconds for s in samples) for samples in (self.ours, self.theirs))
        sizes = (median(s.memory for s in samples) / MIB for samples in (self.ours, self.theirs))
        shown = [f"{r:.0f} MiB/s, {s:.0f} MiB" for r, s in zip(rates, sizes, strict=True)]
        is_met = median(speed) >= AIMS[self.name] and memory <= AIM_MEMORY
        return (
            f"| {mib} MiB, {self.name} | **{median(speed):.2f}** "
            f"({min(speed):.2f}-{max(speed):.2f}) | {memory:.2f} | {shown[0]} | {shown[1]} "
            f"| ≥ {AIMS[self.name]}, ≤ {AIM_MEMORY}: {'met' if is_met else 'MISSED'} |"
        )


WHOLE = """\
| cold, in sequence | speed, hfnfs : hf_xet (range) | peak memory | hfnfs | hf_xet | aim |
|---|---|---|---|---|---|"""


def whole_files(args: argparse.Namespace, work: Path) -> list[Result]:
    """Read each file by both in turns."""
    results = []
    print(WHOLE, flush=True)
    with hub_over(work / "hub") as endpoint:
        for name, pieces in (("random.bin", random_pieces), ("bf16.bin", bf16_pieces)):
            if args.only not in name:
                continue
            was: dict[int, bytes] = {}
            by_hfnfs(endpoint, name, work, was)  # not timed
            assert was == hashes(pieces(args.mib)), f"{name}: other bytes than the Hub has"
            result = Result(name, [by_hfnfs(endpoint, name, work, None)], [])
            for _ in range(args.rounds):
                result.theirs.append(by_hf_xet(endpoint, name, work))
                result.ours.append(by_hfnfs(endpoint, name, work, None))
            results.append(result)
            print(result.row(args.mib), flush=True)
    return results


# ------------------------------------------------------------------------- single reads


async def single_reads(server: Served, size: int) -> tuple[float, float]:
    """Seconds of the first read of a file, and the median of 4 KiB here and there."""
    client, handle = await opened(server.port, "random.bin")
    begun = time.perf_counter()
    await client.read(handle, 0, 128 * KIB)
    first_s = time.perf_counter() - begun
    chance, took = Random(1), []
    for _ in range(20):
        offset = chance.randrange(size // 4096) * 4096
        begun = time.perf_counter()
        await client.read(handle, offset, 4096)
        took.append(time.perf_counter() - begun)
    await client.close()
    return first_s, median(took)


def with_latency(args: argparse.Namespace, work: Path) -> list[tuple[float, float]]:
    """Time single reads from a Hub that takes LATENCY_S for each request."""
    samples = []
    with hub_over(work / "hub", f". latency_s={LATENCY_S} count=all") as endpoint:
        for _ in range(args.rounds):
            with empty(work / "hfnfs") as folder, served(endpoint, REPO, folder) as server:
                samples.append(asyncio.run(single_reads(server, args.mib * MIB)))
    print(
        f"\n| cold, {LATENCY_S * 1000:.0f} ms a request | against {ROUND_TRIPS} round trips | aim |"
        "\n|---|---|---|"
    )
    for what, column in (("first byte", 0), ("4 KiB at random", 1)):
        ratio = median(sample[column] for sample in samples) / (ROUND_TRIPS * LATENCY_S)
        is_met = ratio <= AIM_LATENCY
        print(f"| {what} | **{ratio:.2f}** | ≤ {AIM_LATENCY}: {'met' if is_met else 'MISSED'} |")
    return samples


# ------------------------------------------------------------------------- many readers


async def many_readers(port: int) -> None:
    """64 readers of 20 files, each with a quarter of one, in sequence."""

    async def reader(n: int) -> None:
        client, handle = await opened(port, MANY[n % len(MANY)])
        start = n // len(MANY) * MANY_BYTES // 4
        for offset in range(start, start + MANY_BYTES // 4, MIB):
            await client.read(handle, offset, MIB)
        await client.close()

    async with asyncio.TaskGroup() as tasks:
        for n in range(READERS):
            tasks.create_task(reader(n))


def within_memory(work: Path) -> int:
    """The most own memory of a server with a limit, bytes; what it has when idle not counted."""
    limit = ("--memory-limit", f"{LIMIT_MIB}M")
    with (
        hub_over(work / "hub") as endpoint,
        empty(work / "hfnfs") as folder,
        served(endpoint, REPO, folder, *limit) as server,
    ):
        with Memory(server.pid) as idle:
            asyncio.run(opened_and_closed(server.port))
        with Memory(server.pid) as memory:
            asyncio.run(many_readers(server.port))
    most = memory.most - idle.most
    print(
        f"\n{READERS} readers of {len(MANY)} files, --memory-limit {LIMIT_MIB} MiB: "
        f"{most / MIB:.0f} MiB at most: {'met' if most <= LIMIT_MIB * MIB else 'MISSED'}"
    )
    return most


async def opened_and_closed(port: int) -> None:
    client, _ = await opened(port, MANY[0])
    await asyncio.sleep(0.1)
    await client.close()


def main() -> None:
    """Make the Hub, run everything, print the tables."""
    keep_freed_memory()  # we are a client here, and shall not be what is measured
    args = parse()
    with tempfile.TemporaryDirectory(prefix="hfnfs-cold-") as scratch:
        work = Path(scratch)
        if args.work is not None:
            args.work.mkdir(parents=True, exist_ok=True)
            (work / "hub").symlink_to((args.work / "hub").resolve())
            fill((args.work / "hub").resolve(), args.mib)
        else:
            fill(work / "hub", args.mib)
        results = whole_files(args, work)
        samples = with_latency(args, work)
        most = within_memory(work)
    if args.json:
        whole = [asdict(result) for result in results]
        told = {"whole": whole, "single": samples, "memory": most}
        args.json.write_text(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
