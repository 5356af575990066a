"""⏳ A socket by which programs of the same user ask a running mount: a line of JSON each way.

It lies in a directory that only its owner may enter, under a short name, since the address of a
socket holds no more than some hundred bytes. Who serves gives a function that answers; it runs
in the loop, and waits for nothing.
"""

import asyncio
import json
import logging
import os
import secrets
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

from hfnfs.errors import NotServing

REQUEST_BYTES_MAX: Final = 4096
ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
CONNECTIONS_MAX: Final = 16
# For a whole request, of either side; a mount that is busy answers between two calls.
PATIENCE_S: Final = 10.0
ADDRESS_BYTES_MAX: Final = 103  # sun_path of macOS; Linux has four more
_SUFFIX: Final = ".sock"
_ROOM: Final = f"{2**32}-{'0' * 8}{_SUFFIX}"  # for the longest name

Words: TypeAlias = Mapping[str, Any]
Answer: TypeAlias = Callable[[str], Words]

log = logging.getLogger(__name__)


def places() -> list[Path]:
    """Where sockets of this user may lie, the best first; environments may differ."""
    uid = os.geteuid()
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    runtime = [given] if os.path.isabs(given) else []
    found = [Path(base, "hfnfs") for base in (*runtime, f"/run/user/{uid}")]
    return list(dict.fromkeys([*found, Path(tempfile.gettempdir(), f"hfnfs-{uid}")]))


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[Path | None]:
    """Answer requests until the block is left; gives the socket, None if there can be none."""
    directory = _usable_place()
    if directory is None:
        log.warning("`hf-mount status` and `flush` will not know of this mount: nowhere to listen")
        yield None
        return
    path = directory / f"{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
    loop = asyncio.get_running_loop()
    open_ones: set[_Conversation] = set()
    server = await loop.create_unix_server(lambda: _Conversation(answer, open_ones), str(path))
    try:
        yield path
    finally:
        server.close()
        for conversation in list(open_ones):
            conversation.end()
        await server.wait_closed()
        path.unlink(missing_ok=True)


class _Conversation(asyncio.Protocol):
    """One request, its answer, and the end."""

    def __init__(self, answer: Answer, open_ones: "set[_Conversation]") -> None:
        self._answer = answer
        self._open_ones = open_ones
        self._heard = b""
        self._transport: asyncio.Transport | None = None
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "a stream"
        self._transport = transport
        self._open_ones.add(self)
        self._patience = asyncio.get_running_loop().call_later(PATIENCE_S, self.end)
        if len(self._open_ones) > CONNECTIONS_MAX:
            self.end()

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None, "it was made"
        self._heard += data
        line, newline, _ = self._heard.partition(b"\n")
        if newline:
            self._transport.write(json.dumps(self._answered(line)).encode() + b"\n")
            self._transport.close()
        elif len(self._heard) > REQUEST_BYTES_MAX:
            self.end()

    def _answered(self, line: bytes) -> Words:
        try:
            request = json.loads(line)["request"]
        except (ValueError, TypeError, KeyError):
            return {"error": "no request"}
        return self._answer(request) if isinstance(request, str) else {"error": "no request"}

    def connection_lost(self, error: Exception | None) -> None:
        self._open_ones.discard(self)
        if self._patience is not None:
            self._patience.cancel()

    def end(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()


# --------------------------------------------------------------------- who asks


def sockets() -> list[Path]:
    """Sockets of all mounts of this user; some may be left over from processes that were killed."""
    return [
        path for place in places() if _is_ours(place) for path in sorted(place.glob(f"*{_SUFFIX}"))
    ]


def ask(path: Path, request: str) -> Words:
    """What the mount of a socket answers. It blocks. Raises NotServing."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(PATIENCE_S)
            line.connect(str(path))
            line.sendall(json.dumps({"request": request}).encode() + b"\n")
            heard = _all_of(line)
        answer = json.loads(heard)
    except ConnectionRefusedError:
        _remove_if_left(path)
        raise NotServing(f"{path}: its process is gone") from None
    except (OSError, ValueError) as error:
        raise NotServing(f"{path}: no answer ({error})") from error
    if not isinstance(answer, dict) or "error" in answer:
        raise NotServing(f"{path}: {answer}")
    return answer


def _remove_if_left(path: Path) -> None:
    """Remove the socket of a process that is gone; one that begins to serve may refuse, too."""
    pid = path.name.partition("-")[0]
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        path.unlink(missing_ok=True)
    except (ValueError, OSError):
        return


def _all_of(line: socket.socket) -> bytes:
    heard = bytearray()
    while len(heard) <= ANSWER_BYTES_MAX:
        piece = line.recv(1 << 16)
        if not piece:
            return bytes(heard)
        heard += piece
    raise ValueError("more than anyone would say")


# --------------------------------------------------------------------- where


def _usable_place() -> Path | None:
    for place in places():
        if len(os.fsencode(place / _ROOM)) > ADDRESS_BYTES_MAX:
            continue
        with suppress(OSError):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_ours(place):
            return place
    return None


def _is_ours(place: Path) -> bool:
    """Whether it is a directory that nobody else can have a hand in."""
    try:
        found = place.lstat()
    except OSError:
        return False
    is_private = not stat.S_IMODE(found.st_mode) & 0o077
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and is_private
