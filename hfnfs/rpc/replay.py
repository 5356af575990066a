"""Replies of calls that must not run twice, kept for those who ask again.

A client that gets no answer sends the call once more, perhaps over a new connection from a new
port. REMOVE run twice would answer that there is no such file; so the second asking gets the first
reply, byte for byte.

    new --begin--> running --finish--> finished --(least recently used)--> forgotten
                      |
                      +------abandon---> forgotten

Whoever asked last gets the reply: a client that has reconnected does not read its old connection.
"""

from collections import OrderedDict
from hashlib import blake2b
from typing import Final, NamedTuple, Protocol

_DIGEST_BYTES: Final = 16


class Asker(Protocol):
    """Someone who waits for the reply of a call: a session."""

    def deliver(self, reply: bytes) -> None:
        """Send a reply, from its xid to its end; does nothing if the connection is gone."""
        ...


class CallKey(NamedTuple):
    """What a retransmission has in common with the first transmission, and no other call has."""

    host: str  # without the port, which is new when a client reconnects
    user: int | None  # AUTH_SYS uid; not the whole credential, whose stamp may have moved on
    program: int
    version: int
    procedure: int
    xid: bytes
    arguments: bytes  # their digest

    @property
    def mark(self) -> bytes:
        """What tells this call from all others to a server started anew: 16 bytes."""
        host, user, program, version, procedure, xid, arguments = self
        who = b"%b %d" % (host.encode(), -1 if user is None else user)
        call = b"%b %d %d %d %b%b" % (who, program, version, procedure, xid, arguments)
        return blake2b(call, digest_size=_DIGEST_BYTES).digest()


def digest(arguments: memoryview) -> bytes:
    """Give a checksum of arguments for which nobody can find others."""
    return blake2b(arguments, digest_size=_DIGEST_BYTES).digest()


class RunningCall:
    """A call that has been begun and not been answered yet."""

    __slots__ = ("asker", "key")

    def __init__(self, key: CallKey, asker: Asker) -> None:
        self.key = key
        self.asker = asker


class ReplyCache:
    """The calls that run now and the replies of the last ones, for all connections of a server.

    Replies are bounded in number and bytes. How many calls run is bounded where they are taken on.
    """

    def __init__(self, count_max: int, bytes_max: int) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._running: dict[CallKey, RunningCall] = {}
        self._replies: OrderedDict[CallKey, bytes] = OrderedDict()  # least recently used first
        self._bytes = 0

    def begin(self, key: CallKey, asker: Asker) -> RunningCall | None:
        """Give the call that is to be run now; None if it was begun before.

        Then asker gets the reply: at once, or instead of who asked before when it is there.
        """
        reply = self._replies.get(key)
        if reply is not None:
            self._replies.move_to_end(key)
            asker.deliver(reply)
            return None
        running = self._running.get(key)
        if running is not None:
            running.asker = asker
            return None
        self._running[key] = running = RunningCall(key, asker)
        return running

    def finish(self, call: RunningCall, reply: bytes) -> None:
        """Keep the reply of a call and send it to who asked last."""
        del self._running[call.key]
        self._replies[call.key] = reply
        self._bytes += len(reply)
        while len(self._replies) > self._count_max or self._bytes > self._bytes_max:
            _, forgotten = self._replies.popitem(last=False)
            self._bytes -= len(forgotten)
        call.asker.deliver(reply)

    def abandon(self, call: RunningCall) -> None:
        """Forget a call that was cancelled: asked again, it runs again."""
        del self._running[call.key]
