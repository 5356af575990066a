"""Names are changed as RFC 1813 says, and what the Hub is to have follows."""

import pytest

from hfnfs.errors import (
    EntryExists,
    InvalidArgument,
    IsDirectory,
    NoEntry,
    NotDirectory,
    NotEmpty,
)
from hfnfs.vfs.attributes import Wanted
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.needs import Journaled, NotYet
from hfnfs.vfs.node import FileType, Symlink
from tests.vfs.changing import MTIME_NS, Desk, Made


def rename(desk: Desk, old: str, new: str) -> None:
    desk.do(desk.naming.rename, *desk.split(old), *desk.split(new))


def remove(desk: Desk, path: str) -> None:
    desk.do(desk.naming.remove, *desk.split(path))


def mkdir(desk: Desk, path: str) -> None:
    desk.do(desk.naming.make_directory, *desk.split(path), Wanted())


# ------------------------------------------------------------------ making


def test_a_new_file_is_held_until_it_is_kept_and_wanted_on_the_hub(made: Made) -> None:
    desk = made(there=b"x")
    held = desk.do(desk.naming.create, desk.root, b"new", Wanted(mode=0o600), guarded=True)
    assert held.until == Journaled(desk.state.tickets)
    assert held.result.look.mode == 0o600
    assert desk.wanted() == {"new": "put"}
    assert desk.walk() == {"there": b"x", "new": b""}


def test_create_of_what_is_there(made: Made) -> None:
    desk = made(there=b"12345", d__x=b"")
    with pytest.raises(EntryExists):
        desk.do(desk.naming.create, desk.root, b"there", Wanted(), guarded=True)
    with pytest.raises(EntryExists):
        desk.do(desk.naming.create, desk.root, b"d", Wanted())
    same = desk.do(desk.naming.create, desk.root, b"there", Wanted(mode=0o600)).result
    assert (same.size, same.look.mode, desk.wanted()) == (5, 0o644, {})
    desk.do(desk.naming.create, desk.root, b"there", Wanted(size=2))
    assert (desk.read("there"), desk.wanted()) == (b"12", {"there": "put"})


def test_an_exclusive_create_is_repeated_with_its_verifier_alone(made: Made) -> None:
    desk = made()
    create = desk.naming.create_exclusive
    node = desk.do(create, desk.root, b"a", b"verifier", Wanted()).result
    assert desk.do(create, desk.root, b"a", b"verifier", Wanted()).result is node
    with pytest.raises(EntryExists):
        desk.do(create, desk.root, b"a", b"another!", Wanted())
    desk = desk.restarted()
    again = desk.do(desk.naming.create_exclusive, desk.root, b"a", b"verifier", Wanted()).result
    assert again.fileid == node.fileid
    desk.do(desk.setting.set, again, Wanted(mode=0o600))
    with pytest.raises(EntryExists):
        desk.do(desk.naming.create_exclusive, desk.root, b"a", b"verifier", Wanted())
    desk.staging.close()


@pytest.mark.parametrize("name", [b"\xff", b"a\xc3"])
def test_names_that_the_hub_cannot_have_are_refused(made: Made, name: bytes) -> None:
    desk = made()
    with pytest.raises(InvalidArgument):
        desk.do(desk.naming.create, desk.root, name, Wanted())
    with pytest.raises(NoEntry):
        desk.do(desk.naming.remove, desk.root, name)


def test_a_symbolic_link_is_kept_here_and_survives(made: Made) -> None:
    desk = made(a=b"1")
    desk.do(desk.naming.make_symlink, desk.root, b"l", b"a/../b", Wanted())
    desk = desk.restarted()
    desk.do(desk.tree.listed, desk.root, 0)
    node = desk.at("l")
    assert isinstance(node, Symlink)
    assert (node.target, node.size, desk.wanted()) == (b"a/../b", 6, {})
    with pytest.raises(EntryExists):
        desk.do(desk.naming.make_symlink, desk.root, b"l", b"x", Wanted())
    desk.staging.close()


def test_w16_an_empty_directory_survives_listings_and_restarts(made: Made) -> None:
    desk = made(a=b"1")
    new = desk.do(desk.naming.make_directory, desk.root, b"d", Wanted(mode=0o700)).result
    assert isinstance(new, Directory)
    assert len(new.verifier) == 8
    mkdir(desk, "d/e")
    desk.clock.advance(100)
    assert desk.walk() == {"a": b"1", "d": None, "d/e": None}
    desk = desk.restarted()
    assert desk.walk() == {"a": b"1", "d": None, "d/e": None}
    assert desk.at("d").look.mode == 0o700
    desk.staging.close()


