import pytest

from hfnfs.vfs.attributes import (
    ACCESS_DELETE,
    ACCESS_EXECUTE,
    ACCESS_EXTEND,
    ACCESS_LOOKUP,
    ACCESS_MODIFY,
    ACCESS_READ,
    Attributes,
)
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.node import FileType, Node

ALL = 0x3F
OWNER, GROUP, OTHER = (1000, (5,)), (1001, (100,)), (1002, (5,))
NOBODY: tuple[None, tuple[int, ...]] = (None, ())
ROOT = (0, (0,))


def node_of(mode: int, *, directory: bool = False) -> Node:
    node = Directory(1, 0, b"", None) if directory else Node(1, 0, FileType.REG, b"f", None)
    node.mode, node.uid, node.gid = mode, 1000, 100
    return node


@pytest.mark.parametrize(
    ("mode", "caller", "expected"),
    [
        (0o640, OWNER, ACCESS_READ | ACCESS_MODIFY | ACCESS_EXTEND),
        (0o640, GROUP, ACCESS_READ),
        (0o640, OTHER, 0),
        (0o640, NOBODY, 0),
        (0o644, NOBODY, ACCESS_READ),
        (0o077, OWNER, 0),
        (0o555, OTHER, ACCESS_READ | ACCESS_EXECUTE),
        (0o444, ROOT, ACCESS_READ | ACCESS_MODIFY | ACCESS_EXTEND),
        (0o001, ROOT, ACCESS_READ | ACCESS_MODIFY | ACCESS_EXTEND | ACCESS_EXECUTE),
    ],
)
def test_a_file_grants_what_its_mode_says(
    mode: int, caller: tuple[int | None, tuple[int, ...]], expected: int
) -> None:
    assert Attributes(read_only=False).access(node_of(mode), *caller, ALL) == expected


def test_a_directory_is_looked_up_and_never_executed() -> None:
    attributes = Attributes(read_only=False)
    directory = node_of(0o755, directory=True)
    assert attributes.access(directory, *OTHER, ALL) == ACCESS_READ | ACCESS_LOOKUP
    assert attributes.access(directory, *OWNER, ALL) == ALL & ~ACCESS_EXECUTE


def test_a_read_only_volume_grants_no_change_to_anyone() -> None:
    attributes = Attributes(read_only=True)
    for caller in (OWNER, ROOT):
        granted = attributes.access(node_of(0o777, directory=True), *caller, ALL)
        assert not granted & (ACCESS_MODIFY | ACCESS_EXTEND | ACCESS_DELETE)


def test_only_what_was_asked_for_is_answered() -> None:
    assert Attributes(read_only=True).access(node_of(0o777), *OWNER, ACCESS_EXECUTE) == (
        ACCESS_EXECUTE
    )
