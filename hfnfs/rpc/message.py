"""What an RPC message says before the arguments or results of a procedure (RFC 5531 §9).

Nothing here is hot: a header that came before is recognised by its bytes (session.py), and what
stands before all good results is made once.
"""

import struct
from enum import IntEnum
from typing import TypeAlias

from hfnfs.errors import HfnfsError, WireError
from hfnfs.rpc.xdr import (
    decode,
    decode_prefix,
    encode,
    enum_of,
    list_of,
    opaque,
    string,
    struct_of,
    u32,
    wire,
)

RPC_VERSION = 2

AUTH_NONE = 0
AUTH_SYS = 1

_WORD = struct.Struct(">I")
_START = struct.Struct(">III")  # xid, message type, RPC version of a call


class MessageType(IntEnum):
    """msg_type."""

    CALL = 0
    REPLY = 1


class ReplyStat(IntEnum):
    """reply_stat."""

    ACCEPTED = 0
    DENIED = 1


class AcceptStat(IntEnum):
    """accept_stat: how an accepted call ended."""

    SUCCESS = 0
    PROG_UNAVAIL = 1
    PROG_MISMATCH = 2
    PROC_UNAVAIL = 3
    GARBAGE_ARGS = 4
    SYSTEM_ERR = 5


class RejectStat(IntEnum):
    """reject_stat: why a call was denied."""

    RPC_MISMATCH = 0
    AUTH_ERROR = 1


class AuthStat(IntEnum):
    """auth_stat: what is wrong with a credential or verifier."""

    BADCRED = 1
    REJECTEDCRED = 2
    BADVERF = 3
    REJECTEDVERF = 4
    TOOWEAK = 5


# ------------------------------------------------------------------ calls


@wire
class OpaqueAuth:
    """opaque_auth (RFC 5531 §8.2): a credential or verifier, not yet looked into."""

    flavor: int
    body: bytes


@wire
class CallHeader:
    """A call up to its arguments."""

    xid: int
    message_type: MessageType
    rpc_version: int
    program: int
    version: int
    procedure: int
    credential: OpaqueAuth
    verifier: OpaqueAuth


OPAQUE_AUTH = struct_of(OpaqueAuth, flavor=u32, body=opaque(400))
CALL_HEADER = struct_of(
    CallHeader,
    xid=u32,
    message_type=enum_of(MessageType),
    rpc_version=u32,
    program=u32,
    version=u32,
    procedure=u32,
    credential=OPAQUE_AUTH,
    verifier=OPAQUE_AUTH,
)


@wire
class AuthNone:
    """AUTH_NONE: the caller does not say who it is."""


@wire
class AuthSys:
    """authsys_parms (RFC 5531 appendix A): who the caller says it is."""

    stamp: int
    machine_name: bytes
    uid: int
    gid: int
    gids: list[int]


Credential: TypeAlias = AuthNone | AuthSys

AUTH_SYS_PARMS = struct_of(
    AuthSys, stamp=u32, machine_name=string(255), uid=u32, gid=u32, gids=list_of(u32, 16)
)


def decode_call(buf: bytes | memoryview, pos: int, end: int) -> tuple[CallHeader, int]:
    """Give the header of the call in buf[pos:end] and where its arguments start.

    Raises RpcMismatch, or WireError if this is no call or its header cannot be read, so that
    there is no one to answer.
    """
    if end - pos < _START.size:
        raise WireError(f"a message of {end - pos} bytes")
    _, message_type, rpc_version = _START.unpack_from(buf, pos)
    if message_type != MessageType.CALL:
        raise WireError(f"message type {message_type} where a call belongs")
    if rpc_version != RPC_VERSION:
        raise RpcMismatch
    return decode_prefix(CALL_HEADER, buf, pos, end)


def decode_credential(credential: OpaqueAuth, verifier: OpaqueAuth) -> Credential:
    """Tell who is calling; raises CallRefused for what does not decode and for other flavours."""
    if credential.flavor not in {AUTH_NONE, AUTH_SYS}:
        raise CallRefused(AuthStat.REJECTEDCRED)
    if verifier.flavor != AUTH_NONE or verifier.body:
        raise CallRefused(AuthStat.BADVERF)
    if credential.flavor == AUTH_NONE:
        return AuthNone()
    try:
        return decode(AUTH_SYS_PARMS, credential.body)
    except WireError as error:
        raise CallRefused(AuthStat.BADCRED) from error


def encode_credential(credential: Credential) -> OpaqueAuth:
    """Give a credential as a call carries it."""
    if isinstance(credential, AuthNone):
        return OpaqueAuth(AUTH_NONE, b"")
    return OpaqueAuth(AUTH_SYS, encode(AUTH_SYS_PARMS, credential))


# ---------------------------------------------------------------- replies


def accepted(stat: AcceptStat) -> bytes:
    """Give what stands between the xid and the results of an accepted call.

    The verifier is always AUTH_NONE.
    """
    return struct.pack(">IIIII", MessageType.REPLY, ReplyStat.ACCEPTED, AUTH_NONE, 0, stat)


def denied(stat: RejectStat) -> bytes:
    """Give what stands between the xid and the reason of a denied call."""
    return struct.pack(">III", MessageType.REPLY, ReplyStat.DENIED, stat)


class CallFailed(HfnfsError):
    """The call has no results; `reply` is what is answered, from behind the xid to the end."""

    def __init__(self, message: str, reply: bytes) -> None:
        super().__init__(message)
        self.reply = reply


class RpcMismatch(CallFailed):
    """The call is of another version of RPC itself."""

    def __init__(self) -> None:
        versions = struct.pack(">II", RPC_VERSION, RPC_VERSION)
        super().__init__("not RPC version 2", denied(RejectStat.RPC_MISMATCH) + versions)


class CallRefused(CallFailed):
    """The caller's credential is not good enough for this call."""

    def __init__(self, stat: AuthStat) -> None:
        reply = denied(RejectStat.AUTH_ERROR) + _WORD.pack(stat)
        super().__init__(f"credential refused: {stat.name}", reply)


class ProgramUnavailable(CallFailed):
    """Nobody here serves the program."""

    def __init__(self, program: int) -> None:
        super().__init__(f"no program {program}", accepted(AcceptStat.PROG_UNAVAIL))


class ProgramMismatch(CallFailed):
    """The program is served, but not in that version."""

    def __init__(self, lowest: int, highest: int) -> None:
        reply = accepted(AcceptStat.PROG_MISMATCH) + struct.pack(">II", lowest, highest)
        super().__init__(f"versions {lowest} to {highest} are served", reply)


class ProcedureUnavailable(CallFailed):
    """The program has no procedure of that number."""

    def __init__(self, procedure: int) -> None:
        super().__init__(f"no procedure {procedure}", accepted(AcceptStat.PROC_UNAVAIL))


class GarbageArguments(CallFailed):
    """The arguments do not decode."""

    def __init__(self, fact: str) -> None:
        super().__init__(f"arguments: {fact}", accepted(AcceptStat.GARBAGE_ARGS))


class CallBroken(CallFailed):
    """A bug ended the call."""

    def __init__(self) -> None:
        super().__init__("a bug ended the call", accepted(AcceptStat.SYSTEM_ERR))
