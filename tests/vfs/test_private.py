"""Which names never reach the Hub."""

import pytest

from hfnfs.vfs.private import is_of_clients, is_private


@pytest.mark.parametrize(
    "path",
    ["d/.nfs00000001", ".DS_Store", "d/._x", ".Trashes/501/x", "__MACOSX/a", "d/Thumbs.db"],
)
def test_what_clients_and_systems_leave_behind_is_private(path: str) -> None:
    assert is_private(path)
    assert is_of_clients(path) == (".nfs" in path)


@pytest.mark.parametrize("path", ["a", ".nfs0/a", "d/.git/x", "DS_Store", "a._b", "thumbs.db.txt"])
def test_everything_else_is_not(path: str) -> None:
    assert not is_private(path)
