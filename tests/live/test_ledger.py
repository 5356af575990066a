"""The ledger lets pass what a crash may leave, and nothing else."""

import pytest

from tests.live.ledger import (
    Call,
    Commit,
    Directory,
    File,
    Ledger,
    Make,
    Remove,
    Rename,
    Tree,
    Truncate,
    Write,
)


def ledger(*calls: Call, waiting: Call | None = None) -> Ledger:
    """One that was answered to all calls but the last."""
    kept = Ledger()
    for call in calls:
        kept.sending(call)
        kept.answered(call)
    if waiting is not None:
        kept.sending(waiting)
    return kept


def written(at: int, data: bytes, *, stable: bool = False) -> Write:
    return Write("f", at, data, stable)


MADE = Make("f", File(b"F"))


@pytest.mark.parametrize("data", [b"", b"ab", b"abxx"])
def test_of_loose_bytes_any_part_may_be_there(data: bytes) -> None:
    kept = ledger(MADE, written(0, b"ab"), written(2, b"xx"))
    assert not kept.settle({"f": (b"F", data)})


@pytest.mark.parametrize("data", [b"", b"a", b"axxx", b"Abxx", b"abxxx"])
def test_stable_bytes_are_there_and_none_that_nobody_wrote(data: bytes) -> None:
    kept = ledger(MADE, written(0, b"ab"), Commit("f"), written(2, b"xx"))
    assert kept.settle({"f": (b"F", data)})


@pytest.mark.parametrize(("data", "is_possible"), [(b"abxx", True), (b"ab", False)])
def test_loose_bytes_are_there_if_the_server_was_not_killed(
    data: bytes, *, is_possible: bool
) -> None:
    kept = ledger(MADE, written(0, b"ab"), written(2, b"xx"))
    assert bool(kept.settle({"f": (b"F", data)}, was_killed=False)) != is_possible


@pytest.mark.parametrize("stable", [written(0, b"ab", stable=True), written(0, b"ab")])
def test_a_call_that_was_not_answered_may_have_happened(stable: Write) -> None:
    for data in (b"", b"ab"):
        assert not ledger(MADE, waiting=stable).settle({"f": (b"F", data)})


def test_a_file_sync_that_was_answered_is_there() -> None:
    assert ledger(MADE, written(0, b"ab", stable=True)).settle({"f": (b"F", b"")})


def test_a_truncation_is_there_and_loose_bytes_within_it_may_be() -> None:
    kept = ledger(MADE, written(0, b"abcdef"), Truncate("f", 3), Truncate("f", 5))
    assert kept.settle({"f": (b"F", b"abc")})
    assert kept.settle({"f": (b"F", b"abcde")})
    assert not kept.settle({"f": (b"F", b"ab\0\0\0")})


@pytest.mark.parametrize("call", [Remove("f"), Rename("f", "g"), Make("g", File(None))])
def test_names_are_as_before_the_last_call_or_as_after_it_and_not_between(call: Call) -> None:
    seen_of = {"f": (b"F", b""), "g": (b"F" if isinstance(call, Rename) else b"G", b"")}
    after = call.applied({"f": File(b"F")})
    for names in ({"f"}, set(after)):
        kept = ledger(MADE, waiting=call)
        assert not kept.settle({name: seen_of[name] for name in names})
    for names in ({"f", "g", "h"}, {"g", "h"}):
        assert ledger(MADE, waiting=call).settle(dict.fromkeys(names, (b"F", b"")))


def test_a_rename_takes_along_what_is_in_a_directory_and_replaces_what_has_the_name() -> None:
    tree: Tree = {
        "d": Directory(b"D"),
        "d/f": File(b"F", b"x"),
        "d.txt": File(b"T"),
        "e": Directory(b"E"),
    }
    assert Rename("d", "e").applied(tree) == {
        "e": Directory(b"D"),
        "e/f": File(b"F", b"x"),
        "d.txt": File(b"T"),
    }


def test_another_handle_or_kind_is_refused() -> None:
    assert ledger(MADE).settle({"f": (b"another", b"")})
    assert ledger(MADE).settle({"f": (b"F", None)})
    assert ledger(Make("f", Directory(b"F"))).settle({"f": (b"F", b"")})


def test_what_was_loose_is_still_to_be_written_and_what_was_found_is_stable() -> None:
    kept = ledger(MADE, written(0, b"abcd"))
    assert not kept.settle({"f": (b"F", b"ab")})
    assert kept.tree == {"f": File(b"F", b"ab", ((0, b"abcd"),))}
