"""Work while the server is killed and started again, and again: programs only wait for it.

    endure.py SEED HOST PORT

WORKERS of them, each in a directory of its own, with some files of the Hub in it. Each connects to
HOST and PORT, tells every operation that it has done by a byte, and works until it is hung up on.

Reports as a line of JSON what each found wrong ("" if nothing), and all that is there, before the
file system is mounted again and after. What is read must be what was written, synced or not; what
was open stays good, locks are held, and no change of a name is told to have failed.
"""

import fcntl
import json
import mmap
import os
import random
import select
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress

from tests.live.inside.manifest import manifest, remount

WORKERS = 2
SIZE_MAX = 300_000
PIECE_MAX = 80_000
FILES_MAX = 12
FINISHED_MAX = 40
THEIRS = {
    f"{who}/theirs-{n}": random.Random(who * 10 + n).randbytes(SIZE_MAX // (n + 1))
    for who in range(WORKERS)
    for n in range(3)
}


class File:
    """A file that is open, and what must be in it."""

    def __init__(self, name: str | None, data: bytes, flags: int) -> None:
        assert name
        self.name: str | None = name  # None once it was removed
        self.expected = bytearray(data)
        self.descriptor = os.open(name, os.O_RDWR | flags, 0o644)
        self.number = os.fstat(self.descriptor).st_ino

    def read(self, at: int, size: int) -> None:
        seen, expected = os.pread(self.descriptor, size, at), self.expected[at : at + size]
        assert seen == expected, f"{self.name}: {len(seen)} bytes at {at}, of {len(expected)}"

    def check(self) -> None:
        """It is what it must be, by its descriptor and by its name."""
        status = os.fstat(self.descriptor)
        assert status.st_size == len(self.expected), f"{self.name}: size {status.st_size}"
        self.read(0, SIZE_MAX * 2)
        if self.name is not None:
            status = os.stat(self.name)
            found = status.st_ino, status.st_size
            assert found == (self.number, len(self.expected)), f"{self.name}: {found}"


class Worker:
    """Works on files that it keeps open, and on some that it closed."""

    def __init__(self, seed: int, theirs: dict[str, bytes]) -> None:
        self.dice = random.Random(seed)
        self.open = [File(name, data, 0) for name, data in theirs.items()]
        self.finished: dict[str, bytes] = {}  # closed
        self.folders: set[str] = set()
        self.chosen = self.open[0]  # last
        self.made = 0
        self.lines = 0
        self.held = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        fcntl.flock(self.held, fcntl.LOCK_EX)
        self.operations: tuple[tuple[int, Callable[[], None]], ...] = (
            (20, self.write),
            (15, self.append),
            (15, self.read),
            (8, self.write_mapped),
            (5, self.truncate),
            (5, self.sync),
            (8, self.begin),
            (6, self.finish),
            (5, self.begin_again),
            (4, self.rename),
            (3, self.replace),
            (2, self.remove),
            (3, self.remove_finished),
            (3, self.log_line),
            (3, self.make_folder),
            (3, self.remove_folder),
            (3, self.look_around),
            (2, self.forget),
            (2, self.locked),
        )

    def step(self) -> str:
        """One operation; its name."""
        weights = [weight for weight, _ in self.operations]
        operation = self.dice.choices([operation for _, operation in self.operations], weights)[0]
        operation()
        return operation.__name__

    # ------------------------------------------------------------------ bytes

    def write(self) -> None:
        file, data = self.some(), self.piece()
        self.put(file, self.dice.randrange(SIZE_MAX - PIECE_MAX), data)

    def append(self) -> None:
        file, data = self.some(), self.piece()
        if file.name is None or len(file.expected) > SIZE_MAX - PIECE_MAX:
            return
        descriptor = os.open(file.name, os.O_WRONLY | os.O_APPEND)
        file.expected += data[: os.write(descriptor, data)]
        os.close(descriptor)

    def read(self) -> None:
        file = self.some()
        file.read(self.dice.randrange(SIZE_MAX), self.dice.randrange(1, PIECE_MAX))

    def write_mapped(self) -> None:
        """By a map whose pages go to the server when the client likes."""
        file = self.some()
        if not file.expected:
            return
        at = self.dice.randrange(len(file.expected))
        data = self.piece()[: len(file.expected) - at]
        with mmap.mmap(file.descriptor, len(file.expected)) as pages:
            pages[at : at + len(data)] = data
        file.expected[at : at + len(data)] = data

    def truncate(self) -> None:
        file, size = self.some(), self.dice.randrange(SIZE_MAX)
        os.ftruncate(file.descriptor, size)
        del file.expected[size:]
        file.expected.extend(bytes(size - len(file.expected)))

    def sync(self) -> None:
        os.fsync(self.some().descriptor)

    def forget(self) -> None:
        """Let the client read again what it need not keep."""
        os.posix_fadvise(self.some().descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    # ------------------------------------------------------------------ names

    def begin(self) -> None:
        if len(self.open) < FILES_MAX:
            self.made += 1
            file = File(f"made-{self.made}", b"", os.O_CREAT | os.O_EXCL)
            self.open.append(file)
            self.put(file, 0, self.piece())

    def finish(self) -> None:
        """Close a file, as all programs do in the end."""
        if len(self.finished) < FINISHED_MAX:
            file = self.some()
            os.close(file.descriptor)
            self.open.remove(file)
            if file.name is not None:
                self.finished[file.name] = bytes(file.expected)
            if not self.open:
                self.begin()

    def begin_again(self) -> None:
        if self.finished and len(self.open) < FILES_MAX:
            name = self.dice.choice(list(self.finished))
            self.open.append(File(name, self.finished.pop(name), 0))
            self.open[-1].check()

    def rename(self) -> None:
        file = self.some()
        if file.name is not None:
            self.made += 1
            self.move(file.name, f"renamed-{self.made}", file.number)
            file.name = f"renamed-{self.made}"

    def replace(self) -> None:
        """Save as editors do: write another file, and give it the name."""
        if self.finished:
            name, data = self.dice.choice(list(self.finished)), self.piece()
            with open("new", "xb") as file:
                file.write(data)
                number = os.fstat(file.fileno()).st_ino
            self.move("new", name, number)
            self.finished[name] = data

    def remove(self) -> None:
        """The file stays until it is closed, under another name on NFS."""
        file = self.some()
        if file.name is not None:
            self.unlink(file.name)
            file.name = None

    def remove_finished(self) -> None:
        if self.finished:
            name = self.dice.choice(list(self.finished))
            self.unlink(name)
            del self.finished[name]

    def make_folder(self) -> None:
        self.made += 1
        name = f"folder-{self.made}"
        os.mkdir(name)
        assert os.path.isdir(name)
        self.folders.add(name)

    def remove_folder(self) -> None:
        if self.folders:
            name = self.dice.choice(sorted(self.folders))
            os.rmdir(name)
            assert not os.path.lexists(name)
            self.folders.remove(name)

    # ------------------------------------------------------------------- others

    def log_line(self) -> None:
        """A shell appends to a log."""
        subprocess.run(["sh", "-euc", f"echo line {self.lines} >> log"], check=True)
        self.lines += 1

    def look_around(self) -> None:
        """All names are there, and no others."""
        names = {"lock"} | self.finished.keys() | self.folders | ({"log"} if self.lines else set())
        names |= {file.name for file in self.open if file.name is not None}
        seen = {name for name in os.listdir() if not name.startswith(".nfs")}
        assert seen == names, f"{seen - names} too many, {names - seen} missing"

    def locked(self) -> None:
        """Nobody else gets the lock, and what it is held by is good."""
        os.fstat(self.held)
        with open("lock") as other, suppress(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            raise AssertionError("the lock was lost")

    def check(self) -> None:
        """All of it is as it must be."""
        self.look_around()
        self.locked()
        for file in self.open:
            file.check()
        for name, data in self.finished.items():
            with open(name, "rb") as seen:
                assert seen.read() == data, name
        if self.lines:
            with open("log") as log:
                assert log.read() == "".join(f"line {n}\n" for n in range(self.lines))

    # --------------------------------------------------------------------- by hand

    def some(self) -> File:
        self.chosen = self.dice.choice(self.open)
        return self.chosen

    def piece(self) -> bytes:
        size = self.dice.choice((1, 100, 4096, 8192, self.dice.randrange(1, PIECE_MAX)))
        return self.dice.randbytes(size)

    def put(self, file: File, at: int, data: bytes) -> None:
        assert os.pwrite(file.descriptor, data, at) == len(data)
        file.expected.extend(bytes(max(0, at - len(file.expected))))
        file.expected[at : at + len(data)] = data

    def unlink(self, name: str) -> None:
        os.unlink(name)
        assert not os.path.lexists(name), name

    def move(self, name: str, to: str, number: int) -> None:
        os.rename(name, to)
        assert not os.path.lexists(name), name
        assert os.stat(to).st_ino == number, to


def work(worker: Worker, orders: socket.socket) -> str:
    """ "" once there is no more to do, or what went wrong after which operations."""
    done: list[str] = []
    try:
        while not select.select([orders], [], [], 0)[0]:
            done.append(worker.step())
            orders.sendall(b".")
        worker.check()
    except (AssertionError, OSError, ValueError, subprocess.SubprocessError):
        file = f"{worker.chosen.name} (number {worker.chosen.number:016x})"
        return f"operation {len(done)} on {file}, after {done[-20:]}:\n{traceback.format_exc()}"
    return ""


def one(who: int, seed: int, address: tuple[str, int]) -> None:
    """A worker's process."""
    with socket.create_connection(address) as orders:
        os.chdir(str(who))
        theirs = {n.partition("/")[2]: d for n, d in THEIRS.items() if n.startswith(f"{who}/")}
        worker = Worker(seed + who, theirs)
        wrong = work(worker, orders)
    print(json.dumps(wrong))


def main() -> None:
    seed, host, port = sys.argv[1:4]
    if len(sys.argv) > 4:
        one(int(sys.argv[4]), int(seed), (host, int(port)))
        return
    argv = [sys.executable, *sys.argv]
    workers = [
        subprocess.Popen([*argv, str(who)], stdout=subprocess.PIPE) for who in range(WORKERS)
    ]
    told = [json.loads(worker.communicate()[0]) for worker in workers]
    before = manifest()
    remount()
    print(json.dumps({"wrong": told, "before": before, "after": manifest()}))


if __name__ == "__main__":
    main()