def test_a_directory_stays_when_we_take_the_last_file_out_of_it(made: Made) -> None:
    desk = made(d__e__a=b"1")
    remove(desk, "d/e/a")
    desk.hub.clear()
    desk.clock.advance(100)
    assert desk.walk() == {"d": None, "d/e": None}
    desk = desk.restarted()
    assert desk.walk() == {"d": None, "d/e": None}
    desk.staging.close()


def test_a_link_is_a_copy(made: Made) -> None:
    desk = made(a=b"12345")
    desk.do(desk.naming.link, desk.at("a"), desk.root, b"b")
    desk.do(desk.writing.write, desk.at("a"), 0, b"x")
    assert desk.walk() == {"a": b"x2345", "b": b"12345"}
    assert desk.wanted() == {"a": "put", "b": "put"}
    assert desk.at("b").content == desk.content("a")
    with pytest.raises(EntryExists):
        desk.do(desk.naming.link, desk.at("a"), desk.root, b"b")
    with pytest.raises(IsDirectory):
        desk.do(desk.naming.link, desk.root, desk.root, b"c")


# ---------------------------------------------------------------- removing


def test_a_removed_file_does_not_come_back_and_its_handle_is_stale(made: Made) -> None:
    desk = made(a=b"1", b=b"2")
    gone = desk.at("a")
    remove(desk, "a")
    desk.clock.advance(100)
    assert desk.walk() == {"b": b"2"}
    assert desk.wanted() == {"a": "delete"}
    assert desk.tree.node_by_fileid(gone.fileid) is None
    desk = desk.restarted()
    assert desk.walk() == {"b": b"2"}
    assert desk.wanted() == {"a": "delete"}
    again = desk.create("a")
    assert again.fileid != gone.fileid
    assert desk.wanted() == {"a": "put"}
    desk.staging.close()


def test_what_never_was_on_the_hub_leaves_nothing_to_delete(made: Made) -> None:
    desk = made()
    desk.create("a", b"123")
    remove(desk, "a")
    assert (desk.wanted(), desk.state.model.overlays) == ({}, {})
    with pytest.raises(NoEntry):
        remove(desk, "a")


def test_w5_truncated_then_removed_is_deleted_on_the_hub(made: Made) -> None:
    desk = made(a=b"123")
    desk.do(desk.setting.set, desk.at("a"), Wanted(size=0))
    remove(desk, "a")
    assert desk.wanted() == {"a": "delete"}


def test_removing_directories(made: Made) -> None:
    desk = made(d__a=b"1", f=b"")
    with pytest.raises(NotEmpty):
        desk.do(desk.naming.remove_directory, desk.root, b"d")
    with pytest.raises(IsDirectory):
        remove(desk, "d")
    with pytest.raises(NotDirectory):
        desk.do(desk.naming.remove_directory, desk.root, b"f")
    remove(desk, "d/a")
    desk.do(desk.naming.remove_directory, desk.root, b"d")
    desk.clock.advance(100)
    assert desk.walk() == {"f": b""}
    mkdir(desk, "d")
    assert desk.walk() == {"f": b"", "d": None}
    assert desk.wanted() == {"d/a": "delete"}


# ---------------------------------------------------------------- renaming


def test_a_renamed_file_moves_no_bytes_and_keeps_its_handle(made: Made) -> None:
    desk = made(a=b"123", d__x=b"")
    node = desk.at("a")
    rename(desk, "a", "d/b")
    assert (desk.at("d/b"), node.content) == (node, desk.content("a"))
    assert node.mtime_ns == MTIME_NS
    assert desk.wanted() == {"a": "delete", "d/b": "put"}
    assert desk.walk() == {"d": None, "d/x": b"", "d/b": b"123"}
    desk = desk.restarted()
    assert desk.at("d/b").fileid == node.fileid
    assert desk.walk() == {"d": None, "d/x": b"", "d/b": b"123"}
    desk.staging.close()


