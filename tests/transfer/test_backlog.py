"""What is due, however much it is: each look goes through what it takes, and little else."""

import pytest

from hfnfs.remote import EMPTY, ContentId
from hfnfs.transfer import backlog as module
from hfnfs.transfer.backlog import GROUP_FILES_MAX, Backlog
from hfnfs.transfer.batch import OPERATIONS_MAX
from hfnfs.vfs.journal import Journal
from hfnfs.vfs.node import Node
from hfnfs.vfs.outbox import Entry, Flight, Outbox
from tests.fakes.clock import FakeClock
from tests.vfs.wanting import LOOK, Kept

QUIET_S = 2.0
MANY = 10 * OPERATIONS_MAX


class Desk:
    """An outbox, and what of it was uploaded."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.outbox = Outbox(Journal(Kept()), self.clock, quiet_s=QUIET_S, window_s=30.0)
        self.uploaded: set[int] = set()  # fileids
        self.asked = 0
        self.backlog = Backlog(self.outbox, self.flight_of)

    def flight_of(self, node: Node) -> Flight | None:
        self.asked += 1
        return Flight(node, 0, EMPTY, 0, 0) if node.fileid in self.uploaded else None

    def create(self, number: int, size: int = 1) -> Node:
        path = f"d/{number}"
        node = Node(number, 0, LOOK, path.encode(), None)
        node.size = size
        self.outbox.put(path, node, None)
        return node

    def take_in(self) -> None:
        while self.outbox.next_due() <= self.clock.now():
            self.backlog.take_in(self.clock.now())

    def group(self, *going: int) -> list[str]:
        return [entry.path for entry in self.backlog.group(set(going)).entries]

    def batch(self, *ready: Entry) -> list[str]:
        return [entry.path for entry, _ in self.backlog.batch(ready)]


def test_however_much_is_due_a_look_goes_through_what_it_takes() -> None:
    desk = Desk()
    for number in range(MANY):
        desk.create(number)
    desk.clock.advance(QUIET_S)
    desk.backlog.take_in(desk.clock.now())
    assert desk.asked <= module.TAKEN_IN_MAX
    desk.take_in()
    desk.asked = 0
    going: set[int] = set()
    for _ in range(2):
        group = desk.backlog.group(going)
        assert group.is_full
        desk.backlog.begin(group.entries)
    assert desk.backlog.batch(()) == []
    assert desk.asked <= 2 * GROUP_FILES_MAX


def test_deletes_go_in_full_batches_without_looking_at_all_of_them() -> None:
    desk = Desk()
    for number in range(MANY):
        desk.outbox.delete(f"d/{number}", EMPTY)
    desk.clock.advance(QUIET_S)
    desk.take_in()
    chosen = [entry for entry, _ in desk.backlog.batch(())]
    assert [entry.path for entry in chosen] == [f"d/{number}" for number in range(OPERATIONS_MAX)]
    desk.backlog.begin(chosen)
    assert desk.batch()[0] == f"d/{OPERATIONS_MAX}"


def test_what_came_to_nothing_comes_again_and_what_was_uploaded_is_sent() -> None:
    desk = Desk()
    node = desk.create(1)
    desk.clock.advance(QUIET_S)
    desk.take_in()
    entries = desk.backlog.group(set()).entries
    desk.backlog.begin(entries)
    assert desk.group() == []
    desk.backlog.put_back(entries)
    assert desk.group() == ["d/1"]
    desk.uploaded.add(node.fileid)
    assert desk.group() == []
    assert desk.batch() == ["d/1"]
    desk.uploaded.clear()
    desk.backlog.has_moved = False
    assert desk.batch() == []
    assert desk.backlog.has_moved
    assert desk.group() == ["d/1"]


def test_what_is_written_again_waits_until_it_is_due_again() -> None:
    desk = Desk()
    node = desk.create(1)
    desk.clock.advance(QUIET_S)
    desk.take_in()
    desk.outbox.touch("d/1", node)
    assert desk.group() == []
    desk.clock.advance(QUIET_S)
    desk.take_in()
    assert desk.group() == ["d/1"]


def test_what_goes_up_just_now_is_not_taken_again() -> None:
    desk = Desk()
    for number in range(3):
        desk.create(number)
    desk.clock.advance(QUIET_S)
    desk.take_in()
    assert desk.group(1) == ["d/0", "d/2"]


@pytest.mark.parametrize("large", [False, True])
def test_large_files_go_alone_and_groups_have_no_more_bytes_than_they_may(
    monkeypatch: pytest.MonkeyPatch, *, large: bool
) -> None:
    monkeypatch.setattr(module, "LARGE_BYTES", 10 if large else 100)
    monkeypatch.setattr(module, "GROUP_BYTES_MAX", 25)
    desk = Desk()
    for number in range(3):
        desk.create(number, 10)
    desk.clock.advance(QUIET_S)
    desk.take_in()
    assert [e.path for e in desk.backlog.large({0}, 1)] == (["d/1"] if large else [])
    assert desk.group() == ([] if large else ["d/0", "d/1"])


def test_what_a_node_left_is_deleted_together_with_its_put_or_after() -> None:
    desk = Desk()
    content = ContentId(f"xet-{1:064x}", 1)
    desk.outbox.delete("d/1", content, moved=2)
    node = desk.create(2)
    desk.clock.advance(QUIET_S)
    desk.take_in()
    assert desk.batch() == []
    desk.uploaded.add(node.fileid)
    home = desk.outbox.home(node.fileid)
    assert home is not None
    assert desk.batch(home) == ["d/2", "d/1"]
