"""How a program of ours serves a call: decode, run, encode; wait and run again if it must.

    serve --run--> result ------------------------------> reply, now
                   NotYet --pager.meet--> run --> ...  --> reply, later
                   Held   --pager.meet--> encode -------> reply, later
                   an error ----------------------------> failed reply

A call that must not run twice leaves a mark with its change. Asked of a server started anew, where
the mark is found, `again` gives the reply for which its client still waits.

A hit makes no task and no coroutine. A failure is an exception up to here, where the row of its
procedure says what a failed reply carries.
"""

import logging
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any, Generic, TypeVar

from hfnfs.errors import FileError, HfnfsError, NotDurable, RemoteError, StaleHandle, TryLater
from hfnfs.nfs3.access import Access
from hfnfs.nfs3.export import Export
from hfnfs.nfs3.status import Status, status_of
from hfnfs.nfs3.types import ABSENT, STATUS_OK, Decoder, pack_post_op_attr, pack_wcc_data
from hfnfs.nfs3.waiting import Waiting
from hfnfs.rpc.message import ProcedureUnavailable
from hfnfs.rpc.replay import CallKey
from hfnfs.rpc.session import Body, Caller, Run
from hfnfs.rpc.xdr import Codec, encode
from hfnfs.vfs.journal import Journal
from hfnfs.vfs.needs import Held, NotYet

D = TypeVar("D")
A = TypeVar("A")
R = TypeVar("R")

_log = logging.getLogger(__name__)
_U32 = struct.Struct(">I")
_WORTH_TELLING = (RemoteError, TryLater, NotDurable)  # what the user may have to know of


# ----------------------------------------------------------- failed replies


@dataclass(frozen=True, slots=True)
class Trailer:
    """The attributes that follow the status of a failed reply: those of one node, if at hand."""

    absent: bytes
    present: Callable[[bytes], bytes]  # of the node's packed fattr3
    handle_in: Callable[[Any], bytes]  # of the arguments

    def of(self, export: Export, args: Any) -> bytes:
        """Give the trailer for a call with these arguments."""
        try:
            return self.present(export.node(self.handle_in(args)).fattr3)
        except (FileError, NotYet):  # not at hand: RFC 1813 §2.5 asks for the best effort only
            return self.absent


def post_op_attr(path: str) -> Trailer:
    """Give the trailer of a procedure that changes nothing; `path` leads to the handle in args."""
    return Trailer(ABSENT, pack_post_op_attr, attrgetter(path))


def wcc_data(path: str) -> Trailer:
    """Give the trailer of a procedure that changes the object whose handle is at `path`.

    What has failed has changed nothing, so before and after are the same, and the client keeps
    what it has cached (Linux drops it when they differ or `before` is absent).
    """
    return Trailer(
        ABSENT + ABSENT,
        lambda fattr3: pack_wcc_data(fattr3, fattr3),
        attrgetter(path),
    )


Failure = Callable[[D, A | None, Status], bytes]


def failure(*trailers: Trailer) -> Failure[Export, Any]:
    """Give what encodes a failed reply: its status, then the trailers.

    Without arguments (None) no attributes are looked for.
    """
    nothing = b"".join(trailer.absent for trailer in trailers)

    def encode_failure(export: Export, args: Any, status: Status) -> bytes:
        if args is None:
            return _U32.pack(status) + nothing
        return _U32.pack(status) + b"".join(trailer.of(export, args) for trailer in trailers)

    return encode_failure


def encode_ok(codec: Codec[R]) -> Callable[[R], bytes]:
    """Give the encoder of a result that follows status OK, as declared."""
    return lambda result: STATUS_OK + encode(codec, result)


# ------------------------------------------------------------------ serving


def _as_it_is(args: A) -> A:
    return args


@dataclass(frozen=True, slots=True)
class Procedure(Generic[D, A, R]):
    """One row of a program's table; `run` gets the program's desk, the arguments and who asks."""

    name: str
    decode: Decoder[A]
    run: Callable[[D, A, Caller], R | Held[R]]
    encode: Callable[[R], Body]  # called when the answer leaves, a held one after its wait
    fail: Failure[D, A] | None = None  # None: its results cannot say that it failed
    keep: Callable[[A], A] = _as_it_is  # gives arguments that share no memory with the record
    # Gives the result of a call that was done before: it must not run twice. None: it may.
    again: Callable[[D, A, Caller], R] | None = None


class Table(Generic[D]):
    """One version of an RPC program: rows by procedure number, run over one desk."""

    number: int
    versions: tuple[int, int]
    rows: Sequence[Procedure[D, Any, Any]]

    def __init__(
        self, desk: D, *, access: Access, waiting: Waiting, journal: Journal | None = None
    ) -> None:
        self._desk = desk
        self._journal = journal  # of a volume that takes changes
        self._access = access
        self._waiting = waiting

    def runs_once(self, version: int, procedure: int) -> bool:
        """Whether the procedure's reply is kept for retransmissions."""
        return procedure < len(self.rows) and self.rows[procedure].again is not None

    def runner(self, version: int, procedure: int, caller: Caller) -> Run:
        """Give what runs this caller's calls of a procedure.

        Raises ProcedureUnavailable, CallRefused.
        """
        if procedure >= len(self.rows):
            raise ProcedureUnavailable(procedure)
        self._access.check(caller)
        row, desk, journal = self.rows[procedure], self._desk, self._journal
        decode, plainly, encode, keep = row.decode, row.run, row.encode, row.keep

        def serve(
            buf: bytes | memoryview, pos: int, end: int, key: CallKey | None = None, /
        ) -> Body | Awaitable[Body]:
            """Answer now if memory can; else give what will answer."""
            args = decode(buf, pos, end)
            run = plainly
            if key is not None and journal is not None:
                run = partial(_once, row, journal, key.mark)
            try:
                result = run(desk, args, caller)
                if not isinstance(result, Held):
                    return encode(result)
            except NotYet as not_yet:
                args = keep(args)
                again, fail = partial(run, desk, args, caller), partial(self._failed, row, args)
                return self._waiting.rerun(again, not_yet.need, encode, fail)
            except Exception as error:  # a rim: what fails gets an answer
                return self._failed(row, args, error)
            return self._waiting.hold(result, encode, partial(self._failed, row, args))

        return serve

    def _failed(self, row: Procedure[D, A, R], args: A, error: Exception) -> Body:
        """Give the failed reply; a bug is logged here, and no attributes are looked for."""
        if row.fail is None:
            raise error
        if not isinstance(error, HfnfsError):
            _log.error("%s failed by a bug", row.name, exc_info=error)
            return row.fail(self._desk, None, Status.SERVERFAULT)
        if isinstance(error, _WORTH_TELLING):
            _log.warning("%s: %s: %s", row.name, type(error).__name__, error)
        elif isinstance(error, StaleHandle):  # of use to who finds out why a program saw ESTALE
            _log.debug("%s: %s: %s", row.name, type(error).__name__, error)
        return row.fail(self._desk, args, status_of(error))


def _once(
    row: Procedure[D, A, R], journal: Journal, mark: bytes, desk: D, args: A, caller: Caller
) -> R | Held[R]:
    """Run a call, and mark its change as done by it; or give the result of what was done before."""
    if row.again is not None and mark in journal.done_before:
        _log.debug("%s: done before this server was started", row.name)
        return row.again(desk, args, caller)
    journal.call = mark
    try:
        return row.run(desk, args, caller)
    finally:
        journal.call = None