def test_an_atomic_save_leaves_one_put(made: Made) -> None:
    desk = made(file=b"old")
    desk.create("file.tmp", b"new")
    rename(desk, "file.tmp", "file")
    assert (desk.read("file"), desk.wanted()) == (b"new", {"file": "put"})
    desk = desk.restarted()
    assert desk.walk() == {"file": b"new"}
    desk.staging.close()


def test_renames_that_cannot_be(made: Made) -> None:
    desk = made(f=b"", d__a=b"", e__b=b"")
    for old, new, error in [
        ("none", "x", NoEntry),
        ("f", "d", IsDirectory),
        ("d", "f", NotDirectory),
        ("d", "e", NotEmpty),
        ("d", "d/x", InvalidArgument),
        ("d", "d/x/y", NoEntry),
    ]:
        with pytest.raises(error):
            rename(desk, old, new)
    rename(desk, "f", "f")
    assert desk.wanted() == {}


def test_a_renamed_directory_takes_everything_along(made: Made) -> None:
    desk = made(d__a=b"1", d__e__b=b"2", x=b"3")
    desk.create("d/new", b"4")
    mkdir(desk, "d/empty")
    inner = desk.at("d/e/b")
    rename(desk, "d", "moved")
    everything = {
        "x": b"3", "moved": None, "moved/a": b"1", "moved/e": None, "moved/e/b": b"2",
        "moved/new": b"4", "moved/empty": None,
    }  # fmt: skip
    assert desk.walk() == everything
    desk.clock.advance(100)
    assert desk.walk() == everything
    assert desk.wanted() == {
        "d/a": "delete", "d/e/b": "delete",
        "moved/a": "put", "moved/e/b": "put", "moved/new": "put",
    }  # fmt: skip
    desk = desk.restarted()
    assert desk.walk() == everything
    assert desk.at("moved/e/b").fileid == inner.fileid
    desk.staging.close()


def test_a_directory_over_an_empty_one_and_back(made: Made) -> None:
    desk = made(d__a=b"1")
    mkdir(desk, "e")
    rename(desk, "d", "e")
    assert desk.walk() == {"e": None, "e/a": b"1"}
    rename(desk, "e", "d")
    desk.clock.advance(100)
    assert desk.walk() == {"d": None, "d/a": b"1"}
    assert desk.wanted() == {"d/a": "put"}  # which turns out to be there


# --------------------------------------------------------------- kept here alone


def test_w44_private_names_never_reach_the_hub(made: Made) -> None:
    desk = made(a=b"123")
    desk.create("private", b"x")
    assert desk.wanted() == {}
    remove(desk, "private")
    rename(desk, "a", "private")
    assert (desk.wanted(), desk.read("private")) == ({"a": "delete"}, b"123")
    desk.clock.advance(100)
    assert desk.walk() == {"private": b"123"}
    desk = desk.restarted()
    assert desk.walk() == {"private": b"123"}
    rename(desk, "private", "b")
    assert desk.wanted() == {"a": "delete", "b": "put"}
    desk.staging.close()


# ---------------------------------------------------------------- attributes


def test_attributes_survive_and_the_date_goes_to_the_hub(made: Made) -> None:
    desk = made(a=b"1")
    node = desk.at("a")
    before = node.ctime_ns
    wanted = Wanted(mode=0o640, uid=5, gid=6, atime_ns=7, mtime_ns=1_000_000_000_123_456_789)
    desk.do(desk.setting.set, node, wanted)
    assert node.ctime_ns > before
    desk = desk.restarted()
    node = desk.at("a")
    look = node.look
    assert (look.mode, look.uid, look.gid, look.type) == (0o640, 5, 6, FileType.REG)
    assert (node.atime_ns, node.mtime_ns) == (7, 1_000_000_000_123_000_000)
    assert desk.wanted() == {"a": "put"}
    desk.staging.close()


def test_a_full_queue_of_changes_makes_the_next_one_wait(made: Made) -> None:
    desk = made()
    desk.state.is_full = True
    for work in (
        lambda: desk.naming.create(desk.root, b"a", Wanted()),
        lambda: desk.naming.remove(desk.root, b"a"),
        lambda: desk.naming.rename(desk.root, b"a", desk.root, b"b"),
        lambda: desk.setting.set(desk.root, Wanted(mode=0o700)),
    ):
        with pytest.raises(NotYet) as not_yet:
            work()
        assert isinstance(not_yet.value.need, Journaled)
