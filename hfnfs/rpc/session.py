"""One connection without its socket: bytes in, calls out; results in, bytes out."""

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from hfnfs.rpc.message import Credential

# A procedure's results in XDR, without the RPC header. Parts above 16 KiB are handed to the socket
# as they are, so their memory has to stay as it is until they are sent.
Body: TypeAlias = bytes | list[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and from where; the same object for all calls of one user on a connection."""

    credential: Credential
    peer: tuple[str, int]


class Program(Protocol):
    """One RPC program."""

    number: int
    versions: tuple[int, int]  # the lowest and the highest that is served

    def runs_once(self, version: int, procedure: int) -> bool:
        """Tell whether a retransmission must get the first reply again and not run the call."""
        ...

    def serve(
        self,
        version: int,
        procedure: int,
        caller: Caller,
        buf: bytes | memoryview,
        pos: int,
        end: int,
    ) -> Body | Awaitable[Body]:
        """Answer now, or give what will answer.

        The arguments lie in buf[pos:end] until this returns; an awaitable must hold copies.
        Raises, now or from the awaitable, WireError for arguments that do not decode,
        ProcedureUnavailable and CallRefused. Anything else is a bug and answered as one.
        """
        ...
