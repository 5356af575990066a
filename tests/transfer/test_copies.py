"""A copy is the file at one moment, whatever was written while it was made."""

import errno
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfnfs.disk import snapshot, staging
from hfnfs.errors import CacheUnusable, NoSpace
from hfnfs.transfer import copies
from hfnfs.transfer.copies import Source, Taking
from hfnfs.vfs.node import Node
from tests.vfs.writers import Bench

KIB = 1024


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.crash()


def disturbed(patch: pytest.MonkeyPatch, change: Callable[[], None]) -> None:
    """Let bytes be copied by few, with a change before each few."""

    def cannot(*_args: object) -> int:
        change()
        return 0

    patch.setattr(snapshot, "_clone", lambda *_args: False)
    patch.setattr(snapshot, "_copied_by_kernel", cannot)
    patch.setattr(snapshot, "_COPY_BYTES", 16 * KIB)


async def copied(bench: Bench, node: Node) -> tuple[bytes | None, bytes]:
    """The copy without what the base has, and the file at the moment that it is of."""
    moments: list[bytes] = []

    def freeze() -> bool:
        moments.append(staged_bytes(bench, node))
        return True

    overlay = bench.data.overlays[node.fileid]
    taking = Taking(bench.staging, Source(node.fileid, overlay, freeze))
    taking.copy_all()
    await taking.catch_up()
    taking.stop()
    assert overlay.drift is None
    assert taking.error is None
    assert taking.copy is not None
    data = taking.copy.path.read_bytes()
    taking.copy.discard()
    if taking.shape is None:
        return None, b""
    assert taking.shape.size == len(data)
    return data, moments[-1]


def staged_bytes(bench: Bench, node: Node) -> bytes:
    """All bytes of a file, zeros for those of the base."""
    data, overlay = bytearray(node.size), bench.data.overlays[node.fileid]
    for start, end in overlay.ranges:
        data[start:end] = bench.staging.read(node.fileid, start, end)
    return bytes(data)


@given(seed=st.integers(0, 1 << 32), last=st.sampled_from([0, 64 * KIB, copies.LAST_BYTES_MAX]))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_random_writes_and_cuts_while_it_is_copied(
    tmp_path_factory: pytest.TempPathFactory, seed: int, last: int
) -> None:
    rng = random.Random(seed)
    bench = Bench(tmp_path_factory.mktemp("staging"))
    node = bench.file(rng.randbytes(200 * KIB) if rng.random() < 0.5 else b"")
    changes = rng.randrange(60)

    def write() -> None:
        bench.writing.write(node, rng.randrange(300 * KIB), rng.randbytes(rng.randrange(1, 9000)))

    def change() -> None:
        nonlocal changes
        if changes:
            changes -= 1
            if rng.random() < 0.1:
                bench.writing.truncate(node, rng.randrange(300 * KIB))
            else:
                write()

    with pytest.MonkeyPatch.context() as patch:
        disturbed(patch, change)
        patch.setattr(copies, "LAST_BYTES_MAX", last)
        for _ in range(10):
            write()
        data, truth = await copied(bench, node)
        assert data == truth
    bench.crash()


