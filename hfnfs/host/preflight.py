"""Can this machine mount, and there? Each check that fails says in one line what to do.

All of it blocks (files of /proc, a try of sudo): run it in a thread, before anything is mounted.
"""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hfnfs.errors import (
    KernelWithoutNfs,
    MountHelperMissing,
    MountNotPermitted,
    MountPointUnusable,
)
from hfnfs.host.mount_command import NfsTarget, System
from hfnfs.host.mount_table import MountEntry, topmost

INSTEAD = "or use --serve-only"
LEFT_SOURCE = NfsTarget(0).device  # what the table shows of our mounts
# Where mount helpers live, also when the user's PATH does not say so.
_SYSTEM_DIRECTORIES = ("/sbin", "/usr/sbin", "/bin", "/usr/bin")
_CAP_SYS_ADMIN = 1 << 21  # linux/capability.h
_SUDO_TIMEOUT_S = 10.0


def search_path() -> str:
    """PATH, and the directories of system programs behind it."""
    return os.pathsep.join([os.environ.get("PATH", ""), *_SYSTEM_DIRECTORIES])


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the checks look at; a test gives its own."""

    system: str = field(default_factory=platform.system)
    kernel_release: str = field(default_factory=platform.release)
    uid: int = field(default_factory=os.geteuid)
    root: str = "/"  # under which proc and lib/modules lie
    search_path: str = field(default_factory=search_path)

    def read(self, path: str) -> str | None:
        """Text of a file under root; None when it cannot be read."""
        try:
            with open(os.path.join(self.root, path), encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return None


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that can mount, and how."""

    system: System
    helper: str  # absolute path of mount.nfs or mount_nfs
    sudo: bool  # mount and unmount through sudo -n


@dataclass(frozen=True, slots=True)
class MountPoint:
    """A directory that can be mounted on."""

    path: str  # absolute, without symbolic links
    made: tuple[str, ...] = ()  # directories made for it, the outermost first
    hides: bool = False  # it has entries, which the mount will cover
    left: MountEntry | None = None  # an NFS mount of this machine's that its server may have left


def check_machine(around: Surroundings) -> Machine:
    """How to mount here. Raises MountHelperMissing, KernelWithoutNfs or MountNotPermitted."""
    try:
        system = System(around.system)
    except ValueError:
        raise KernelWithoutNfs(
            f"mounting is known for Linux and macOS, not for {around.system}: use --serve-only"
        ) from None
    helper = _helper(system, around)
    if system is System.MACOS:
        return Machine(system, helper, sudo=False)
    _check_kernel(around)
    return Machine(system, helper, sudo=_needs_sudo(helper, around))


def _helper(system: System, around: Surroundings) -> str:
    name = "mount.nfs" if system is System.LINUX else "mount_nfs"
    found = shutil.which(name, path=around.search_path)
    if found is None:
        remedy = (
            "install nfs-common (Debian, Ubuntu) or nfs-utils (Fedora, Arch, Alpine)"
            if system is System.LINUX
            else "it belongs to macOS and lies in /sbin"
        )
        raise MountHelperMissing(f"{name} is not installed: {remedy}, {INSTEAD}")
    return found


def _check_kernel(around: Surroundings) -> None:
    """Raise KernelWithoutNfs when that is certain.

    In a container it often is not: the module may be loaded by the mount itself, from the
    host's /lib/modules, which is not to be seen. Then the mount has to show it.
    """
    loaded = around.read("proc/filesystems")
    if loaded is None or "nfs" in loaded.split():
        return
    if around.read("proc/modules") is not None:
        modules = f"lib/modules/{around.kernel_release}"
        known = [around.read(f"{modules}/modules.{kind}") for kind in ("dep", "builtin")]
        if all(text is None for text in known) or any("/nfs.ko" in (text or "") for text in known):
            return
    raise KernelWithoutNfs(f"the kernel ({around.kernel_release}) has no NFS client: {_ELSEWHERE}")


