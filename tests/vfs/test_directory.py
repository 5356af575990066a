import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import BadCookie
from hfnfs.vfs.directory import COOKIE_PARENT, COOKIE_SELF, Directory
from hfnfs.vfs.node import Node
from tests.vfs.builders import a_directory, a_file, entries_after


def directory_of(*names: bytes) -> Directory:
    directory = a_directory()
    for name in names:
        add(directory, name)
    return directory


def add(directory: Directory, name: bytes) -> Node:
    node = a_file(hash(name) & 0xFFFF, name, directory)
    directory.put({name: node})
    directory.number([node])
    return node


def names_after(directory: Directory, cookie: int) -> list[bytes]:
    return [name for _, name, _ in entries_after(directory, cookie)]


def test_a_listing_begins_with_itself_and_its_parent() -> None:
    root = directory_of(b"a")
    below = a_directory(2, b"below", root)
    assert [node for _, _, node in entries_after(below, 0)] == [below, root]
    assert names_after(root, 0) == [b".", b"..", b"a"]


def test_it_can_be_resumed_after_any_cookie() -> None:
    directory = directory_of(b"a", b"b", b"c")
    entries = entries_after(directory, 0)
    for index, (cookie, _, _) in enumerate(entries):
        assert entries_after(directory, cookie) == entries[index + 1 :]


def test_removing_the_entry_a_cookie_names_does_not_move_the_others() -> None:
    directory = directory_of(b"a", b"b", b"c")
    cookie = directory.children[b"b"].cookie
    directory.remove(b"b")
    assert names_after(directory, cookie) == [b"c"]


def test_an_entry_that_comes_while_listing_comes_last_and_once() -> None:
    directory = directory_of(b"a", b"b")
    add(directory, b"c")
    assert names_after(directory, directory.children[b"a"].cookie) == [b"b", b"c"]


def test_a_cookie_that_was_never_given_is_bad() -> None:
    directory = directory_of(b"a")
    with pytest.raises(BadCookie):
        directory.require_cookie(99)


def test_the_last_cookie_has_nothing_after_it_even_when_its_entry_is_gone() -> None:
    directory = directory_of(b"a", b"b")
    last = directory.children[b"b"].cookie
    directory.remove(b"b")
    assert names_after(directory, last) == []


def test_a_name_that_was_only_looked_up_is_not_in_the_order_yet() -> None:
    directory = directory_of(b"a")
    directory.put({b"found": a_file(9, b"found", directory)})
    assert names_after(directory, COOKIE_PARENT) == [b"a"]
    directory.remove(b"found")
    assert names_after(directory, COOKIE_SELF) == [b"..", b"a"]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 200)), max_size=400))
def test_cookies_stay_valid_while_entries_come_and_go(work: list[tuple[bool, int]]) -> None:
    directory = a_directory()
    model: dict[bytes, int] = {}
    given_cookies = [COOKIE_PARENT]
    for adds, number in work:
        name = b"%d" % number
        if adds and name not in model:
            model[name] = add(directory, name).cookie
            given_cookies.append(model[name])
        elif not adds and name in model:
            directory.remove(name)
            del model[name]
    for cookie in given_cookies[:: max(1, len(given_cookies) // 20)]:
        assert names_after(directory, cookie) == [n for n, at in model.items() if at > cookie]
