from xdrlib3 import Unpacker

from hfnfs.vfs.node import FATTR3_BYTES, FileType, Look, Node
from tests.vfs.builders import a_directory, a_file


def test_attributes_are_packed_as_rfc_1813_says() -> None:
    node = Node(0x1122334455, 0, Look(FileType.REG, 0o640, 3, 4, 9), b"f", None)
    node.size = 513
    node.atime_ns, node.mtime_ns, node.ctime_ns = 1_000_000_002, 3_000_000_004, 5_000_000_006
    assert len(node.fattr3) == FATTR3_BYTES == 84
    xdr = Unpacker(node.fattr3)
    assert [xdr.unpack_uint() for _ in range(5)] == [1, 0o640, 1, 3, 4]
    assert [xdr.unpack_uhyper() for _ in range(2)] == [513, 1024]
    assert [xdr.unpack_uint() for _ in range(2)] == [0, 0]
    assert [xdr.unpack_uhyper() for _ in range(2)] == [9, 0x1122334455]
    assert [xdr.unpack_uint() for _ in range(6)] == [1, 2, 3, 4, 5, 6]
    xdr.done()


def test_times_that_nfs_cannot_say_are_kept_within_what_it_can() -> None:
    node = a_file()
    node.mtime_ns, node.atime_ns = 10**21, -5
    assert node.fattr3[-24:-16] == bytes(8)
    assert node.fattr3[-16:-12] == b"\xff" * 4


def test_packed_attributes_are_kept_until_something_changed() -> None:
    node = a_file()
    packed = node.fattr3
    assert node.fattr3 is packed
    node.size = 5
    node.changed()
    assert node.fattr3 != packed


def test_what_was_packed_of_a_block_is_forgotten_with_the_attributes() -> None:
    directory = a_directory()
    node = a_file(2, b"f", directory)
    directory.put({b"f": node})
    directory.number([node])
    number = directory.block_after(0)
    assert number is not None
    directory.blocks[number] = "packed"
    node.changed()
    assert directory.blocks == {}


def test_packed_attributes_can_be_forgotten_and_come_back() -> None:
    node = a_file()
    packed = node.fattr3
    node.unpack()
    assert node.fattr3 is not packed
    assert node.fattr3 == packed == node.pack()


def test_directories_have_one_link_whatever_is_in_them() -> None:
    assert a_directory().fattr3[8:12] == a_file().fattr3[8:12] == bytes([0, 0, 0, 1])
