import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import WireError
from hfnfs.nfs3.types import (
    DIR_OP_ARGS,
    FATTR3,
    FILE_HANDLE,
    NFSTIME3,
    POST_OP_ATTR,
    SATTR3,
    WCC_ATTR,
    WCC_DATA,
    DirOpArgs,
    Fattr3,
    NfsTime3,
    Sattr3,
    SpecData3,
    TimeHow,
    WccAttr,
    WccData,
    pack_post_op_attr,
    wcc_attr_of,
)
from hfnfs.rpc.xdr import decode, encode
from hfnfs.vfs.node import FileType, Look, Node
from tests.nfs3.by_hand import DIR_OPS, SATTRS, Hand


def node() -> Node:
    made = Node(0xAAAA_BBBB_CCCC, 3, Look(FileType.REG, 0o640, 1000, 100, 7), b"name", None)
    made.size = 5_000_000_001
    made.atime_ns, made.mtime_ns, made.ctime_ns = 1_000_000_001, 2_000_000_002, 3_000_000_003
    return made


def test_the_packed_attributes_of_a_node_are_a_fattr3() -> None:
    assert decode(FATTR3, node().fattr3) == Fattr3(
        type=FileType.REG,
        mode=0o640,
        nlink=1,
        uid=1000,
        gid=100,
        size=5_000_000_001,
        used=5_000_000_512,
        rdev=SpecData3(0, 0),
        fsid=7,
        fileid=0xAAAA_BBBB_CCCC,
        atime=NfsTime3(1, 1),
        mtime=NfsTime3(2, 2),
        ctime=NfsTime3(3, 3),
    )


def test_a_wcc_attr_is_taken_out_of_the_packed_attributes() -> None:
    packed = wcc_attr_of(node().fattr3)
    assert decode(WCC_ATTR, packed) == WccAttr(5_000_000_001, NfsTime3(2, 2), NfsTime3(3, 3))


@given(SATTRS)
def test_sattr3_lies_on_the_wire_as_the_rfc_says(value: Sattr3) -> None:
    packed = Hand().sattr(value).bytes()
    assert encode(SATTR3, value) == packed
    assert decode(SATTR3, packed) == value


@given(DIR_OPS)
def test_diropargs3_lies_on_the_wire_as_the_rfc_says(value: DirOpArgs) -> None:
    packed = Hand().dir_op(value).bytes()
    assert encode(DIR_OP_ARGS, value) == packed
    assert decode(DIR_OP_ARGS, packed) == value


@given(st.none() | st.binary(min_size=84, max_size=84))
def test_optional_attributes_are_packed_by_hand_as_declared(fattr3: bytes | None) -> None:
    assert pack_post_op_attr(fattr3) == encode(POST_OP_ATTR, fattr3)


def test_wcc_data_has_both_halves_each_optional() -> None:
    attributes = node().fattr3
    value = WccData(wcc_attr_of(attributes), attributes)
    packed = Hand().u32(1).fixed(wcc_attr_of(attributes)).post_op_attr(attributes).bytes()
    assert encode(WCC_DATA, value) == packed
    assert encode(WCC_DATA, WccData(None, None)) == bytes(8)


def test_a_time_to_set_needs_its_value_only_from_the_client() -> None:
    without = Sattr3(None, None, None, None, (TimeHow.SET_TO_SERVER_TIME, None), (TimeHow(0), None))
    assert encode(SATTR3, without) == Hand().u32(0, 0, 0, 0, 1, 0).bytes()
    with pytest.raises(WireError):
        decode(SATTR3, Hand().u32(0, 0, 0, 0, 2, 0).bytes())


def test_a_handle_longer_than_64_bytes_is_refused() -> None:
    with pytest.raises(WireError):
        decode(FILE_HANDLE, Hand().opaque(bytes(65)).bytes())


def test_a_time_is_two_words() -> None:
    assert encode(NFSTIME3, NfsTime3(1, 2)) == Hand().u32(1, 2).bytes()
