"""The state database: what was reported durable is there, in order, whatever happens."""

import fcntl
import os
import queue
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from hfnfs.disk import schema
from hfnfs.disk import state as module
from hfnfs.disk.ranges import RANGES_MAX, Ranges
from hfnfs.disk.schema import (
    DropNode,
    MetaKey,
    OutboxKind,
    OutboxRecord,
    OverlayRecord,
    PutOutbox,
    SetMeta,
    SetOverlay,
    UpsertNode,
)
from hfnfs.disk.state import Snapshot, State
from hfnfs.errors import CacheUnusable, HfnfsError, InvalidArgument, NoSpace
from tests.disk.state_writer import Model, any_change, node, steps

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_S = 60
NOTHING = Snapshot((), {}, (), (), (), (), {})


class Told:
    """What the writer told, for a test to wait for."""

    def __init__(self) -> None:
        self._told: queue.Queue[tuple[int, HfnfsError | None]] = queue.Queue()

    def __call__(self, up_to: int, error: HfnfsError | None) -> None:
        self._told.put((up_to, error))

    def durable(self, ticket: int) -> None:
        """Wait until that ticket is; nothing may fail before."""
        up_to = 0
        while up_to < ticket:
            up_to, error = self._told.get(timeout=PATIENCE_S)
            assert error is None

    def failure(self, ticket: int) -> HfnfsError:
        """Wait for a failure of that ticket; why it was."""
        while True:
            up_to, error = self._told.get(timeout=PATIENCE_S)
            if up_to >= ticket:
                assert error is not None
                return error


def loaded(directory: Path) -> Snapshot:
    state = State(directory)
    snapshot = state.load()
    state.close()
    return snapshot


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[State, Told]]:
    """A new state that is being written."""
    state, told = State(tmp_path), Told()
    assert state.load() == NOTHING
    state.start(told)
    yield state, told
    state.close()


# ---------------------------------------------------------------- model, crashes


