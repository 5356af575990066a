"""Large listings and trees: taken in by slices, held in few bytes, dropped and brought back."""

import tracemalloc
from collections.abc import Callable, Iterator
from itertools import islice
from math import inf

import pytest

from hfnfs.errors import NoEntry, StaleHandle
from hfnfs.remote import ContentId, Kind, Listing, RemoteEntry
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.needs import Listed, NotYet
from hfnfs.vfs.node import Node
from hfnfs.vfs.tree import Tree
from tests.vfs.builders import SetClock, entries_after, file, folder, listing, tree


def files(count: int, key: str = "git-00") -> Listing:
    return listing(*(file(f"file-{number:06}", key=key) for number in range(count)))


def names_in(directory: Directory) -> list[str]:
    return [name.decode() for _, name, _ in entries_after(directory, 2)]


def folders_of(t: Tree, count: int, per_folder: int) -> list[Directory]:
    """Folders below the root, each listed."""
    t.apply_listing(t.root, listing(*(folder(f"d{number}") for number in range(count))))
    found = [t.lookup(t.root, f"d{number}".encode()) for number in range(count)]
    for directory in found:
        assert isinstance(directory, Directory)
        t.apply_listing(directory, files(per_folder))
    return [directory for directory in found if isinstance(directory, Directory)]


# ---------------------------------------------------------------------- in slices


def test_a_large_listing_is_taken_in_by_slices_and_shown_at_once() -> None:
    t = tree(SetClock(), ttl_s=inf)
    slices = t.applying(t.root, files(5000))
    made = [len(t.nodes) for _ in slices if not t.root.children]
    assert len(made) == 20
    assert max(b - a for a, b in zip([1, *made], made, strict=False)) <= 256
    assert names_in(t.root) == [f"file-{number:06}" for number in range(5000)]


def test_a_listing_that_changes_is_shown_at_once_as_well() -> None:
    t = tree(SetClock())
    t.apply_listing(t.root, files(1000))
    before = names_in(t.root)
    after = listing(*(file(f"file-{number:06}", 9, "git-01") for number in range(500, 2000)))
    slices = t.applying(t.root, after)
    for _ in slices:
        if t.root.draft is not None:
            assert names_in(t.root) == before
            assert {node.size for node in t.root.children.values()} == {3}
    assert sorted(names_in(t.root)) == sorted(after.entries)
    assert {node.size for node in t.root.children.values()} == {9}
    assert (t.file_count, t.byte_count) == (1500, 13_500)


def begun(t: Tree, directory: Directory, count: int = 1000) -> Iterator[None]:
    """A listing of which a part was taken in."""
    slices = t.applying(directory, files(count))
    for _ in islice(slices, 2):
        pass
    return slices


def test_a_name_found_meanwhile_is_the_same_node() -> None:
    t = tree(SetClock())
    slices = begun(t, t.root)
    t.apply_found(t.root, b"file-000003", file("file-000003"))  # in a slice that was taken in
    t.apply_found(t.root, b"file-000900", file("file-000900"))  # in one that is still to come
    early, late = t.lookup(t.root, b"file-000003"), t.lookup(t.root, b"file-000900")
    for _ in slices:
        pass
    assert t.lookup(t.root, b"file-000003") is early
    assert t.lookup(t.root, b"file-000900") is late
    assert names_in(t.root) == [f"file-{number:06}" for number in range(1000)]
    fresh = tree(SetClock())
    fresh.apply_listing(fresh.root, files(1000))
    assert {n.fileid for n in t.root.children.values()} == {
        n.fileid for n in fresh.root.children.values()
    }


def test_a_directory_that_goes_away_meanwhile_takes_all_with_it() -> None:
    t = tree(SetClock())
    (directory,) = folders_of(t, 1, 0)
    slices = begun(t, directory)
    t.apply_listing(t.root, listing())
    assert list(slices) == []
    assert (len(t.nodes), t.file_count, t.byte_count) == (1, 0, 0)


@pytest.mark.parametrize("how", ["closed", "superseded"])
def test_a_listing_that_is_given_up_leaves_nothing_behind(how: str) -> None:
    t = tree(SetClock())
    slices = begun(t, t.root)
    if how == "closed":
        slices.close()  # type: ignore[attr-defined]  # a generator
        assert t.file_count == 0
    t.apply_listing(t.root, files(700))
    assert list(slices) == []
    assert names_in(t.root) == [f"file-{number:06}" for number in range(700)]
    assert (t.file_count, len(t.nodes)) == (700, 701)
    assert all(node.generation == 0 for node in t.root.children.values())


# -------------------------------------------------------------- dropped and back


def handle(node: Node) -> tuple[int, int, int]:
    assert node.parent is not None
    return node.fileid, node.parent.fileid, node.generation


def test_beyond_the_limit_the_files_used_longest_ago_are_dropped() -> None:
    t = tree(SetClock(), ttl_s=inf, nodes_soft_max=250)
    listed = folders_of(t, 4, 100)
    for directory in listed[1:]:
        directory.is_used = False
    t.trim()
    assert [len(directory.children) for directory in listed] == [100, 0, 0, 100]
    assert len(t.nodes) == 205
    t.trim()
    assert len(t.nodes) == 205


def test_the_directory_that_was_listed_last_is_never_dropped() -> None:
    t = tree(SetClock(), ttl_s=inf, nodes_soft_max=10)
    one, other = folders_of(t, 2, 100)
    t.trim()
    assert (len(one.children), len(other.children)) == (0, 100)


