"""What is gathered becomes durable as one."""

import pytest

from hfnfs.disk.schema import DropNode, UpsertNode
from hfnfs.errors import InvalidArgument
from hfnfs.vfs.journal import Journal
from tests.disk.state_writer import node
from tests.vfs.changing import FakeState


def test_what_is_noted_is_submitted_together() -> None:
    journal = Journal(state := FakeState())
    journal.note(UpsertNode(node(1)), UpsertNode(node(2)))
    journal.note(DropNode(2))
    assert (journal.submit(), journal.submit()) == (1, 1)
    assert state.model.nodes == {1: node(1)}


def test_what_cannot_be_written_is_told_and_takes_nothing_else_along() -> None:
    journal = Journal(state := FakeState())
    journal.note(UpsertNode(node(1)), UpsertNode(node(2, size=1 << 63)), UpsertNode(node(3)))
    with pytest.raises(InvalidArgument):
        journal.submit()
    assert state.model.nodes == {1: node(1), 3: node(3)}
    assert journal.submit() == 1
