"""One connection, driven by byte strings: every call gets the reply that RFC 5531 gives it."""

import struct
from contextlib import suppress
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import WireError
from hfnfs.rpc.limits import Limits
from hfnfs.rpc.message import AuthNone, AuthSys, OpaqueAuth, decode_call, encode_credential
from hfnfs.rpc.record import RecordReader
from hfnfs.rpc.replay import ReplyCache
from hfnfs.rpc.session import Pending, Service, Session
from tests.rpc.calls import (
    BUG,
    ECHO,
    GARBAGE,
    LARGE,
    LATER,
    NULL,
    ONCE,
    ONCE_LATER,
    PROGRAM,
    REFUSED,
    USER,
    EveryWay,
    accepted,
    denied,
    message,
    record,
    success,
)

LIMITS = Limits(record_bytes_max=100_000, calls_in_flight_max=3, unsent_bytes_max=50_000)


class Line:
    """The shell around a session: collects what waits, counts the wakings."""

    def __init__(self) -> None:
        self.pending: list[Pending] = []
        self.wakings = 0

    def wait(self, pending: Pending) -> None:
        self.pending.append(pending)

    def wake(self) -> None:
        self.wakings += 1


class Client:
    """A client on a session, without anything in between."""

    def __init__(self, service: Service, port: int = 900) -> None:
        self.line = Line()
        self.session = Session(service, self.line, ("127.0.0.1", port))

    def receive(self, stream: bytes) -> None:
        while stream:
            space = self.session.incoming.space()
            step = min(len(space), len(stream))
            space[:step] = stream[:step]
            stream = stream[step:]
            self.session.incoming.received(step)

    def send(self, *messages: bytes) -> None:
        self.receive(b"".join(map(record, messages)))
        self.session.serve()

    def replies(self) -> list[bytes]:
        """Take all replies; each is one fragment."""
        outgoing = self.session.outgoing
        reader = RecordReader(1 << 24)
        found = []
        while outgoing.unsent:
            for piece in outgoing.pieces():
                rest = memoryview(piece)
                while rest:
                    space = reader.space()
                    step = min(len(space), len(rest))
                    space[:step] = rest[:step]
                    rest = rest[step:]
                    reader.received(step)
                    found += [bytes(buf[start:end]) for buf, start, end in reader.records()]
                outgoing.sent(len(piece))
        return found

    def ask(self, *messages: bytes) -> list[bytes]:
        self.send(*messages)
        return self.replies()


def serving(program: EveryWay, limits: Limits = LIMITS) -> Service:
    return Service({program.number: program}, ReplyCache(100, 100_000), limits)


@pytest.fixture
def program() -> EveryWay:
    return EveryWay()


@pytest.fixture
def client(program: EveryWay) -> Client:
    return Client(serving(program))


def test_a_call_is_answered_with_its_results(program: EveryWay, client: Client) -> None:
    assert client.ask(message(7, ECHO, b"abcd")) == [success(7, b"abcd")]
    ((version, procedure, caller, arguments),) = program.served
    assert (version, procedure, arguments) == (3, ECHO, b"abcd")
    assert (caller.credential, caller.peer) == (USER, ("127.0.0.1", 900))


def test_calls_that_come_together_are_answered_together_and_in_order(client: Client) -> None:
    client.send(*(message(xid, ECHO, b"%4d" % xid) for xid in range(50)))
    assert len(client.session.outgoing.pieces()) == 1
    assert client.replies() == [success(xid, b"%4d" % xid) for xid in range(50)]


def test_a_result_in_parts_is_one_reply() -> None:
    client = Client(serving(EveryWay(large=b"abcd" * 10_000)))
    assert client.ask(message(7, LARGE)) == [success(7, b"head" + b"abcd" * 10_000)]


@pytest.mark.parametrize(
    ("call", "reply"),
    [
        (message(7, NULL, program=100227), accepted(7, 1)),
        (message(7, NULL, version=5), accepted(7, 2, struct.pack(">II", 2, 4))),
        (message(7, NULL, version=1), accepted(7, 2, struct.pack(">II", 2, 4))),
        (message(7, 99), accepted(7, 3)),
        (message(7, GARBAGE), accepted(7, 4)),
        (message(7, REFUSED), denied(7, 1, 5)),
        (message(7, NULL, credential=OpaqueAuth(1, b"")), denied(7, 1, 1)),
        (message(7, NULL, credential=OpaqueAuth(6, bytes(20))), denied(7, 1, 2)),
        (struct.pack(">III", 7, 0, 3), denied(7, 0, 2, 2)),
        (struct.pack(">III", 7, 0, 1) + bytes(100), denied(7, 0, 2, 2)),
    ],
)
def test_what_cannot_be_done_is_said_and_the_connection_goes_on(
    client: Client, call: bytes, reply: bytes
) -> None:
    for _ in range(2):  # the second time the header may be a known one
        assert client.ask(call, message(8, NULL)) == [reply, success(8)]


