import pytest

from hfnfs.errors import WireError
from hfnfs.nfs3.portmap import MAPPING, MAPPINGS, Mapping
from hfnfs.rpc.message import CallRefused, ProcedureUnavailable
from hfnfs.rpc.session import Caller
from hfnfs.rpc.xdr import decode, encode, u32
from tests.nfs3.by_hand import Hand
from tests.nfs3.desk import ROOT_CALLER, Desk, answer

NULL, SET, UNSET, GETPORT, DUMP, CALLIT = range(6)
TCP, UDP = 6, 17
PORT = 20049


def listening() -> Desk:
    desk = Desk()
    desk.portmap.port = PORT
    return desk


async def port_of(desk: Desk, program: int, version: int, protocol: int) -> int:
    arguments = encode(MAPPING, Mapping(program, version, protocol, 0))
    return decode(u32, await answer(desk.portmap, GETPORT, arguments))


@pytest.mark.parametrize(("program", "version"), [(100003, 3), (100005, 3), (100000, 2)])
async def test_nfs_mount_and_portmap_are_on_the_one_port(program: int, version: int) -> None:
    assert await port_of(listening(), program, version, TCP) == PORT


@pytest.mark.parametrize(
    ("program", "version", "protocol"),
    [(100003, 4, TCP), (100003, 2, TCP), (100003, 3, UDP), (100021, 4, TCP), (100227, 3, TCP)],
)
async def test_what_is_not_here_has_port_0(program: int, version: int, protocol: int) -> None:
    assert await port_of(listening(), program, version, protocol) == 0


async def test_nothing_is_registered_before_the_server_listens() -> None:
    assert await port_of(Desk(), 100003, 3, TCP) == 0


async def test_dump_lists_all() -> None:
    assert decode(MAPPINGS, await answer(listening().portmap, DUMP, b"")) == [
        Mapping(100003, 3, TCP, PORT),
        Mapping(100005, 3, TCP, PORT),
        Mapping(100000, 2, TCP, PORT),
    ]


async def test_null_answers_with_nothing() -> None:
    assert await answer(listening().portmap, NULL, b"") == b""


@pytest.mark.parametrize("procedure", [SET, UNSET, CALLIT, 6])
async def test_nothing_can_be_registered_or_forwarded(procedure: int) -> None:
    with pytest.raises(ProcedureUnavailable):
        await answer(listening().portmap, procedure, b"")


@pytest.mark.parametrize(("procedure", "arguments"), [(GETPORT, bytes(15)), (DUMP, bytes(4))])
async def test_what_does_not_decode_is_garbage(procedure: int, arguments: bytes) -> None:
    with pytest.raises(WireError):
        await answer(listening().portmap, procedure, arguments)


async def test_a_call_from_elsewhere_is_refused() -> None:
    elsewhere = Caller(ROOT_CALLER.credential, ("192.0.2.1", 700))
    with pytest.raises(CallRefused):
        await answer(listening().portmap, NULL, b"", elsewhere)


def test_a_mapping_lies_on_the_wire_as_the_rfc_says() -> None:
    assert encode(MAPPING, Mapping(1, 2, 3, 4)) == Hand().u32(1, 2, 3, 4).bytes()
    assert encode(MAPPINGS, [Mapping(1, 2, 3, 4)]) == Hand().u32(1, 1, 2, 3, 4, 0).bytes()
    assert not Desk().portmap.runs_once(2, GETPORT)
