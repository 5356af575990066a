"""The whole server over loopback, on both loops: real sockets, real pushing back."""

import asyncio
import errno
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from hfnfs.errors import PortRefused
from hfnfs.rpc.limits import Limits
from hfnfs.rpc.record import RECEIVE_BYTES
from hfnfs.rpc.server import RpcServer
from hfnfs.rpc.session import Body, Caller
from tests.rpc.calls import (
    ECHO,
    LARGE,
    LATER,
    NULL,
    ONCE,
    ONCE_LATER,
    EveryWay,
    accepted,
    fragments,
    message,
    record,
    success,
)
from tests.until import until

SILENCE_S = 60.0

MIB = 1 << 20
# Turns of the loop without progress after which there will be none.
IDLE_TURNS = 200


IN_TASKS_OR_NOT = pytest.mark.parametrize("in_tasks", [False, True])


class Client:
    """A client that is as slow as the test wants it: it reads only when asked to."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._loop = asyncio.get_running_loop()

    async def send(self, *messages: bytes) -> None:
        await self._loop.sock_sendall(self.sock, b"".join(map(record, messages)))

    async def reply(self) -> bytes:
        """The next reply; b"" if the server hung up."""
        mark = await self._exactly(4)
        if not mark:
            return b""
        (length,) = struct.unpack(">I", mark)
        assert length & 0x80000000, "a reply in several fragments"
        return await self._exactly(length & 0x7FFFFFFF)

    async def ask(self, *messages: bytes) -> list[bytes]:
        await self.send(*messages)
        return [await self.reply() for _ in messages]

    async def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            try:
                more = await self._loop.sock_recv(self.sock, count - len(data))
            except ConnectionResetError:
                more = b""
            if not more:
                return b""
            data += more
        return bytes(data)


class Place:
    """A server that runs, and whoever connects to it."""

    def __init__(self, server: RpcServer, port: int) -> None:
        self.server = server
        self.port = port
        self._clients: list[Client] = []

    async def client(self) -> Client:
        sock = socket.socket()
        sock.setblocking(False)
        client = Client(sock)
        self._clients.append(client)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
        return client

    def hang_up(self) -> None:
        for client in self._clients:
            client.sock.close()


@asynccontextmanager
async def serving(program: EveryWay, limits: Limits | None = None) -> AsyncIterator[Place]:
    async with asyncio.TaskGroup() as tasks:
        server = RpcServer([program], tasks=tasks, limits=limits)
        place = Place(server, await server.start("127.0.0.1", 0))
        try:
            yield place
        finally:
            for future in program.later:
                future.cancel()
            place.hang_up()
            await server.close()


async def at_rest(progress: Callable[[], object]) -> None:
    """Let the loop turn until nothing moves any more."""
    turns, before = 0, progress()
    while turns < IDLE_TURNS:
        await asyncio.sleep(0)
        now = progress()
        turns, before = (turns + 1, now) if now == before else (0, now)


async def test_calls_are_answered_however_they_arrive() -> None:
    async with serving(EveryWay()) as place:
        client = await place.client()
        assert await client.ask(message(1, NULL), message(2, ECHO, b"abcd")) == [
            success(1),
            success(2, b"abcd"),
        ]
        loop = asyncio.get_running_loop()
        cut = fragments(message(3, ECHO, bytes(100_000)), [1, 4, 5, 5, 70_000])
        for piece in (cut[:3], cut[3:50_000], cut[50_000:]):
            await loop.sock_sendall(client.sock, piece)
            await at_rest(lambda: None)
        assert await client.reply() == success(3, bytes(100_000))


async def test_large_results_arrive_whole() -> None:
    large = b"".join(struct.pack(">I", n) for n in range(MIB // 4))
    async with serving(EveryWay(large=large)) as place:
        client = await place.client()
        replies = await client.ask(*(message(xid, LARGE) for xid in range(20)))
        assert replies == [success(xid, b"head" + large) for xid in range(20)]


@IN_TASKS_OR_NOT
async def test_a_call_that_waits_does_not_hold_up_others(in_tasks: bool) -> None:
    program = EveryWay(in_tasks=in_tasks)
    async with serving(program) as place:
        client = await place.client()
        await client.send(message(1, LATER), message(2, LATER), message(3, NULL))
        assert await client.reply() == success(3)
        program.later[1].set_result(b"two.")
        assert await client.reply() == success(2, b"two.")
        program.later[0].set_result(b"one.")
        assert await client.reply() == success(1, b"one.")


@IN_TASKS_OR_NOT
async def test_calls_that_end_together_are_answered_together(in_tasks: bool) -> None:
    program = EveryWay(in_tasks=in_tasks)
    async with serving(program) as place:
        client = await place.client()
        await client.send(*(message(xid, LATER) for xid in range(9)))
        await until(lambda: len(program.later) == 9)
        for future in program.later:
            future.set_result(b"done")
        assert [await client.reply() for _ in range(9)] == [success(n, b"done") for n in range(9)]


@pytest.mark.logs_errors
@IN_TASKS_OR_NOT
async def test_awaiting_what_fails_or_was_cancelled_is_answered_as_a_bug(in_tasks: bool) -> None:
    program = EveryWay(in_tasks=in_tasks)
    async with serving(program) as place:
        client = await place.client()
        await client.send(message(1, LATER), message(2, LATER))
        await until(lambda: len(program.later) == 2)
        program.later[0].set_exception(RuntimeError("a bug, made on purpose"))
        assert await client.reply() == accepted(1, 5)
        program.later[1].cancel()
        assert await client.reply() == accepted(2, 5)
        assert await client.ask(message(3, NULL)) == [success(3)]


@pytest.mark.parametrize("nonsense", [b"", success(1), b"GET / HTTP/1.1\r\n\r\n"])
async def test_what_is_no_call_is_hung_up_on(nonsense: bytes) -> None:
    async with serving(EveryWay()) as place:
        client, other = await place.client(), await place.client()
        assert await client.ask(message(1, NULL), nonsense) == [success(1), b""]
        assert await other.ask(message(1, NULL)) == [success(1)]


async def test_an_announced_record_that_is_too_long_is_hung_up_on() -> None:
    async with serving(EveryWay()) as place:
        client = await place.client()
        await asyncio.get_running_loop().sock_sendall(client.sock, b"\xff\xff\xff\xff")
        assert await client.reply() == b""


async def test_a_client_that_reads_slowly_is_read_from_slowly_and_loses_nothing() -> None:
    program = EveryWay(large=bytes(MIB))
    calls = 200
    async with serving(program, Limits(unsent_bytes_max=MIB)) as place:
        client = await place.client()
        await client.send(*(message(xid, LARGE) for xid in range(calls)))
        await at_rest(lambda: len(program.served))
        assert len(program.served) < calls / 2  # the kernel's buffers hold the replies of some
        for xid in range(calls):
            assert await client.reply() == success(xid, b"head" + bytes(MIB))


async def test_calls_that_cannot_be_answered_yet_are_not_piled_up() -> None:
    program = EveryWay(large=bytes(MIB))
    calls = 100_000
    async with serving(program, Limits(unsent_bytes_max=MIB)) as place:
        client = await place.client()
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(client.send(*[message(1, LARGE)] * calls))
            for _ in range(100):
                assert await client.reply() == success(1, b"head" + bytes(MIB))
            (connection,) = place.server._connections
            memory = connection._session.incoming._memory
            assert len(memory) <= 2 * RECEIVE_BYTES
            sending.cancel()


@IN_TASKS_OR_NOT
async def test_so_many_calls_wait_and_the_rest_stays_unread(in_tasks: bool) -> None:
    program = EveryWay(in_tasks=in_tasks)
    async with serving(program, Limits(calls_in_flight_max=4)) as place:
        client = await place.client()
        await client.send(*(message(xid, LATER) for xid in range(10)))
        await until(lambda: len(program.later) >= 4)
        await at_rest(lambda: len(program.later))
        assert len(program.later) == 4
        await client.send(message(10, NULL))
        for xid in range(10):
            await until(lambda number=xid: len(program.later) > number)  # type: ignore[misc]  # bound now
            program.later[xid].set_result(b"done")
        replies = {await client.reply() for _ in range(11)}
        assert replies == {*(success(xid, b"done") for xid in range(10)), success(10)}


@IN_TASKS_OR_NOT
async def test_a_lost_connection_cancels_its_calls_but_those_that_must_not_run_twice(
    in_tasks: bool,
) -> None:
    program = EveryWay(in_tasks=in_tasks)
    async with serving(program) as place:
        client = await place.client()
        await client.send(message(1, LATER), message(2, ONCE_LATER))
        await until(lambda: len(program.later) == 2)
        client.sock.close()
        await until(program.later[0].cancelled)
        again = await place.client()
        await again.send(message(2, ONCE_LATER))
        assert await again.ask(message(3, NULL)) == [success(3)]
        program.later[1].set_result(b"done")
        assert await again.reply() == success(2, b"done")
        assert len(program.later) == 2


async def test_a_call_lost_before_it_could_wait_leaves_nothing_behind() -> None:
    class Coroutines(EveryWay):
        begun = 0

        def serve(
            self,
            version: int,
            procedure: int,
            caller: Caller,
            buf: bytes | memoryview,
            pos: int,
            end: int,
        ) -> Body | Awaitable[Body]:
            return self._wait()

        async def _wait(self) -> Body:
            self.begun += 1
            await asyncio.Event().wait()
            return b""

    program = Coroutines()
    async with serving(program) as place:
        client = await place.client()
        await client.send(message(1, LATER), success(1))  # the second ends the connection
        assert await client.reply() == b""
    assert program.begun == 0  # and its coroutine was closed: else pytest sees a warning


async def test_a_client_that_reconnects_gets_the_reply_it_missed() -> None:
    program = EveryWay()
    async with serving(program) as place:
        first = await (await place.client()).ask(message(1, ONCE, b"name"))
        second = await (await place.client()).ask(message(1, ONCE, b"name"))
        assert first == second
        assert len(program.served) == 1


async def test_more_connections_than_are_taken_wait_for_their_turn() -> None:
    program = EveryWay()
    async with serving(program, Limits(connections_max=2)) as place:
        first, second = await place.client(), await place.client()
        assert await first.ask(message(1, NULL)) == await second.ask(message(1, NULL))
        third = await place.client()
        await third.send(message(3, NULL))
        await at_rest(lambda: len(program.served))
        assert len(program.served) == 2
        first.sock.close()
        assert await third.reply() == success(3)


async def test_a_lost_connection_keeps_its_place_until_its_calls_are_done() -> None:
    program = EveryWay()
    async with serving(program, Limits(connections_max=1)) as place:
        client = await place.client()
        await client.send(message(1, ONCE_LATER))
        await until(lambda: program.later)
        client.sock.close()
        other = await place.client()
        await other.send(message(2, NULL))
        await at_rest(lambda: len(program.served))
        assert len(program.served) == 1
        program.later[0].set_result(b"")
        assert await other.reply() == success(2)


async def test_out_of_descriptors_it_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hfnfs.rpc.server.ACCEPT_PAUSE_S", 0.0)
    accept = socket.socket.accept
    failures = [OSError(errno.EMFILE, "Too many open files")] * 3

    def flaky(listener: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise failures.pop()
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", flaky)
    async with serving(EveryWay()) as place:
        client = await place.client()
        assert await client.ask(message(1, NULL)) == [success(1)]
        assert not failures


@IN_TASKS_OR_NOT
async def test_closing_ends_what_must_run_to_its_end_and_cancels_the_rest(in_tasks: bool) -> None:
    program = EveryWay(in_tasks=in_tasks)
    async with serving(program) as place:
        client = await place.client()
        await client.send(message(1, LATER), message(2, ONCE_LATER))
        await until(lambda: len(program.later) == 2)
        async with asyncio.TaskGroup() as tasks:
            closing = tasks.create_task(place.server.close())
            await until(program.later[0].cancelled)
            assert not closing.done()
            program.later[1].set_result(b"done")
        assert await client.reply() == success(2, b"done")
        assert await client.reply() == b""
        with pytest.raises(OSError):
            await place.client()


async def test_a_port_that_is_taken_is_refused_with_its_number() -> None:
    async with serving(EveryWay()) as place, asyncio.TaskGroup() as tasks:
        with pytest.raises(PortRefused, match=str(place.port)):
            await RpcServer([], tasks=tasks).start("127.0.0.1", place.port)
        with pytest.raises(PortRefused, match="70000"):
            await RpcServer([], tasks=tasks).start("127.0.0.1", 70000)


async def test_a_restarted_server_gets_its_port_again() -> None:
    async with serving(EveryWay()) as place:
        client = await place.client()
        assert await client.ask(message(1, NULL)) == [success(1)]
        await place.server.close()
        async with asyncio.TaskGroup() as tasks:
            server = RpcServer([EveryWay()], tasks=tasks)
            assert await server.start("127.0.0.1", place.port) == place.port
            assert await (await place.client()).ask(message(2, NULL)) == [success(2)]
            await server.close()


async def test_a_client_that_asks_is_waited_for_and_one_that_is_silent_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[asyncio.Timeout] = []
    really = asyncio.timeout

    def timeout(delay: float | None) -> asyncio.Timeout:
        if delay != SILENCE_S:
            return really(delay)
        waits.append(really(None))
        return waits[-1]

    program = EveryWay()
    async with serving(program) as place, asyncio.TaskGroup() as tasks:
        client = await place.client()
        monkeypatch.setattr(asyncio, "timeout", timeout)
        deserted = tasks.create_task(place.server.deserted(SILENCE_S))
        await until(lambda: len(waits) == 1)
        await client.send(message(1, NULL))
        await client.reply()
        waits[-1].reschedule(0)
        await until(lambda: len(waits) == 2)  # it has asked
        await client.send(message(2, LATER))
        await until(lambda: program.later)
        waits[-1].reschedule(0)
        await until(lambda: len(waits) == 3)
        waits[-1].reschedule(0)
        await until(lambda: len(waits) == 4)  # it still waits for what it asked
        program.later[0].set_result(b"late")
        await client.reply()
        waits[-1].reschedule(0)
        assert not await deserted
        monkeypatch.undo()
        deserted = tasks.create_task(place.server.deserted(SILENCE_S))
        client.sock.close()
        assert await deserted
