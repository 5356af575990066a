"""Calls by hand: what is sent, and what comes back, byte for byte."""

import asyncio

from hfnfs.nfs3.program import NFS_PROGRAM, NFS_VERSION
from hfnfs.nfs3.status import Status
from hfnfs.rpc.client import decode_reply, encode_call
from hfnfs.rpc.message import AuthSys
from tests.nfs3.desk import NUMBER_OF

ROOT = AuthSys(1, b"box", 0, 0, [])


class Wire:
    """Connections to a server, each new."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []

    async def send(self, record: bytes) -> asyncio.StreamReader:
        """Send a call over a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers.append(writer)
        writer.write(record)
        return reader

    async def ask(self, name: str, arguments: bytes, xid: int) -> bytes:
        """What root is answered to an NFS call."""
        target = NFS_PROGRAM, NFS_VERSION, NUMBER_OF[name]
        return await reply_of(await self.send(encode_call(xid, target, ROOT, arguments)))

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
            await writer.wait_closed()


async def reply_of(reader: asyncio.StreamReader) -> bytes:
    mark = int.from_bytes(await reader.readexactly(4))
    return await reader.readexactly(mark & 0x7FFF_FFFF)


def results_of(reply: bytes) -> bytes:
    _, results = decode_reply(reply, 0, len(reply))
    assert isinstance(results, bytes)
    return results


def status_of(reply: bytes) -> Status:
    return Status(int.from_bytes(results_of(reply)[:4]))
