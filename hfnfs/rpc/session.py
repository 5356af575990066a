"""One connection without its socket: received bytes in, calls out; results in, bytes to send out.

    incoming.space / received --> serve --> program --> outgoing.pieces / sent
                                              |  ^
                                    Line.wait v  | finish, fail, cancel

A client repeats itself: all its calls of one procedure by one user have the same header but for
the xid. So a header is decoded once and then recognised by its bytes; the route that it led to
holds everything that must be known to run such a call.
"""

import logging
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NoReturn, Protocol, TypeAlias, TypeVar

from hfnfs.errors import WireError
from hfnfs.rpc.limits import Limits
from hfnfs.rpc.message import (
    AcceptStat,
    AuthSys,
    CallBroken,
    CallFailed,
    CallHeader,
    Credential,
    GarbageArguments,
    ProgramMismatch,
    ProgramUnavailable,
    accepted,
    decode_call,
    decode_credential,
)
from hfnfs.rpc.record import RecordReader, RecordWriter
from hfnfs.rpc.replay import CallKey, ReplyCache, RunningCall, digest

log = logging.getLogger(__name__)

K = TypeVar("K")
V = TypeVar("V")

_XID_BYTES = 4
_CREDENTIAL_OFFSET = 24
_ACCEPTED = accepted(AcceptStat.SUCCESS)
# Headers and users remembered on a connection: 22 procedures each of some 40 users.
_ROUTES_MAX = 1024

# A procedure's results in XDR, without the RPC header. Parts above 16 KiB are handed to the socket
# as they are, so their memory has to stay as it is until they are sent.
Body: TypeAlias = bytes | list[bytes | memoryview]


@dataclass(frozen=True, slots=True, eq=False)
class Caller:
    """Who calls, and from where; the same object for all calls of one user on a connection.

    Equal only to itself, so that what was found out about a caller can be kept by caller.
    """

    credential: Credential
    peer: tuple[str, int]


class Run(Protocol):
    """Runs a procedure's calls for one caller."""

    def __call__(
        self, buf: bytes | memoryview, pos: int, end: int, key: CallKey | None = None, /
    ) -> Body | Awaitable[Body]:
        """Run a call: answer now, or give what will answer.

        The arguments lie in buf[pos:end] until this returns; an awaitable must hold copies. `key`
        is given for calls that must not run twice. Raises, now or from the awaitable, WireError
        for arguments that do not decode, and CallFailed. Anything else is a bug and answered as
        one.
        """
        ...


class Program(Protocol):
    """One RPC program."""

    number: int
    versions: tuple[int, int]  # the lowest and the highest that is served

    def runs_once(self, version: int, procedure: int) -> bool:
        """Tell whether a retransmission must get the first reply again and not run the call."""
        ...

    def runner(self, version: int, procedure: int, caller: Caller) -> Run:
        """Give what runs this caller's calls of a procedure, from now on.

        Raises ProcedureUnavailable, CallRefused.
        """
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """Where calls with one and the same header go."""

    name: str
    run: Run
    # From xid and digest of the arguments; None for calls that may run twice.
    key: Callable[[bytes, bytes], CallKey] | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """A call whose result has to be awaited."""

    xid: bytes
    name: str
    result: Awaitable[Body]
    once: RunningCall | None  # set if it must be brought to its end, connection or not


class Line(Protocol):
    """What a session asks of the shell around it."""

    def wait(self, pending: Pending) -> None:
        """Await the result, then tell the session: finish, fail or cancel."""
        ...

    def wake(self) -> None:
        """Serve and send soon: replies are ready or there is room again."""
        ...


@dataclass(frozen=True, slots=True)
class Service:
    """What all connections of a server share."""

    programs: Mapping[int, Program]  # by number
    replies: ReplyCache
    limits: Limits


