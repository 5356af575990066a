"""The marks of done calls, and databases that were made before there were any."""

import sqlite3
from contextlib import closing
from pathlib import Path

from hfnfs.disk import schema
from hfnfs.disk.done import DoneCall, MarkDone
from hfnfs.disk.ranges import Ranges
from hfnfs.disk.schema import Change, OverlayRecord, SetOverlay, UpsertNode
from hfnfs.disk.state import Snapshot, State
from tests.disk.state_writer import node


def written(directory: Path, *changes: Change) -> None:
    state = State(directory)
    state.load()
    state.start(lambda _up_to, error: None)
    state.submit(*changes)
    state.close()


def loaded(directory: Path) -> Snapshot:
    state = State(directory)
    snapshot = state.load()
    state.close()
    return snapshot


def test_of_done_calls_the_last_ones_are_kept(tmp_path: Path) -> None:
    calls = [DoneCall(number, b"%d" % number) for number in range(3000)]
    for first in range(0, len(calls), 500):
        written(tmp_path, *map(MarkDone, calls[first : first + 500]))
    assert loaded(tmp_path).done == tuple(calls[-1024:])


def test_a_database_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    before = OverlayRecord(1, Ranges([(0, 9)]), 9, 4)
    written(tmp_path, UpsertNode(node(1)), SetOverlay(before))
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as database:
        for older in (
            "DROP TABLE pieces",
            "DROP TABLE done",
            "ALTER TABLE overlay DROP COLUMN is_loose",
            "PRAGMA user_version = 1",
        ):
            database.execute(older)
    later = before._replace(fileid=2, is_loose=True)
    written(tmp_path, MarkDone(DoneCall(7, b"call")), SetOverlay(later))
    snapshot = loaded(tmp_path)
    assert snapshot.overlays == (before, later)
    assert (snapshot.nodes, snapshot.done) == ((node(1),), (DoneCall(7, b"call"),))
    with closing(sqlite3.connect(tmp_path / "state.db")) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (schema.VERSION,)
