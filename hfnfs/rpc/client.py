"""The other end of a connection: calls out, results in (RFC 5531 §9).

Calls run side by side on one connection and are matched with their replies by xid.
"""

import asyncio
import struct
from collections.abc import Mapping
from random import getrandbits
from types import MappingProxyType
from typing import Any, cast

from hfnfs.errors import HfnfsError, WireError
from hfnfs.rpc.message import (
    CALL_HEADER,
    OPAQUE_AUTH,
    RPC_VERSION,
    AcceptStat,
    AuthNone,
    AuthStat,
    CallHeader,
    Credential,
    MessageType,
    OpaqueAuth,
    RejectStat,
    ReplyStat,
    encode_credential,
)
from hfnfs.rpc.record import LAST_FRAGMENT, RecordReader
from hfnfs.rpc.xdr import (
    array_of,
    decode_prefix,
    encode,
    enum_of,
    struct_of,
    u32,
    union_of,
    wire,
)

CALLS_IN_FLIGHT_MAX = 64
# The largest reply is a READ of 1 MiB with its header.
RECORD_BYTES_MAX = 2 << 20
_MARK = struct.Struct(">I")
_XID_MASK = 0xFFFFFFFF


class NoAnswer(HfnfsError):
    """The server cannot be reached, hung up, or did not answer in time."""


class CallRejected(HfnfsError):
    """The server answered that it does not run such a call."""


@wire
class AcceptedReply:
    """accepted_reply, up to the results or the versions that are served."""

    verifier: OpaqueAuth
    stat: AcceptStat


@wire
class ReplyHeader:
    """A reply up to the results."""

    xid: int
    message_type: MessageType
    reply: tuple[ReplyStat, Any]


REPLY_HEADER = struct_of(
    ReplyHeader,
    xid=u32,
    message_type=enum_of(MessageType),
    reply=union_of(
        enum_of(ReplyStat),
        {
            ReplyStat.ACCEPTED: struct_of(
                AcceptedReply, verifier=OPAQUE_AUTH, stat=enum_of(AcceptStat)
            ),
            ReplyStat.DENIED: union_of(
                enum_of(RejectStat),
                {RejectStat.RPC_MISMATCH: array_of(u32, 2), RejectStat.AUTH_ERROR: u32},
            ),
        },
    ),
)


def encode_call(
    xid: int, target: tuple[int, int, int], credential: Credential, arguments: bytes
) -> bytes:
    """Give a call of target (program, version, procedure) as one record of one fragment."""
    header = CallHeader(
        xid,
        MessageType.CALL,
        RPC_VERSION,
        *target,
        encode_credential(credential),
        encode_credential(AuthNone()),
    )
    call = encode(CALL_HEADER, header) + arguments
    return _MARK.pack(LAST_FRAGMENT | len(call)) + call


def decode_reply(buf: bytes | memoryview, start: int, end: int) -> tuple[int, bytes | CallRejected]:
    """Give the xid of the reply in buf[start:end], and its results or why there are none.

    Raises WireError.
    """
    header, results = decode_prefix(REPLY_HEADER, buf, start, end)
    if header.message_type is not MessageType.REPLY:
        raise WireError("a call where a reply belongs")
    stat, reply = header.reply
    if stat is ReplyStat.ACCEPTED:
        if reply.stat is AcceptStat.SUCCESS:
            return header.xid, bytes(buf[results:end])
        return header.xid, CallRejected(reply.stat.name)
    reason, detail = reply
    if reason is RejectStat.AUTH_ERROR and detail in _AUTH_STATS:
        return header.xid, CallRejected(f"{reason.name} {_AUTH_STATS[detail]}")
    return header.xid, CallRejected(f"{reason.name} {detail}")


_AUTH_STATS: Mapping[int, str] = MappingProxyType({stat.value: stat.name for stat in AuthStat})


class RpcClient(asyncio.BufferedProtocol):
    """One connection to an RPC server, as one caller."""

    def __init__(self, credential: Credential, timeout_s: float) -> None:
        """Use connect."""
        self._credential = credential
        self._timeout_s = timeout_s
        self._reader = RecordReader(RECORD_BYTES_MAX)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._slots = asyncio.Semaphore(CALLS_IN_FLIGHT_MAX)
        # A server takes equal calls with equal xids from one host for one call that was sent again,
        # also over another connection: so no two clients may begin alike.
        self._last_xid = getrandbits(32)
        self._transport: asyncio.Transport | None = None
        self._closed = asyncio.Event()

    @classmethod
    async def connect(
        cls, host: str, port: int, *, credential: Credential | None = None, timeout_s: float = 30.0
    ) -> "RpcClient":
        """Connect within timeout_s, which then holds for each call too. Raises NoAnswer."""
        loop = asyncio.get_running_loop()
        client = cls(credential or AuthNone(), timeout_s)
        try:
            async with asyncio.timeout(timeout_s):
                await loop.create_connection(lambda: client, host, port)
        except OSError as error:  # a timeout is one
            raise NoAnswer(f"{host}:{port} cannot be reached: {error}") from error
        return client

    async def call(self, program: int, version: int, procedure: int, arguments: bytes) -> bytes:
        """Give the results of a procedure. Raises NoAnswer, CallRejected."""
        async with self._slots:
            if self._transport is None or self._transport.is_closing():
                raise NoAnswer("the connection is closed")
            xid = self._last_xid = self._last_xid + 1 & _XID_MASK
            target = (program, version, procedure)
            answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            self._waiting[xid] = answer
            try:
                async with asyncio.timeout(self._timeout_s):
                    self._transport.write(encode_call(xid, target, self._credential, arguments))
                    return await answer
            except TimeoutError as error:
                raise NoAnswer(f"{target} was not answered in {self._timeout_s} s") from error
            finally:
                del self._waiting[xid]

    async def close(self) -> None:
        """End the connection; calls that wait fail."""
        if self._transport is not None:
            self._transport.close()
            await self._closed.wait()

    # ------------------------------------------------- what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass of it

    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio."""
        return self._reader.space()

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio."""
        self._reader.received(nbytes)
        try:
            for record in self._reader.records():
                self._answer(*decode_reply(*record))
        except WireError as error:
            self._fail(NoAnswer(f"what the server sends is no reply: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._fail(NoAnswer(f"the server hung up: {exc or 'no reason given'}"))
        self._closed.set()

    def _answer(self, xid: int, results: bytes | CallRejected) -> None:
        answer = self._waiting.get(xid)
        if answer is None or answer.done():  # whoever asked has given up
            return
        if isinstance(results, CallRejected):
            answer.set_exception(results)
        else:
            answer.set_result(results)

    def _fail(self, error: NoAnswer) -> None:
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(error)
        if self._transport is not None:
            self._transport.close()