@pytest.mark.logs_errors
def test_a_bug_costs_one_call_and_is_logged_with_its_traceback(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    assert client.ask(message(7, BUG), message(8, NULL)) == [accepted(7, 5), success(8)]
    (logged,) = caplog.records
    assert logged.exc_info is not None
    assert isinstance(logged.exc_info[1], RuntimeError)


@pytest.mark.parametrize(
    "undecodable",
    [
        b"",
        b"abc",
        struct.pack(">II", 7, 0),
        success(7),
        message(7, NULL)[:-1],
        message(7, NULL)[:24] + struct.pack(">II", 1, 2**32 - 1),
        message(7, NULL)[:24] + struct.pack(">II", 1, 404) + bytes(412),
    ],
)
def test_what_is_no_call_ends_the_connection_after_the_calls_before_it(
    client: Client, undecodable: bytes
) -> None:
    with pytest.raises(WireError):
        client.send(message(1, NULL), undecodable, message(2, NULL))
    assert client.replies() == [success(1)]


def test_a_header_that_ends_in_the_next_record_is_not_read_on(client: Client) -> None:
    client.ask(message(1, NULL))
    with pytest.raises(WireError):
        client.send(message(2, NULL)[:-4], bytes(4))


@pytest.mark.logs_errors  # a changed number may ask for the procedure that has a bug
@given(st.lists(st.binary(max_size=120), max_size=4), st.data())
def test_random_bytes_are_answered_or_end_the_connection(
    noise: list[bytes], data: st.DataObject
) -> None:
    client = Client(serving(EveryWay()))
    good = message(1, ECHO, b"data")
    place = data.draw(st.integers(0, len(good)))
    changed = bytearray(good)
    changed[place : place + 4] = data.draw(st.binary(min_size=1, max_size=8))
    with suppress(WireError):
        client.send(good, bytes(changed), *noise)
    assert client.replies()[0] == success(1, b"data")


def test_the_same_credential_is_the_same_caller(program: EveryWay, client: Client) -> None:
    client.ask(message(1, NULL), message(2, ECHO), message(3, NULL))
    client.ask(message(4, NULL, credential=AuthNone()), message(5, NULL))
    first, second, third, nobody, again = (served.caller for served in program.served)
    assert first is second is third is again
    assert nobody.credential == AuthNone()


def test_users_with_headers_of_different_lengths_are_told_apart(
    program: EveryWay, client: Client
) -> None:
    users = [AuthSys(0, b"box", uid, 0, [5] * (uid % 4)) for uid in range(8)]
    turns = [(xid, users[xid % 8]) for xid in range(40)]
    for xid, user in turns:
        assert client.ask(message(xid, ECHO, b"data", credential=user)) == [success(xid, b"data")]
    assert [served.caller.credential for served in program.served] == [u for _, u in turns]


def test_ever_new_users_do_not_fill_the_memory(client: Client) -> None:
    for uid in range(3000):
        client.ask(message(uid, NULL, credential=AuthSys(0, b"box", uid, 0, [])))
    assert len(client.session._routes) <= 1024
    assert len(client.session._callers) <= 1024


def test_a_verifier_that_is_not_empty_is_refused_also_from_a_known_user(client: Client) -> None:
    good = message(1, NULL)
    bad = good[:-8] + struct.pack(">II", 0, 4) + b"seal"
    assert client.ask(good, bad) == [success(1), denied(1, 1, 3)]


# ------------------------------------------------------------------------ calls that wait


async def test_calls_are_answered_in_the_order_they_finish(client: Client) -> None:
    assert client.ask(message(1, LATER), message(2, LATER), message(3, NULL)) == [success(3)]
    one, two = client.line.pending
    client.session.finish(two, b"two.")
    client.session.finish(one, [b"on", b"e."])
    assert client.line.wakings == 2
    assert client.replies() == [success(2, b"two."), success(1, b"one.")]


@pytest.mark.logs_errors
async def test_an_awaited_error_is_answered_as_one_raised_at_once(client: Client) -> None:
    client.send(message(1, LATER), message(2, LATER))
    garbage, bug = client.line.pending
    client.session.fail(garbage, WireError("cut"))
    client.session.fail(bug, RuntimeError("a bug"))
    assert client.replies() == [accepted(1, 4), accepted(2, 5)]


async def test_so_many_calls_wait_and_no_more_are_taken_until_one_is_done(
    program: EveryWay, client: Client
) -> None:
    client.send(*(message(xid, LATER) for xid in range(5)), message(9, NULL))
    assert client.session.is_full
    assert len(client.line.pending) == 3
    assert not client.replies()
    client.session.finish(client.line.pending[0], b"")
    assert not client.session.is_full
    client.session.serve()
    assert len(client.line.pending) == 4
    for pending in client.line.pending[1:]:
        client.session.finish(pending, b"")
    client.session.serve()
    client.session.finish(client.line.pending[4], b"")
    order = [struct.unpack(">I", reply[:4])[0] for reply in client.replies()]
    assert order == [0, 1, 2, 3, 9, 4]


def test_replies_that_are_not_taken_stop_the_serving_until_they_are() -> None:
    program = EveryWay(large=bytes(20_000))
    client = Client(serving(program))
    client.send(*(message(xid, LARGE) for xid in range(9)))
    assert client.session.is_full
    assert len(program.served) == 3
    answered = client.replies()
    assert not client.session.is_full
    while len(answered) < 9:
        client.session.serve()
        answered += client.replies()
    assert answered == [success(xid, b"head" + bytes(20_000)) for xid in range(9)]


async def test_a_lost_connection_is_sent_nothing(client: Client) -> None:
    client.send(message(1, LATER), message(2, ONCE_LATER))
    client.session.lose()
    for pending in client.line.pending:
        client.session.finish(pending, b"late")
    assert client.session.outgoing.unsent == 0


# ------------------------------------------------------------- calls that must not run twice


def test_a_call_that_must_not_run_twice_is_answered_twice(
    program: EveryWay, client: Client
) -> None:
    first = client.ask(message(1, ONCE, b"name"))
    again = client.ask(message(1, ONCE, b"name"))
    assert first == again == [success(1, struct.pack(">I", 1))]
    assert len(program.served) == 1
    assert client.ask(message(1, ONCE, b"more"), message(2, ONCE, b"name")) == [
        success(1, struct.pack(">I", 2)),
        success(2, struct.pack(">I", 3)),
    ]


def test_other_calls_run_as_often_as_they_come(program: EveryWay, client: Client) -> None:
    client.ask(message(1, NULL), message(1, NULL))
    assert len(program.served) == 2


def test_a_client_that_reconnects_gets_the_first_reply(program: EveryWay) -> None:
    service = serving(program)
    before = Client(service, port=901).ask(message(1, ONCE))
    stamped = AuthSys(USER.stamp + 60, USER.machine_name, USER.uid, USER.gid, USER.gids)
    after = Client(service, port=902).ask(message(1, ONCE, credential=stamped))
    assert before == after
    assert len(program.served) == 1


def test_the_reply_is_not_for_another_user(program: EveryWay, client: Client) -> None:
    other = AuthSys(USER.stamp, USER.machine_name, USER.uid + 1, USER.gid, USER.gids)
    client.ask(message(1, ONCE), message(1, ONCE, credential=other))
    client.ask(message(1, ONCE, credential=AuthNone()))
    assert len(program.served) == 3


async def test_a_running_call_is_not_run_again_and_is_answered_once(
    program: EveryWay, client: Client
) -> None:
    assert not client.ask(*[message(1, ONCE_LATER)] * 3)
    (pending,) = client.line.pending
    client.session.finish(pending, b"done")
    assert client.replies() == [success(1, b"done")]
    assert len(program.served) == 1
    assert client.ask(message(1, ONCE_LATER)) == [success(1, b"done")]


async def test_a_running_call_answers_the_connection_that_asked_last(program: EveryWay) -> None:
    service = serving(program)
    old, new = Client(service, port=901), Client(service, port=902)
    old.send(message(1, ONCE_LATER))
    old.session.lose()
    new.send(message(1, ONCE_LATER))
    assert not new.line.pending
    old.session.finish(old.line.pending[0], b"done")
    assert new.line.wakings == 1
    assert new.replies() == [success(1, b"done")]
    assert not old.replies()


async def test_a_cancelled_call_is_run_again_when_asked_again(
    program: EveryWay, client: Client
) -> None:
    client.send(message(1, ONCE_LATER))
    client.session.cancel(client.line.pending[0])
    client.send(message(1, ONCE_LATER))
    assert len(program.served) == 2


def test_an_error_is_kept_like_a_result() -> None:
    class Refusing(EveryWay):
        def runs_once(self, version: int, procedure: int) -> bool:
            return True

    program = Refusing()
    client = Client(serving(program))
    assert client.ask(message(1, GARBAGE), message(1, GARBAGE)) == [accepted(1, 4)] * 2
    assert len(program.served) == 1


def test_a_known_header_is_not_decoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = count()

    def counted(buf: memoryview, start: int, end: int) -> object:
        next(decoded)
        return decode_call(buf, start, end)

    monkeypatch.setattr("hfnfs.rpc.session.decode_call", counted)
    client = Client(serving(EveryWay()))
    for xid in range(20):
        client.ask(message(xid, ECHO, b"data"), message(xid, NULL))
    assert next(decoded) == 2


def test_a_credential_of_the_longest_kind_is_taken(client: Client, program: EveryWay) -> None:
    user = AuthSys(1, bytes(255), 2, 3, list(range(16)))
    assert len(encode_credential(user).body) == 340
    assert client.ask(message(1, ECHO, b"data", credential=user)) == [success(1, b"data")]
    assert program.served[0].caller.credential == user
    assert program.number == PROGRAM
