"""A worker that changes files without end, and keeps a ledger of what it was answered."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from tests.live.ledger import (
    Call,
    Commit,
    Directory,
    File,
    Ledger,
    Make,
    Remove,
    Rename,
    Seen,
    Truncate,
    Write,
    below,
    file_at,
)

FILE_BYTES_MAX = 48 * 1024
PIECES = (1, 100, 4096, 4096, 9000, 20_000)
NAMES = [f"f{number}" for number in range(6)]
DIRECTORIES = ["", "a/", "b/"]  # within the worker's own


class Server(Protocol):
    """What a worker needs of an NFS client. Each raises NoAnswer when the server is gone."""

    @property
    def root(self) -> bytes: ...
    async def create(self, directory: bytes, name: bytes) -> bytes: ...
    async def mkdir(self, directory: bytes, name: bytes) -> bytes: ...
    async def remove(self, directory: bytes, name: bytes) -> None: ...
    async def rmdir(self, directory: bytes, name: bytes) -> None: ...
    async def rename(self, source: tuple[bytes, bytes], target: tuple[bytes, bytes]) -> None: ...
    async def truncate(self, file: bytes, size: int) -> None: ...
    async def write(self, file: bytes, offset: int, data: bytes, *, stable: bool) -> bytes: ...
    async def commit(self, file: bytes) -> bytes: ...
    async def read(self, file: bytes) -> bytes: ...
    async def see(self, directory: bytes) -> Seen: ...


class Worker:
    """Works in one directory of its own, one call after the other."""

    def __init__(self, seed: int, name: str, on_answer: Callable[[], None]) -> None:
        self.name = name
        self.ledger = Ledger()
        self.handle = b""  # of its directory
        self.verifier = b""  # of the last answer to a WRITE or COMMIT
        self.was_killed = False  # the server, since it was compared with the ledger
        self._dice = random.Random(seed)
        self._on_answer = on_answer

    async def begin(self, server: Server) -> None:
        """Make its directory."""
        self.handle = await server.mkdir(server.root, self.name.encode())

    async def check(self, server: Server) -> None:
        """Compare what a restarted server shows with the ledger, and write again what was loose.

        As a client does it: by the handles it has, and because the verifier is another one.
        """
        seen, was_killed = await server.see(self.handle), self.was_killed
        wrong = self.ledger.settle(seen, was_killed=was_killed)
        assert not wrong, "\n".join([f"in {self.name}, after {self.ledger.waiting}:", *wrong])
        self.was_killed = False
        before, self.verifier = self.verifier, b""
        for path, entry in self.ledger.tree.items():
            if isinstance(entry, Directory):
                continue
            for at, piece in entry.loose:
                await self.write(server, path, at, piece, stable=False)
            await self.commit(server, path)
            if was_killed:
                assert self.verifier != before, "the verifier says that nothing was lost"

    async def work(self, server: Server) -> None:
        """Go on until the server is gone."""
        kinds = (self._write, self._commit, self._truncate, self._create, self._rename,
                 self._remove, self._save, self._directory, self._read)  # fmt: skip
        while True:
            kind = self._dice.choices(kinds, (30, 8, 5, 8, 6, 5, 5, 4, 10))[0]
            await kind(server)

    async def commit_all(self, server: Server) -> dict[str, bytes]:
        """COMMIT all files; their bytes by path from the root."""
        for path in self._files():
            await self.commit(server, path)
        return {f"{self.name}/{p}": file_at(self.ledger.tree, p).stable for p in self._files()}

    # ------------------------------------------------------------------- single calls

    async def write(self, server: Server, path: str, at: int, data: bytes, *, stable: bool) -> None:
        call = Write(path, at, data, stable)
        self.ledger.sending(call)
        self._verified(await server.write(self._file(path), at, data, stable=stable))
        self._answered(call)

    async def commit(self, server: Server, path: str) -> None:
        call = Commit(path)
        self.ledger.sending(call)
        self._verified(await server.commit(self._file(path)))
        self._answered(call)

    async def _write(self, server: Server) -> None:
        if path := self._some_file():
            data = self._dice.randbytes(self._dice.choice(PIECES))
            at = self._dice.randrange(FILE_BYTES_MAX - len(data))
            await self.write(server, path, at, data, stable=self._dice.random() < 0.3)

    async def _commit(self, server: Server) -> None:
        if path := self._some_file():
            await self.commit(server, path)

    async def _truncate(self, server: Server) -> None:
        if path := self._some_file():
            call = Truncate(path, self._dice.choice((0, self._dice.randrange(FILE_BYTES_MAX))))
            self.ledger.sending(call)
            await server.truncate(self._file(path), call.size)
            self._answered(call)

    async def _create(self, server: Server) -> None:
        if (path := self._some_name()) not in self.ledger.tree:
            call = Make(path, File(None))
            self.ledger.sending(call)
            handle = await server.create(*self._where(path))
            self._answered(replace(call, made=File(handle)))

    async def _rename(self, server: Server) -> None:
        if path := self._some_file():
            target = self._some_name()
            if target == path or isinstance(self.ledger.tree.get(target), Directory):
                return
            await self._move(server, path, target)

    async def _remove(self, server: Server) -> None:
        if path := self._some_file():
            call = Remove(path)
            self.ledger.sending(call)
            await server.remove(*self._where(path))
            self._answered(call)

    async def _save(self, server: Server) -> None:
        """As editors do: write another file, commit it, give it the name."""
        temporary, path = "saving", self._some_name()
        if temporary not in self.ledger.tree:
            call = Make(temporary, File(None))
            self.ledger.sending(call)
            handle = await server.create(*self._where(temporary))
            self._answered(replace(call, made=File(handle)))
        data = self._dice.randbytes(self._dice.choice(PIECES))
        await self.write(server, temporary, 0, data, stable=False)
        await self.commit(server, temporary)
        await self._move(server, temporary, path)

    async def _directory(self, server: Server) -> None:
        """Make a directory that is missing; remove one that is empty, or give it another name."""
        path, other = self._dice.sample(["a", "b"], 2)
        tree = self.ledger.tree
        if path not in tree:
            call = Make(path, Directory(None))
            self.ledger.sending(call)
            handle = await server.mkdir(*self._where(path))
            self._answered(replace(call, made=Directory(handle)))
        elif other not in tree:
            await self._move(server, path, other)
        elif not any(below(entry, path) and entry != path for entry in tree):
            remove = Remove(path)
            self.ledger.sending(remove)
            await server.rmdir(*self._where(path))
            self._answered(remove)

    async def _read(self, server: Server) -> None:
        if path := self._some_file():
            data = await server.read(self._file(path))
            assert data == file_at(self.ledger.tree, path).latest, f"{self.name}/{path} reads wrong"
            self._on_answer()

    async def _move(self, server: Server, source: str, target: str) -> None:
        call = Rename(source, target)
        self.ledger.sending(call)
        await server.rename(self._where(source), self._where(target))
        self._answered(call)

    # ------------------------------------------------------------------------- choices

    def _answered(self, call: Call) -> None:
        self.ledger.answered(call)
        self._on_answer()

    def _verified(self, verifier: bytes) -> None:
        assert self.verifier in {b"", verifier}, "another verifier, though the server is the same"
        self.verifier = verifier

    def _files(self) -> list[str]:
        return [path for path, entry in self.ledger.tree.items() if isinstance(entry, File)]

    def _some_file(self) -> str | None:
        return self._dice.choice(files) if (files := self._files()) else None

    def _some_name(self) -> str:
        """A path in a directory that is there."""
        there = [d for d in DIRECTORIES if not d or d[:-1] in self.ledger.tree]
        return self._dice.choice(there) + self._dice.choice(NAMES)

    def _file(self, path: str) -> bytes:
        handle = file_at(self.ledger.tree, path).handle
        assert handle is not None
        return handle

    def _where(self, path: str) -> tuple[bytes, bytes]:
        """The handle of its directory, and its name there."""
        directory, _, name = path.rpartition("/")
        handle = self.ledger.tree[directory].handle if directory else self.handle
        assert handle is not None
        return handle, name.encode()
