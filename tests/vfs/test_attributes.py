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
from hfnfs.vfs.node import FileType, Look
from tests.vfs.builders import look

ALL = 0x3F
OWNER, GROUP, OTHER = (1000, (5,)), (1001, (100,)), (1002, (5,))
NOBODY: tuple[None, tuple[int, ...]] = (None, ())
ROOT = (0, (0,))


def look_of(mode: int, *, directory: bool = False) -> Look:
    return look(FileType.DIR if directory else FileType.REG, mode)


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
    assert Attributes(read_only=False).granted(look_of(mode), *caller) == expected


def test_a_directory_is_looked_up_and_never_executed() -> None:
    attributes = Attributes(read_only=False)
    directory = look_of(0o755, directory=True)
    assert attributes.granted(directory, *OTHER) == ACCESS_READ | ACCESS_LOOKUP
    assert attributes.granted(directory, *OWNER) == ALL & ~ACCESS_EXECUTE


def test_a_read_only_volume_grants_no_change_to_anyone() -> None:
    attributes = Attributes(read_only=True)
    for caller in (OWNER, ROOT):
        granted = attributes.granted(look_of(0o777, directory=True), *caller)
        assert not granted & (ACCESS_MODIFY | ACCESS_EXTEND | ACCESS_DELETE)
