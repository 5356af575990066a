import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import WireError
from hfnfs.rpc.client import CallRejected, NoAnswer, RpcClient, decode_reply, encode_call
from hfnfs.rpc.message import (
    AcceptStat,
    AuthNone,
    AuthStat,
    AuthSys,
    CallRefused,
    RejectStat,
    accepted,
    decode_call,
    decode_credential,
    denied,
)
from hfnfs.rpc.server import RpcServer
from hfnfs.rpc.session import Body, Caller, Run

ECHO, HANG, REFUSE = 1, 2, 3


class Echo:
    """A program that gives back its arguments, never answers, or refuses."""

    number = 77
    versions = (1, 1)

    def __init__(self) -> None:
        self.callers: list[Caller] = []
        self.never = asyncio.Event()
        self.reached = asyncio.Event()

    def runs_once(self, version: int, procedure: int) -> bool:
        return False

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
        self.callers.append(caller)
        if procedure == HANG:
            return self._hang()
        if procedure == REFUSE:
            raise CallRefused(AuthStat.TOOWEAK)
        return bytes(buf[pos:end])

    async def _hang(self) -> Body:
        self.reached.set()
        await self.never.wait()
        return b""


@asynccontextmanager
async def served(program: Echo) -> AsyncIterator[int]:
    async with asyncio.TaskGroup() as tasks:
        server = RpcServer([program], tasks=tasks)
        port = await server.start("127.0.0.1", 0)
        try:
            yield port
        finally:
            await server.close()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[RpcClient]:
    client = await RpcClient.connect("127.0.0.1", port)
    try:
        yield client
    finally:
        await client.close()


async def test_results_of_many_calls_find_their_callers() -> None:
    async with served(Echo()) as port, connected(port) as client, asyncio.TaskGroup() as tasks:
        sent = [bytes([number]) * 4 * number for number in range(200)]
        calls = [tasks.create_task(client.call(77, 1, ECHO, each)) for each in sent]
        assert [await call for call in calls] == sent


async def test_large_results_come_whole() -> None:
    async with served(Echo()) as port, connected(port) as client:
        assert await client.call(77, 1, ECHO, b"large" * 200_000) == b"large" * 200_000


async def test_the_credential_reaches_the_server() -> None:
    program = Echo()
    who = AuthSys(5, b"box", 1000, 100, [4, 24])
    async with served(program) as port:
        client = await RpcClient.connect("127.0.0.1", port, credential=who)
        await client.call(77, 1, ECHO, b"")
        await client.close()
    assert [caller.credential for caller in program.callers] == [who]


async def test_no_two_clients_begin_with_the_same_xid() -> None:
    async with served(Echo()) as port, connected(port) as one, connected(port) as other:
        assert one._last_xid != other._last_xid


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ((78, 1, 1), "PROG_UNAVAIL"),
        ((77, 2, 1), "PROG_MISMATCH"),
        ((77, 1, REFUSE), "AUTH_ERROR TOOWEAK"),
    ],
)
async def test_a_call_that_is_not_run_says_why(target: tuple[int, int, int], why: str) -> None:
    async with served(Echo()) as port, connected(port) as client:
        with pytest.raises(CallRejected, match=why):
            await client.call(*target, b"")
        assert await client.call(77, 1, ECHO, b"on we go") == b"on we go"


async def test_no_answer_in_time_is_no_answer_and_the_next_call_goes_on() -> None:
    async with served(Echo()) as port, connected(port) as client:
        patience_s, client._timeout_s = client._timeout_s, 0
        with pytest.raises(NoAnswer, match="not answered"):
            await client.call(77, 1, HANG, b"")
        client._timeout_s = patience_s
        assert await client.call(77, 1, ECHO, b"on we go") == b"on we go"


async def test_a_server_that_hangs_up_ends_the_calls_that_wait() -> None:
    program = Echo()
    async with asyncio.TaskGroup() as tasks:
        async with served(program) as port:
            client = await RpcClient.connect("127.0.0.1", port)
            waiting = tasks.create_task(fails(client.call(77, 1, HANG, b"")))
            await program.reached.wait()
        assert "hung up" in await waiting
        with pytest.raises(NoAnswer, match="closed"):
            await client.call(77, 1, ECHO, b"")
        await client.close()


async def fails(call: Awaitable[bytes]) -> str:
    with pytest.raises(NoAnswer) as caught:
        await call
    return str(caught.value)


async def test_nobody_there_is_no_answer() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # nobody else can have the port meanwhile
        with pytest.raises(NoAnswer, match="cannot be reached"):
            await RpcClient.connect(*deaf.getsockname())


async def test_bytes_that_are_no_reply_end_the_connection() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        writer.write(b"\x80\0\0\x04oops")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        client = await RpcClient.connect("127.0.0.1", port)
        with pytest.raises(NoAnswer, match="no reply"):
            await client.call(77, 1, ECHO, b"")
        await client.close()


# ---------------------------------------------------------------- on the wire


def test_a_call_is_read_as_it_was_made() -> None:
    who = AuthSys(1, b"box", 2, 3, [4])
    record = encode_call(9, (77, 1, 5), who, b"args")
    assert int.from_bytes(record[:4]) == 0x8000_0000 | len(record) - 4
    header, start = decode_call(record, 4, len(record))
    assert (header.xid, header.program, header.version, header.procedure) == (9, 77, 1, 5)
    assert decode_credential(header.credential, header.verifier) == who
    assert record[start:] == b"args"
    assert encode_call(9, (77, 1, 5), AuthNone(), b"")[-16:] == bytes(16)


@pytest.mark.parametrize("stat", [stat for stat in AcceptStat if stat is not AcceptStat.SUCCESS])
def test_an_accepted_call_that_failed_says_how(stat: AcceptStat) -> None:
    reply = bytes(4) + accepted(stat) + bytes(8)
    xid, why = decode_reply(reply, 0, len(reply))
    assert (xid, str(why)) == (0, stat.name)


def test_a_denied_call_says_why() -> None:
    reply = b"\0\0\0\x09" + denied(RejectStat.RPC_MISMATCH) + bytes(7) + b"\x02" * 1
    xid, why = decode_reply(reply, 0, len(reply))
    assert xid == 9
    assert isinstance(why, CallRejected)
    unknown = bytes(4) + denied(RejectStat.AUTH_ERROR) + b"\0\0\0\x63"
    assert str(decode_reply(unknown, 0, len(unknown))[1]) == "AUTH_ERROR 99"


@given(st.binary(max_size=60))
def test_random_bytes_are_no_reply_or_are_refused(body: bytes) -> None:
    try:
        decode_reply(body, 0, len(body))
    except WireError:
        return
