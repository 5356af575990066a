"""The outbox: in the end the Hub has what was wanted, whatever happens on the way."""

from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hfnfs.errors import Forbidden, QuotaReached
from hfnfs.remote import Delete
from hfnfs.transfer import batch
from hfnfs.vfs.outbox import RETRY_S_MAX, Entry
from tests.vfs.wanting import QUIET_S, WINDOW_S, Desk

# ---------------------------------------------------------------- against a model

DIRECTORIES = ("d", "e")
NUMBERS = st.integers(0, 9)
PATHS = st.sampled_from(["x", "y", "d/x", "d/y", "e/x"])


class OutboxAgainstModel(RuleBasedStateMachine):
    """Users change names and bytes; requests are done, fail, or lose their answers."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.directories = set(DIRECTORIES)
        self.flying: list[Entry] = []

    def is_possible(self, path: str) -> bool:
        directory = path.rpartition("/")[0]
        return not directory or directory in self.directories

    # Few rules, as hypothesis leaves out some of them in each run.

    @rule(what=st.sampled_from(["put", "write", "rename", "remove"]), which=NUMBERS, path=PATHS)
    def change_a_file(self, what: str, which: int, path: str) -> None:
        desk, there = self.desk, sorted(self.desk.files)
        if not there or what == "put":
            if path not in there and self.is_possible(path):
                desk.create(path)
        elif what == "write":
            desk.write(there[which % len(there)])
        elif what == "remove":
            desk.remove(there[which % len(there)])
        elif path != there[which % len(there)] and self.is_possible(path):
            desk.rename(there[which % len(there)], path)

    @rule(what=st.sampled_from(["make", "remove", "rename"]), of=st.sampled_from(DIRECTORIES))
    def change_a_directory(self, what: str, of: str) -> None:
        if what == "make":
            self.directories.add(of)
        elif what == "remove" and of in self.directories and not self.below(of):
            self.directories.discard(of)
            self.desk.outbox.hide(of)
        elif what == "rename":
            self.rename_directory(of)

    def rename_directory(self, old: str) -> None:
        (new,) = set(DIRECTORIES) - {old}
        if old not in self.directories or self.below(new):
            return
        if new in self.directories:
            self.desk.outbox.hide(new)
        for path in self.below(old):
            self.desk.rename(path, f"{new}{path[len(old) :]}")
        self.desk.outbox.hide(old)
        self.directories = {new}

    def below(self, directory: str) -> list[str]:
        return [path for path in self.desk.files if path.startswith(f"{directory}/")]

    @precondition(lambda self: not self.flying)
    @rule(upload=st.sets(PATHS), seconds=st.sampled_from([QUIET_S, QUIET_S, 1000.0]))
    def depart(self, upload: set[str], seconds: float) -> None:
        for path in upload & self.desk.files.keys():
            self.desk.upload(self.desk.files[path])
        self.desk.clock.advance(seconds)
        self.flying = self.desk.depart()

    @precondition(lambda self: self.flying)
    @rule(
        bad=st.sets(PATHS, max_size=1),
        how=st.sampled_from(["told", "told", "told", "lost", "died before", "died after"]),
    )
    def land(self, bad: set[str], how: str) -> None:
        """Some are refused; if the answer is lost, or we die, nobody knows which."""
        desk, entries = self.desk, self.flying
        self.flying = []
        sent = [entry for entry in entries if desk.outbox.is_still_wanted(entry)]
        operations = batch.operations(sent, desk.outbox)
        asked = {operation.path for operation in operations}
        failed = bad | {o.path for o in operations if isinstance(o, Delete) and o.moved_to in bad}
        if how != "died before":
            desk.apply(sent, failed.__contains__)
        if how.startswith("died"):
            desk.restart()
            return
        for entry in entries:
            if how == "lost" or entry.path not in asked:
                desk.outbox.release(entry)
            elif entry.path in failed:
                desk.outbox.failed(entry, Forbidden("no"))
            else:
                desk.settle(entry)
        desk.journal.submit()

    @invariant()
    def what_differs_is_claimed(self) -> None:
        desk, wanted = self.desk, self.desk.wanted()
        now = desk.clock.now()
        for path in {*desk.hub, *wanted}:
            if desk.hub.get(path) != wanted.get(path):
                assert desk.outbox.claim(path, now), path
        for directory in {path.partition("/")[0] for path in desk.hub if "/" in path}:
            if directory not in self.directories:
                assert desk.outbox.claim(directory, now), directory

    def teardown(self) -> None:
        for entry in self.flying:
            self.desk.outbox.release(entry)
        self.desk.clock.advance(RETRY_S_MAX * 2)
        self.desk.flush()
        self.desk.journal.submit()
        assert self.desk.hub == self.desk.wanted()
        assert not self.desk.kept.records
        later = self.desk.clock.now() + 1
        assert not any(self.desk.outbox.claims(at, later) for at in ("", *DIRECTORIES))


OutboxAgainstModel.TestCase.settings = settings(
    max_examples=300, stateful_step_count=40, deadline=None
)
test_the_outbox_against_a_model = OutboxAgainstModel.TestCase


# ---------------------------------------------------------------- one by one


def test_a_name_that_was_left_goes_only_with_or_after_the_other() -> None:
    desk = Desk()
    desk.settled("a")
    desk.write("a")
    desk.rename("a", "b")
    desk.clock.advance(QUIET_S)
    assert desk.depart() == []  # the bytes of b are to go up before
    desk.upload(desk.files["b"])
    assert {entry.path for entry in desk.depart()} == {"a", "b"}


def test_a_name_that_was_left_goes_at_once_when_nobody_wants_the_bytes_any_more() -> None:
    desk = Desk()
    desk.settled("a")
    desk.write("a")
    desk.rename("a", "b")
    desk.remove("b")
    desk.clock.advance(QUIET_S)
    assert [entry.path for entry in desk.depart()] == ["a"]


def test_a_name_that_two_nodes_left_waits_for_both() -> None:
    desk = Desk()
    desk.settled("a")
    desk.write("a")
    desk.rename("a", "b")
    second = desk.create("a")
    desk.rename("a", "c")
    desk.upload(second)
    desk.clock.advance(QUIET_S)
    assert [entry.path for entry in desk.depart()] == ["c"]


def test_a_node_that_moves_on_while_it_is_put_keeps_its_old_name_until_it_is_there() -> None:
    desk = Desk()
    node = desk.settled("a")
    desk.rename("a", "b")
    desk.clock.advance(QUIET_S)
    (put,) = [entry for entry in desk.depart() if entry.path == "b"]
    desk.rename("b", "c")
    desk.write("c")
    desk.settle(put)
    desk.clock.advance(WINDOW_S)
    assert desk.outbox.stamp(node)
    assert "b" not in {entry.path for entry in desk.depart()}


def test_what_is_made_and_removed_before_anything_was_sent_is_forgotten() -> None:
    desk = Desk()
    desk.create("a")
    desk.remove("a")
    desk.journal.submit()
    assert len(desk.outbox) == 0
    assert not desk.kept.records


def test_w3_what_is_removed_while_it_is_put_is_deleted_after() -> None:
    desk = Desk()
    desk.upload(desk.create("a"))
    desk.clock.advance(QUIET_S)
    entries = desk.depart()
    desk.remove("a")
    for entry in entries:
        desk.settle(entry)
    assert [(each.path, each.is_delete) for each in desk.outbox.pending()] == [("a", True)]


def test_it_is_tried_again_later_each_time_up_to_five_minutes_for_ever() -> None:
    desk = Desk()
    desk.upload(desk.create("a"))
    waits = []
    for _ in range(15):
        desk.clock.advance(RETRY_S_MAX * 2)
        (entry,) = desk.depart()
        desk.outbox.failed(entry, Forbidden("no"))
        waits.append(desk.outbox.pending()[0].due_in_s)
    assert 1.5 <= waits[0] <= 2.5
    assert all(later > 1.1 * earlier for earlier, later in pairwise(waits[:7]))
    assert all(RETRY_S_MAX * 0.75 <= wait <= RETRY_S_MAX * 1.25 for wait in waits[9:])


def test_in_a_hurry_nothing_waits_for_quiet_but_what_has_failed_for_its_delay() -> None:
    desk = Desk()
    desk.upload(desk.create("a"))
    desk.clock.advance(QUIET_S)
    (entry,) = desk.depart()
    desk.outbox.failed(entry, Forbidden("no"))
    desk.remove("a")
    (wait_s,) = [each.due_in_s for each in desk.outbox.pending()]
    desk.outbox.quiet_s = WINDOW_S
    desk.create("a")
    desk.outbox.hurry(failed_too=False)
    assert [each.due_in_s for each in desk.outbox.pending()] == [wait_s]
    desk.outbox.hurry()
    assert [each.due_in_s for each in desk.outbox.pending()] == [0.0]


def test_it_is_told_once_for_each_kind_of_error() -> None:
    desk = Desk()
    desk.upload(desk.create("a"))
    told = []
    for error in (Forbidden("1"), Forbidden("2"), QuotaReached("3"), QuotaReached("4")):
        desk.clock.advance(RETRY_S_MAX * 2)
        (entry,) = desk.depart()
        told.append(desk.outbox.failed(entry, error))
    assert told == [True, False, True, False]


def test_after_a_restart_what_had_failed_waits_and_the_rest_is_due() -> None:
    desk = Desk()
    for path in ("bad", "good"):
        desk.upload(desk.create(path))
    desk.clock.advance(QUIET_S)
    for entry in desk.depart():
        if entry.path == "bad":
            for _ in range(10):
                desk.outbox.put_off(entry, Forbidden("no"))
    desk.restart()
    assert [entry.path for entry in desk.due()] == ["good"]
    desk.clock.advance(RETRY_S_MAX)
    assert {entry.path for entry in desk.due()} == {"bad", "good"}


def test_what_was_sent_without_an_answer_is_ours_also_after_a_restart() -> None:
    desk = Desk()
    node = desk.create("a")
    desk.upload(node)
    desk.clock.advance(QUIET_S)
    desk.depart()
    sent = desk.bytes[node.fileid]
    desk.write("a")
    desk.restart()
    (entry,) = desk.due()
    assert entry.is_ours(sent)
    assert not entry.is_ours(desk.bytes[node.fileid])


def test_w18_what_a_listing_says_counts_if_it_was_asked_for_after_all_was_settled() -> None:
    desk = Desk()
    desk.settled("d/a")
    before = desk.clock.now()
    desk.remove("d/a")
    desk.outbox.hide("d")
    assert desk.outbox.claims("", before) == {"d"}
    desk.clock.advance(1)
    desk.flush()
    after = desk.clock.now()
    assert desk.outbox.claim("d/a", before)
    assert desk.outbox.claim("d", before)
    assert not desk.outbox.claim("d/a", after)
    assert not desk.outbox.claims("", after)


def test_w18_a_directory_that_came_and_went_leaves_the_claim_to_its_name() -> None:
    """There was a file of that name, which is still to be deleted, and there is one again."""
    desk = Desk()
    desk.settled("a")
    desk.remove("a")
    desk.outbox.hide("a")
    desk.clock.advance(1)
    assert desk.outbox.claim("a", desk.clock.now())
    desk.create("a")
    desk.restart()
    assert desk.outbox.claim("a", desk.clock.now())


def test_bytes_and_dates_that_change_while_they_are_sent_are_sent_again() -> None:
    desk = Desk()
    desk.upload(desk.create("a"))
    desk.clock.advance(QUIET_S)
    entries = desk.depart()
    desk.write("a")
    desk.settle(entries[0])
    assert [each.path for each in desk.outbox.pending()] == ["a"]
    desk.flush()
    assert desk.hub == desk.wanted()


def test_a_node_that_was_put_has_to_be_put_anew_where_it_moves_on_to() -> None:
    desk = Desk()
    node = desk.create("a")
    desk.upload(node)
    desk.clock.advance(QUIET_S)
    (put,) = desk.depart()
    desk.write("a")
    desk.settle(put)  # an older version of it is there
    desk.outbox.put("b", node, None)
    desk.outbox.delete("a", None, moved=node.fileid)
    desk.clock.advance(WINDOW_S)
    assert desk.depart() == []


def test_what_is_wanted_again_is_not_taken_for_what_went_up_before() -> None:
    desk = Desk()
    node = desk.create("a")
    goes_up = desk.outbox.stamp(node)
    desk.rename("a", "b")
    assert desk.outbox.stamp(node) == goes_up, "it is good for there, too"
    desk.outbox.delete("b", None)  # it moved to a name that the Hub never hears of
    desk.outbox.put("c", node, None)  # and back, perhaps written to meanwhile
    assert desk.outbox.stamp(node) != goes_up
