from math import inf

import pytest

from hfnfs.errors import NameTooLong, NoEntry, NotDirectory, StaleHandle
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.needs import Listed, Named, NotYet
from hfnfs.vfs.node import FileType
from tests.vfs.builders import SetClock, entries_after, file, folder, listing, tree


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


def need_of(call: object) -> object:
    with pytest.raises(NotYet) as caught:
        call()  # type: ignore[operator]  # a lambda
    return caught.value.need


def test_a_young_listing_answers_for_names_and_for_their_absence(clock: SetClock) -> None:
    t = tree(clock)
    t.apply_listing(t.root, listing(file("a", 5), folder("d")))
    assert t.lookup(t.root, b"a").size == 5
    assert t.lookup(t.root, b"d").type is FileType.DIR
    with pytest.raises(NoEntry):
        t.lookup(t.root, b"nope")


def test_an_old_listing_is_asked_for_again(clock: SetClock) -> None:
    t = tree(clock, ttl_s=10)
    t.apply_listing(t.root, listing(file("a")))
    clock.seconds += 10
    assert need_of(lambda: t.lookup(t.root, b"a")) == Listed(t.root.fileid, clock.seconds - 10)
    assert need_of(lambda: t.listed(t.root, 0)) == Listed(t.root.fileid, clock.seconds - 10)


def test_a_listing_of_what_cannot_change_never_grows_old(clock: SetClock) -> None:
    t = tree(clock, ttl_s=inf)
    t.apply_listing(t.root, listing(file("a")))
    clock.seconds += 1e9
    assert t.lookup(t.root, b"a").name == b"a"


def test_dot_and_dotdot_need_no_listing(clock: SetClock) -> None:
    t = tree(clock)
    t.apply_listing(t.root, listing(folder("d")))
    below = t.lookup(t.root, b"d")
    assert t.lookup(below, b".") is below
    assert t.lookup(below, b"..") is t.root
    assert t.lookup(t.root, b"..") is t.root


def test_unlisted_names_are_asked_for_one_by_one_and_then_all(clock: SetClock) -> None:
    t = tree(clock, lookups=2)
    assert need_of(lambda: t.lookup(t.root, b"a")) == Named(t.root.fileid, b"a")
    t.apply_found(t.root, b"a", file("a"))
    assert t.lookup(t.root, b"a").name == b"a"
    t.apply_found(t.root, b"b", None)
    with pytest.raises(NoEntry):
        t.lookup(t.root, b"b")
    assert isinstance(need_of(lambda: t.lookup(t.root, b"c")), Listed)


def test_an_answer_about_one_name_grows_old_too(clock: SetClock) -> None:
    t = tree(clock, ttl_s=10)
    t.apply_found(t.root, b"b", None)
    clock.seconds += 11
    assert need_of(lambda: t.lookup(t.root, b"b")) == Named(t.root.fileid, b"b")
    t.apply_found(t.root, b"b", file("b"))
    assert t.lookup(t.root, b"b").name == b"b"


def test_a_listing_begun_is_finished_even_when_it_has_grown_old(clock: SetClock) -> None:
    t = tree(clock, ttl_s=10)
    t.apply_listing(t.root, listing(file("a"), file("b")))
    first = t.lookup(t.root, b"a").cookie
    clock.seconds += 100
    assert [name for _, name, _ in entries_after(t.listed(t.root, first), first)] == [b"b"]


def test_names_in_a_file_and_names_too_long(clock: SetClock) -> None:
    t = tree(clock)
    t.apply_listing(t.root, listing(file("a")))
    with pytest.raises(NotDirectory):
        t.lookup(t.lookup(t.root, b"a"), b"x")
    with pytest.raises(NotDirectory):
        t.listed(t.lookup(t.root, b"a"), 0)
    with pytest.raises(NameTooLong):
        t.lookup(t.root, b"x" * 256)


def test_changed_bytes_keep_the_node_and_move_its_times(clock: SetClock) -> None:
    t = tree(clock)
    t.apply_listing(t.root, listing(file("a", 3, "git-01", mtime_ns=1)))
    node = t.lookup(t.root, b"a")
    packed = node.fattr3
    clock.seconds += 5
    t.apply_listing(t.root, listing(file("a", 9, "git-02", mtime_ns=2)))
    assert t.lookup(t.root, b"a") is node
    assert (node.size, node.mtime_ns, node.ctime_ns) == (9, 2, clock.wall_ns())
    assert node.fattr3 != packed
    assert t.byte_count == 9


