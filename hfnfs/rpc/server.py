"""The asyncio shell of the serving side: sockets, tasks, and pushing back.

It uses the loop's readers and writers and not its transports: one sendmsg takes all replies of a
turn as they are, on every Python and every loop (the transport of Python 3.11 joins them first,
which costs several times the CPU on large READs), and how much is unsent is known exactly.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from hfnfs.errors import PortRefused, WireError
from hfnfs.rpc.limits import Limits
from hfnfs.rpc.record import RecordWriter
from hfnfs.rpc.replay import ReplyCache
from hfnfs.rpc.session import Body, Pending, Program, Service, Session

log = logging.getLogger(__name__)

PORT_MAX = 0xFFFF
# Connections that the kernel holds for us until we take them.
BACKLOG = 128
# Out of descriptors or memory: look again after this.
ACCEPT_PAUSE_S = 1.0


class Connection:
    """One socket and its session.

    A turn is everything that can be done now: run the calls that have come, send what is ready.
    """

    def __init__(
        self,
        sock: socket.socket,
        peer: tuple[str, int],
        service: Service,
        tasks: asyncio.TaskGroup,
        on_gone: Callable[["Connection"], None],
    ) -> None:
        self.running: dict[asyncio.Future[Any], Pending] = {}
        self.was_heard = False  # something came since this was set to False
        self._session = Session(service, self, peer)
        self._sock = sock
        self._peer = peer
        self._tasks = tasks
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._is_reading = self._is_writing = False
        self._is_turn_due = False
        self._is_stalled = False  # calls that have come were left for a later turn
        self._is_retired = False
        self._is_lost = False
        self._watch()

    def retire(self) -> None:
        """Take no more calls; cancel those that wait, but for those that must not run twice."""
        self._is_retired = True
        self._watch()
        for task, pending in self.running.items():
            if pending.once is None:
                task.cancel()

    def lose(self, why: str) -> None:
        """Hang up, or note that the client did; what must run to its end still does."""
        if self._is_lost:
            return
        log.debug("connection from %s port %d is over: %s", *self._peer, why)
        self._is_lost = True
        self._session.lose()
        self.retire()
        self._sock.close()
        self._leave()

    # --------------------------------------------------------- what the session asks (Line)

    def wait(self, pending: Pending) -> None:
        """Await the result of a call, in a task of its own unless it is a future already."""
        result = pending.result
        if isinstance(result, asyncio.Future):
            self.running[result] = pending
            result.add_done_callback(self._answered)
        else:
            task = self._tasks.create_task(self._bring(pending), name=pending.name)
            self.running[task] = pending
            task.add_done_callback(self._ended)

    def wake(self) -> None:
        """Have a turn soon."""
        if not self._is_turn_due:
            self._is_turn_due = True
            self._loop.call_soon(self._turn)

    # --------------------------------------------------------------------------- the socket

    def _receive(self) -> None:
        incoming = self._session.incoming
        try:
            count = self._sock.recv_into(incoming.space())
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.lose(str(error))
            return
        if count == 0:
            self.lose("the client closed it")
            return
        incoming.received(count)
        self.was_heard = True
        self._turn()

    def _turn(self) -> None:
        if self._is_lost:
            return
        self._is_turn_due = True  # so that what this turn sends anyway asks for no other
        broken = ""
        if not self._is_retired:
            try:
                self._session.serve()
            except WireError as error:
                broken = str(error)
            self._is_stalled = self._session.is_full
        outgoing = self._session.outgoing
        if outgoing.unsent:
            self._send(outgoing)
        self._is_turn_due = False
        if broken:
            self.lose(broken)
        elif self._is_stalled and not self._session.is_full:
            self.wake()
        if self._is_stalled or self._is_writing or outgoing.unsent or not self._is_reading:
            self._watch()  # else all is as it was

    def _send(self, outgoing: RecordWriter) -> None:
        try:
            outgoing.sent(self._sock.sendmsg(outgoing.pieces()))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self.lose(str(error))

    def _watch(self) -> None:
        """Listen to the socket for what can be done next: this is how we push back."""
        reads = not (self._is_stalled or self._is_retired or self._is_lost)
        if reads != self._is_reading:
            self._is_reading = reads
            if reads:
                self._loop.add_reader(self._sock, self._receive)
            else:
                self._loop.remove_reader(self._sock)
        writes = not self._is_lost and self._session.outgoing.unsent > 0
        if writes != self._is_writing:
            self._is_writing = writes
            if writes:
                self._loop.add_writer(self._sock, self._turn)
            else:
                self._loop.remove_writer(self._sock)

    # ---------------------------------------------------------------------------- the tasks

    async def _bring(self, pending: Pending) -> None:
        try:
            body = await pending.result
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            self._session.fail(pending, error)  # not we were cancelled, but what we waited for
        except Exception as error:  # the rim: a bug costs one call
            self._session.fail(pending, error)
        else:
            self._session.finish(pending, body)

    def _answered(self, result: "asyncio.Future[Body]") -> None:
        pending = self.running.pop(result)
        if not result.cancelled():
            error = result.exception()
        elif self._is_retired:  # it was we who cancelled it
            self._session.cancel(pending)
            self._leave()
            return
        else:
            error = asyncio.CancelledError()
        if error is None:
            self._session.finish(pending, result.result())
        else:
            self._session.fail(pending, error)
        self._leave()

    def _ended(self, task: asyncio.Task[None]) -> None:
        pending = self.running.pop(task)
        if task.cancelled():
            self._session.cancel(pending)
            if isinstance(pending.result, Coroutine):
                pending.result.close()  # it may not have begun
        self._leave()

    def _leave(self) -> None:
        """Give the place among the server's connections free, once nothing runs any more."""
        if self._is_lost and not self.running:
            self._on_gone(self)


