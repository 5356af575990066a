"""What was written is handed out, for it to be kept elsewhere until it is synced."""

import errno

import pytest

from hfnfs.disk import staging as staging_module
from hfnfs.disk.staged_file import LITTLE_BYTES_MAX
from hfnfs.disk.staging import Staging
from hfnfs.errors import CacheUnusable
from tests.disk.failing import failing


def test_little_is_taken_once_and_more_than_that_has_to_be_synced(staging: Staging) -> None:
    staging.write(7, 0, b"abc")
    staging.write(7, 100, b"d")
    assert staging.take_little(7) == [(0, b"abc"), (100, b"d")]
    assert staging.take_little(7) == []
    staging.write(7, 1, b"B")
    assert staging.take_little(7) == [(1, b"B")]
    assert staging.unsynced() == [7]
    staging.write(7, 0, bytes(LITTLE_BYTES_MAX))
    assert staging.take_little(7) == [(0, bytes(LITTLE_BYTES_MAX))]
    staging.write(7, 0, bytes(LITTLE_BYTES_MAX + 1))
    assert staging.take_little(7) is None
    staging.sync(7)
    assert staging.take_little(7) == []
    for offset in range(0, 17 * 4096, 4096):
        staging.write(7, offset, b"x")
    assert staging.take_little(7) is None
    assert staging.take_little(8) is None


def test_nothing_is_taken_of_what_is_in_doubt_or_just_being_synced(
    staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    staging.write(7, 0, b"abc")
    taken = []
    with monkeypatch.context() as patch:
        patch.setattr(
            staging_module, "sync_bytes", lambda _fd: taken.append(staging.take_little(7))
        )
        staging.sync(7)
        assert taken == [None]
        patch.setattr(staging_module, "sync_bytes", failing(errno.EIO))
        staging.write(7, 0, b"abc")
        with pytest.raises(CacheUnusable):
            staging.sync(7)
    staging.write(7, 10, b"d")
    assert staging.take_little(7) is None
    staging.write(7, 0, b"abc")
    staging.sync(7)
    staging.write(7, 10, b"e")
    assert staging.take_little(7) == [(10, b"e")]
