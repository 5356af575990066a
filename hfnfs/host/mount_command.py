"""The commands that mount and unmount an NFS volume of this machine, as argument lists.

Pure: nothing is run, looked up or asked here. The options are those of nfs(5) on Linux and
mount_nfs(8) on macOS.
"""

import platform
import shlex
from dataclasses import dataclass
from enum import Enum

from hfnfs.config import TRANSFER_BYTES_MAX


class System(Enum):
    """Operating systems whose NFS client we know how to call."""

    LINUX = "Linux"
    MACOS = "Darwin"


@dataclass(frozen=True, slots=True)
class NfsTarget:
    """What is served, and how a client should mount it."""

    port: int  # NFS and MOUNT are both served here
    export: str = "/"
    host: str = "127.0.0.1"
    read_only: bool = True
    attributes_cached_s: float = 10.0

    @property
    def device(self) -> str:
        """What the mount table shows as the source."""
        return f"{self.host}:{self.export}"


class Unmount(Enum):
    """Ways to unmount, the kindest first."""

    CLEAN = "clean"  # refused while somebody uses it
    LAZY = "lazy"  # out of sight at once, gone when nobody uses it any more
    FORCE = "force"  # and calls that wait for the server fail


# In tenths of a second. Linux' own default for TCP, said aloud because answers of NFS3ERR_JUKEBOX
# have to come well before it (MountConfig.serve_deadline_s).
_TIMEO = 600
# A read-only mount whose server is gone answers EIO after timeo * (retrans + 1) instead of
# hanging every process that looks at it: no write can be lost by it.
_RETRANS = 2
# By a directory's attributes a client knows whether its names are still those of the same files. A
# file that others replaced is another one from then on, so this is how long after that an open may
# still give the one from before.
_DIRECTORY_CACHED_S_MAX = 1


def mount_options(target: NfsTarget, system: System) -> str:
    """What follows -o."""
    both = [
        "vers=3",
        "tcp",
        f"port={target.port}",
        f"mountport={target.port}",
        f"rsize={TRANSFER_BYTES_MAX}",
        f"wsize={TRANSFER_BYTES_MAX}",
        *_cached(target.attributes_cached_s),
        "nosuid",
        "nodev",
    ]
    if target.read_only:
        both += ["soft", f"timeo={_TIMEO}", f"retrans={_RETRANS}"]
    else:
        # Whoever writes waits for a server that is started again, instead of losing what it wrote.
        both.append(f"timeo={_TIMEO}")
    if system is System.MACOS:
        # nolocks would make flock(2) fail; locallocks keeps locks on this machine.
        return ",".join([*both, "locallocks", *(["rdonly"] if target.read_only else [])])
    linux = [
        "mountvers=3",
        "mountproto=tcp",
        *([] if target.read_only else ["hard"]),  # macOS has no word for it, and does so
        "nolock",  # locks are this machine's own: there is no lock manager to ask
        "noacl",  # nor an NFSACL program: do not probe for it
    ]
    return ",".join([*both, *linux, *(["ro"] if target.read_only else [])])


def _cached(attributes_s: float) -> list[str]:
    """For how long a client may rely on attributes (all that actimeo stands for); 0: not at all.

    Rounded down: what the user was promised as freshness is not stretched.
    """
    file_s = int(attributes_s)
    directory_s = min(file_s, _DIRECTORY_CACHED_S_MAX)
    return [
        f"acregmin={file_s}",
        f"acregmax={file_s}",
        f"acdirmin={directory_s}",
        f"acdirmax={directory_s}",
    ]


def mount_argv(
    target: NfsTarget, mount_point: str, system: System, *, helper: str, sudo: bool
) -> list[str]:
    """Mount `target` at the absolute path `mount_point` by `helper` (mount.nfs or mount_nfs)."""
    options = ["-o", mount_options(target, system)]
    if system is System.MACOS:
        argv = [helper, *options, target.device, mount_point]
    else:
        # retry=0: mount.nfs would go on for two minutes; we are there before it is called.
        options[1] += ",retry=0"
        argv = [helper, target.device, mount_point, *options]
    return [*_SUDO, *argv] if sudo else argv


def unmount_argv(mount_point: str, system: System, how: Unmount, *, sudo: bool) -> list[str]:
    """Unmount the absolute path `mount_point`."""
    flags = _UNMOUNT_FLAGS[system, how]
    return [*(_SUDO if sudo else ()), "umount", *flags, mount_point]


def write_back_argv(mount_point: str, system: System) -> list[str]:
    """Have the client send all that was written below `mount_point`."""
    return ["sync", "-f", mount_point] if system is System.LINUX else ["sync"]


_SUDO = ("sudo", "-n")  # never asks for a password
_UNMOUNT_FLAGS: dict[tuple[System, Unmount], tuple[str, ...]] = {
    (System.LINUX, Unmount.CLEAN): (),
    (System.LINUX, Unmount.LAZY): ("-l",),
    (System.LINUX, Unmount.FORCE): ("-f", "-l"),
    (System.MACOS, Unmount.CLEAN): (),
    (System.MACOS, Unmount.LAZY): ("-f",),  # macOS has no lazy unmount
    (System.MACOS, Unmount.FORCE): ("-f",),
}


def libnfs_url(target: NfsTarget) -> str:
    """The volume as libnfs and its programs (nfs-ls, nfs-cat, mpv …) take it.

    libnfs takes all before the last slash for the export, and fails on an empty one.
    """
    export = target.export.rstrip("/") or "/"
    port = f"nfsport={target.port}&mountport={target.port}"
    return f"nfs://{target.host}{export}/?{port}"


def this_system() -> System:
    """The system we run on; what is neither of the two is more like Linux."""
    return System.MACOS if platform.system() == "Darwin" else System.LINUX


def mount_line(target: NfsTarget, mount_point: str, system: System) -> str:
    """The command for a person to paste into a shell, on a machine of that system."""
    helper = "mount.nfs" if system is System.LINUX else "mount_nfs"
    argv = mount_argv(target, mount_point, system, helper=helper, sudo=False)
    return shlex.join(["sudo", *argv] if system is System.LINUX else argv)


def unmount_line(mount_point: str, *, sudo: bool) -> str:
    """How a person ends the mount."""
    return shlex.join([*(["sudo"] if sudo else []), "umount", mount_point])
