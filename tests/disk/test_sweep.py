"""What is left there, removed, or moved away when staging is opened."""

import os
from pathlib import Path

import pytest

from hfnfs.disk.ranges import Ranges
from hfnfs.disk.staging import Staging
from hfnfs.disk.sweep import Swept
from hfnfs.errors import CacheUnusable
from tests.disk.staged import opened


def test_what_was_never_recorded_is_removed_at_the_next_start(tmp_path: Path) -> None:
    with opened(tmp_path) as staging:
        staging.write(1, 0, b"known")
        staging.write(2, 0, b"never synced")
        staging.write(3, 0, bytes(10_000))
    with opened(tmp_path, {1}) as staging:
        assert staging.read(1, 0, 5) == b"known"
        assert staging.usage().files == 1
    there = sorted(path.name for path in tmp_path.rglob("*"))
    assert there == [f"{1:016x}", "lost+found", "snapshots"]


def test_what_may_count_is_moved_away_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its record is missing, or it was not put there by us."""
    for turn in range(2):
        with opened(tmp_path) as staging:
            staging.write(1, 0, b"turn %d" % turn)
            staging.write(2, 0, b"known")
        (tmp_path / "note.txt").write_text("mine")
        (tmp_path / f"{3:016x}").mkdir()
        with opened(tmp_path, {2}, may_lack=not turn) as staging:
            assert staging.read(2, 0, 5) == b"known"
            staging.unlink(staging.set_aside(2))
    lost = tmp_path / "lost+found"
    names = {path.name: path.read_bytes() for path in lost.iterdir() if path.is_file()}
    assert names == {f"{1:016x}": b"turn 0", "note.txt": b"mine", "note.txt.1": b"mine"}
    assert {path.name for path in lost.iterdir() if path.is_dir()} == {f"{3:016x}", f"{3:016x}.1"}
    assert all(name in caplog.text for name in names)


def test_however_much_is_moved_away_it_is_one_line_of_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path) as staging:
        for fileid in range(1, 101):
            staging.write(fileid, 0, b"x")
    with opened(tmp_path, may_lack=True):
        (record,) = caplog.records
    assert "and 97 more" in record.getMessage()
    assert len(list((tmp_path / "lost+found").iterdir())) == 100


def test_what_is_known_of_and_not_there_is_told(tmp_path: Path) -> None:
    staging = Staging(tmp_path, None)
    assert staging.open({5, 6}) == Swept(frozenset(), frozenset({5, 6}), frozenset(), ())
    staging.close()


def test_snapshots_of_before_are_removed(tmp_path: Path) -> None:
    with opened(tmp_path) as staging:
        staging.write(1, 0, b"abc")
        staging.snapshot(1, Ranges([(0, 3)]), 3).seal()
    with opened(tmp_path, {1}):
        assert not list((tmp_path / "snapshots").iterdir())


@pytest.mark.parametrize("name", ["", "snapshots", "lost+found"])
def test_nothing_is_removed_from_where_a_link_leads(tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / f"{1:016x}").write_text("mine")
    (precious / "other").write_text("mine")
    with opened(tmp_path / "staging") as staging:
        link = staging.directory / name
    for found in [*link.iterdir()] if name == "" else []:
        found.rmdir()
    link.rmdir()
    link.symlink_to(precious)
    with pytest.raises(CacheUnusable), opened(tmp_path / "staging"):
        pass
    assert sorted(os.listdir(precious)) == [f"{1:016x}", "other"]
