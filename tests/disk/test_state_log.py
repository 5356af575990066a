"""The write-ahead log: when it is emptied, and how long it is."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hfnfs.disk import state as state_module
from hfnfs.disk.schema import PieceRecord, PutPiece, UpsertNode
from hfnfs.disk.state import State
from tests.disk.state_writer import node
from tests.disk.test_state import Told, loaded
from tests.until import until


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    state = State(tmp_path)
    state.load()
    yield state
    state.close()


def grown_by(state: State, path: Path, count: int, first: int = 0) -> int:
    """By how much the database grows while that is written."""
    told, before = Told(), path.stat().st_size
    if first == 0:
        state.start(told)
    tickets = [
        state.submit(PutPiece(PieceRecord(number, 7, 0, bytes(4000))))
        for number in range(first, first + count)
    ]
    told.durable(tickets[-1])
    return path.stat().st_size - before


async def test_the_log_is_emptied_when_nothing_is_written_for_a_while(
    tmp_path: Path, state: State
) -> None:
    database = tmp_path / "state.db"
    before = database.stat().st_size
    assert grown_by(state, database, 300) == 0
    await until(lambda: database.stat().st_size > before + 300 * 4000)
    assert len(loaded_copy(tmp_path)) == 300


def loaded_copy(directory: Path) -> list[int]:
    """What is in the database, whatever the log has."""
    copy = directory.with_name("copy")
    copy.mkdir()
    (copy / "state.db").write_bytes((directory / "state.db").read_bytes())
    return [piece.number for piece in loaded(copy).pieces]


async def test_a_log_that_becomes_long_is_emptied_however_busy_it_is(
    tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_module, "_QUIET_S", 1e6)
    monkeypatch.setattr(state_module, "_LOGGED_MAX", 1000)
    database = tmp_path / "state.db"
    before = database.stat().st_size
    grown_by(state, database, 300)
    await until(lambda: database.stat().st_size > before + 200 * 4000)


async def test_the_log_is_not_lengthened_by_what_fits_into_it(tmp_path: Path, state: State) -> None:
    told = Told()
    state.start(told)
    told.durable(state.submit(UpsertNode(node(0))))
    log = tmp_path / "state.db-wal"
    assert log.stat().st_size == 4 << 20
    for number in range(1, 50):
        told.durable(state.submit(UpsertNode(node(number))))
    assert log.stat().st_size == 4 << 20


def test_what_is_in_a_lengthened_log_is_read_after_a_crash(tmp_path: Path, state: State) -> None:
    told = Told()
    state.start(told)
    for number in range(20):
        told.durable(state.submit(UpsertNode(node(number))))
    crashed = tmp_path.with_name("crashed")
    crashed.mkdir()
    for name in ("state.db", "state.db-wal"):
        (crashed / name).write_bytes((tmp_path / name).read_bytes())
    assert len(loaded(crashed).nodes) == 20
