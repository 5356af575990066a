"""Random work on one file, every byte of which is known: what is read must be what was written.

fsx.py SEED OPERATIONS REMOUNTS      works in the working directory; what it does depends on SEED
                                     alone. The file system is mounted anew REMOUNTS times between

Reports as a line of JSON the name, size and digest of what is left, and in "wrong" the first
difference with the operations that led to it; "" if there was none. Ends at a difference.
"""

import hashlib
import json
import mmap
import os
import random
import sys
from collections import deque
from collections.abc import Callable

from tests.live.inside.manifest import remount

SIZE_MAX = 1024 * 1024
PIECE_MAX = 64 * 1024
REMEMBERED = 40  # operations told with a difference
NAMES = ("fsx", "fsx.renamed", "deeper/fsx")


class Wrong(Exception):
    """The file is not what was made of it."""


class Exerciser:
    """One file, and what must be in it."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.name = NAMES[0]
        self.expected = bytearray()
        self.log = deque[str](maxlen=REMEMBERED)
        self.file = os.open(self.name, os.O_RDWR | os.O_CREAT)
        self.operations: tuple[tuple[int, Callable[[], None]], ...] = (
            (20, self.write),
            (20, self.read),
            (8, self.truncate),
            (10, self.write_mapped),
            (10, self.read_mapped),
            (6, self.append),
            (5, self.sync),
            (5, self.reopen),
            (2, self.rename),
            (1, self.replace),
            (1, self.overwrite),
            (2, self.forget),
        )

    def step(self) -> None:
        """One operation."""
        weights = [weight for weight, _ in self.operations]
        self.dice.choices([operation for _, operation in self.operations], weights)[0]()

    # ------------------------------------------------------------------ operations

    def write(self) -> None:
        self.put("write", self.dice.randrange(SIZE_MAX - PIECE_MAX), self.piece())

    def append(self) -> None:
        if len(self.expected) <= SIZE_MAX - PIECE_MAX:
            self.put("append", len(self.expected), self.piece())

    def read(self) -> None:
        at, size = self.place()
        self.log.append(f"read {at} {size}")
        self.compare(at, os.pread(self.file, size, at), self.expected[at : at + size])

    def truncate(self) -> None:
        size = self.dice.choice((0, self.dice.randrange(SIZE_MAX), self.dice.randrange(SIZE_MAX)))
        self.log.append(f"truncate {size}")
        os.ftruncate(self.file, size)
        self.resize(size)

    def write_mapped(self) -> None:
        at, data = self.dice.randrange(SIZE_MAX - PIECE_MAX), self.piece()
        self.log.append(f"write mapped {at} {len(data)}")
        if len(self.expected) < at + len(data):
            os.ftruncate(self.file, at + len(data))
            self.resize(at + len(data))
        begin = at - at % mmap.ALLOCATIONGRANULARITY
        with mmap.mmap(self.file, at + len(data) - begin, offset=begin) as pages:
            pages[at - begin :] = data
            if self.dice.random() < 0.5:
                pages.flush()
        self.expected[at : at + len(data)] = data

    def read_mapped(self) -> None:
        at, size = self.place()
        size = min(size, len(self.expected) - at)
        self.log.append(f"read mapped {at} {size}")
        if size <= 0:
            return
        begin = at - at % mmap.ALLOCATIONGRANULARITY
        with mmap.mmap(
            self.file, at + size - begin, mmap.MAP_SHARED, mmap.PROT_READ, offset=begin
        ) as pages:
            self.compare(at, pages[at - begin :], self.expected[at : at + size])

    def sync(self) -> None:
        self.log.append("fsync")
        os.fsync(self.file)

    def reopen(self) -> None:
        self.log.append("reopen")
        os.close(self.file)
        self.open()

    def rename(self) -> None:
        name = self.dice.choice([name for name in NAMES if name != self.name])
        self.log.append(f"rename {self.name} {name}")
        os.makedirs("deeper", exist_ok=True)
        os.rename(self.name, name)
        self.name = name

    def replace(self) -> None:
        """Write another file, and give it the name."""
        data = self.piece()
        self.log.append(f"replace by {len(data)}")
        os.close(self.file)
        with open("fsx.new", "wb") as file:
            file.write(data)
        os.replace("fsx.new", self.name)
        self.expected[:] = data
        self.open()

    def overwrite(self) -> None:
        """Truncate on opening, and write from the beginning."""
        data = self.piece()
        self.log.append(f"overwrite by {len(data)}")
        os.close(self.file)
        self.file = os.open(self.name, os.O_RDWR | os.O_TRUNC)
        os.pwrite(self.file, data, 0)
        self.expected[:] = data

    def forget(self) -> None:
        """Let the client read all of it again."""
        self.log.append("forget")
        os.fsync(self.file)
        os.posix_fadvise(self.file, 0, 0, os.POSIX_FADV_DONTNEED)

    # ---------------------------------------------------------------------- between

    def mount_again(self) -> None:
        self.log.append("remount")
        os.close(self.file)
        remount()
        self.open()
        self.compare(0, os.pread(self.file, SIZE_MAX + 1, 0), self.expected)

    def open(self) -> None:
        self.file = os.open(self.name, os.O_RDWR)
        if (size := os.fstat(self.file).st_size) != len(self.expected):
            raise Wrong(f"size {size}, not {len(self.expected)}")

    def put(self, how: str, at: int, data: bytes) -> None:
        self.log.append(f"{how} {at} {len(data)}")
        written = os.pwrite(self.file, data, at)
        if written != len(data):
            raise Wrong(f"{written} bytes written, not {len(data)}")
        if len(self.expected) < at:
            self.resize(at)
        self.expected[at : at + len(data)] = data

    def resize(self, size: int) -> None:
        del self.expected[size:]
        self.expected.extend(bytes(size - len(self.expected)))

    def piece(self) -> bytes:
        size = self.dice.choice((1, 100, 4096, 8192, self.dice.randrange(1, PIECE_MAX)))
        return self.dice.randbytes(size)

    def place(self) -> tuple[int, int]:
        """Where to read and how much, also across and past the end."""
        return self.dice.randrange(len(self.expected) + 100), self.dice.randrange(1, PIECE_MAX)

    @staticmethod
    def compare(at: int, seen: bytes, expected: bytes | bytearray) -> None:
        if seen == expected:
            return
        pairs = enumerate(zip(seen, expected, strict=False))
        other = next((n for n, (a, b) in pairs if a != b), min(len(seen), len(expected)))
        raise Wrong(
            f"{len(seen)} bytes from {at} on, of {len(expected)}; the first other one at "
            f"{at + other}: {seen[other : other + 8].hex()}, not "
            f"{expected[other : other + 8].hex()}"
        )


def main() -> None:
    seed, operations, remounts = map(int, sys.argv[1:])
    exerciser = Exerciser(seed)
    wrong = ""
    try:
        for number in range(operations):
            if number % (operations // (remounts + 1) + 1) == 0:
                exerciser.mount_again()
            exerciser.step()
        exerciser.mount_again()
    except (Wrong, OSError) as error:
        wrong = f"operation {number}: {error!r}\n" + "\n".join(exerciser.log)
    expected = exerciser.expected
    told = {"name": exerciser.name, "size": len(expected), "wrong": wrong}
    print(json.dumps({**told, "sha256": hashlib.sha256(expected).hexdigest()}))


if __name__ == "__main__":
    main()