def test_what_vanished_is_stale_with_all_below_it(clock: SetClock) -> None:
    t = tree(clock)
    t.apply_listing(t.root, listing(folder("d"), file("f")))
    below = t.lookup(t.root, b"d")
    assert isinstance(below, Directory)
    t.apply_listing(below, listing(file("inner", 4)))
    inner = t.lookup(below, b"inner")
    t.apply_listing(t.root, listing(file("f")))
    for gone in (below, inner):
        with pytest.raises(StaleHandle):
            t.node(gone.fileid, t.root.fileid, gone.generation)
    assert (t.file_count, t.byte_count) == (1, 3)


def test_a_handle_of_a_later_generation_is_good_where_none_are_kept(clock: SetClock) -> None:
    before, t = tree(clock), tree(clock)
    for each in (before, t):
        each.apply_listing(each.root, listing(file("a", 3, "git-01")))
    before.nodes.earlier.in_use = lambda _node: True
    before.apply_listing(before.root, listing(file("a", 9, "git-02")))
    new = before.lookup(before.root, b"a")
    assert new.generation == 1
    assert t.node(new.fileid, t.root.fileid, new.generation) is t.lookup(t.root, b"a")


def test_what_comes_back_is_another_generation(clock: SetClock) -> None:
    t = tree(clock)
    t.apply_listing(t.root, listing(file("a")))
    old = t.lookup(t.root, b"a")
    t.apply_listing(t.root, listing())
    t.apply_listing(t.root, listing(file("a")))
    new = t.lookup(t.root, b"a")
    assert new.fileid == old.fileid
    assert t.node(new.fileid, t.root.fileid, new.generation) is new
    with pytest.raises(StaleHandle):
        t.node(old.fileid, t.root.fileid, old.generation)


def test_a_file_that_became_a_directory_has_another_fileid(clock: SetClock) -> None:
    t = tree(clock)
    t.apply_listing(t.root, listing(file("a")))
    fileid = t.lookup(t.root, b"a").fileid
    t.apply_listing(t.root, listing(folder("a")))
    assert t.lookup(t.root, b"a").fileid != fileid


def test_fileids_are_the_same_in_every_mount(clock: SetClock) -> None:
    one, other = tree(clock), tree(clock)
    one.apply_listing(one.root, listing(file("a"), file("b")))
    other.apply_listing(other.root, listing(file("b"), file("a")))
    assert one.lookup(one.root, b"b").fileid == other.lookup(other.root, b"b").fileid
    assert one.root.fileid == other.root.fileid


def test_cookies_of_one_revision_are_the_same_whatever_was_looked_up_before(
    clock: SetClock,
) -> None:
    one, other = tree(clock), tree(clock)
    entries = listing(file("a"), file("b"), file("c"), revision="3f2c")
    other.apply_found(other.root, b"c", file("c"))
    one.apply_listing(one.root, entries)
    other.apply_listing(other.root, entries)
    assert [(c, n) for c, n, _ in entries_after(one.root, 0)] == [
        (c, n) for c, n, _ in entries_after(other.root, 0)
    ]
    assert one.root.verifier == other.root.verifier != bytes(8)


def test_without_a_revision_the_verifier_is_of_this_boot(clock: SetClock) -> None:
    t = tree(clock)
    t.apply_listing(t.root, listing(file("a")))
    assert t.root.verifier == b"bootboot"


def test_a_change_moves_the_directorys_times(clock: SetClock) -> None:
    t = tree(clock)
    t.apply_listing(t.root, listing(file("a")))
    before = t.root.mtime_ns
    t.apply_listing(t.root, listing(file("a")))
    assert t.root.mtime_ns == before
    t.apply_listing(t.root, listing(file("a"), file("b")))
    assert t.root.mtime_ns == clock.wall_ns()


def test_paths_begin_below_the_root(clock: SetClock) -> None:
    t = tree(clock)
    t.apply_listing(t.root, listing(folder("d")))
    below = t.lookup(t.root, b"d")
    assert isinstance(below, Directory)
    t.apply_listing(below, listing(file("é")))
    assert t.path(t.root) == ""
    assert t.path(t.lookup(below, "é".encode())) == "d/é"


def test_what_is_not_there_is_found_to_be_nothing_where_a_lookup_fails(clock: SetClock) -> None:
    t = tree(clock, ttl_s=10)
    t.apply_listing(t.root, listing(file("a")))
    assert t.find(t.root, b"a") is t.lookup(t.root, b"a")
    assert t.find(t.root, b"..") is t.root
    assert t.find(t.root, b"b") is None
    with pytest.raises(NoEntry):
        t.lookup(t.root, b"b")
    with pytest.raises(NameTooLong):
        t.find(t.root, b"x" * 256)