async def test_the_last_piece_is_short_and_all_else_is_copied_in_threads(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = bench.file(b"")
    bench.writing.write(node, 0, b"0" * (4 * copies.LAST_BYTES_MAX))
    sizes, again = [2 * copies.LAST_BYTES_MAX, copies.LAST_BYTES_MAX // 2], bench.staging.copy_again
    turns: list[int] = []
    read = bench.staging.read_resident
    read_on_the_loop: list[int] = []

    def change() -> None:
        if sizes:
            bench.writing.write(node, 0, b"1" * sizes.pop(0))

    def in_a_thread(copy: object, fileid: int, own: object) -> None:
        change()
        turns.append(own.total)  # type: ignore[attr-defined]  # a Ranges
        again(copy, fileid, own)  # type: ignore[arg-type]  # as it was called

    def on_the_loop(fileid: int, start: int, end: int) -> object:
        read_on_the_loop.append(end - start)
        return read(fileid, start, end)

    monkeypatch.setattr(bench.staging, "copy_again", in_a_thread)
    monkeypatch.setattr(bench.staging, "read_resident", on_the_loop)
    overlay = bench.data.overlays[node.fileid]
    taking = Taking(bench.staging, Source(node.fileid, overlay, lambda: True))
    taking.copy_all()
    change()
    await taking.catch_up()
    assert taking.copy is not None
    assert taking.copy.path.read_bytes() == staged_bytes(bench, node)
    assert turns == [2 * copies.LAST_BYTES_MAX]
    assert sum(read_on_the_loop) == copies.LAST_BYTES_MAX // 2
    taking.stop()
    taking.copy.discard()


async def test_what_is_not_in_memory_is_not_waited_for_on_the_loop(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = bench.file(b"")
    bench.writing.write(node, 0, b"before")
    monkeypatch.setattr(bench.staging, "read_resident", lambda *_args: None)
    overlay = bench.data.overlays[node.fileid]
    taking = Taking(bench.staging, Source(node.fileid, overlay, lambda: True))
    taking.copy_all()
    bench.writing.write(node, 0, b"behind")
    await taking.catch_up()
    assert taking.copy is not None
    assert taking.copy.path.read_bytes() == b"behind"
    taking.stop()
    taking.copy.discard()


def test_what_is_noted_of_many_writes_stays_little(bench: Bench) -> None:
    node = bench.file(b"")
    bench.writing.write(node, 0, bytes(10))
    overlay = bench.data.overlays[node.fileid]
    overlay.follow()
    for offset in range(0, 1024 * KIB, 256):
        bench.writing.write(node, offset, b"x")
    assert overlay.drift is not None
    assert list(overlay.drift.ranges) == [(0, 1024 * KIB)]
    assert list(overlay.follow().ranges) == [(0, 1024 * KIB)]
    overlay.leave()


@pytest.fixture
def full(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """On a disk that has room for no copy."""

    def no_room(*_args: object) -> NoReturn:
        raise NoSpace("full")

    monkeypatch.setattr(bench.staging, "snapshot", no_room)
    return bench


async def taken(bench: Bench, node: Node) -> Taking:
    overlay = bench.data.overlays[node.fileid]
    taking = Taking(bench.staging, Source(node.fileid, overlay, lambda: True))
    taking.copy_all()
    await taking.catch_up()
    taking.stop()
    return taking


async def test_where_there_is_no_room_for_a_copy_the_staged_file_itself_is_read(
    full: Bench,
) -> None:
    node = full.file(b"base")
    full.writing.write(node, 0, b"all of it")
    taking = await taken(full, node)
    assert (taking.error, taking.torn()) == (None, None)
    assert taking.path is not None
    assert taking.path.read_bytes() == b"all of it"
    assert taking.shape is not None
    assert taking.shape.size == 9


@pytest.mark.parametrize("change", ["write", "cut"])
async def test_what_was_read_of_a_staged_file_does_not_count_if_that_was_written_to(
    full: Bench, change: str
) -> None:
    node = full.file(b"")
    full.writing.write(node, 0, b"all of it")
    taking = await taken(full, node)
    if change == "write":
        full.writing.write(node, 0, b"new")
    else:
        full.writing.truncate(node, 4)
    assert isinstance(taking.torn(), NoSpace)


async def test_a_staged_file_that_is_not_all_of_the_file_is_not_read_for_it(full: Bench) -> None:
    in_part = full.file(b"base", "in part")
    full.writing.write(in_part, 2, b"s")
    cut = full.file(b"", "cut")
    full.writing.write(cut, 0, b"too long")
    full.writing.truncate(cut, 3)
    for node in (in_part, cut):
        taking = await taken(full, node)
        assert isinstance(taking.error, NoSpace)
        assert taking.path is None


async def test_what_did_not_reach_the_disk_does_not_count_either(
    full: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = full.file(b"")
    full.writing.write(node, 0, b"all of it")
    taking = await taken(full, node)

    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, "lost")

    with monkeypatch.context() as broken:
        broken.setattr(staging, "sync_bytes", fail)
        with pytest.raises(CacheUnusable):
            full.staging.sync(node.fileid)
    assert isinstance(taking.torn(), CacheUnusable)
