from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.nfs3.info import (
    FSINFO_ARGS,
    FSINFO_OK,
    FSINFO_RESULT,
    FSSTAT_ARGS,
    FSSTAT_OK,
    FSSTAT_RESULT,
    PATHCONF_ARGS,
    PATHCONF_OK,
    PATHCONF_RESULT,
    FsinfoArgs,
    FsinfoOk,
    FsstatArgs,
    FsstatOk,
    PathconfArgs,
    PathconfOk,
)
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.types import NfsTime3
from hfnfs.remote import ContentId, Kind, Listing, RemoteEntry
from hfnfs.rpc.xdr import decode, encode
from tests.nfs3.by_hand import TIMES, U32, U64, Hand
from tests.nfs3.changes import Changes
from tests.nfs3.desk import Desk, ok

MIB = 1 << 20
CALLS: dict[str, tuple[Any, Any]] = {
    "FSSTAT": (FsstatArgs, (FSSTAT_ARGS, FSSTAT_RESULT)),
    "FSINFO": (FsinfoArgs, (FSINFO_ARGS, FSINFO_RESULT)),
    "PATHCONF": (PathconfArgs, (PATHCONF_ARGS, PATHCONF_RESULT)),
}
Sizes: TypeAlias = tuple[int, int, int, int, int, int, int]
FATTRS = st.none() | st.binary(min_size=84, max_size=84)


async def test_null_answers_with_nothing() -> None:
    assert await Desk().raw("NULL", b"") == b""


async def test_fsstat_tells_the_volumes_usage() -> None:
    desk = Desk()
    result = ok(await desk.call("FSSTAT", FsstatArgs(desk.root), CALLS["FSSTAT"][1]))
    assert result == FsstatOk(desk.volume.root.fattr3, 12345, 0, 0, 67, 0, 0, 0)


async def test_fsstat_of_more_than_it_can_tell_tells_as_much_as_it_can() -> None:
    """The far side may list many files, each as large as a file can be."""
    desk = Desk()
    entries = {
        name: RemoteEntry(name, Kind.FILE, ContentId(f"git-{name}", 2**63 - 1)) for name in "abc"
    }
    desk.volume.tree.apply_listing(desk.volume.root, Listing("sha", entries))
    result = ok(await desk.call("FSSTAT", FsstatArgs(desk.root), CALLS["FSSTAT"][1]))
    assert (result.tbytes, result.fbytes, result.tfiles) == (2**64 - 1, 0, 67)


async def test_fsinfo_tells_what_the_server_likes() -> None:
    desk = Desk()
    result = ok(await desk.call("FSINFO", FsinfoArgs(desk.root), CALLS["FSINFO"][1]))
    assert result == FsinfoOk(
        desk.volume.root.fattr3,
        rtmax=MIB,
        rtpref=MIB,
        rtmult=4096,
        wtmax=MIB,
        wtpref=MIB,
        wtmult=4096,
        dtpref=65536,
        maxfilesize=2**63 - 1,
        time_delta=NfsTime3(0, 1),
        properties=8,
    )


async def test_fsinfo_of_a_volume_that_takes_changes_tells_what_can_be_changed() -> None:
    desk = Desk(changes=Changes())
    result = ok(await desk.call("FSINFO", FsinfoArgs(desk.root), CALLS["FSINFO"][1]))
    assert result.time_delta == NfsTime3(0, 1_000_000)
    assert result.properties == 0x01 | 0x02 | 0x08 | 0x10  # link, symlink, homogeneous, times


async def test_pathconf_tells_of_names() -> None:
    desk = Desk()
    result = ok(await desk.call("PATHCONF", PathconfArgs(desk.root), CALLS["PATHCONF"][1]))
    assert result == PathconfOk(
        desk.volume.root.fattr3,
        linkmax=1,
        name_max=255,
        no_trunc=True,
        chown_restricted=True,
        case_insensitive=False,
        case_preserving=True,
    )


@pytest.mark.parametrize("name", CALLS)
async def test_any_handle_of_the_volume_will_do(name: str) -> None:
    desk = Desk()
    args, codecs = CALLS[name]
    handle = await desk.handle("deep/er/est.bin")
    result = ok(await desk.call(name, args(handle), codecs))
    assert result.obj_attributes == desk.export.node(handle).fattr3


@pytest.mark.parametrize("name", CALLS)
async def test_a_forged_handle_is_badhandle_without_attributes(name: str) -> None:
    args, codecs = CALLS[name]
    assert await Desk().call(name, args(b"forged"), codecs) == (Status.BADHANDLE, None)


@given(FATTRS, st.tuples(U64, U64, U64, U64, U64, U64), U32)
def test_fsstat_result_lies_on_the_wire_as_the_rfc_says(
    fattr3: bytes | None, counts: tuple[int, int, int, int, int, int], seconds: int
) -> None:
    value = FsstatOk(fattr3, *counts, seconds)
    packed = Hand().post_op_attr(fattr3).u64(*counts).u32(seconds).bytes()
    assert encode(FSSTAT_OK, value) == packed
    assert decode(FSSTAT_OK, packed) == value


@given(FATTRS, st.tuples(U32, U32, U32, U32, U32, U32, U32), U64, TIMES, U32)
def test_fsinfo_result_lies_on_the_wire_as_the_rfc_says(
    fattr3: bytes | None, sizes: Sizes, largest: int, delta: NfsTime3, bits: int
) -> None:
    value = FsinfoOk(fattr3, *sizes, largest, delta, bits)
    hand = Hand().post_op_attr(fattr3).u32(*sizes).u64(largest)
    packed = hand.u32(delta.seconds, delta.nseconds, bits).bytes()
    assert encode(FSINFO_OK, value) == packed
    assert decode(FSINFO_OK, packed) == value


@given(FATTRS, U32, U32, st.tuples(*[st.booleans()] * 4))
def test_pathconf_result_lies_on_the_wire_as_the_rfc_says(
    fattr3: bytes | None, links: int, name: int, facts: tuple[bool, bool, bool, bool]
) -> None:
    value = PathconfOk(fattr3, links, name, *facts)
    packed = Hand().post_op_attr(fattr3).u32(links, name, *facts).bytes()
    assert encode(PATHCONF_OK, value) == packed
    assert decode(PATHCONF_OK, packed) == value
