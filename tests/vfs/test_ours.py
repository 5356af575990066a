"""Names that are decided here, whatever the far side lists."""

from collections.abc import Collection

import pytest

from hfnfs.errors import NoEntry
from hfnfs.remote import ContentId, Kind, Listing, RemoteEntry
from hfnfs.vfs.attributes import Appearance
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.needs import NotYet, Subtree
from hfnfs.vfs.node import FileType, Node
from hfnfs.vfs.ours import path_in
from hfnfs.vfs.tree import Freshness, Tree
from tests.fakes.clock import FakeClock


class FakeClaims:
    """Claims of a test: paths, and until when a listing must have been asked for to be ignored."""

    def __init__(self) -> None:
        self.until: dict[str, float] = {}

    def claims(self, directory: str, asked_at: float) -> Collection[str]:
        base = f"{directory}/" if directory else ""
        return [
            path[len(base) :]
            for path, until in self.until.items()
            if path.startswith(base) and "/" not in path[len(base) :] and asked_at < until
        ]

    def claim(self, path: str, asked_at: float) -> bool:
        return asked_at < self.until.get(path, 0)


class Side:
    """A tree, and what it is told."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.claims = FakeClaims()
        appearance = Appearance(7, 1000, 100, 0o644, 0o755, modified_ns=1)
        self.tree = Tree(
            appearance,
            Freshness(10.0, 3),
            boot_verifier=b"bootboot",
            clock=self.clock,
            claims=self.claims,
        )
        assert self.tree.ours is not None
        self.ours = self.tree.ours
        self.root = self.tree.root

    def lists(
        self, *names: str, at: Directory | None = None, asked_at: float | None = None
    ) -> None:
        entries = {name.rstrip("/"): entry(name) for name in names}
        self.tree.apply_listing(at or self.root, Listing("", entries), asked_at)

    def make(self, name: str, type_: FileType = FileType.REG, at: Directory | None = None) -> Node:
        home = at or self.root
        path = path_in(home, name.encode())
        assert path is not None
        node = self.tree.nodes.make(type_, home, path)
        self.tree.adopt(home, node)
        return node

    def shown(self, directory: Directory | None = None) -> list[str]:
        """Names, by the cookies that a client gets."""
        listed = self.tree.listed(directory or self.root, 0)
        number, names = listed.block_after(0), []
        while number is not None:
            names += [node.name.decode() for node in listed.block(number)]
            number = listed.block_after(listed.last_cookie(number))
        assert sorted(names) == sorted(name.decode() for name in listed.children)
        return names


def entry(name: str, size: int = 1) -> RemoteEntry:
    if name.endswith("/"):
        return RemoteEntry(name.rstrip("/"), Kind.DIRECTORY)
    return RemoteEntry(name, Kind.FILE, ContentId(f"xet-{name}{size}", size), 5_000_000)


@pytest.fixture
def side() -> Side:
    return Side()


def test_what_is_made_here_is_shown_before_and_after_a_listing_without_it(side: Side) -> None:
    side.claims.until["ours"] = 1e9
    node = side.make("ours")
    assert side.tree.lookup(side.root, b"ours") is node
    side.lists("theirs")
    assert sorted(side.shown()) == ["ours", "theirs"]
    side.lists("theirs", "new")
    assert sorted(side.shown()) == ["new", "ours", "theirs"]


def test_what_is_removed_here_does_not_come_back_by_a_listing(side: Side) -> None:
    side.lists("a", "b")
    side.claims.until["a"] = 1e9
    side.tree.remove(side.tree.lookup(side.root, b"a"))
    side.lists("a", "b")
    assert side.shown() == ["b"]
    with pytest.raises(NoEntry):
        side.tree.lookup(side.root, b"a")


def test_in_a_directory_that_was_never_listed_a_removed_name_is_missed_at_once(side: Side) -> None:
    side.claims.until["a"] = 1e9
    with pytest.raises(NoEntry):
        side.tree.lookup(side.root, b"a")
    with pytest.raises(NotYet):
        side.tree.lookup(side.root, b"b")


def test_a_listing_that_was_asked_for_before_decides_nothing_of_what_was_settled_since(
    side: Side,
) -> None:
    side.lists("a", "b")
    asked_at = side.clock.now()
    side.clock.advance(1)
    side.claims.until |= {"a": side.clock.now(), "c": side.clock.now()}
    side.tree.remove(side.tree.lookup(side.root, b"a"))
    side.make("c")
    side.lists("a", "b", asked_at=asked_at)
    assert side.shown() == ["b", "c"]
    side.lists("b", asked_at=side.clock.now())
    assert side.shown() == ["b"]


def test_a_name_that_was_taken_while_a_listing_came_in_is_left_alone(side: Side) -> None:
    slices = side.tree.applying(side.root, Listing("", {"a": entry("a"), "b": entry("b")}))
    next(slices)
    side.claims.until["a"] = 1e9
    node = side.make("a")
    for _ in slices:
        pass
    assert side.tree.lookup(side.root, b"a") is node
    assert sorted(side.shown()) == ["a", "b"]
    assert len({side.root.children[n].cookie for n in (b"a", b"b")}) == 2


def test_a_name_that_was_removed_while_a_listing_came_in_stays_away(side: Side) -> None:
    side.lists("a")
    slices = side.tree.applying(side.root, Listing("", {"a": entry("a", 2), "b": entry("b")}))
    next(slices)
    side.claims.until["a"] = 1e9
    side.tree.remove(side.tree.lookup(side.root, b"a"))
    for _ in slices:
        pass
    assert side.shown() == ["b"]


def test_bytes_of_ours_are_not_replaced_by_a_listing(side: Side) -> None:
    side.lists("a")
    node = side.tree.lookup(side.root, b"a")
    replaced: list[Node] = []
    side.tree.when_replaced.append(replaced.append)
    side.claims.until["a"] = 1e9
    side.tree.apply_listing(side.root, Listing("", {"a": entry("a", 2)}))
    side.tree.apply_found(side.root, b"a", None)
    assert (side.tree.lookup(side.root, b"a"), node.size, replaced) == (node, 1, [])
    side.claims.until.clear()
    side.tree.apply_listing(side.root, Listing("", {"a": entry("a", 2)}))
    assert (node.size, replaced) == (2, [node])


def test_a_held_directory_stays_with_those_above_it(side: Side) -> None:
    side.lists("d/")
    above = side.tree.lookup(side.root, b"d")
    assert isinstance(above, Directory)
    side.lists("e/", at=above)
    directory = side.tree.lookup(above, b"e")
    assert isinstance(directory, Directory)
    assert side.ours.hold(directory) == [directory, above]
    assert side.ours.hold(directory) == []
    side.lists("x")
    side.lists(at=above)
    assert sorted(side.shown()) == ["d", "x"]
    assert side.shown(above) == ["e"]


@pytest.mark.parametrize("found_alone", [True, False])
def test_a_local_directory_gives_way_to_a_file_unless_something_in_it_is_ours(
    side: Side, *, found_alone: bool
) -> None:
    def told() -> Node:
        if found_alone:
            for name in ("bare", "deep", "link", "unsent"):
                side.tree.apply_found(side.root, name.encode(), entry(name))
        else:
            side.lists("bare", "deep", "link", "unsent")
        return side.tree.lookup(side.root, b"deep")

    side.lists()
    made = {name: side.make(name, FileType.DIR) for name in ("bare", "deep", "link", "unsent")}
    side.ours.local.update(made.values())
    deep, link = made["deep"], made["link"]
    assert isinstance(deep, Directory)
    assert isinstance(link, Directory)
    side.ours.local.add(inner := side.make("e", FileType.DIR, deep))
    assert isinstance(inner, Directory)
    side.ours.local.add(side.make("l", FileType.LNK, link))
    side.claims.until["unsent/x"] = side.claims.until["deep/e/x"] = 1e9
    assert told() is deep
    assert side.tree.lookup(side.root, b"link") is link
    assert side.tree.lookup(side.root, b"unsent") is made["unsent"]
    assert side.tree.lookup(side.root, b"bare").look.type is FileType.REG
    del side.claims.until["deep/e/x"]
    assert told().look.type is FileType.REG
    assert side.tree.lookup(side.root, b"unsent") is made["unsent"]


def test_a_moved_node_keeps_its_fileid_and_the_directory_its_handles_name(side: Side) -> None:
    side.lists("a", "d/")
    directory = side.tree.lookup(side.root, b"d")
    assert isinstance(directory, Directory)
    side.lists(at=directory)
    node = side.tree.lookup(side.root, b"a")
    before = node.fileid, side.tree.home_of(node), node.ctime_ns
    side.tree.move(node, directory, b"b")
    assert (node.fileid, side.tree.home_of(node)) == before[:2]
    assert node.ctime_ns > before[2]
    assert side.tree.path(node) == "d/b"
    assert side.tree.at("d/b") is node
    assert side.tree.at("a") is None
    assert side.shown(directory) == ["b"]
    side.tree.move(node, side.root, b"c")
    assert side.tree.home_of(node) == side.root.fileid
    assert not side.tree.homes


def test_a_path_that_was_used_before_gets_a_fileid_of_its_own(side: Side) -> None:
    first = side.make("a")
    assert first.fileid == side.tree.nodes.first_fileid(FileType.REG, "a")
    side.tree.remove(first)
    fileids = {first.fileid}
    for _ in range(3):
        node = side.make("a")
        fileids.add(node.fileid)
        side.tree.remove(node)
    assert len(fileids) == 4
    side.lists("a", "d/")  # somebody else's
    assert side.tree.lookup(side.root, b"a").generation == 1
    directory = side.tree.lookup(side.root, b"d")
    assert directory.fileid == side.tree.nodes.first_fileid(FileType.DIR, "d")
    assert isinstance(directory, Directory)
    side.lists("a", "e/", at=directory)
    for name, type_ in [("a", FileType.REG), ("e", FileType.DIR)]:
        node = side.tree.lookup(directory, name.encode())
        assert node.fileid == side.tree.nodes.first_fileid(type_, f"d/{name}")


def test_pinned_nodes_are_not_dropped_to_save_memory() -> None:
    side = Side()
    side.tree._nodes_soft_max = 1
    side.lists("a", "b", "d/")
    kept = side.tree.lookup(side.root, b"a")
    side.tree.pinned.add(kept)
    directory = side.tree.lookup(side.root, b"d")
    assert isinstance(directory, Directory)
    side.lists(at=directory)
    side.tree.trim()
    side.tree.trim()
    assert set(side.root.children) == {b"a", b"d"}
    assert side.root.listed_at is None


def test_all_below_a_directory_is_listed_before_its_files_are_told(side: Side) -> None:
    side.lists("d/")
    directory = side.tree.lookup(side.root, b"d")
    assert isinstance(directory, Directory)
    with pytest.raises(NotYet) as not_yet:
        side.tree.files_below(directory)
    assert not_yet.value.need == Subtree(directory.fileid, side.clock.now() - 300.0)
    side.lists("a", "e/", at=directory)
    inner = side.tree.lookup(directory, b"e")
    assert isinstance(inner, Directory)
    side.lists("b", at=inner)
    assert {side.tree.path(node) for node in side.tree.files_below(directory)} == {"d/a", "d/e/b"}
    side.clock.advance(300)
    with pytest.raises(NotYet):
        side.tree.files_below(directory)


def test_a_local_directory_gives_way_however_deep_it_is(side: Side) -> None:
    side.lists()
    home: Directory = side.root
    for _ in range(1500):  # more than Python would call within calls
        inner = side.make("d", FileType.DIR, home)
        assert isinstance(inner, Directory)
        side.ours.local.add(inner)
        home = inner
    side.lists("d")
    assert side.tree.lookup(side.root, b"d").look.type is FileType.REG