def test_what_was_dropped_comes_back_under_the_same_fileids_and_cookies() -> None:
    t = tree(SetClock(), ttl_s=inf, nodes_soft_max=10)
    one, _ = folders_of(t, 2, 100)
    inside = listing(*files(100).entries.values(), folder("sub"), revision="3f2c")
    t.apply_listing(one, inside)
    before = [(cookie, name, node.fileid) for cookie, name, node in entries_after(one, 0)]
    handles = [handle(node) for node in one.children.values()]
    verifier, sub = one.verifier, t.lookup(one, b"sub")
    t.apply_listing(t.lookup(t.root, b"d1"), files(3))  # type: ignore[arg-type]  # a directory
    t.trim()
    assert one.children == {b"sub": sub}
    for of_file in handles[:-1]:
        with pytest.raises(NotYet) as caught:
            t.node(*of_file)
        assert caught.value.need == Listed(one.fileid, -inf)
    assert t.node(*handles[-1]) is sub
    t.apply_listing(one, inside)
    assert [(c, name, node.fileid) for c, name, node in entries_after(one, 0)] == before
    assert [handle(t.node(*of_node)) for of_node in handles] == handles
    assert t.lookup(one, b"sub") is sub
    assert one.verifier == t.root.verifier or one.verifier != b""
    assert verifier == b"bootboot"


def test_what_is_gone_when_it_is_listed_again_is_stale() -> None:
    t = tree(SetClock(), nodes_soft_max=10)
    one, _ = folders_of(t, 2, 100)
    gone = handle(t.lookup(one, b"file-000050"))
    t.trim()
    t.apply_listing(one, files(50))
    with pytest.raises(StaleHandle):
        t.node(*gone)
    with pytest.raises(NoEntry):
        t.lookup(one, b"file-000050")


def test_a_listing_that_may_have_changed_while_it_was_dropped_gives_other_cookies() -> None:
    clock = SetClock()
    t = tree(clock, nodes_soft_max=10)
    one, _ = folders_of(t, 2, 100)
    verifier, mtime_ns = one.verifier, one.mtime_ns
    t.trim()
    t.apply_listing(one, files(100))
    assert one.verifier != verifier
    assert one.mtime_ns != mtime_ns  # or a client would believe what it knows of the names


def test_a_generation_survives_being_dropped() -> None:
    t = tree(SetClock(), nodes_soft_max=10)
    one, other = folders_of(t, 2, 100)
    t.apply_listing(one, files(0))
    t.apply_listing(one, files(100))
    t.apply_listing(other, files(100))
    again = handle(t.lookup(one, b"file-000007"))
    assert again[2] == 1
    t.trim()
    t.apply_listing(one, files(100))
    assert t.node(*again).name == b"file-000007"


def test_a_retired_directory_is_not_kept_for_the_sake_of_dropping_it() -> None:
    t = tree(SetClock())
    folders_of(t, 3, 5)
    t.apply_listing(t.root, listing())
    assert list(t._listed) == [t.root]


# ----------------------------------------------------------------------- memory

BYTES_A_FILE_MAX = 700  # besides its name


def plain(number: int) -> RemoteEntry:
    name = f"file-{number:06}.bin"
    content = ContentId(f"git-{number:040x}", 5000 + number, f"some/folder/{name}", "a" * 40)
    return RemoteEntry(name, Kind.FILE, content, None)


def xet(number: int) -> RemoteEntry:
    content = ContentId(f"xet-{number:064x}", 5_000_000_000 + number)
    return RemoteEntry(
        f"file-{number:06}.bin", Kind.FILE, content, 1_700_000_000_000_000_000 + number
    )


@pytest.mark.parametrize(("entry", "per_folder"), [(plain, 50), (xet, 50_000)])
def test_a_file_takes_few_bytes(entry: Callable[[int], RemoteEntry], per_folder: int) -> None:
    count = 50_000
    t = tree(SetClock(), ttl_s=inf)
    folders = folders_of(t, count // per_folder, 0)
    tracemalloc.start()
    try:
        name_bytes = 0
        for number, directory in enumerate(folders):
            first = number * per_folder
            entries = {(e := entry(first + i)).name: e for i in range(per_folder)}
            t.apply_listing(directory, Listing("sha", entries))
            name_bytes += sum(33 + len(name) for name in entries)
            del entries
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert t.file_count == count
    assert (used - name_bytes) / count <= BYTES_A_FILE_MAX


def test_a_hundred_thousand_names_in_one_directory_are_all_found() -> None:
    t = tree(SetClock(), ttl_s=inf)
    t.apply_listing(t.root, files(100_000))
    assert t.file_count == 100_000
    assert len(names_in(t.root)) == 100_000
    for number in range(0, 100_000, 997):
        assert t.lookup(t.root, f"file-{number:06}".encode()).name == f"file-{number:06}".encode()


@pytest.mark.deep
def test_a_million_files_are_held_and_found() -> None:
    t = tree(SetClock(), ttl_s=inf)
    folders = folders_of(t, 100, 10_000)
    assert t.file_count == 1_000_000
    assert all(t.lookup(each, b"file-009999").parent is each for each in folders)


def test_any_number_of_files_passes_through_a_bounded_memory() -> None:
    t = tree(SetClock(), ttl_s=inf, nodes_soft_max=5_000)
    t.apply_listing(t.root, listing(*(folder(f"d{number}") for number in range(100))))
    most, entries = 0, files(2_000)
    for number in range(100):
        directory = t.lookup(t.root, f"d{number}".encode())
        assert isinstance(directory, Directory)
        t.apply_listing(directory, entries)
        t.trim()
        most = max(most, len(t.nodes))
    assert most <= 5_000
    assert t.root.listed_at is not None  # nothing would be gained by dropping what has no files
