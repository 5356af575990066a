"""The mount table of the running system, its changes, and a whole life of a mount on it.

Real mounts are made in a mount namespace of a child's own: nobody else sees them.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hfnfs.host import mount_watch
from hfnfs.host.mount_table import topmost
from hfnfs.host.mount_watch import LinuxMountTable

ROOT = Path(__file__).resolve().parents[2]
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc/self/mountinfo")

# Says when it is mounted, and ends as stay_mounted does; mount.nfs is played by mount -t tmpfs.
CHILD = """
import asyncio, os, sys
from contextlib import asynccontextmanager
from hfnfs.host.lifetime import MountPlan, stay_mounted
from hfnfs.host.preflight import Surroundings
from hfnfs.host import mount_watch
mount_watch.LOOK_AGAIN_S = 60.0  # nothing but the kernel's word may be fast

class Served:
    port, export, read_only, resumed = 1, "/", True, False

    async def drained(self, enough):
        pass

@asynccontextmanager
async def serving():
    yield Served()
    print("over", flush=True)

point, stage = sys.argv[1:]
around = Surroundings("Linux", "6", 0, stage, stage + "/bin")
asyncio.run(stay_mounted(MountPlan(point, 1.0, around), serving(),
                         lambda mounted: print(mounted.point.path, flush=True)))
"""


def can_unshare() -> bool:
    tried = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    return shutil.which("unshare") is not None and not subprocess.run(tried, check=False).returncode


@linux
async def test_the_table_of_this_process_is_read() -> None:
    with LinuxMountTable() as table:
        root = topmost(table.read(), "/")
        assert root is not None
        assert table.read() == table.read()


@linux
async def test_waiting_for_a_change_ends_when_the_owner_wakes_it() -> None:
    wake = asyncio.Event()
    with LinuxMountTable() as table:
        asyncio.get_running_loop().call_soon(wake.set)
        await table.changed(wake)


@linux
async def test_waiting_for_a_change_ends_without_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mount_watch, "LOOK_AGAIN_S", 0.01)
    with LinuxMountTable() as table:
        await table.changed(asyncio.Event())


def life(tmp_path: Path, name: str, then: str) -> list[str]:
    """Lines printed by CHILD mounted at `name`, while a shell beside it runs `then` ($1: where)."""
    if not (sys.platform == "linux" and os.geteuid() == 0 and can_unshare()):
        pytest.skip("making mounts of one's own needs root on Linux")
    programs = tmp_path / "stage/bin"
    programs.mkdir(parents=True)
    (tmp_path / "stage/proc").mkdir()
    (tmp_path / "stage/proc/filesystems").write_text("nodev nfs\n")
    helper = programs / "mount.nfs"
    helper.write_text('#!/bin/sh\nexec mount -t tmpfs "$1" "$2"\n')
    helper.chmod(0o755)
    start = 'mkfifo "$3"; "$0" -c "$4" "$1" "$2" >"$3" 2>&1 & exec <"$3"; read -r _'
    given = [*(str(tmp_path / part) for part in (name, "stage", "fifo")), CHILD]
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", f"{start}; {then}; cat; wait", sys.executable, *given],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", ["plain", "with space", "größe 🤗"])
def test_a_mount_that_is_unmounted_by_hand_is_over_at_once(tmp_path: Path, name: str) -> None:
    assert life(tmp_path, name, 'umount "$1"') == ["over"]
    assert not (tmp_path / name).exists()


def test_a_signal_unmounts(tmp_path: Path) -> None:
    assert life(tmp_path, "m", 'kill -TERM $!; wait $!; ! mountpoint -q "$1"') == ["over"]


def test_mounts_that_come_and_go_elsewhere_do_not_end_it(tmp_path: Path) -> None:
    others = 'mount -t tmpfs o /mnt; umount /mnt; mountpoint -q "$1" && echo still; umount "$1"'
    assert life(tmp_path, "m", others) == ["still", "over"]


def test_a_second_signal_detaches_what_is_in_use(tmp_path: Path) -> None:
    hold = 'exec 9>"$1/file"; kill -TERM $!; read -r said; echo "$said"'
    again = 'kill -TERM $!; wait $!; mountpoint -q "$1" && echo still'
    said, detached, over = life(tmp_path, "m", f"{hold}; {again}")
    assert "in use by bash (pid" in said
    assert "detaching" in detached
    assert over == "over"
