"""Both sides changed something: both are kept."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hfnfs.remote import Kind, RemoteEntry
from tests.vfs.changing import MTIME_NS, Desk, Made


def test_w15_both_versions_are_kept_in_a_conflict(made: Made) -> None:
    desk = made(d__a=b"base")
    ours = desk.at("d/a")
    desk.do(desk.writing.write, ours, 0, b"ours")
    desk.hub["d/a"] = b"theirs"
    new = desk.aside.set_aside("d/a", entry(desk, "d/a"))
    assert new is not None
    assert new.startswith("d/a.conflict-")
    assert desk.walk() == {"d": None, "d/a": b"theirs", new: b"ours"}
    assert desk.wanted() == {new: "put"}
    assert desk.at(new) is ours


def test_what_others_changed_is_not_deleted_by_us(made: Made) -> None:
    desk = made(a=b"base")
    desk.do(desk.naming.remove, *desk.split("a"))
    desk.hub["a"] = b"theirs"
    desk.aside.give_way("a", entry(desk, "a"))
    assert (desk.walk(), desk.wanted()) == ({"a": b"theirs"}, {})


def test_what_was_set_aside_is_so_after_a_crash(made: Made) -> None:
    desk = made(a=b"base", d__b=b"in it", d__f__c=b"deeper")
    desk.do(desk.writing.write, desk.at("a"), 0, b"ours")
    desk.do(desk.naming.rename, *desk.split("d"), *desk.split("e"))
    desk.sync()
    desk.hub |= {"a": b"theirs", "e": b"a file of theirs"}
    with as_one(desk):
        new = str(desk.aside.set_aside("a", entry(desk, "a")))
    desk = desk.killed()
    desk.walk()
    with as_one(desk):
        directory = str(desk.aside.set_directory_aside("e", entry(desk, "e")))
    assert new.startswith("a.conflict-")
    assert directory.startswith("e.conflict-")
    expected = {
        "a": b"theirs", new: b"ours", "e": b"a file of theirs", directory: None,
        f"{directory}/b": b"in it", f"{directory}/f": None, f"{directory}/f/c": b"deeper",
    }  # fmt: skip
    wanted = {
        new: "put", f"{directory}/b": "put", f"{directory}/f/c": "put",
        "d/b": "delete", "d/f/c": "delete",
    }  # fmt: skip
    assert (set(desk.shown()), desk.wanted()) == (set(expected), wanted)
    desk = desk.killed()
    assert (desk.walk(), desk.wanted()) == (expected, wanted)


def test_what_gave_way_does_so_after_a_crash(made: Made) -> None:
    desk = made(a=b"base")
    desk.do(desk.naming.remove, *desk.split("a"))
    desk.hub["a"] = b"theirs"
    with as_one(desk):
        desk.aside.give_way("a", entry(desk, "a"))
    desk = desk.killed()
    assert (desk.walk(), desk.wanted()) == ({"a": b"theirs"}, {})


def test_what_is_gone_is_not_set_aside(made: Made) -> None:
    desk = made(a=b"base", d__b=b"")
    theirs = entry(desk, "a")
    desk.at("d")
    assert desk.aside.set_aside("gone", theirs) is None
    assert desk.aside.set_aside("d", theirs) is None
    assert desk.aside.set_directory_aside("a", theirs) is None
    assert desk.aside.set_directory_aside("gone", theirs) is None
    assert desk.walk() == {"a": b"base", "d": None, "d/b": b""}


def test_a_conflict_s_name_is_free_short_enough_and_of_plain_characters(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "../a\n\x1b[2J\u202eü" + "x" * 100)
    name = "ü" * 127  # 254 bytes
    desk = made(**{name: b"base"})
    theirs = entry(desk, name)
    made_so_far = set()
    for number in range(12):
        desk.do(desk.writing.write, desk.at(name), 0, b"ours %d" % number)
        new = desk.aside.set_aside(name, theirs)
        assert new is not None
        kept, tail = new.split(".conflict-")
        assert name.startswith(kept)
        assert kept
        assert re.fullmatch(r"[A-Za-z0-9._-]{40}-\d{8}T\d{6}Z(-\d+)?", tail)
        assert len(new.encode()) <= 255
        made_so_far.add(new)
    assert len(made_so_far) == 12
    assert set(desk.walk()) == {name, *made_so_far}


@contextmanager
def as_one(desk: Desk) -> Iterator[None]:
    """What is done becomes durable at once: never is a half of it all there is."""
    before = desk.state.tickets
    yield
    assert desk.state.tickets == before + 1


def entry(desk: Desk, path: str) -> RemoteEntry:
    """What somebody else put there."""
    return RemoteEntry(path.rpartition("/")[2], Kind.FILE, desk.content(path), MTIME_NS)
