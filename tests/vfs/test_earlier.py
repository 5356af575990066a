"""Who has a file open goes on with it, whatever others make of its name."""

from contextlib import suppress

import pytest

from hfnfs.errors import NoEntry, StaleHandle
from hfnfs.remote import Kind, Listing, RemoteEntry
from hfnfs.vfs import earlier
from hfnfs.vfs.attributes import Wanted
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.node import FileType, Node
from hfnfs.vfs.switching import switch
from tests.vfs.changing import MTIME_NS, Desk, Made

TTL_S = 10.0


class Handle:
    """What a handle names, of a file that is open."""

    def __init__(self, desk: Desk, path: str) -> None:
        node = desk.at(path)
        self.named = node.fileid, desk.tree.home_of(node), node.generation
        self.fattr3 = node.fattr3
        use(desk, node)

    def node(self, desk: Desk) -> Node:
        return desk.do(desk.tree.node, *self.named)

    def read(self, desk: Desk) -> bytes:
        return bytes(desk.do(desk.data.read, self.node(desk), 0, 1 << 20)[0])


def use(desk: Desk, *nodes: Node) -> None:
    """Let these be in use, and no others."""
    desk.tree.nodes.earlier.in_use = nodes.__contains__


def later(desk: Desk) -> None:
    """Let what is known be so old that it is asked for again."""
    desk.clock.advance(TTL_S + 1)
    desk.walk()


def opened(made: Made, **hub: bytes) -> tuple[Desk, Handle]:
    """A volume whose file "a" is open; its old bytes can be fetched for ever."""
    desk = made(a=b"old", **hub)
    desk.walk()
    desk.hub |= {"elsewhere/a": b"old"}
    return desk, Handle(desk, "a")


def test_a_file_that_others_replace_is_read_on_as_it_was(made: Made) -> None:
    desk, handle = opened(made)
    desk.hub["a"] = b"newer"
    later(desk)
    assert (handle.read(desk), desk.read("a")) == (b"old", b"newer")
    assert desk.at("a").generation == 1
    assert handle.node(desk).fattr3 == handle.fattr3


def test_one_that_nobody_uses_gets_the_new_bytes_under_its_handle(made: Made) -> None:
    desk, handle = opened(made)
    use(desk)
    desk.hub["a"] = b"newer"
    later(desk)
    assert handle.read(desk) == b"newer"


def test_another_date_alone_makes_no_other_file(made: Made) -> None:
    desk, handle = opened(made)
    entry = RemoteEntry("a", Kind.FILE, desk.content("a"), MTIME_NS + 1)
    desk.tree.apply_found(desk.root, b"a", entry)
    assert handle.node(desk) is desk.at("a")
    assert desk.at("a").mtime_ns == MTIME_NS + 1


def test_a_file_that_others_remove_is_read_on_and_has_no_name(made: Made) -> None:
    desk, handle = opened(made)
    del desk.hub["a"]
    later(desk)
    assert (handle.read(desk), handle.node(desk).fattr3) == (b"old", handle.fattr3)
    assert "a" not in desk.walk()


def test_a_file_whose_directory_others_remove_is_read_on(made: Made) -> None:
    desk = made(d__a=b"old", elsewhere=b"old")
    handle = Handle(desk, "d/a")
    del desk.hub["d/a"]
    later(desk)
    assert handle.read(desk) == b"old"
    with pytest.raises(StaleHandle):
        desk.do(desk.writing.write, handle.node(desk), 0, b"x")


@pytest.mark.parametrize("others_remove", [True, False])
def test_its_directory_says_that_its_name_is_to_be_looked_up_again(
    made: Made, others_remove: bool
) -> None:
    desk = made(d__a=b"old", d__b=b"1")
    directory = desk.at("d")
    desk.at("d/a")
    before = directory.ctime_ns
    if others_remove:
        del desk.hub["d/a"]
    else:
        desk.hub["d/a"] = b"newer"
    desk.clock.advance(TTL_S + 1)
    with suppress(NoEntry):
        desk.at("d/a")
    assert isinstance(directory, Directory)
    assert directory.listed_at is None, "it was only asked for that name"
    assert directory.ctime_ns > before


def test_what_a_switch_makes_of_a_directory_that_was_dropped_meanwhile(made: Made) -> None:
    desk, handle = opened(made)
    root = desk.tree.root
    desk.tree.forget(root)
    before = root.ctime_ns
    desk.hub["a"] = b"newer"
    switch(desk.tree, {root.fileid: Listing("", desk.entries(""))})
    assert root.ctime_ns > before
    assert (handle.read(desk), desk.read("a")) == (b"old", b"newer")


