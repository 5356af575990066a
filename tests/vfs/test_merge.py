from hypothesis import given
from hypothesis import strategies as st

from hfnfs.remote import Kind, RemoteEntry
from hfnfs.vfs.merge import Appeared, Replaced, Vanished, changes
from hfnfs.vfs.node import FileType, Node
from tests.vfs.builders import file, folder, listing


def shown(*entries: RemoteEntry) -> dict[bytes, Node]:
    nodes = {}
    for entry in entries:
        type_ = FileType.DIR if entry.kind is Kind.DIRECTORY else FileType.REG
        node = Node(1, 0, type_, entry.name.encode(), None)
        node.content = entry.content
        node.mtime_ns = entry.mtime_ns or 0
        nodes[node.name] = node
    return nodes


def test_an_equal_listing_changes_nothing() -> None:
    entries = [file("a", mtime_ns=4), folder("d")]
    assert list(changes(shown(*entries), listing(*entries).entries)) == []


def test_new_gone_and_changed_names_are_told_apart() -> None:
    before = shown(file("same"), file("gone"), file("other", key="git-01"))
    after = listing(file("same"), file("other", key="git-02"), file("new"))
    told = list(changes(before, after.entries))
    assert told == [
        Replaced(before[b"other"], after.entries["other"]),
        Appeared(after.entries["new"]),
        Vanished(before[b"gone"]),
    ]


def test_another_date_alone_is_a_change() -> None:
    before = shown(file("a", mtime_ns=4))
    assert list(changes(before, listing(file("a", mtime_ns=5)).entries)) == [
        Replaced(before[b"a"], file("a", mtime_ns=5))
    ]


def test_a_file_that_became_a_directory_goes_and_comes() -> None:
    before = shown(file("a"))
    assert list(changes(before, listing(folder("a")).entries)) == [
        Vanished(before[b"a"]),
        Appeared(folder("a")),
    ]


ENTRIES = st.dictionaries(
    st.sampled_from("abcdef"), st.one_of(st.none(), st.integers(0, 3)), max_size=6
).map(
    lambda picked: [
        folder(name) if key is None else file(name, key=f"git-0{key}")
        for name, key in picked.items()
    ]
)


@given(ENTRIES, ENTRIES)
def test_applying_the_changes_gives_the_new_listing(
    before: list[RemoteEntry], after: list[RemoteEntry]
) -> None:
    result = {entry.name: entry for entry in before}
    for change in changes(shown(*before), listing(*after).entries):
        match change:
            case Appeared(entry):
                assert entry.name not in result
                result[entry.name] = entry
            case Replaced(_, entry):
                result[entry.name] = entry
            case Vanished(node):
                del result[node.name.decode()]
    assert result == dict(listing(*after).entries)
