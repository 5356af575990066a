"""hf-mount-nfs, started again and again, and killed each time one step later in its start.

A step is a change in a directory, of which Python tells audit hooks, or the begin or end of a
transaction. Says how many starts were killed; the one that came to serve is killed as well.

    python -m tests.app.starts DIRECTORY ARGUMENT...
"""

import os
import signal
import sqlite3
import sys
from typing import Any
from unittest import mock

import hfnfs.app.running  # noqa: F401  # all that it needs, once for all starts
from hfnfs.cli.mount import main

CHANGES = {"os.remove", "os.rename", "os.link", "os.truncate", "sqlite3.connect"}
STATEMENTS = ("BEGIN", "COMMIT")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CONNECT = sqlite3.connect
SERVES = b"nfs://"


class Killer:
    """An audit hook that lets so many steps be done, and no more."""

    def __init__(self, directory: str, steps: int) -> None:
        self._directory = directory
        self._left = steps

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = args
            if flags & WRITING:
                self._changes(path)
        elif event in CHANGES:
            self._changes(args[0])

    def connect(self, *args: Any, **how: Any) -> sqlite3.Connection:
        """sqlite3.connect, with steps."""
        connection: sqlite3.Connection = CONNECT(*args, **how)
        connection.set_trace_callback(self._executes)
        return connection

    def _changes(self, path: object) -> None:
        if str(path).startswith(self._directory):
            self._step()

    def _executes(self, statement: str) -> None:
        if statement.startswith(STATEMENTS):
            self._step()

    def _step(self) -> None:
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


def start(directory: str, steps: int) -> bool:
    """Start it once; whether it came to serve."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(writing, 1)
        killer = Killer(directory, steps)
        sys.addaudithook(killer)
        with mock.patch.object(sqlite3, "connect", killer.connect):
            main()
    os.close(writing)
    said = b""
    with os.fdopen(reading, "rb") as out:
        while SERVES not in said and (more := out.read1()):
            said += more
    serves = SERVES in said
    if serves:
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "it ended by itself"
    return serves


def killed_starts(directory: str) -> int:
    """How many starts were killed before one came to serve."""
    steps = 0
    while not start(directory, steps):
        steps += 1
    return steps


if __name__ == "__main__":
    watched = sys.argv.pop(1)
    print(killed_starts(watched))
