import pytest

from hfnfs.errors import AccessDenied, FileError, NotPermitted
from hfnfs.nfs3.owners import made_by, require_may_set, set_by
from hfnfs.rpc.session import Caller
from hfnfs.vfs.attributes import SERVER_TIME, Wanted
from hfnfs.vfs.node import FileType, Look, Node
from tests.nfs3.changes import Changes
from tests.nfs3.desk import NOBODY, ROOT_CALLER, Desk, user
from tests.vfs.builders import a_directory

OWNER = user(1000, 100, 50, 60)  # of everything here
GROUP = user(1001, 100)
OTHER = user(1002, 102)


def owned(mode: int) -> Node:
    return Node(5, 0, Look(FileType.REG, mode, 1000, 100, 7), b"x", None)


def refusal(caller: Caller, wanted: Wanted, mode: int = 0o644) -> type[FileError] | None:
    """Why a caller may not set something, if so."""
    try:
        require_may_set(Desk(changes=Changes()).export, caller, owned(mode), wanted)
    except FileError as error:
        return type(error)
    return None


@pytest.mark.parametrize(
    ("wanted", "root", "owner", "other"),
    [
        (Wanted(), None, None, AccessDenied),
        (Wanted(mode=0o600), None, None, NotPermitted),
        (Wanted(uid=1000), None, None, NotPermitted),
        (Wanted(uid=1002), None, NotPermitted, NotPermitted),
        (Wanted(gid=100), None, None, NotPermitted),
        (Wanted(gid=60), None, None, NotPermitted),
        (Wanted(gid=102), None, NotPermitted, NotPermitted),
        (Wanted(size=0), None, None, AccessDenied),
        (Wanted(mtime_ns=SERVER_TIME), None, None, AccessDenied),
        (Wanted(mtime_ns=5), None, None, NotPermitted),
        (Wanted(atime_ns=5, mtime_ns=SERVER_TIME), None, None, NotPermitted),
    ],
)
def test_who_may_set_what(
    wanted: Wanted,
    root: type[FileError] | None,
    owner: type[FileError] | None,
    other: type[FileError],
) -> None:
    assert refusal(ROOT_CALLER, wanted) is root
    assert refusal(OWNER, wanted) is owner
    assert refusal(OTHER, wanted) is other
    assert refusal(NOBODY, wanted) is other


@pytest.mark.parametrize("wanted", [Wanted(size=0), Wanted(atime_ns=SERVER_TIME)])
def test_who_may_write_may_set_size_and_the_time_of_now(wanted: Wanted) -> None:
    assert refusal(GROUP, wanted, 0o664) is None
    assert refusal(OTHER, wanted, 0o664) is AccessDenied
    assert refusal(OTHER, wanted, 0o666) is None
    assert refusal(NOBODY, wanted, 0o666) is None


def test_an_owner_may_cut_what_is_read_only_as_an_open_file_must_stay_writable() -> None:
    assert refusal(OWNER, Wanted(size=0), 0o444) is None


def made(caller: Caller, wanted: Wanted, mode: int = 0o755) -> Wanted:
    directory = a_directory(1)
    directory.look = Look(FileType.DIR, mode, 0, 77, 7)
    return made_by(caller, directory, wanted, is_directory=True)


@pytest.mark.parametrize(
    ("caller", "wanted", "expected"),
    [
        (ROOT_CALLER, Wanted(0o640), Wanted(0o640, 0, 0)),
        (ROOT_CALLER, Wanted(0o640, 5, 6, 7), Wanted(0o640, 5, 6, 7)),
        (OWNER, Wanted(0o640), Wanted(0o640, 1000, 100)),
        (OWNER, Wanted(0o640, 5, 6), Wanted(0o640, 1000, 100)),
        (OWNER, Wanted(0o640, 5, 60), Wanted(0o640, 1000, 60)),
        (NOBODY, Wanted(0o640, 5, 60), Wanted(0o640)),
    ],
)
def test_what_is_made_is_its_makers(caller: Caller, wanted: Wanted, expected: Wanted) -> None:
    assert made(caller, wanted) == expected


def test_what_is_made_in_a_set_group_id_directory_is_of_its_group() -> None:
    assert made(OWNER, Wanted(0o755), 0o2755) == Wanted(0o2755, 1000, 77)
    assert made(OWNER, Wanted(), 0o2755) == Wanted(None, 1000, 77)
    directory = a_directory(1)
    directory.look = Look(FileType.DIR, 0o2755, 0, 77, 7)
    file = made_by(OWNER, directory, Wanted(0o644), is_directory=False)
    assert file == Wanted(0o644, 1000, 77)


@pytest.mark.parametrize(
    ("caller", "mode", "wanted", "expected"),
    [
        (OWNER, 0o6755, Wanted(gid=100), 0o755),
        (OWNER, 0o6745, Wanted(gid=100), 0o2745),  # it means a lock
        (OWNER, 0o755, Wanted(gid=100), None),
        (OWNER, 0o755, Wanted(mode=0o6755, gid=100), 0o755),
        (OWNER, 0o6755, Wanted(size=0), 0o755),
        (GROUP, 0o6775, Wanted(size=0), 0o775),
        (OWNER, 0o6755, Wanted(mtime_ns=5), None),
        (OWNER, 0o755, Wanted(mode=0o6755), 0o6755),
        (ROOT_CALLER, 0o6755, Wanted(uid=5), 0o755),
        (ROOT_CALLER, 0o6755, Wanted(uid=5, mode=0o6755), 0o6755),
        (ROOT_CALLER, 0o6755, Wanted(size=0), None),
        (user(1000, 7), 0o755, Wanted(mode=0o6755), 0o4755),  # not of its group any more
    ],
)
def test_a_file_that_is_given_away_or_cut_lends_its_owner_to_nobody(
    caller: Caller, mode: int, wanted: Wanted, expected: int | None
) -> None:
    assert set_by(caller, owned(mode), wanted) == wanted._replace(mode=expected)


def test_a_directory_that_is_given_away_keeps_its_bits() -> None:
    directory = a_directory(1)
    directory.look = Look(FileType.DIR, 0o2755, 1000, 100, 7)
    assert set_by(OWNER, directory, Wanted(gid=50)) == Wanted(gid=50)


def test_nobody_makes_a_file_that_lends_a_group_which_is_not_theirs() -> None:
    directory = a_directory(1)
    directory.look = Look(FileType.DIR, 0o2755, 0, 77, 7)
    for caller, expected in ((OWNER, 0o4755), (ROOT_CALLER, 0o6755), (user(1, 77), 0o6755)):
        assert made_by(caller, directory, Wanted(0o6755), is_directory=False).mode == expected
