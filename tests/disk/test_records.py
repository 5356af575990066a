"""Facts kept in files: whole, checked, of one key each; and the same in memory."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.disk.records import DiskRecords, MemoryRecords, Record, Records
from hfnfs.errors import CacheUnusable, NoSpace

JSON = st.recursive(
    st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
KEYS = st.lists(st.text(), min_size=1, max_size=3).map(tuple)


@pytest.fixture(params=["disk", "memory"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Records:
    return DiskRecords(tmp_path / "some") if request.param == "disk" else MemoryRecords(1 << 20)


def only_file(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "some").iterdir()
    return path


def test_what_was_put_is_found_under_its_key_alone(records: Records) -> None:
    records.put(("a", "b"), ["é", 1], 5)
    assert records.get("a", "b") == Record(["é", 1], 5)
    assert records.has("a", "b")
    for other in [("a",), ("b", "a"), ("a", "b", ""), ("ab",)]:
        assert records.get(*other) is None
        assert not records.has(*other)


def test_the_last_one_put_stands(records: Records) -> None:
    for number in (1, 2, 2, 3):
        records.put(("a",), number, number * 10)
    assert records.get("a") == Record(3, 30)


@given(kept=st.dictionaries(KEYS, JSON, max_size=5))
def test_any_key_and_value_comes_back(
    kept: dict[tuple[str, ...], Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = DiskRecords(tmp_path_factory.mktemp("records") / "some")
    for key, value in kept.items():
        records.put(key, value, 1)
    assert {key: getattr(records.get(*key), "value", None) for key in kept} == kept


def test_a_record_survives_a_restart_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    DiskRecords(tmp_path / "some").put(("a",), 1, 5)
    assert DiskRecords(tmp_path / "some").get("a") == Record(1, 5)
    assert stat.S_IMODE(only_file(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "some").stat().st_mode) == 0o700


def test_the_same_again_is_not_written_again(tmp_path: Path) -> None:
    records = DiskRecords(tmp_path / "some")
    records.put(("a",), [1], 5)
    before = only_file(tmp_path).stat().st_ino
    records.put(("a",), [1], 9)
    assert records.get("a") == Record([1], 9)
    assert only_file(tmp_path).stat().st_ino == before


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other key"])
def test_a_damaged_record_is_absent_until_it_is_put_again(damage: str, tmp_path: Path) -> None:
    records = DiskRecords(tmp_path / "some")
    records.put(("a",), list(range(100)), 5)
    path = only_file(tmp_path)
    raw = bytearray(path.read_bytes())
    if damage == "flip":
        raw[-1] ^= 1
        path.write_bytes(raw)
    elif damage == "other key":
        records.put(("b",), 1, 5)
        (other,) = set((tmp_path / "some").iterdir()) - {path}
        other.replace(path)
    else:
        path.write_bytes(raw[: len(raw) - 1] if damage == "cut" else b"")
    assert records.get("a") is None
    records.put(("a",), list(range(100)), 6)
    assert records.get("a") == Record(list(range(100)), 6)


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = DiskRecords(tmp_path / "some")
    records.put(("a",), 1, 5)

    def full(*_: Any, **__: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(NoSpace):
        records.put(("a",), 2, 6)
    assert records.get("a") == Record(1, 5)
    assert len(os.listdir(tmp_path / "some")) == 1


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "some").touch()
    with pytest.raises(CacheUnusable, match="some"):
        DiskRecords(tmp_path / "some").put(("a",), 1, 5)


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    records = DiskRecords(tmp_path / "some")
    records.put(("a",), 1, 5)
    path = only_file(tmp_path)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert records.get("a") is None


def test_memory_is_bounded_and_the_longest_unused_goes() -> None:
    records = MemoryRecords(250)
    for number in range(3):
        records.put((str(number),), number, 0)
    assert records.get("0") == Record(0, 0)
    for number in range(3, 6):
        records.put((str(number),), number, 0)
    assert records.has("0")
    assert not records.has("1")
    records.put(("big",), [str(n) for n in range(1000)], 0)
    assert records.get("big") is None
