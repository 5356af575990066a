import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import BadHandle
from hfnfs.nfs3.handle import HANDLE_BYTES, HandleMaker, Named
from hfnfs.nfs3.types import HANDLE_BYTES_MAX
from hfnfs.vfs.node import Node
from tests.nfs3.desk import KEY
from tests.vfs.builders import a_directory, look

VOLUME = b"volume01"


def node(fileid: int = 5, generation: int = 0) -> Node:
    return Node(fileid, generation, look(), b"x", a_directory(1))


@given(st.integers(1, 2**64 - 1), st.integers(1, 2**64 - 1), st.integers(0, 2**32 - 1))
def test_a_handle_gives_back_what_it_was_made_for(
    fileid: int, directory: int, generation: int
) -> None:
    handle = HandleMaker(KEY, VOLUME).make(node(fileid, generation), directory)
    assert len(handle) == HANDLE_BYTES <= HANDLE_BYTES_MAX
    assert HandleMaker(KEY, VOLUME).parse(handle) == Named(fileid, directory, generation)


def test_handles_are_the_same_after_a_restart() -> None:
    assert HandleMaker(KEY, VOLUME).make(node(), 1) == HandleMaker(KEY, VOLUME).make(node(), 1)


@given(st.integers(0, HANDLE_BYTES * 8 - 1))
def test_a_handle_with_one_bit_changed_is_bad(bit: int) -> None:
    maker = HandleMaker(KEY, VOLUME)
    number = int.from_bytes(maker.make(node(), 1)) ^ (1 << bit)
    with pytest.raises(BadHandle):
        maker.parse(number.to_bytes(HANDLE_BYTES))


@pytest.mark.parametrize("length", [*range(HANDLE_BYTES), HANDLE_BYTES + 1, 64])
def test_a_cut_or_lengthened_handle_is_bad(length: int) -> None:
    maker = HandleMaker(KEY, VOLUME)
    with pytest.raises(BadHandle):
        maker.parse((maker.make(node(), 1) + bytes(64))[:length])


@given(st.binary(max_size=64))
def test_random_bytes_are_bad(handle: bytes) -> None:
    with pytest.raises(BadHandle):
        HandleMaker(KEY, VOLUME).parse(handle)


def test_a_handle_of_another_volume_or_key_is_bad() -> None:
    maker = HandleMaker(KEY, VOLUME)
    for other in (HandleMaker(KEY, b"volume02"), HandleMaker(bytes(32), VOLUME)):
        with pytest.raises(BadHandle):
            maker.parse(other.make(node(), 1))


def test_a_replaced_node_gets_another_handle() -> None:
    maker = HandleMaker(KEY, VOLUME)
    assert maker.make(node(5, 0), 1) != maker.make(node(5, 1), 1)


def test_the_root_lies_in_no_directory() -> None:
    maker = HandleMaker(KEY, VOLUME)
    assert maker.parse(maker.make(a_directory(7), 0)) == Named(7, 0, 0)


@pytest.mark.parametrize(("key", "volume"), [(b"short", VOLUME), (KEY, b"volume")])
def test_a_maker_needs_a_whole_key_and_volume_id(key: bytes, volume: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        HandleMaker(key, volume)