_ELSEWHERE = f"mount on a machine that has one, {INSTEAD}"


def _needs_sudo(helper: str, around: Surroundings) -> bool:
    """Whether to go through sudo. Raises MountNotPermitted when that would not help either."""
    if around.uid == 0:
        if _may_mount(around):
            return False
        raise MountNotPermitted(
            "this container may not mount (no CAP_SYS_ADMIN): "
            f"start it with --cap-add SYS_ADMIN, {INSTEAD}"
        )
    sudo = shutil.which("sudo", path=around.search_path)
    if sudo is not None and _sudo_allows(sudo, helper):
        return True
    raise MountNotPermitted(
        "mounting needs root on Linux, and sudo would ask for a password: "
        f"run `sudo -v` first, run it as root, {INSTEAD}"
        if sudo
        else f"mounting needs root on Linux, and there is no sudo: run it as root, {INSTEAD}"
    )


def _may_mount(around: Surroundings) -> bool:
    for line in (around.read("proc/self/status") or "").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) & _CAP_SYS_ADMIN)
    return True  # not told: the mount has to show it


def _sudo_allows(sudo: str, helper: str) -> bool:
    try:
        done = subprocess.run(
            [sudo, "-n", "-l", helper],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SUDO_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


# ------------------------------------------------------------------ mount point


def prepare_mount_point(path: str, table: Sequence[MountEntry]) -> MountPoint:
    """Resolve `path`, and make the directory if it is missing. Raises MountPointUnusable.

    The table is asked before the path itself: what a killed server left mounted there would
    make every look at it hang. Such a mount is given as `left`: it may be taken up again.
    """
    if not path or "\0" in path:
        raise MountPointUnusable(f"{path!r} is no path")
    for place in _names_of(path):
        there = topmost(table, place)
        if there is not None and there.source == LEFT_SOURCE and there.port is not None:
            return MountPoint(place, left=there)
        if there is not None:
            raise busy(there)
    resolved = os.path.realpath(path)
    _refuse_a_mount(resolved, table)
    try:
        made = _make(resolved)
        with os.scandir(resolved) as entries:
            hides = any(entries)
    except NotADirectoryError as error:
        raise MountPointUnusable(f"{error.filename} is not a directory") from error
    except OSError as error:
        raise MountPointUnusable(f"cannot use {resolved}: {error.strerror}") from error
    return MountPoint(resolved, tuple(made), hides)


def _names_of(path: str) -> Iterator[str]:
    """A path as typed, and without symbolic links before its last name, which is not looked at."""
    path = os.path.abspath(path)
    yield path
    parent, name = os.path.split(path)
    yield os.path.join(os.path.realpath(parent), name)


def _refuse_a_mount(path: str, table: Sequence[MountEntry]) -> None:
    there = topmost(table, path)
    if there is not None:
        raise busy(there)


def busy(there: MountEntry) -> MountPointUnusable:
    """What to say of a mount that is in the way."""
    how = "umount -l" if there.type.startswith("nfs") else "umount"
    return MountPointUnusable(
        f"{there.mount_point} is busy: {there.source} ({there.type}) is mounted there; "
        f"choose another directory or unmount it first (`{how}`)"
    )


def _make(path: str) -> list[str]:
    """Make `path` and its missing parents; gives what was made, the outermost first."""
    missing = []
    parent = path
    while not os.path.lexists(parent):
        missing.append(parent)
        parent = os.path.dirname(parent)
    if not os.path.isdir(parent):
        raise NotADirectoryError(20, "Not a directory", parent)
    made: list[str] = []
    try:
        for directory in reversed(missing):
            os.mkdir(directory)
            made.append(directory)
    except OSError:
        remove_made(made)
        raise
    return made


def remove_made(made: Sequence[str]) -> None:
    """Remove the directories we made, as far as they are still empty."""
    for directory in reversed(made):
        try:
            os.rmdir(directory)
        except OSError:
            return
