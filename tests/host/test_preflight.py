"""Each thing a machine can lack gets one line that says what to do."""

import os
from pathlib import Path
from typing import NamedTuple

import pytest

from hfnfs.errors import (
    HostError,
    KernelWithoutNfs,
    MountHelperMissing,
    MountNotPermitted,
    MountPointUnusable,
)
from hfnfs.host.mount_command import System
from hfnfs.host.mount_table import MountEntry
from hfnfs.host.preflight import (
    MountPoint,
    Surroundings,
    check_machine,
    prepare_mount_point,
    remove_made,
)

RELEASE = "6.1.0"


class Machine(NamedTuple):
    """A machine made of files; it can mount until something is taken from it."""

    root: Path

    @property
    def programs(self) -> Path:
        return self.root / "sbin"

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def program(self, name: str, script: str = "exit 0") -> Path:
        self.programs.mkdir(exist_ok=True)
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    def around(self, system: str = "Linux", uid: int = 0) -> Surroundings:
        return Surroundings(system, RELEASE, uid, str(self.root), str(self.programs))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.write("proc/filesystems", "nodev\tproc\n\text4\nnodev\tnfs\nnodev\tnfs4\n")
    machine.write("proc/self/status", "Name:\tx\nCapEff:\t000001ffffffffff\n")
    machine.program("mount.nfs")
    return machine


def complaint(kind: type[HostError], around: Surroundings) -> str:
    with pytest.raises(kind) as caught:
        check_machine(around)
    text = str(caught.value)
    assert "\n" not in text
    assert "--serve-only" in text
    return text


def test_root_with_everything_mounts_by_itself(machine: Machine) -> None:
    found = check_machine(machine.around())
    assert (found.system, found.sudo) == (System.LINUX, False)
    assert found.helper == str(machine.programs / "mount.nfs")


def test_no_helper_names_the_packages_to_install(machine: Machine) -> None:
    (machine.programs / "mount.nfs").unlink()
    text = complaint(MountHelperMissing, machine.around())
    assert "nfs-common" in text
    assert "nfs-utils" in text


def test_a_kernel_without_modules_and_without_nfs_is_refused(machine: Machine) -> None:
    machine.write("proc/filesystems", "nodev\tproc\n\text4\nnodev\tnfsd\n")
    assert RELEASE in complaint(KernelWithoutNfs, machine.around())


def test_a_kernel_whose_modules_lack_nfs_is_refused(machine: Machine) -> None:
    machine.write("proc/filesystems", "nodev\tproc\n")
    machine.write("proc/modules", "ext4 1 0 - Live 0x0\n")
    machine.write(f"lib/modules/{RELEASE}/modules.dep", "kernel/fs/ext4/ext4.ko.xz:\n")
    complaint(KernelWithoutNfs, machine.around())


@pytest.mark.parametrize("index", ["modules.dep", "modules.builtin"])
def test_a_module_that_can_be_loaded_is_enough(machine: Machine, index: str) -> None:
    machine.write("proc/filesystems", "nodev\tproc\n")
    machine.write("proc/modules", "")
    machine.write(f"lib/modules/{RELEASE}/{index}", "kernel/fs/nfs/nfs.ko.zst: kernel/fs/x.ko\n")
    assert check_machine(machine.around()).helper


def test_a_container_that_cannot_see_the_modules_may_try(machine: Machine) -> None:
    machine.write("proc/filesystems", "nodev\tproc\n")
    machine.write("proc/modules", "")
    assert check_machine(machine.around()).helper


def test_root_without_the_capability_is_told_about_the_container(machine: Machine) -> None:
    machine.write("proc/self/status", "CapEff:\t00000000a80425fb\n")
    assert "--cap-add SYS_ADMIN" in complaint(MountNotPermitted, machine.around())


def test_a_user_with_a_sudo_that_does_not_ask_mounts_through_it(machine: Machine) -> None:
    machine.program("sudo", f'[ "$*" = "-n -l {machine.programs}/mount.nfs" ]')
    assert check_machine(machine.around(uid=1000)).sudo


def test_a_user_whose_sudo_asks_is_told_to_answer_first(machine: Machine) -> None:
    machine.program("sudo", "echo 'sudo: a password is required' >&2; exit 1")
    assert "sudo -v" in complaint(MountNotPermitted, machine.around(uid=1000))


def test_a_user_without_sudo_is_told_so(machine: Machine) -> None:
    assert "no sudo" in complaint(MountNotPermitted, machine.around(uid=1000))


