from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.localhub import buckets as module
from hfnfs.localhub.buckets import Bucket, BucketFile, Buckets, Snapshot
from hfnfs.localhub.store import Store
from tests.fakes.clock import FakeClock

FILE = BucketFile(bytes(32), 0, None, 0)
PATHS = st.lists(
    st.lists(st.sampled_from(["a", "b", "a.", "a0", "ab", "é"]), min_size=1, max_size=4).map(
        "/".join
    ),
    max_size=20,
    unique=True,
)


def listing(snapshot: Snapshot, prefix: str, size: int, *, recursive: bool) -> list[str]:
    """All pages of `size` lines; a directory ends in a slash."""
    lines: list[str] = []
    start = ""
    while True:
        page = [
            line
            for line, _ in zip(
                snapshot.page(prefix, start, recursive=recursive), range(size), strict=False
            )
        ]
        lines += [line.path + ("" if line.file else "/") for line in page]
        if len(page) < size:
            return lines
        start = page[-1].after


def model(paths: list[str], prefix: str) -> set[str]:
    """What one level shows: the first component that follows the prefix, or completes it."""
    found = set()
    for path in paths:
        if path.startswith(prefix):
            rest = path[len(prefix) :]
            slash = "/" if rest.startswith("/") else ""
            head, more, _ = rest[len(slash) :].partition("/")
            found.add(prefix + slash + head + more)
    return found


@given(PATHS, st.sampled_from(["", "a", "a/", "a/b", "b/a/"]), st.integers(1, 5))
def test_pages_of_a_level_show_each_name_once(paths: list[str], prefix: str, size: int) -> None:
    snapshot = Snapshot(dict.fromkeys(paths, FILE), sorted(paths))
    lines = listing(snapshot, prefix, size, recursive=False)
    assert len(lines) == len(set(lines))
    assert set(lines) == model(paths, prefix)


@given(PATHS, st.sampled_from(["", "a", "a/"]), st.integers(1, 5))
def test_pages_of_all_files_miss_none(paths: list[str], prefix: str, size: int) -> None:
    snapshot = Snapshot(dict.fromkeys(paths, FILE), sorted(paths))
    found = listing(snapshot, prefix, size, recursive=True)
    assert found == sorted(path for path in paths if path.startswith(prefix))


@pytest.fixture
def buckets(tmp_path: Path) -> Buckets:
    return Buckets(Store(tmp_path / "hub"), FakeClock())


def now(buckets: Buckets) -> Bucket:
    found = buckets.find("local/b")
    assert found is not None
    return found


def test_every_change_moves_the_date_of_the_bucket(buckets: Buckets) -> None:
    dates = [buckets.create("local/b").updated]
    for number in range(3):
        buckets.change(now(buckets), [(f"{number}", FILE)])
        dates.append(now(buckets).updated)
    assert dates == sorted(set(dates))


def test_a_late_listing_is_what_was_there_some_changes_ago(buckets: Buckets) -> None:
    buckets.create("local/b")
    other = FILE._replace(size=5)
    buckets.change(now(buckets), [("kept", FILE), ("gone", FILE)])
    buckets.change(now(buckets), [("kept", other), ("gone", None)])
    buckets.change(now(buckets), [("new", FILE)])
    ages = [buckets.snapshot(now(buckets), late_by=age).files for age in range(4)]
    assert ages == [
        {"kept": other, "new": FILE},
        {"kept": other},
        {"kept": other, "gone": FILE},
        {"kept": FILE, "gone": FILE},
    ]


def test_changes_too_long_ago_are_forgotten_and_that_is_told(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHANGES_KEPT", 3)
    buckets.create("local/b")
    for number in range(5):
        buckets.change(now(buckets), [(f"{number}", FILE)])
    last = buckets.last_change(now(buckets))
    recent = buckets.changes(now(buckets), last - 3)
    assert recent is not None
    assert [change.path for change in recent] == ["2", "3", "4"]
    assert buckets.changes(now(buckets), last - 4) is None


def test_of_two_buckets_each_has_its_own(buckets: Buckets) -> None:
    buckets.create("local/b")
    buckets.create("local/c")
    buckets.change(now(buckets), [("x", FILE)])
    other = buckets.find("local/c")
    assert other is not None
    assert buckets.snapshot(other).files == {}
    buckets.delete(now(buckets))
    assert [bucket.name for bucket in buckets.of_namespace("local")] == ["local/c"]
