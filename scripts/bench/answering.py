"""How long a server keeps small calls waiting, measured from a process of its own.

    python answering.py PORT

Sends NULL of NFS (RFC 1813 §3.3.0) every few milliseconds until its input ends; prints the longest
wait and the one that only a thousandth of them was longer than, in milliseconds, as JSON.
"""

import json
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

EVERY_S = 0.004
TIMEOUT_S = 120.0
_CALL = struct.Struct(">IIIIIIIIIII")  # RFC 5531 §9, of 40 bytes, after a record mark (§11)


@dataclass(slots=True)
class Waits:
    """Of all calls while a block lasted; in milliseconds."""

    longest: float = 0.0
    p999: float = 0.0


@contextmanager
def waits(port: int) -> Iterator[Waits]:
    """Measure while the block lasts."""
    argv = [sys.executable, str(Path(__file__)), str(port)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as asker:
        found = Waits()
        try:
            yield found
        finally:
            told, _ = asker.communicate(timeout=TIMEOUT_S)
        found.longest, found.p999 = json.loads(told)


def main() -> None:
    """Ask until standard input ends."""
    taken: list[float] = []
    with socket.create_connection(("127.0.0.1", int(sys.argv[1])), TIMEOUT_S) as server:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not select.select([sys.stdin], [], [], EVERY_S)[0]:
            began = time.perf_counter()
            call = _CALL.pack(1 << 31 | 40, len(taken), 0, 2, 100003, 3, 0, 0, 0, 0, 0)
            server.sendall(call)
            mark = int.from_bytes(server.recv(4, socket.MSG_WAITALL)) & 0x7FFFFFFF
            server.recv(mark, socket.MSG_WAITALL)
            taken.append((time.perf_counter() - began) * 1e3)
    taken.sort()
    print(json.dumps([taken[-1], taken[len(taken) * 999 // 1000]] if taken else [0.0, 0.0]))


if __name__ == "__main__":
    main()
