"""Headers and replies byte for byte as RFC 5531 §9 has them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import WireError
from hfnfs.rpc.message import (
    AuthNone,
    AuthStat,
    AuthSys,
    CallBroken,
    CallFailed,
    CallHeader,
    CallRefused,
    GarbageArguments,
    MessageType,
    OpaqueAuth,
    ProcedureUnavailable,
    ProgramMismatch,
    ProgramUnavailable,
    RpcMismatch,
    decode_call,
    decode_credential,
    encode_credential,
)
from tests.rpc.calls import USER, message

# NFS v3 GETATTR by uid 1000 on "box", written by hand from the RFC.
GETATTR = bytes.fromhex(
    "4a2b0001 00000000 00000002 000186a3 00000003 00000001"  # xid call rpc=2 nfs v3 getattr
    "00000001 00000020"  # AUTH_SYS, 32 bytes
    "00000007 00000003 626f7800 000003e8 00000064 00000002 00000004 00000018"
    "00000000 00000000"  # verifier AUTH_NONE
    "00000004 deadbeef"  # arguments
)
NO_AUTH = OpaqueAuth(0, b"")


def test_a_golden_call_is_read() -> None:
    header, arguments = decode_call(GETATTR, 0, len(GETATTR))
    assert header == CallHeader(
        0x4A2B0001, MessageType.CALL, 2, 100003, 3, 1, header.credential, NO_AUTH
    )
    assert decode_credential(header.credential, header.verifier) == USER
    assert GETATTR[arguments:] == bytes.fromhex("00000004 deadbeef")


def test_a_golden_call_is_written() -> None:
    arguments = bytes.fromhex("00000004 deadbeef")
    assert message(0x4A2B0001, 1, arguments, program=100003) == GETATTR


@given(st.binary(max_size=7), st.binary(max_size=7))
def test_a_call_is_read_from_anywhere_in_a_buffer(before: bytes, behind: bytes) -> None:
    buf = memoryview(before + GETATTR + behind)
    header, arguments = decode_call(buf, len(before), len(before) + len(GETATTR))
    assert header == decode_call(GETATTR, 0, len(GETATTR))[0]
    assert bytes(buf[arguments : arguments + 8]) == GETATTR[-8:]


@pytest.mark.parametrize("length", range(len(GETATTR) - 8))
def test_a_cut_header_is_refused(length: int) -> None:
    with pytest.raises(WireError):
        decode_call(GETATTR, 0, length)


def test_a_reply_is_no_call() -> None:
    reply = GETATTR[:4] + struct.pack(">I", 1) + GETATTR[8:]
    with pytest.raises(WireError):
        decode_call(reply, 0, len(reply))


def test_another_rpc_version_is_told_which_one_is_spoken_whatever_follows() -> None:
    with pytest.raises(RpcMismatch) as failure:
        decode_call(struct.pack(">III", 1, 0, 3), 0, 12)
    assert failure.value.reply == struct.pack(">5I", 1, 1, 0, 2, 2)


def test_a_credential_longer_than_the_rfc_allows_is_refused() -> None:
    long = message(1, 1)[:24] + struct.pack(">II", 1, 404) + bytes(404 + 8)
    with pytest.raises(WireError):
        decode_call(long, 0, len(long))


@given(
    st.builds(
        AuthSys,
        stamp=st.integers(0, 2**32 - 1),
        machine_name=st.binary(max_size=255),
        uid=st.integers(0, 2**32 - 1),
        gid=st.integers(0, 2**32 - 1),
        gids=st.lists(st.integers(0, 2**32 - 1), max_size=16),
    )
)
def test_a_user_is_read_back(user: AuthSys) -> None:
    assert decode_credential(encode_credential(user), NO_AUTH) == user


def test_nobody_is_read_back() -> None:
    assert decode_credential(encode_credential(AuthNone()), NO_AUTH) == AuthNone()


def words(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers)}I", *numbers)


@pytest.mark.parametrize(
    ("credential", "verifier", "stat"),
    [
        (OpaqueAuth(1, b""), NO_AUTH, AuthStat.BADCRED),
        (OpaqueAuth(1, words(0, 256, *[0] * 67)), NO_AUTH, AuthStat.BADCRED),  # name too long
        (OpaqueAuth(1, words(0, 0, 0, 0, 17, *[0] * 17)), NO_AUTH, AuthStat.BADCRED),  # gids
        (OpaqueAuth(1, words(0, 0, 0, 0, 0, 0)), NO_AUTH, AuthStat.BADCRED),  # left over
        (OpaqueAuth(2, b""), NO_AUTH, AuthStat.REJECTEDCRED),  # AUTH_SHORT
        (OpaqueAuth(6, bytes(20)), OpaqueAuth(6, bytes(8)), AuthStat.REJECTEDCRED),  # GSS
        (OpaqueAuth(0, b""), OpaqueAuth(1, b""), AuthStat.BADVERF),
        (encode_credential(USER), OpaqueAuth(0, bytes(4)), AuthStat.BADVERF),
    ],
)
def test_bad_credentials_are_refused_with_the_reason(
    credential: OpaqueAuth, verifier: OpaqueAuth, stat: AuthStat
) -> None:
    with pytest.raises(CallRefused) as failure:
        decode_credential(credential, verifier)
    assert failure.value.reply == words(1, 1, 1, stat)


@given(st.binary(max_size=400), st.integers(0, 3))
def test_random_credentials_decode_or_are_refused(body: bytes, flavor: int) -> None:
    try:
        decode_credential(OpaqueAuth(flavor, body), NO_AUTH)
    except CallRefused:
        return


@pytest.mark.parametrize(
    ("failure", "reply"),
    [
        (ProgramUnavailable(100227), words(1, 0, 0, 0, 1)),
        (ProgramMismatch(3, 4), words(1, 0, 0, 0, 2, 3, 4)),
        (ProcedureUnavailable(22), words(1, 0, 0, 0, 3)),
        (GarbageArguments("cut"), words(1, 0, 0, 0, 4)),
        (CallBroken(), words(1, 0, 0, 0, 5)),
        (RpcMismatch(), words(1, 1, 0, 2, 2)),
        (CallRefused(AuthStat.TOOWEAK), words(1, 1, 1, 5)),
    ],
)
def test_each_failure_knows_its_reply(failure: CallFailed, reply: bytes) -> None:
    assert failure.reply == reply
