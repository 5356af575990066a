"""Which byte comes from where, and what of that survives."""

import pytest

from hfnfs.remote import ContentId
from hfnfs.vfs.overlay import Overlay, restored

BASE = ContentId("git-base", 100)


def an_overlay() -> Overlay:
    return Overlay(100, 1, BASE)


def test_a_file_that_shrank_and_grew_shows_nothing_of_the_base_beyond() -> None:
    overlay = an_overlay()
    overlay.truncate(40)
    overlay.truncate(100)
    assert overlay.gaps(0, 100) == [(0, 40)]
    assert overlay.size == 100


def test_a_write_beyond_the_end_leaves_a_gap_that_is_not_the_bases() -> None:
    overlay = an_overlay()
    overlay.write(150, 160, 2)
    assert overlay.gaps(0, 160) == [(0, 100)]
    assert overlay.size == 160


def test_an_overlay_is_clean_until_something_changes_and_once_that_is_settled() -> None:
    overlay = an_overlay()
    assert overlay.is_clean
    overlay.write(0, 10, 2)
    assert not overlay.is_clean
    overlay.settle(2, ContentId("git-new", 100))
    assert overlay.is_clean


def test_only_what_was_synced_is_recorded() -> None:
    overlay = an_overlay()
    overlay.write(0, 10, 2)
    overlay.begin_claim()
    overlay.write(20, 130, 3)
    assert list(overlay.record(7).ranges) == []
    assert overlay.record(7).size == 100
    overlay.keep_claim()
    assert list(overlay.record(7).ranges) == [(0, 10)]
    assert overlay.record(7).size == 100
    assert overlay.kept_version == 2


def test_what_was_truncated_during_a_sync_is_not_recorded_after_it() -> None:
    overlay = an_overlay()
    overlay.write(0, 90, 2)
    overlay.begin_claim()
    overlay.truncate(30)
    overlay.write(30, 60, 4)  # not synced
    overlay.keep_claim()
    record = overlay.record(7)
    assert (list(record.ranges), record.base_end, record.size) == ([(0, 30)], 30, 30)


def test_settled_bytes_that_were_not_synced_are_the_contents_after_a_crash() -> None:
    overlay = an_overlay()
    overlay.write(0, 10, 2)
    overlay.begin_claim()
    overlay.keep_claim()
    overlay.write(5, 10, 3)  # over what is kept, so that it may be old or new on the disk
    content = ContentId("git-new", 100)
    overlay.settle(3, content)
    record = overlay.record(7)
    assert (list(record.ranges), record.base, record.base_end) == ([], content, 100)
    assert record.is_sent
    assert list(overlay.ranges) == [(0, 10)]  # still a cache


def test_settled_bytes_that_were_synced_stay_a_cache_after_a_restart() -> None:
    overlay = an_overlay()
    overlay.write(0, 10, 2)
    overlay.begin_claim()
    overlay.keep_claim()
    overlay.settle(2, ContentId("git-new", 100))
    again = restored(overlay.record(7))
    assert again.is_clean
    assert list(again.ranges) == [(0, 10)]


def test_a_sync_that_ends_after_the_settling_claims_nothing_old() -> None:
    overlay = an_overlay()
    overlay.write(0, 10, 2)
    overlay.begin_claim()
    overlay.write(0, 10, 3)
    overlay.settle(3, ContentId("git-new", 100))
    overlay.keep_claim()
    assert list(overlay.record(7).ranges) == []
    assert overlay.kept_version == 3


def test_a_version_that_moved_on_keeps_its_bytes_over_the_settled_content() -> None:
    overlay = an_overlay()
    overlay.write(0, 10, 2)
    overlay.truncate(50)
    overlay.write(60, 70, 4)
    content = ContentId("git-at-2", 100)
    overlay.settle(2, content)
    assert not overlay.is_clean
    assert overlay.base == content
    assert overlay.gaps(0, 70) == [(10, 50)]  # the content has more, which was cut off since


def test_an_older_version_that_is_settled_late_changes_nothing() -> None:
    overlay = an_overlay()
    overlay.write(0, 10, 2)
    overlay.write(0, 10, 3)
    newer = ContentId("git-at-3", 100)
    overlay.settle(3, newer)
    overlay.settle(2, ContentId("git-at-2", 100))
    assert overlay.base == newer
    assert overlay.is_clean


@pytest.mark.parametrize("sent", [True, False])
def test_what_was_restored_is_as_clean_as_it_was(sent: bool) -> None:
    overlay = an_overlay()
    overlay.truncate(50)
    overlay.version = 2
    if sent:
        overlay.settle(2, ContentId("git-new", 50))
    again = restored(overlay.record(7))
    assert again.is_clean is sent
    assert (again.size, again.base, again.base_end, again.version) == (
        50,
        overlay.base,
        50,
        2,
    )
