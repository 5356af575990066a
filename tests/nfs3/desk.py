"""The programs of nfs3/ over a small volume, called without a socket."""

from collections.abc import Awaitable
from typing import Any, TypeVar

from hfnfs.nfs3.access import Access
from hfnfs.nfs3.export import Export
from hfnfs.nfs3.handle import HandleMaker
from hfnfs.nfs3.mountd import Mounts, ProgramMount3
from hfnfs.nfs3.portmap import ProgramPortmap2
from hfnfs.nfs3.program import PROCEDURES, ProgramNfs3
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.types import WCC_DATA, result_of
from hfnfs.nfs3.waiting import Waiting
from hfnfs.rpc.message import AuthNone, AuthSys
from hfnfs.rpc.session import Body, Caller, Program
from hfnfs.rpc.xdr import Codec, decode, encode, void
from hfnfs.vfs.needs import NotYet
from hfnfs.vfs.node import Node
from tests.fakes.volume import FarSide, Folder
from tests.nfs3.changes import Changes, writable

A = TypeVar("A")

KEY = bytes(range(32))
NUMBER_OF = {row.name: number for number, row in enumerate(PROCEDURES)}
ROOT_CALLER = Caller(AuthSys(1, b"box", 0, 0, []), ("127.0.0.1", 700))
NOBODY = Caller(AuthNone(), ("127.0.0.1", 700))
CHANGED = result_of(void, WCC_DATA)

SMALL: Folder = {
    "hello.txt": b"hello, world\n",
    "empty": b"",
    "deep": {"er": {"est.bin": bytes(range(256)) * 5000}},
    "many": {f"file-{number:04}": b"x" * number for number in range(500)},
}


def user(uid: int, gid: int, *gids: int) -> Caller:
    return Caller(AuthSys(1, b"box", uid, gid, list(gids)), ("127.0.0.1", 700))


class Desk:
    """A far side, the export of its volume and the three programs."""

    def __init__(
        self,
        folder: Folder = SMALL,
        *,
        changes: Changes | None = None,
        deadline_s: float = 20.0,
        nodes_soft_max: int = 1_000_000,
    ) -> None:
        self.far = FarSide(folder, nodes_soft_max=nodes_soft_max)
        self.volume = self.far.volume if changes is None else writable(self.far.volume, changes)
        self.export = Export(self.volume, HandleMaker(KEY, self.volume.id))
        self.access = Access()
        waiting = Waiting(
            self.far, attempts_max=16, deadline_s=deadline_s, hold_deadline_s=deadline_s
        )
        self.nfs = ProgramNfs3(self.export, access=self.access, waiting=waiting)
        self.mounts = Mounts(self.export, [b"demo", b"org/model"], self.access)
        self.mountd = ProgramMount3(self.mounts, access=self.access, waiting=waiting)
        self.portmap = ProgramPortmap2([self.nfs, self.mountd], self.access)
        self.root = self.export.handle_of(self.volume.root)

    @property
    def programs(self) -> list[Program]:
        return [self.nfs, self.mountd, self.portmap]

    async def call(
        self, name: str, args: Any, codec: tuple[Codec[A], Codec[Any]], caller: Caller = ROOT_CALLER
    ) -> Any:
        """The status and result of an NFS procedure, waiting as long as it does."""
        reply = await self.raw(name, encode(codec[0], args), caller)
        return decode(codec[1], reply)

    async def raw(self, name: str, arguments: bytes, caller: Caller = ROOT_CALLER) -> bytes:
        return await answer(self.nfs, NUMBER_OF[name], arguments, caller)

    async def mount_call(
        self, procedure: int, arguments: bytes, caller: Caller = ROOT_CALLER
    ) -> bytes:
        return await answer(self.mountd, procedure, arguments, caller)

    async def node(self, path: str) -> Node:
        """The node at a path, brought in as a client would."""
        node: Node = self.volume.root
        for name in path.split("/"):
            node = await self._child(node, name.encode())
        return node

    async def _child(self, directory: Node, name: bytes) -> Node:
        for _ in range(4):
            try:
                return self.volume.tree.lookup(directory, name)
            except NotYet as missing:
                async with self.far.meet(missing.need):
                    continue
        raise AssertionError(f"{name!r} cannot be brought in")

    async def handle(self, path: str) -> bytes:
        return self.export.handle_of(await self.node(path))


def ok(answered: tuple[Status, Any]) -> Any:
    """The result of a call that succeeded."""
    assert answered[0] is Status.OK, answered
    return answered[1]


async def answer(
    program: Program, procedure: int, arguments: bytes, caller: Caller = ROOT_CALLER
) -> bytes:
    """What a program answers, in one piece; the arguments are gone once serve has returned."""
    buffer = bytearray(b"before" + arguments + b"behind")
    view = memoryview(buffer)
    low, _ = program.versions
    body = program.runner(low, procedure, caller)(view.toreadonly(), 6, 6 + len(arguments))
    view[:] = b"\xee" * len(buffer)
    return joined(await body if isinstance(body, Awaitable) else body)


def joined(body: Body) -> bytes:
    return body if isinstance(body, bytes) else b"".join(body)