class RpcServer:
    """Serves programs to all who connect to one TCP port.

    Whoever started it closes it, before the task group ends.
    """

    def __init__(
        self, programs: Sequence[Program], *, tasks: asyncio.TaskGroup, limits: Limits | None = None
    ) -> None:
        limits = limits or Limits()
        self._service = Service(
            programs={program.number: program for program in programs},
            replies=ReplyCache(limits.replies_kept_max, limits.reply_bytes_kept_max),
            limits=limits,
        )
        self._tasks = tasks
        self._connections: set[Connection] = set()
        self._listener: socket.socket | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._left = asyncio.Event()  # somebody has hung up

    async def start(self, host: str, port: int) -> int:
        """Listen on host and port (0: one of the kernel's choice) and give the port.

        Raises PortRefused.
        """
        if not 0 <= port <= PORT_MAX:
            raise PortRefused(f"{port} is no TCP port")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            raise PortRefused(f"cannot serve on {host} port {port}: {error}") from error
        self._listener.setblocking(False)
        self._listen()
        listening: int = self._listener.getsockname()[1]
        return listening

    async def deserted(self, silence_s: float) -> bool:
        """Return once nobody is connected; False: somebody is, and none asked for that long."""
        while self._connections:
            for connection in self._connections:
                connection.was_heard = False
            self._left.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(silence_s):
                    await self._left.wait()
                    continue
            if not any(each.was_heard or each.running for each in self._connections):
                return not self._connections
        return True

    async def close(self) -> None:
        """Stop listening, cancel what waits, wait for what must run to its end; then hang up."""
        if self._listener is not None:
            self._stop_listening()
            self._listener.close()
            self._listener = None
        for connection in self._connections:
            connection.retire()
        running = [task for connection in self._connections for task in connection.running]
        try:
            if running:
                await asyncio.wait(running)
        finally:
            for connection in list(self._connections):
                connection.lose("the server ends")

    def _listen(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
        if self._retry is not None:
            self._retry.cancel()

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, peer = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:
            log.warning("cannot take a connection, trying again soon: %s", error)
            self._stop_listening()
            self._retry = asyncio.get_running_loop().call_later(ACCEPT_PAUSE_S, self._listen)
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(sock, peer[:2], self._service, self._tasks, self._gone)
        self._connections.add(connection)
        if self._is_full:
            log.warning("%d connections: others have to wait", len(self._connections))
            self._stop_listening()

    def _gone(self, connection: Connection) -> None:
        was_full = self._is_full
        self._connections.discard(connection)
        self._left.set()
        if was_full:
            self._listen()

    @property
    def _is_full(self) -> bool:
        return len(self._connections) >= self._service.limits.connections_max
