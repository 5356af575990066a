from collections.abc import Iterator

import pytest

from hfnfs import errors
from hfnfs.errors import FileError, HfnfsError, RemoteError
from hfnfs.nfs3.status import STATUS_OF, Status, status_of


def leaves(kind: type[HfnfsError]) -> Iterator[type[HfnfsError]]:
    below = [each for each in kind.__subclasses__() if each.__module__ == errors.__name__]
    if not below:
        yield kind
    for each in below:
        yield from leaves(each)


# Errors of the host reach a procedure only where a volume's own files are used.
REACHING = [*leaves(FileError), *leaves(RemoteError), errors.CacheUnusable]


def test_the_hierarchy_was_walked() -> None:
    assert len(REACHING) > 25


@pytest.mark.parametrize("kind", REACHING, ids=lambda kind: kind.__name__)
def test_every_error_that_reaches_a_procedure_has_a_status(kind: type[HfnfsError]) -> None:
    assert kind in STATUS_OF


def test_no_error_is_answered_with_ok_or_as_a_bug() -> None:
    assert not {Status.OK, Status.SERVERFAULT} & set(STATUS_OF.values())


def test_a_kind_of_a_known_error_is_answered_as_that() -> None:
    class EntryNeverWas(errors.NoEntry):
        pass

    assert status_of(EntryNeverWas("x")) is Status.NOENT


def test_an_error_without_a_row_is_a_fault_of_the_server() -> None:
    assert status_of(errors.PortRefused("x")) is Status.SERVERFAULT


def test_a_file_whose_bytes_are_lost_is_there_and_fails_to_be_read() -> None:
    """At STALE a client drops what it has still to write to it."""
    assert status_of(errors.ContentMissing("x")) is Status.IO
    assert status_of(errors.RemoteEntryMissing("x")) is Status.STALE


def test_a_dead_handle_and_an_unknown_name_are_told_apart() -> None:
    assert status_of(errors.StaleHandle("x")) is Status.STALE
    assert status_of(errors.BadHandle("x")) is Status.BADHANDLE
    assert status_of(errors.NoEntry("x")) is Status.NOENT
