"""How full a disk may get: by what the system says of it, which is asked for seldom."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hfnfs.config import MIB
from hfnfs.disk.headroom import RESERVE_BYTES_MAX, Headroom


class FakeSystem:
    """A file system that is as full as a test likes."""

    f_frsize = 4096

    def __init__(self, size: int, free: int) -> None:
        self.f_blocks = size // self.f_frsize
        self.free = free
        self.asked = 0

    @property
    def f_bavail(self) -> int:
        return self.free // self.f_frsize

    def __call__(self, _fd: int) -> "FakeSystem":
        self.asked += 1
        return self


@pytest.fixture
def system_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], FakeSystem]:
    def make(size: int, free: int) -> FakeSystem:
        system = FakeSystem(size, free)
        monkeypatch.setattr(os, "fstatvfs", system)
        return system

    return make


SystemOf = Callable[[int, int], FakeSystem]


def test_a_part_of_a_small_disk_and_little_of_a_large_one_stays_free(system_of: SystemOf) -> None:
    system_of(160 * MIB, 30 * MIB)
    assert not Headroom().is_low(20 * MIB)
    assert Headroom().is_low(20 * MIB + 1)
    system_of(10**12, RESERVE_BYTES_MAX + 4 * MIB)
    assert not Headroom().is_low(4 * MIB)
    assert Headroom().is_low(4 * MIB + 1)
    system_of(10**12, MIB)
    assert Headroom().is_low(1)


def test_the_system_is_asked_anew_before_what_is_free_can_be_used_up(system_of: SystemOf) -> None:
    system = system_of(1600 * MIB, 64 * MIB + 100 * MIB)
    headroom = Headroom()
    written = 0
    while not headroom.is_low(MIB):
        headroom.taken(MIB)
        system.free -= MIB
        written += MIB
    assert written == 100 * MIB
    assert system.asked < 50


def test_what_the_system_refused_is_short_until_something_goes(system_of: SystemOf) -> None:
    """There may be a quota, of which the file system's numbers say nothing."""
    system_of(10**12, 10**11)
    headroom = Headroom()
    assert not headroom.is_short(1)
    headroom.refused()
    assert headroom.is_short(1)
    assert not headroom.is_low(1), "it is to be tried again"
    headroom.freed()
    assert not headroom.is_short(1)


def test_it_is_of_the_directory_that_was_opened(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        headroom = Headroom()
        headroom.open(fd)
        assert headroom.is_low(10**18)
    finally:
        os.close(fd)


def test_a_copy_that_would_take_what_is_left_for_others_is_not_begun(system_of: SystemOf) -> None:
    system_of(10**12, RESERVE_BYTES_MAX + 40 * MIB)
    Headroom().require_copy(40 * MIB)
    with pytest.raises(OSError, match="No space left"):
        Headroom().require_copy(40 * MIB + 1)
    system_of(10**12, RESERVE_BYTES_MAX)
    Headroom().require_copy(RESERVE_BYTES_MAX // 2)
