"""Calls that real clients sent (extract.py says how they were taken), byte for byte."""

import json
from pathlib import Path
from typing import Any

import pytest

from hfnfs.nfs3 import (
    attrs,
    data,
    info,
    listing,
    mountd,
    names,
    naming,
    portmap,
    setting,
    writing,
)
from hfnfs.nfs3.program import PROCEDURES
from hfnfs.nfs3.status import Status
from hfnfs.rpc.message import (
    CALL_HEADER,
    AuthNone,
    AuthSys,
    decode_call,
    decode_credential,
    encode_credential,
)
from hfnfs.rpc.session import Caller
from hfnfs.rpc.xdr import Codec, decode, encode, void
from tests.nfs3.desk import Desk, answer

NFS, MOUNT, PORTMAP, NFSACL = 100003, 100005, 100000, 100227
HERE = Path(__file__).parent
PEER = ("127.0.0.1", 700)

ARGUMENTS: dict[tuple[int, int], Codec[Any]] = {
    (NFS, 0): void,
    (NFS, 1): attrs.GETATTR_ARGS,
    (NFS, 2): setting.SETATTR_ARGS,
    (NFS, 3): names.LOOKUP_ARGS,
    (NFS, 4): attrs.ACCESS_ARGS,
    (NFS, 5): names.READLINK_ARGS,
    (NFS, 6): data.READ_ARGS,
    (NFS, 7): writing.WRITE_ARGS,
    (NFS, 8): naming.CREATE_ARGS,
    (NFS, 9): naming.MKDIR_ARGS,
    (NFS, 10): naming.SYMLINK_ARGS,
    (NFS, 11): naming.MKNOD_ARGS,
    (NFS, 12): naming.REMOVE_ARGS,
    (NFS, 13): naming.REMOVE_ARGS,
    (NFS, 14): naming.RENAME_ARGS,
    (NFS, 15): naming.LINK_ARGS,
    (NFS, 16): listing.READDIR_ARGS,
    (NFS, 17): listing.READDIRPLUS_ARGS,
    (NFS, 18): info.FSSTAT_ARGS,
    (NFS, 19): info.FSINFO_ARGS,
    (NFS, 20): info.PATHCONF_ARGS,
    (NFS, 21): writing.COMMIT_ARGS,
    (MOUNT, 0): void,
    (MOUNT, 1): mountd.MNT_ARGS,
    (MOUNT, 3): mountd.MNT_ARGS,
    (MOUNT, 5): void,
    (PORTMAP, 3): portmap.MAPPING,
}
VERSIONS = {NFS: 3, MOUNT: 3, PORTMAP: 2}
CHANGES = {2, *range(7, 16), 21}


def captured(client: str) -> list[tuple[tuple[int, int, int], bytes]]:
    calls = json.loads((HERE / f"{client}.json").read_text())
    return [(tuple(call["target"]), bytes.fromhex(call["record"])) for call in calls]


CALLS = [
    pytest.param(target, record, id=f"{client}-{'-'.join(map(str, target))}-{number}")
    for client in ("linux-6.1", "libnfs-4.0")
    for number, (target, record) in enumerate(captured(client))
]
SERVED = [
    call
    for call in CALLS
    if isinstance(call.values[0], tuple) and VERSIONS.get(call.values[0][0]) == call.values[0][1]
]


def test_linux_was_captured_with_every_procedure_of_nfs() -> None:
    seen = {procedure for (program, _, procedure), _ in captured("linux-6.1") if program == NFS}
    assert seen == set(range(len(PROCEDURES)))


@pytest.mark.parametrize(("target", "record"), CALLS)
def test_a_header_is_read_and_made_as_real_clients_make_it(
    target: tuple[int, int, int], record: bytes
) -> None:
    header, arguments = decode_call(record, 0, len(record))
    assert (header.program, header.version, header.procedure) == target
    assert encode(CALL_HEADER, header) == record[:arguments]
    credential = decode_credential(header.credential, header.verifier)
    assert isinstance(credential, AuthNone | AuthSys)
    assert encode_credential(credential) == header.credential


@pytest.mark.parametrize(("target", "record"), SERVED)
def test_arguments_are_read_and_made_as_real_clients_make_them(
    target: tuple[int, int, int], record: bytes
) -> None:
    _, start = decode_call(record, 0, len(record))
    program, _, procedure = target
    codec = ARGUMENTS[program, procedure]
    value = decode(codec, record, start)
    assert encode(codec, value) == record[start:]
    if program == NFS:
        assert PROCEDURES[procedure].decode(record, start, len(record)) == value


@pytest.mark.parametrize(("target", "record"), SERVED)
async def test_a_real_clients_call_gets_the_status_it_must(
    target: tuple[int, int, int], record: bytes
) -> None:
    desk = Desk()
    for path in ("hello.txt", "empty", "many", "deep/er/est.bin"):
        await desk.node(path)
    header, start = decode_call(record, 0, len(record))
    caller = Caller(decode_credential(header.credential, header.verifier), PEER)
    program, _, procedure = target
    serving = next(each for each in desk.programs if each.number == program)
    reply = await answer(serving, procedure, record[start:], caller)
    if program == NFS and procedure:
        assert Status(int.from_bytes(reply[:4])) is expected(desk, procedure, record, start)
    elif (program, procedure) == (MOUNT, 1):
        assert reply[:4] == bytes(4)


def expected(desk: Desk, procedure: int, record: bytes, start: int) -> Status:
    """OK, but for what changes something, asks for a link or for what is not there."""
    if procedure in CHANGES:
        return Status.ROFS
    if procedure == 5:
        return Status.INVAL
    if procedure == 3:
        name = decode(names.LOOKUP_ARGS, record, start).name
        return Status.OK if name.decode() in desk.far.folder else Status.NOENT
    return Status.OK