class StateAgainstModel(RuleBasedStateMachine):
    """Whatever was submitted is there after a restart; durable or not, it was closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.TemporaryDirectory()
        self.model = Model()
        self.open()

    def open(self) -> None:
        self.state, self.told = State(Path(self.home.name)), Told()
        assert self.model.holds(self.state.load())
        self.state.start(self.told)

    def teardown(self) -> None:
        self.state.close()
        self.home.cleanup()

    @rule(seed=st.integers(), count=st.integers(1, 30))
    def submit(self, seed: int, count: int) -> None:
        rng = random.Random(seed)
        changes = [any_change(rng) for _ in range(count)]
        self.state.submit(*changes)
        for change in changes:
            self.model.apply(change)

    @rule()
    def wait(self) -> None:
        ticket = self.state.submit(SetMeta(MetaKey.WRITE_VERIFIER, "r"))
        self.model.apply(SetMeta(MetaKey.WRITE_VERIFIER, "r"))
        self.told.durable(ticket)
        assert self.state.durable_up_to == ticket

    @rule()
    def restart(self) -> None:
        self.state.close()
        self.open()


StateAgainstModel.TestCase.settings = settings(
    max_examples=20, stateful_step_count=15, deadline=None
)
test_state_against_the_model = StateAgainstModel.TestCase


def check_a_kill(directory: Path, seed: int, reports: int) -> None:
    """Kill a writer after some reports: an order-keeping prefix with all that it reported."""
    command = [sys.executable, "-m", "tests.disk.state_writer", str(directory), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        for _ in range(reports):
            process.stdout.readline()
        process.kill()
        reported = [int(line) for line in process.stdout if line.endswith("\n")]
    snapshot = loaded(directory)
    kept = snapshot.meta[MetaKey.WRITE_VERIFIER]
    assert isinstance(kept, int)
    assert kept >= max(reported, default=reports)
    model = Model()
    for step in islice(steps(seed), kept):
        for change in step:
            model.apply(change)
    assert model.holds(snapshot)


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_writer_leaves_all_that_it_reported_and_nothing_out_of_order(
    tmp_path: Path, seed: int
) -> None:
    check_a_kill(tmp_path, seed, reports=1 + 7 * seed)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(100, 200))
def test_a_hundred_killed_writers_do(tmp_path: Path, seed: int) -> None:
    check_a_kill(tmp_path, seed, reports=random.Random(seed).randrange(1, 200))


# ---------------------------------------------------------------- group commit


def test_what_was_submitted_before_the_start_is_one_transaction(tmp_path: Path) -> None:
    state, told = State(tmp_path), Told()
    state.load()
    for number in range(1000):
        ticket = state.submit(UpsertNode(node(number)))
    state.start(told)
    told.durable(ticket)
    assert (ticket, state.transactions) == (1000, 1)
    state.close()
    assert len(loaded(tmp_path).nodes) == 1000


def test_what_comes_while_a_transaction_is_written_makes_up_the_next(tmp_path: Path) -> None:
    state, told = State(tmp_path), Told()
    busy, go_on = threading.Event(), threading.Event()

    def told_slowly(up_to: int, error: HfnfsError | None) -> None:
        busy.set()
        assert go_on.wait(PATIENCE_S)
        told(up_to, error)

    state.load()
    state.start(told_slowly)
    state.submit(UpsertNode(node(0)))
    assert busy.wait(PATIENCE_S)
    for number in range(1000):
        ticket = state.submit(UpsertNode(node(number)))
    go_on.set()
    told.durable(ticket)
    assert state.transactions == 2
    state.close()


def test_of_many_changes_to_one_record_the_last_is_kept(
    running: tuple[State, Told], tmp_path: Path
) -> None:
    state, told = running
    for size in range(50):
        state.submit(UpsertNode(node(7, size=size)), UpsertNode(node(8)), DropNode(8))
    told.durable(state.submit(UpsertNode(node(9))))
    state.close()
    assert loaded(tmp_path).nodes == (node(7, size=49), node(9))


def test_closing_writes_what_is_queued(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.load()
    state.start(Told())
    for number in range(100):
        state.submit(UpsertNode(node(number)))
    state.close()
    assert state.durable_up_to == 100
    assert len(loaded(tmp_path).nodes) == 100


# ---------------------------------------------------------------- bounds


def test_it_says_when_it_is_full_and_takes_what_was_changed_all_the_same(tmp_path: Path) -> None:
    state = State(tmp_path, changes_max=10)
    state.load()
    for number in range(9):
        state.submit(UpsertNode(node(number)))
    assert not state.is_full
    state.submit(UpsertNode(node(9)))
    assert state.is_full
    state.submit(UpsertNode(node(10)))
    state.start(Told())
    state.close()
    assert not state.is_full
    assert {each.fileid for each in loaded(tmp_path).nodes} == set(range(11))


def test_ranges_take_room_in_the_queue(tmp_path: Path) -> None:
    state = State(tmp_path, changes_max=10)
    state.load()
    many = Ranges((at * 2, at * 2 + 1) for at in range(1000))
    state.submit(SetOverlay(OverlayRecord(1, many, 2000, 1)))
    assert state.is_full
    state.start(Told())
    state.close()
    assert loaded(tmp_path).overlays == (OverlayRecord(1, many, 2000, 1),)


@pytest.mark.parametrize(
    "change",
    [
        UpsertNode(node(2**64)),
        UpsertNode(node(1, size=2**63)),
        SetOverlay(OverlayRecord(1, Ranges(), -1, 1)),
        PutOutbox(OutboxRecord(b"a", OutboxKind.PUT, 2**64)),
        SetMeta(MetaKey.WRITE_VERIFIER, 2**63),
    ],
    ids=lambda change: type(change).__name__,
)
def test_numbers_that_sqlite_cannot_hold_are_refused_when_they_are_submitted(
    running: tuple[State, Told], change: schema.Change
) -> None:
    state, told = running
    with pytest.raises(InvalidArgument):
        state.submit(UpsertNode(node(5)), change)
    told.durable(state.submit(UpsertNode(node(6))))


def test_more_ranges_than_can_be_packed_are_refused(
    running: tuple[State, Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert RANGES_MAX > 3
    monkeypatch.setattr(schema, "RANGES_MAX", 3)
    ranges = Ranges([(0, 1), (2, 3), (4, 5), (6, 7)])
    with pytest.raises(InvalidArgument):
        running[0].submit(SetOverlay(OverlayRecord(1, ranges, 7, 1)))


def test_an_error_of_any_characters_and_length_is_kept_as_far_as_it_goes(
    running: tuple[State, Told], tmp_path: Path
) -> None:
    state, told = running
    entry = OutboxRecord(b"a", OutboxKind.PUT, 1, error="\udcff" + "x" * 5000)
    told.durable(state.submit(PutOutbox(entry)))
    state.close()
    assert loaded(tmp_path).outbox[0].error == "?" + "x" * 999


def test_a_hundred_thousand_nodes_are_loaded(tmp_path: Path) -> None:
    state = State(tmp_path, changes_max=100_000)
    state.load()
    state.submit(*(UpsertNode(node(n, b"name of %d" % n)) for n in range(100_000)))
    state.start(Told())
    state.close()
    assert len(loaded(tmp_path).nodes) == 100_000


# ---------------------------------------------------------------- a full disk


def limit(state: State, pages: int) -> None:
    """Let the database have that many pages: beyond it SQLite finds the disk full."""
    assert state._connection is not None
    state._connection.execute(f"PRAGMA max_page_count = {pages}")


def test_a_full_disk_is_told_and_what_it_refused_is_written_when_there_is_room(
    tmp_path: Path,
) -> None:
    state, told = State(tmp_path), Told()
    state.load()
    limit(state, 12)
    state.start(told)
    told.durable(state.submit(UpsertNode(node(0))))
    ticket = state.submit(*(UpsertNode(node(n, bytes(200))) for n in range(1, 1000)))
    assert isinstance(told.failure(ticket), NoSpace)
    assert state.durable_up_to == 1
    later = state.submit(UpsertNode(node(1, b"later")), SetMeta(MetaKey.WRITE_VERIFIER, "2"))
    assert isinstance(told.failure(later), NoSpace)  # it does not overtake what failed
    limit(state, 100_000)
    last = state.submit(UpsertNode(node(5000)))
    while state.durable_up_to < last:
        told._told.get(timeout=PATIENCE_S)
    state.close()
    snapshot = loaded(tmp_path)
    assert len(snapshot.nodes) == 1001
    assert {each.fileid: each for each in snapshot.nodes}[1] == node(1, b"later")


def test_a_disk_that_has_room_again_is_noticed_without_a_new_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_S", 0.01)
    state, told = State(tmp_path), Told()
    state.load()
    limit(state, 12)
    state.start(told)
    ticket = state.submit(*(UpsertNode(node(n, bytes(200))) for n in range(1000)))
    told.failure(ticket)
    limit(state, 100_000)
    while state.durable_up_to < ticket:
        told._told.get(timeout=PATIENCE_S)
    state.close()


def test_what_cannot_be_written_at_the_end_is_told_and_the_rest_stays_whole(
    tmp_path: Path,
) -> None:
    state, told = State(tmp_path), Told()
    state.load()
    limit(state, 12)
    state.start(told)
    told.durable(state.submit(UpsertNode(node(0))))
    state.submit(*(UpsertNode(node(n, bytes(200))) for n in range(1, 1000)))
    with pytest.raises(NoSpace):
        state.close()
    assert loaded(tmp_path).nodes == (node(0),)


def test_what_came_while_a_transaction_failed_is_newer_than_what_was_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, told = State(tmp_path), Told()
    apply = schema.apply

    def fail_once(connection: sqlite3.Connection, changes: Iterable[schema.Change]) -> None:
        monkeypatch.setattr(schema, "apply", apply)
        state.submit(UpsertNode(node(1, b"newer")))
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(schema, "apply", fail_once)
    state.load()
    state.submit(UpsertNode(node(1, b"older")), UpsertNode(node(2)))
    state.start(told)
    assert isinstance(told.failure(1), CacheUnusable)
    state.close()
    nodes = {each.fileid: each for each in loaded(tmp_path).nodes}
    assert nodes == {1: node(1, b"newer"), 2: node(2)}


# ---------------------------------------------------------------- whose it is


def test_a_second_owner_is_refused_and_told_who_has_it(
    running: tuple[State, Told], tmp_path: Path
) -> None:
    other = State(tmp_path)
    with pytest.raises(CacheUnusable, match=f"process {os.getpid()} .*--read-only"):
        other.load()
    state, told = running
    told.durable(state.submit(UpsertNode(node(1))))
    state.close()
    assert len(other.load().nodes) == 1
    other.close()


def test_an_owner_that_was_refused_for_damage_leaves_the_lock(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"no database" * 1000)
    with pytest.raises(CacheUnusable):
        State(tmp_path).load()
    with (tmp_path / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_only_the_user_can_read_it_and_no_link_is_followed(
    tmp_path: Path, running: tuple[State, Told]
) -> None:
    state, told = running
    told.durable(state.submit(UpsertNode(node(1))))
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(["lock", "state.db", "state.db-wal"], 0o600)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "state.db").symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(CacheUnusable):
        State(tmp_path / "other").load()
    assert not (tmp_path / "elsewhere.db").exists()


def test_nothing_can_be_submitted_after_the_end(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.load()
    state.start(Told())
    state.close()
    with pytest.raises(CacheUnusable):
        state.submit(UpsertNode(node(1)))


# ---------------------------------------------------------------- damage, versions


def by_sqlite(directory: Path, *statements: str) -> None:
    """Change a database behind our back."""
    connection = sqlite3.connect(directory / "state.db", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


def overwrite(directory: Path) -> None:
    (directory / "state.db").write_bytes(b"x" * 8192)


def scribble(directory: Path) -> None:
    with (directory / "state.db").open("r+b") as file:
        file.seek(4096 + 100)
        file.write(b"scribble" * 1000)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "no header": overwrite,
    "scribbled": scribble,
    "cut": lambda directory: os.truncate(directory / "state.db", 8192),
    "ranges": lambda directory: by_sqlite(directory, "UPDATE overlay SET ranges = x'0101'"),
    "kind": lambda directory: by_sqlite(directory, "UPDATE outbox SET kind = 'dance'"),
    "sent": lambda directory: by_sqlite(directory, "UPDATE outbox SET sent = '[3'"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_with_where_the_bytes_are_and_nothing_is_deleted(
    tmp_path: Path, damage: str
) -> None:
    state = State(tmp_path)
    state.load()
    state.start(Told())
    state.submit(*(UpsertNode(node(n, bytes(200))) for n in range(500)))
    state.submit(SetOverlay(OverlayRecord(1, Ranges([(0, 9)]), 9, 1)))
    state.submit(PutOutbox(OutboxRecord(b"a", OutboxKind.PUT, 1)))
    state.close()
    DAMAGES[damage](tmp_path)
    before = (tmp_path / "state.db").read_bytes()
    with pytest.raises(CacheUnusable, match="damaged") as caught:
        State(tmp_path).load()
    assert str(tmp_path / "state.db") in str(caught.value)
    assert str(tmp_path / "staging") in str(caught.value)
    assert (tmp_path / "state.db").read_bytes() == before


def test_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    loaded(tmp_path)
    by_sqlite(tmp_path, f"PRAGMA user_version = {schema.VERSION + 1}")
    before = (tmp_path / "state.db").read_bytes()
    with pytest.raises(CacheUnusable, match="newer"):
        State(tmp_path).load()
    assert (tmp_path / "state.db").read_bytes() == before


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    by_sqlite(tmp_path, "CREATE TABLE songs (title TEXT)")
    with pytest.raises(CacheUnusable, match="none of hfnfs"):
        State(tmp_path).load()
