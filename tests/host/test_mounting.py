"""Mount and unmount through programs that are played by scripts."""

import asyncio
import os
from pathlib import Path

import pytest

from hfnfs.errors import (
    HostError,
    KernelWithoutNfs,
    MountFailed,
    MountNotPermitted,
    MountPointUnusable,
)
from hfnfs.host import mounting as room
from hfnfs.host.mount_command import Unmount
from tests.host.stage import BUSY, MOUNTS, UNMOUNTS, Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    stage = Stage(tmp_path)
    stage.program("mount.nfs", MOUNTS)
    stage.program("umount", UNMOUNTS)
    return stage


async def test_a_mount_is_there_once_the_table_shows_it(stage: Stage) -> None:
    mounting = stage.mounting()
    assert not mounting.is_there()
    await mounting.mount()
    assert mounting.is_there()
    assert mounting.mount_point == str(stage.mount_point)


async def test_the_helper_gets_device_place_and_options(stage: Stage) -> None:
    await stage.mounting().mount()
    (call,) = stage.called()
    assert call.startswith(f"mount.nfs 127.0.0.1:/ {stage.mount_point} -o vers=3,")


async def test_a_clean_unmount_is_seen_in_the_table(stage: Stage) -> None:
    mounting = stage.mounting()
    await mounting.mount()
    assert (await mounting.unmount(Unmount.CLEAN)).ok
    assert not mounting.is_there()
    assert stage.called()[1:] == [f"umount {stage.mount_point}"]


async def test_a_mount_that_someone_else_ended_is_not_unmounted_again(stage: Stage) -> None:
    mounting = stage.mounting()
    await mounting.mount()
    stage.change("41 1", "gone")
    assert (await mounting.unmount(Unmount.CLEAN)).ok
    assert len(stage.called()) == 1


async def test_the_end_of_a_mount_does_not_depend_on_who_took_its_place(stage: Stage) -> None:
    mounting = stage.mounting()
    await mounting.mount()
    stage.change("41 1", "42 1")
    assert not mounting.is_there()


async def test_a_moved_mount_is_unmounted_where_it_is(stage: Stage) -> None:
    mounting = stage.mounting()
    await mounting.mount()
    stage.change(str(stage.mount_point), "/elsewhere")
    await mounting.unmount(Unmount.CLEAN)
    assert stage.called()[-1] == "umount /elsewhere"


async def test_what_was_mounted_over_it_is_not_taken_away(stage: Stage) -> None:
    mounting = stage.mounting()
    await mounting.mount()
    with stage.table_file.open("a") as table:
        table.write(f"60 41 0:60 / {stage.mount_point} rw - tmpfs none rw\n")
    outcome = await mounting.unmount(Unmount.LAZY)
    assert "mounted over" in outcome.said
    assert mounting.is_there()
    assert len(stage.called()) == 1


async def test_any_price_goes_from_lazy_to_force(stage: Stage) -> None:
    stage.program("umount", f'case "$1" in -f) {UNMOUNTS};; *) {BUSY};; esac')
    mounting = stage.mounting()
    await mounting.mount()
    assert await mounting.unmount_at_any_price()
    assert [call.rpartition(" ")[0] for call in stage.called()[1:]] == ["umount -l", "umount -f -l"]


async def test_a_mount_that_no_price_ends_is_said_to_be_there(stage: Stage) -> None:
    stage.program("umount", BUSY)
    mounting = stage.mounting()
    await mounting.mount()
    assert not await mounting.unmount_at_any_price()
    assert mounting.is_there()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("mount.nfs: Operation not permitted for 127.0.0.1:/ on /m", MountNotPermitted),
        ("mount.nfs: access denied: Permission denied", MountNotPermitted),
        ("sudo: a password is required", MountNotPermitted),
        ("Sorry, user me is not allowed to execute '/sbin/mount.nfs' as root", MountNotPermitted),
        ("mount.nfs: No such device", KernelWithoutNfs),
        ("mount: unknown filesystem type 'nfs'", KernelWithoutNfs),
        ("mount.nfs: Protocol not supported", KernelWithoutNfs),
        ("mount.nfs: /m is busy or already mounted", MountPointUnusable),
        ("mount.nfs: mount point /m does not exist\nNo such file or directory", MountPointUnusable),
        ("mount.nfs: Connection refused", MountFailed),
        ("", MountFailed),
    ],
)
async def test_what_the_helper_says_decides_the_error(
    stage: Stage, said: str, kind: type[HostError]
) -> None:
    stage.program("mount.nfs", f"cat >&2 <<'E'\n{said}\nE\nexit 32")
    with pytest.raises(kind) as caught:
        await stage.mounting().mount()
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    assert " ".join(said.split()) in str(caught.value)


async def test_a_helper_that_went_away_is_a_failed_mount(stage: Stage) -> None:
    (stage.programs / "mount.nfs").unlink()
    with pytest.raises(MountPointUnusable, match="No such file"):
        await stage.mounting().mount()


async def test_a_helper_that_hangs_is_killed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOUNTED_WITHIN_S", 0.05)
    stage.program("mount.nfs", "exec sleep 100")
    with pytest.raises(MountFailed, match="did not end within"):
        await stage.mounting().mount()


async def test_a_helper_that_fails_after_mounting_leaves_no_mount(stage: Stage) -> None:
    stage.program("mount.nfs", f"{MOUNTS}; echo oops >&2; exit 1")
    with pytest.raises(MountFailed, match="oops"):
        await stage.mounting().mount()
    assert stage.called()[1:] == [f"umount -l {stage.mount_point}"]
    assert len(stage.read()) == 1


async def test_a_success_that_nobody_sees_is_a_failure(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "VISIBLE_WITHIN_S", 0.05)
    stage.program("mount.nfs", "exit 0")
    with pytest.raises(MountFailed, match="namespace"):
        await stage.mounting().mount()


async def test_someone_elses_mount_at_that_moment_is_not_taken_for_ours(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "VISIBLE_WITHIN_S", 0.05)
    stage.program("mount.nfs", MOUNTS.replace("$1", "10.0.0.1:/"))
    with pytest.raises(MountFailed, match="namespace"):
        await stage.mounting().mount()
    assert len(stage.called()) == 1


async def test_being_cancelled_while_mounting_leaves_no_mount(stage: Stage) -> None:
    started = stage.programs / "started"
    os.mkfifo(started)
    stage.program("mount.nfs", f"{MOUNTS}; echo > {started}; exec sleep 100")
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(stage.mounting().mount())
        await asyncio.to_thread(started.read_text)
        task.cancel()
    assert len(stage.read()) == 1