class Session:
    """One connection: what it received, the calls it waits for, what it has to send."""

    def __init__(self, service: Service, line: Line, peer: tuple[str, int]) -> None:
        self.incoming = RecordReader(service.limits.record_bytes_max)
        self.outgoing = RecordWriter()
        self._programs = service.programs
        self._replies = service.replies
        self._limits = service.limits
        self._line = line
        self._peer = peer
        self._callers: dict[bytes, Caller] = {}  # by their credential and verifier
        self._routes: dict[bytes, Route] = {}  # by the header behind the xid
        self._expect(_CREDENTIAL_OFFSET)
        self._waiting = 0
        self._is_lost = False

    @property
    def is_full(self) -> bool:
        """Whether no call may be taken on until others are answered or replies have left."""
        return (
            self.outgoing.unsent >= self._limits.unsent_bytes_max
            or self._waiting >= self._limits.calls_in_flight_max
        )

    def serve(self) -> None:
        """Run the calls that have come, oldest first, until there are no more or it is full.

        Raises WireError for what cannot be answered: the connection has to be closed.
        """
        if self.is_full:
            return
        outgoing, unsent_max = self.outgoing, self._limits.unsent_bytes_max
        waiting_max = self._limits.calls_in_flight_max
        for buf, start, end in self.incoming.records():
            self._serve(buf, start, end)
            if outgoing.unsent >= unsent_max or self._waiting >= waiting_max:
                return

    def finish(self, pending: Pending, body: Body) -> None:
        """Answer a call with the result that was awaited."""
        self._waiting -= 1
        self._answer(pending.once, pending.xid + _ACCEPTED, body)
        self._line.wake()

    def fail(self, pending: Pending, error: BaseException) -> None:
        """Answer a call whose result is an error."""
        self._waiting -= 1
        self._answer(pending.once, pending.xid + _failure(pending.name, error))
        self._line.wake()

    def cancel(self, pending: Pending) -> None:
        """Forget a call that will have no result."""
        self._waiting -= 1
        if pending.once is not None:
            self._replies.abandon(pending.once)

    def lose(self) -> None:
        """Note that the connection is gone: nothing can be sent any more."""
        self._is_lost = True

    def deliver(self, reply: bytes) -> None:
        """Send a whole reply; does nothing if the connection is gone."""
        if not self._is_lost:
            self.outgoing.add(reply)
            self._line.wake()

    # ------------------------------------------------------------- one call

    def _serve(self, buf: memoryview, start: int, end: int) -> None:
        route = None
        arguments = start + self._front_bytes
        if arguments <= end:
            xid, header = self._front_at(buf, start)
            route = self._routes.get(header)
        if route is None:
            xid, route, arguments = self._learn(buf, start, end)
        once = key = None
        if route.key is not None:
            key = route.key(xid, digest(buf[arguments:end]))
            once = self._replies.begin(key, self)
            if once is None:
                return
        try:
            body = route.run(buf, arguments, end, key)
        except Exception as error:  # the rim: a bug costs one call
            self._answer(once, xid + _failure(route.name, error))
            return
        if once is None and isinstance(body, bytes):  # nearly all
            self.outgoing.add(xid + _ACCEPTED, body)
        elif isinstance(body, (bytes, list)):
            self._answer(once, xid + _ACCEPTED, body)
        else:
            self._waiting += 1
            self._line.wait(Pending(xid, route.name, body, once))

    def _answer(self, once: RunningCall | None, head: bytes, body: Body = b"") -> None:
        if once is not None:
            parts = [body] if isinstance(body, bytes) else body
            self._replies.finish(once, b"".join([head, *parts]))
        elif not self._is_lost:
            self.outgoing.add(head, body)

    # --------------------------------------------------------------- routes

    def _learn(self, buf: memoryview, start: int, end: int) -> tuple[bytes, Route, int]:
        """Decode the header of a call: its xid, where it goes, where its arguments start."""
        xid = bytes(buf[start : start + _XID_BYTES])
        try:
            header, arguments = decode_call(buf, start, end)
            behind_xid = bytes(buf[start + _XID_BYTES : arguments])
            self._expect(len(behind_xid))
            route = self._routes.get(behind_xid)
            if route is None:
                caller = self._caller(header, bytes(buf[start + _CREDENTIAL_OFFSET : arguments]))
                route = self._route(header, caller)
                _remember(self._routes, behind_xid, route)
        except CallFailed as failure:
            return xid, Route("call", partial(_refuse, failure)), end
        return xid, route, arguments

    def _expect(self, header_bytes: int) -> None:
        """Take it that the next header is as long behind its xid as this one."""
        front = struct.Struct(f"{_XID_BYTES}s{header_bytes}s")
        self._front_bytes = front.size
        self._front_at = front.unpack_from

    def _route(self, header: CallHeader, caller: Caller) -> Route:
        program = self._programs.get(header.program)
        if program is None:
            raise ProgramUnavailable(header.program)
        version, procedure = header.version, header.procedure
        lowest, highest = program.versions
        if not lowest <= version <= highest:
            raise ProgramMismatch(lowest, highest)
        name = f"program {program.number} version {version} procedure {procedure}"
        run = program.runner(version, procedure, caller)
        if not program.runs_once(version, procedure):
            return Route(name, run)
        who = caller.credential
        user = who.uid if isinstance(who, AuthSys) else None
        host, _ = self._peer
        return Route(name, run, partial(CallKey, host, user, header.program, version, procedure))

    def _caller(self, header: CallHeader, authentication: bytes) -> Caller:
        caller = self._callers.get(authentication)
        if caller is None:
            caller = Caller(decode_credential(header.credential, header.verifier), self._peer)
            _remember(self._callers, authentication, caller)
        return caller


def _refuse(failure: CallFailed, *_: object) -> NoReturn:
    raise failure


def _remember(known: dict[K, V], key: K, value: V) -> None:
    if len(known) >= _ROUTES_MAX:
        known.clear()  # a client that sends ever new ones gains nothing by what was kept
    known[key] = value


def _failure(name: str, error: BaseException) -> bytes:
    """Give the reply that tells of an error, behind the xid; a bug is logged here, once."""
    if isinstance(error, WireError):
        error = GarbageArguments(str(error))
    elif not isinstance(error, CallFailed):
        log.error("%s failed by a bug", name, exc_info=error)
        error = CallBroken()
    log.debug("%s: %s", name, error)
    return error.reply