def test_a_file_that_was_dropped_is_the_same_again_if_it_is_listed_as_it_was(made: Made) -> None:
    desk, handle = opened(made)
    desk.tree.forget(desk.tree.root)
    assert handle.node(desk) is desk.at("a")
    assert not desk.tree.nodes.earlier.files


def test_a_file_that_was_dropped_and_replaced_meanwhile_is_read_on(made: Made) -> None:
    desk, handle = opened(made)
    desk.tree.forget(desk.tree.root)
    desk.hub["a"] = b"newer"
    assert (handle.read(desk), desk.read("a")) == (b"old", b"newer")


def test_a_file_that_was_dropped_and_removed_meanwhile_is_read_on(made: Made) -> None:
    desk, handle = opened(made, b=b"1")
    switch(desk.tree, {})
    del desk.hub["a"]
    assert handle.read(desk) == b"old"
    assert "a" not in desk.walk()


def test_each_of_many_versions_is_read_on_by_who_opened_it(made: Made) -> None:
    desk, first = opened(made)
    desk.hub |= {"a": b"second", "elsewhere/b": b"second"}
    later(desk)
    second = Handle(desk, "a")
    desk.hub["a"] = b"third"
    later(desk)
    assert [first.read(desk), second.read(desk), desk.read("a")] == [b"old", b"second", b"third"]


def test_the_longest_unused_are_forgotten(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earlier, "EARLIER_MAX", 2)
    desk = made(a=b"1", b=b"2", c=b"3")
    a, b, c = (Handle(desk, path) for path in "abc")
    use(desk, *map(desk.at, "abc"))
    for path in "ab":
        del desk.hub[path]
        later(desk)
    forgotten = b.node(desk)
    assert a.node(desk), "it is in use again"
    gone: list[Node] = []
    desk.tree.when_gone.append(gone.extend)
    del desk.hub["c"]
    later(desk)
    assert forgotten in gone
    assert a.node(desk)
    assert c.node(desk)
    with pytest.raises(StaleHandle):
        b.node(desk)


def test_w15_what_is_written_to_it_is_shown_beside_theirs_and_goes_to_the_hub(made: Made) -> None:
    desk, handle = opened(made)
    shown: list[tuple[str, str]] = []
    desk.aside.when_shown_again = lambda path, ours: shown.append((path, ours))
    desk.hub["a"] = b"newer"
    later(desk)
    desk.do(desk.writing.write, handle.node(desk), 3, b" and ours")
    (beside,) = desk.wanted()
    assert shown == [("a", beside)]
    expected = {"a": b"newer", beside: b"old and ours"}
    assert {path: desk.read(path) for path in expected} == expected
    assert handle.read(desk) == b"old and ours"
    desk.do(desk.writing.write, handle.node(desk), 0, b"OLD")
    again = desk.restarted()
    assert again.wanted() == {beside: "put"}
    assert again.read(beside) == b"OLD and ours"
    again.staging.close()


def test_w15_what_is_cut_is_shown_again_under_its_name_if_others_removed_it(made: Made) -> None:
    desk, handle = opened(made)
    del desk.hub["a"]
    later(desk)
    desk.do(desk.setting.set, handle.node(desk), Wanted(size=1))
    assert (desk.read("a"), desk.wanted()) == (b"o", {"a": "put"})
    desk.do(desk.naming.remove, desk.root, b"a")
    with pytest.raises(StaleHandle):
        handle.node(desk)


def test_a_mode_or_date_that_is_set_is_seen_by_who_has_it_open_alone(made: Made) -> None:
    desk, handle = opened(made)
    desk.hub["a"] = b"newer"
    later(desk)
    before = desk.at("a").fattr3
    desk.do(desk.setting.set, handle.node(desk), Wanted(mode=0o600, mtime_ns=1_000_000))
    file = handle.node(desk)
    assert (file.look.mode, file.mtime_ns) == (0o600, 1_000_000)
    assert (desk.at("a").fattr3, desk.wanted()) == (before, {})


def test_a_link_to_it_has_the_bytes_that_it_had(made: Made) -> None:
    desk, handle = opened(made)
    del desk.hub["a"]
    later(desk)
    desk.do(desk.naming.link, handle.node(desk), desk.root, b"saved")
    assert (desk.read("saved"), desk.wanted()) == (b"old", {"saved": "put"})


def test_handles_of_the_new_file_are_good_after_a_restart(made: Made) -> None:
    desk, _ = opened(made)
    desk.hub["a"] = b"newer"
    later(desk)
    handle = Handle(desk, "a")
    again = desk.restarted()
    kept = [node.look.type for node in again.tree.pinned]
    assert FileType.REG not in kept, "it needs no record of its own"
    assert handle.read(again) == b"newer"
    again.staging.close()
