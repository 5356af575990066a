"""Both sides changed something: both are kept."""

from hfnfs.remote import Kind, RemoteEntry
from tests.vfs.changing import MTIME_NS, Made


def test_w15_both_versions_are_kept_in_a_conflict(made: Made) -> None:
    desk = made(d__a=b"base")
    ours = desk.at("d/a")
    desk.do(desk.writing.write, ours, 0, b"ours")
    desk.hub["d/a"] = b"theirs"
    theirs = RemoteEntry("a", Kind.FILE, desk.content("d/a"), MTIME_NS)
    new = desk.aside.set_aside("d/a", theirs)
    assert new is not None
    assert new.startswith("d/a.conflict-")
    assert desk.walk() == {"d": None, "d/a": b"theirs", new: b"ours"}
    assert desk.wanted() == {new: "put"}
    assert desk.at(new) is ours


def test_what_others_changed_is_not_deleted_by_us(made: Made) -> None:
    desk = made(a=b"base")
    desk.do(desk.naming.remove, *desk.split("a"))
    desk.hub["a"] = b"theirs"
    desk.aside.give_way("a", RemoteEntry("a", Kind.FILE, desk.content("a"), MTIME_NS))
    assert (desk.walk(), desk.wanted()) == ({"a": b"theirs"}, {})
