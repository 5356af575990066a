"""Argument lists of mount and umount on both systems."""

import shlex

import pytest

from hfnfs.host.mount_command import (
    NfsTarget,
    System,
    Unmount,
    libnfs_url,
    mount_argv,
    mount_line,
    mount_options,
    unmount_argv,
    unmount_line,
    write_back_argv,
)

TARGET = NfsTarget(port=20049)
BOTH = pytest.mark.parametrize("system", list(System))


def options(target: NfsTarget, system: System) -> list[str]:
    return mount_options(target, system).split(",")


@BOTH
def test_every_mount_is_nfs_3_over_tcp_on_our_port_alone(system: System) -> None:
    given = options(TARGET, system)
    assert {"vers=3", "tcp", "port=20049", "mountport=20049"} <= set(given)


@BOTH
def test_no_option_is_given_twice(system: System) -> None:
    names = [option.partition("=")[0] for option in options(TARGET, system)]
    assert len(names) == len(set(names))


@BOTH
def test_reads_and_writes_carry_a_mebibyte(system: System) -> None:
    assert {"rsize=1048576", "wsize=1048576"} <= set(options(TARGET, system))


@BOTH
def test_what_is_mounted_can_bring_no_setuid_program_and_no_device(system: System) -> None:
    assert {"nosuid", "nodev"} <= set(options(TARGET, system))


@BOTH
def test_a_read_only_mount_fails_in_the_end_when_its_server_is_gone(system: System) -> None:
    assert {"soft", "timeo=600", "retrans=2"} <= set(options(TARGET, system))


@BOTH
def test_a_writable_mount_never_gives_up_a_write(system: System) -> None:
    given = options(NfsTarget(port=1, read_only=False), system)
    assert not {"soft", "ro", "rdonly"} & set(given)
    assert "timeo=600" in given
    assert ("hard" in given) == (system is System.LINUX)


def test_each_system_is_asked_in_its_own_words_to_write_back() -> None:
    assert write_back_argv("/m", System.LINUX) == ["sync", "-f", "/m"]
    assert write_back_argv("/m", System.MACOS) == ["sync"]


def test_each_system_has_its_own_word_for_read_only_and_for_local_locks() -> None:
    assert {"ro", "nolock"} <= set(options(TARGET, System.LINUX))
    assert {"rdonly", "locallocks"} <= set(options(TARGET, System.MACOS))
    assert not {"rdonly", "locallocks"} & set(options(TARGET, System.LINUX))
    assert not {"ro", "nolock", "noacl"} & set(options(TARGET, System.MACOS))


@BOTH
@pytest.mark.parametrize(("seconds", "told"), [(0, 0), (0.5, 0), (1, 1), (10, 10), (2.9, 2)])
def test_the_client_never_caches_attributes_for_longer_than_promised(
    system: System, seconds: float, told: int
) -> None:
    given = options(NfsTarget(port=1, attributes_cached_s=seconds), system)
    assert {f"acregmin={told}", f"acregmax={told}"} <= set(given)
    of_names = min(told, 1)
    assert {f"acdirmin={of_names}", f"acdirmax={of_names}"} <= set(given)


def test_mount_on_linux() -> None:
    argv = mount_argv(TARGET, "/mnt/a b", System.LINUX, helper="/sbin/mount.nfs", sudo=False)
    assert argv[:4] == ["/sbin/mount.nfs", "127.0.0.1:/", "/mnt/a b", "-o"]
    assert argv[4].endswith(",retry=0")
    assert len(argv) == 5


def test_mount_on_macos() -> None:
    argv = mount_argv(TARGET, "/Volumes/x", System.MACOS, helper="/sbin/mount_nfs", sudo=False)
    assert argv[:2] == ["/sbin/mount_nfs", "-o"]
    assert argv[3:] == ["127.0.0.1:/", "/Volumes/x"]


def test_sudo_never_asks() -> None:
    mounted = mount_argv(TARGET, "/m", System.LINUX, helper="/sbin/mount.nfs", sudo=True)
    unmounted = unmount_argv("/m", System.LINUX, Unmount.CLEAN, sudo=True)
    assert mounted[:3] == ["sudo", "-n", "/sbin/mount.nfs"]
    assert unmounted == ["sudo", "-n", "umount", "/m"]


@pytest.mark.parametrize(
    ("system", "how", "argv"),
    [
        (System.LINUX, Unmount.CLEAN, ["umount", "/m"]),
        (System.LINUX, Unmount.LAZY, ["umount", "-l", "/m"]),
        (System.LINUX, Unmount.FORCE, ["umount", "-f", "-l", "/m"]),
        (System.MACOS, Unmount.CLEAN, ["umount", "/m"]),
        (System.MACOS, Unmount.LAZY, ["umount", "-f", "/m"]),
        (System.MACOS, Unmount.FORCE, ["umount", "-f", "/m"]),
    ],
)
def test_unmount(system: System, how: Unmount, argv: list[str]) -> None:
    assert unmount_argv("/m", system, how, sudo=False) == argv


@BOTH
def test_a_shell_reads_the_printed_command_as_it_was_meant(system: System) -> None:
    place = "/mnt/it's $HOME\n"
    helper = {System.LINUX: "mount.nfs", System.MACOS: "mount_nfs"}[system]
    printed = shlex.split(mount_line(TARGET, place, system))
    meant = mount_argv(TARGET, place, system, helper=helper, sudo=False)
    assert printed == (["sudo", *meant] if system is System.LINUX else meant)


def test_a_person_is_told_to_unmount_with_the_rights_that_mounting_took() -> None:
    assert unmount_line("/m n", sudo=False) == "umount '/m n'"
    assert unmount_line("/m", sudo=True) == "sudo umount /m"


def test_the_export_is_part_of_device_and_url() -> None:
    target = NfsTarget(port=7, export="/volume")
    assert target.device == "127.0.0.1:/volume"
    assert libnfs_url(target) == "nfs://127.0.0.1/volume/?nfsport=7&mountport=7"


def test_the_url_of_the_root_export_leaves_libnfs_an_export_that_is_not_empty() -> None:
    assert libnfs_url(TARGET) == "nfs://127.0.0.1//?nfsport=20049&mountport=20049"
