"""What a cache directory holds for the Hub, seen without taking it over."""

from pathlib import Path

import pytest

from hfnfs.disk.last_mount import LastMount, last_mount, remember_mount
from hfnfs.disk.schema import DropOutbox, OutboxKind, OutboxRecord, PutOutbox
from hfnfs.disk.state import State
from hfnfs.disk.unsent import unsent, volumes
from hfnfs.errors import CacheUnusable

PUT = OutboxRecord(b"a.txt", OutboxKind.PUT, fileid=7)
DELETE = OutboxRecord(b"b.txt", OutboxKind.DELETE, attempts=3, error="no answer")
HIDE = OutboxRecord(b"c/", OutboxKind.HIDE)
LAST = LastMount("bucket", "me/data", "https://huggingface.co", 20490)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    directory = tmp_path / "volumes/0123"
    directory.mkdir(parents=True)
    return directory


def begun(volume: Path) -> State:
    state = State(volume)
    state.load()
    state.start(lambda _up_to, _error: None)
    return state


def test_what_was_left_is_found_and_nothing_is_changed(volume: Path) -> None:
    state = begun(volume)
    state.submit(*(PutOutbox(record) for record in (PUT, DELETE, HIDE)))
    state.close()
    before = {path: path.read_bytes() for path in volume.iterdir()}
    found = unsent(volume)
    assert (found.changes, found.last) == ((PUT, DELETE), None)
    assert {path: path.read_bytes() for path in volume.iterdir()} == before


def test_what_only_the_log_holds_is_found(volume: Path) -> None:
    state = begun(volume)
    state.submit(PutOutbox(PUT))
    state.submit(PutOutbox(DELETE), DropOutbox(PUT.path))
    while state.durable_up_to < 2:
        pass
    assert (volume / "state.db-wal").stat().st_size
    assert unsent(volume).changes == (DELETE,)
    state.close()


def test_only_volumes_that_took_changes_count(volume: Path) -> None:
    root = volume.parent.parent
    (volume.parent / "4567").mkdir()
    assert volumes(root) == []
    begun(volume).close()
    assert volumes(root) == [volume]
    assert unsent(volume).changes == ()
    assert volumes(root / "nowhere") == []


@pytest.mark.parametrize("content", [b"no database", b""])
def test_what_cannot_be_read_is_an_error_or_empty(volume: Path, content: bytes) -> None:
    (volume / "state.db").write_bytes(content)
    if content:
        with pytest.raises(CacheUnusable, match="cannot be read"):
            unsent(volume)
    else:
        assert unsent(volume).changes == ()


def test_the_last_mount_is_remembered(volume: Path) -> None:
    assert last_mount(volume) is None
    remember_mount(volume, LAST)
    assert last_mount(volume) == LAST
    assert [path.name for path in volume.iterdir()] == ["last-mount"]
    assert (volume / "last-mount").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        '{"kind": "bucket"}',
        '{"kind": "bucket", "source": 1, "endpoint": "", "port": 1}',
        '{"kind": "bucket", "source": "", "endpoint": "", "port": 0}',
        '{"kind": "bucket", "source": "", "endpoint": "", "port": 65536}',
        '{"kind": "bucket", "source": "", "endpoint": "", "port": "1"}',
        "\x00" * 5000,
    ],
)
def test_a_last_mount_that_makes_no_sense_is_as_good_as_none(volume: Path, text: str) -> None:
    (volume / "last-mount").write_text(text)
    assert last_mount(volume) is None
