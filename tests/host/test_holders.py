"""Who keeps a mount busy."""

import os
from pathlib import Path

import pytest

from hfnfs.host.holders import Holder, holders


def process(proc: Path, pid: int, name: str, links: dict[str, str]) -> None:
    directory = proc / str(pid)
    (directory / "fd").mkdir(parents=True)
    (directory / "map_files").mkdir()
    (directory / "comm").write_text(name + "\n")
    for link, target in links.items():
        os.symlink(target, directory / link)


@pytest.mark.parametrize("link", ["cwd", "root", "exe", "fd/7", "map_files/400000-401000"])
def test_directory_file_and_mapping_all_hold(tmp_path: Path, link: str) -> None:
    process(tmp_path, 12, "vim", {link: "/mnt/m/config.json"})
    process(tmp_path, 13, "sh", {"cwd": "/mnt"})
    assert holders("/mnt/m", str(tmp_path)) == [Holder(12, "vim")]


def test_the_mount_point_itself_counts_and_a_neighbour_does_not(tmp_path: Path) -> None:
    process(tmp_path, 20, "here", {"cwd": "/mnt/m"})
    process(tmp_path, 21, "beside", {"cwd": "/mnt/mm", "fd/1": "/mnt/m2/x"})
    process(tmp_path, 22, "deleted", {"fd/1": "/mnt/m (deleted)"})
    assert [h.name for h in holders("/mnt/m", str(tmp_path))] == ["here", "deleted"]


def test_what_ended_meanwhile_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "99").mkdir()
    (tmp_path / "self").mkdir()
    assert holders("/mnt/m", str(tmp_path)) == []


def test_a_system_without_proc_names_nobody(tmp_path: Path) -> None:
    assert holders("/mnt/m", str(tmp_path / "none")) == []


def test_a_holder_reads_as_name_and_pid() -> None:
    assert str(Holder(12, "vim")) == "vim (pid 12)"
