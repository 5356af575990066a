import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import BadHandle, StaleHandle
from hfnfs.nfs3 import handle as handle_module
from hfnfs.nfs3.handle import HANDLE_BYTES, HandleMaker
from hfnfs.nfs3.types import HANDLE_BYTES_MAX
from hfnfs.vfs.node import FileType, Node
from tests.nfs3.desk import KEY, Desk

VOLUME = b"volume01"


def node(fileid: int = 5, generation: int = 0) -> Node:
    return Node(fileid, generation, FileType.REG, b"x", None)


@given(st.integers(1, 2**64 - 1), st.integers(0, 2**32 - 1))
def test_a_handle_gives_back_what_it_was_made_for(fileid: int, generation: int) -> None:
    handle = HandleMaker(KEY, VOLUME).handle_of(node(fileid, generation))
    assert len(handle) == HANDLE_BYTES <= HANDLE_BYTES_MAX
    assert HandleMaker(KEY, VOLUME).parse(handle) == (fileid, generation)


def test_handles_are_the_same_after_a_restart() -> None:
    assert HandleMaker(KEY, VOLUME).handle_of(node()) == HandleMaker(KEY, VOLUME).handle_of(node())


@given(st.integers(0, HANDLE_BYTES * 8 - 1))
def test_a_handle_with_one_bit_changed_is_bad(bit: int) -> None:
    maker = HandleMaker(KEY, VOLUME)
    number = int.from_bytes(maker.handle_of(node())) ^ (1 << bit)
    with pytest.raises(BadHandle):
        maker.parse(number.to_bytes(HANDLE_BYTES))


@pytest.mark.parametrize("length", [*range(HANDLE_BYTES), HANDLE_BYTES + 1, 64])
def test_a_cut_or_lengthened_handle_is_bad(length: int) -> None:
    maker = HandleMaker(KEY, VOLUME)
    with pytest.raises(BadHandle):
        maker.parse((maker.handle_of(node()) + bytes(64))[:length])


@given(st.binary(max_size=64))
def test_random_bytes_are_bad(handle: bytes) -> None:
    with pytest.raises(BadHandle):
        HandleMaker(KEY, VOLUME).parse(handle)


def test_a_handle_of_another_volume_or_key_is_bad() -> None:
    maker = HandleMaker(KEY, VOLUME)
    for other in (HandleMaker(KEY, b"volume02"), HandleMaker(bytes(32), VOLUME)):
        with pytest.raises(BadHandle):
            maker.parse(other.handle_of(node()))


def test_a_replaced_node_gets_another_handle() -> None:
    maker = HandleMaker(KEY, VOLUME)
    assert maker.handle_of(node(5, 0)) != maker.handle_of(node(5, 1))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handle_module, "HANDLES_KEPT_MAX", 4)
    maker = HandleMaker(KEY, VOLUME)
    handles = [maker.handle_of(node(fileid)) for fileid in range(1, 20)]
    assert [maker.parse(handle) for handle in handles] == [(n, 0) for n in range(1, 20)]
    assert len(maker._made) <= 4
    assert len(maker._parsed) <= 4


@pytest.mark.parametrize(("key", "volume"), [(b"short", VOLUME), (KEY, b"volume")])
def test_a_maker_needs_a_whole_key_and_volume_id(key: bytes, volume: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        HandleMaker(key, volume)


async def test_a_good_handle_of_a_vanished_node_is_stale() -> None:
    desk = Desk({"gone": b"x"})
    handle = await desk.handle("gone")
    assert desk.export.node(handle).name == b"gone"
    desk.far.becomes({})
    with pytest.raises(StaleHandle):
        desk.export.node(handle)
