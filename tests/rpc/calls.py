"""Calls as a client makes them, and a program that answers in every way there is."""

import asyncio
import struct
from collections.abc import Awaitable, Iterable
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from hfnfs.errors import WireError
from hfnfs.rpc.message import (
    CALL_HEADER,
    AuthNone,
    AuthStat,
    AuthSys,
    CallHeader,
    CallRefused,
    Credential,
    MessageType,
    OpaqueAuth,
    ProcedureUnavailable,
    encode_credential,
)
from hfnfs.rpc.session import Body, Caller, Run
from hfnfs.rpc.xdr import encode

PROGRAM = 400_000
USER = AuthSys(stamp=7, machine_name=b"box", uid=1000, gid=100, gids=[4, 24])

NULL = 0
ECHO = 1
LATER = 2
GARBAGE = 3
BUG = 4
REFUSED = 5
ONCE = 6
ONCE_LATER = 7
LARGE = 8


def message(
    xid: int,
    procedure: int,
    arguments: bytes = b"",
    *,
    program: int = PROGRAM,
    version: int = 3,
    credential: Credential | OpaqueAuth = USER,
) -> bytes:
    """A call, without its record mark."""
    if not isinstance(credential, OpaqueAuth):
        credential = encode_credential(credential)
    header = CallHeader(
        xid, MessageType.CALL, 2, program, version, procedure, credential, OpaqueAuth(0, b"")
    )
    return encode(CALL_HEADER, header) + arguments


def record(body: bytes) -> bytes:
    """A message as one fragment."""
    return struct.pack(">I", 0x80000000 | len(body)) + body


def fragments(body: bytes, cuts: Iterable[int]) -> bytes:
    """A message as fragments, cut at the given places."""
    places = [0, *sorted(cuts), len(body)]
    parts = [body[a:b] for a, b in pairwise(places)]
    marked = [struct.pack(">I", len(part)) + part for part in parts[:-1]]
    return b"".join(marked) + record(parts[-1])


def success(xid: int, body: bytes = b"") -> bytes:
    """The reply to a call that went well, without its record mark (RFC 5531 §9)."""
    return struct.pack(">6I", xid, 1, 0, 0, 0, 0) + body


def accepted(xid: int, stat: int, body: bytes = b"") -> bytes:
    return struct.pack(">6I", xid, 1, 0, 0, 0, stat) + body


def denied(xid: int, *words: int) -> bytes:
    return struct.pack(f">{3 + len(words)}I", xid, 1, 1, *words)


class Served(NamedTuple):
    version: int
    procedure: int
    caller: Caller
    arguments: bytes


class EveryWay:
    """A program that answers in every way there is, and remembers what it was asked."""

    number = PROGRAM
    versions = (2, 4)

    def __init__(self, large: bytes = b"", *, in_tasks: bool = False) -> None:
        self.in_tasks = in_tasks  # what is awaited is no future
        self.served: list[Served] = []
        self.later: list[asyncio.Future[Body]] = []
        self.large = memoryview(large)

    def runs_once(self, version: int, procedure: int) -> bool:
        return procedure in {ONCE, ONCE_LATER}

    def runner(self, version: int, procedure: int, caller: Caller) -> Run:
        serve = partial(self.serve, version, procedure, caller)
        return lambda buf, pos, end, _key=None: serve(buf, pos, end)

    def serve(
        self,
        version: int,
        procedure: int,
        caller: Caller,
        buf: bytes | memoryview,
        pos: int,
        end: int,
    ) -> Body | Awaitable[Body]:
        arguments = bytes(buf[pos:end])
        self.served.append(Served(version, procedure, caller, arguments))
        match procedure:
            case 0:
                return b""
            case 1:
                return arguments
            case 2 | 7:
                future: asyncio.Future[Body] = asyncio.get_running_loop().create_future()
                self.later.append(future)
                return _brought(future) if self.in_tasks else future
            case 3:
                raise WireError("not what was declared")
            case 4:
                raise RuntimeError("a bug, made on purpose")
            case 5:
                raise CallRefused(AuthStat.TOOWEAK)
            case 6:
                return struct.pack(">I", len(self.served))
            case 8:
                return [b"head", self.large]
        raise ProcedureUnavailable(procedure)


async def _brought(future: "asyncio.Future[Body]") -> Body:
    return await future


NOBODY = AuthNone()
