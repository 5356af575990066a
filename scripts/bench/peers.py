"""The servers that are compared, each started on loopback with the same files behind it."""

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

from tests.live.product import hub_with, served

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Server:
    """A running NFSv3 server."""

    name: str
    pid: int
    nfs_port: int
    mount_port: int
    export: str

    def cpu_ns(self) -> int:
        """Time on a CPU of all its threads so far."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks)


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
LOG {{ Default_Log_Level = EVENT; }}
"""


@contextmanager
def ganesha(data: Path, work: Path) -> Iterator[Server]:
    """nfs-ganesha as Debian has it: v3 over TCP, the VFS back end, no lock manager.

    It starts only after it told a portmapper of itself, and has no option not to.
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


# -------------------------------------------------------------------------------- hfnfs


@contextmanager
def hfnfs(data: Path, work: Path) -> Iterator[Server]:
    """hfnfs serving a repo of a local Hub that holds the files of `data`."""
    tree = {str(path.relative_to(data)): path for path in data.rglob("*") if path.is_file()}
    with (
        hub_with(work / "hub", {"local/bench": tree}) as hub,
        served(hub.endpoint, "local/bench", work / "mount") as server,
    ):
        yield Server("hfnfs", server.pid, server.port, server.port, "/")