def test_macos_needs_its_helper_and_no_root(machine: Machine) -> None:
    machine.program("mount_nfs")
    found = check_machine(machine.around("Darwin", uid=501))
    assert (found.system, found.sudo) == (System.MACOS, False)


def test_macos_without_its_helper_is_told_where_it_lies(machine: Machine) -> None:
    assert "mount_nfs" in complaint(MountHelperMissing, machine.around("Darwin"))


def test_other_systems_can_only_serve(machine: Machine) -> None:
    assert "FreeBSD" in complaint(KernelWithoutNfs, machine.around("FreeBSD"))


# ------------------------------------------------------------------ mount point


def entry(path: Path | str, type_: str = "nfs") -> MountEntry:
    return MountEntry(41, "0:52", str(path), type_, "127.0.0.1:/")


@pytest.mark.parametrize("name", ["plain", "with space", "größe 🤗", "line\nbreak", "-o", "a,b"])
def test_any_name_is_made_and_removed_again(tmp_path: Path, name: str) -> None:
    point = prepare_mount_point(str(tmp_path / name), [])
    assert point == MountPoint(str(tmp_path / name), (str(tmp_path / name),))
    assert (tmp_path / name).is_dir()
    remove_made(point.made)
    assert not (tmp_path / name).exists()


def test_a_relative_path_is_meant_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert prepare_mount_point("m/", []).path == str(tmp_path / "m")


def test_symbolic_links_are_followed_to_the_directory(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    os.symlink("real", tmp_path / "link")
    assert prepare_mount_point(str(tmp_path / "link"), []).path == str(tmp_path / "real")
    assert prepare_mount_point(str(tmp_path / "link/sub"), []).path == str(tmp_path / "real/sub")


def test_missing_parents_are_made_and_only_they_are_removed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    point = prepare_mount_point(str(tmp_path / "kept/a/b"), [])
    assert point.made == (str(tmp_path / "kept/a"), str(tmp_path / "kept/a/b"))
    remove_made(point.made)
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_directory_we_made_stays_when_something_was_put_into_it(tmp_path: Path) -> None:
    point = prepare_mount_point(str(tmp_path / "a/b"), [])
    (tmp_path / "a/file").touch()
    remove_made(point.made)
    assert (tmp_path / "a/file").exists()
    assert not (tmp_path / "a/b").exists()


def test_what_was_there_before_is_neither_made_nor_removed(tmp_path: Path) -> None:
    assert prepare_mount_point(str(tmp_path), []) == MountPoint(str(tmp_path))


def test_a_directory_with_entries_can_be_covered_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert prepare_mount_point(str(tmp_path), []).hides


def refusal(path: Path | str, table: list[MountEntry] | None = None) -> str:
    with pytest.raises(MountPointUnusable) as caught:
        prepare_mount_point(str(path), table or [])
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_a_file_is_no_mount_point(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    assert refusal(tmp_path / path) == f"{tmp_path / 'file'} is not a directory"


def test_a_link_to_nowhere_leads_to_a_directory_made_there(tmp_path: Path) -> None:
    os.symlink("nowhere", tmp_path / "link")
    assert prepare_mount_point(str(tmp_path / "link"), []).path == str(tmp_path / "nowhere")


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    os.symlink("b", tmp_path / "a")
    os.symlink("a", tmp_path / "b")
    assert str(tmp_path) in refusal(tmp_path / "a")


def test_a_mount_point_in_use_is_busy_and_says_by_what(tmp_path: Path) -> None:
    text = refusal(tmp_path, [entry(tmp_path)])
    assert "busy" in text
    assert "127.0.0.1:/ (nfs)" in text
    assert "umount -l" in text


def test_a_busy_place_is_seen_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    os.symlink("real", tmp_path / "link")
    assert "busy" in refusal(tmp_path / "link", [entry(tmp_path / "real", "tmpfs")])


def test_a_dead_mount_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(path: str) -> str:
        raise AssertionError(f"{path} would hang")

    monkeypatch.setattr(os.path, "realpath", hang)
    assert "busy" in refusal(tmp_path, [entry(tmp_path)])


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_what_is_no_path_is_refused(path: str) -> None:
    assert "is no path" in refusal(path)


def test_a_place_where_nothing_can_be_made_is_refused() -> None:
    assert "cannot use /proc/hfnfs" in refusal("/proc/hfnfs")
