from hypothesis import given
from hypothesis import strategies as st

from hfnfs.remote import Kind, RemoteEntry
from hfnfs.vfs.merge import Changes, changes
from hfnfs.vfs.node import FileType, Node
from tests.vfs.builders import file, folder, look


def shown(*entries: RemoteEntry) -> dict[bytes, Node]:
    nodes = {}
    for entry in entries:
        type_ = FileType.DIR if entry.kind is Kind.DIRECTORY else FileType.REG
        node = Node(1, 0, look(type_), entry.name.encode(), None)
        node.content = entry.content
        node.mtime_ns = entry.mtime_ns or 0
        nodes[node.name] = node
    return nodes


def test_an_equal_listing_changes_nothing() -> None:
    entries = [file("a", mtime_ns=4), folder("d")]
    assert changes(shown(*entries), entries) == Changes([b"a", b"d"], [], [], [])


def test_new_and_changed_names_are_told_apart() -> None:
    before = shown(file("same"), file("gone"), file("other", key="git-01"))
    other, new = file("other", key="git-02"), file("new")
    told = changes(before, [file("same"), other, new])
    assert told.names == [b"same", b"other", b"new"]
    assert told.appeared == [(b"new", new)]
    assert told.replaced == [(before[b"other"], other)]
    assert told.gone == []


def test_another_date_alone_is_a_change() -> None:
    before = shown(file("a", mtime_ns=4))
    after = file("a", mtime_ns=5)
    assert changes(before, [after]).replaced == [(before[b"a"], after)]


def test_a_file_that_became_a_directory_goes_and_comes() -> None:
    before = shown(file("a"))
    told = changes(before, [folder("a")])
    assert (told.gone, told.appeared) == ([before[b"a"]], [(b"a", folder("a"))])


ENTRIES = st.dictionaries(
    st.sampled_from("abcdef"), st.one_of(st.none(), st.integers(0, 3)), max_size=6
).map(
    lambda picked: [
        folder(name) if key is None else file(name, key=f"git-0{key}")
        for name, key in picked.items()
    ]
)


@given(ENTRIES, ENTRIES)
def test_applying_the_changes_shows_the_new_entries(
    before: list[RemoteEntry], after: list[RemoteEntry]
) -> None:
    told = changes(shown(*before), after)
    result = {entry.name.encode(): entry for entry in before}
    for node in told.gone:
        del result[node.name]
    for name, entry in told.appeared:
        assert name not in result
        result[name] = entry
    for node, entry in told.replaced:
        result[node.name] = entry
    assert {name: result[name] for name in told.names} == {e.name.encode(): e for e in after}
