"""A bucket of a local Hub, served by the whole product, as programs see it: by paths."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from hfnfs.app.running import Running, running
from hfnfs.config import MountConfig
from hfnfs.localhub.accounts import DEFAULT_TOKEN
from hfnfs.localhub.background import HubThread
from hfnfs.localhub.hub import LocalHub
from hfnfs.nfs3.client import NfsClient, NotOk
from hfnfs.nfs3.types import Fattr3, NfsTime3
from hfnfs.rpc.message import AuthSys
from hfnfs.vfs.attributes import Wanted
from hfnfs.vfs.node import FileType
from tests.live.product import arguments, launched
from tests.live.readback import Kept, read_back
from tests.until import PATIENCE_S, until

T = TypeVar("T")

NAME = "local/data"
UPLOAD = "/xorb-grants/"  # what hf_xet asks first of the storage for each xorb
BATCH = "/batch"
LATER_S = 3600.0  # nothing goes to the Hub by itself
AT_ONCE: dict[str, Any] = {"flush_debounce_s": 0.0, "flush_window_s": 0.0}
NOT_YET: list[str] = [
    *("--flush-debounce-ms", f"{LATER_S * 1000:.0f}"),
    *("--flush-max-batch-window-ms", f"{LATER_S * 1000:.0f}"),
]
ROOT = Path(__file__).parents[2]
# By path: a file's bytes, None of a directory, what a symbolic link says.
Shown: TypeAlias = dict[str, bytes | str | None]


@dataclass
class Mount:
    """A mount, called as the kernel calls it."""

    client: NfsClient
    root: bytes
    port: int
    served: Running | None = None  # None: in a process of its own
    program: subprocess.Popen[str] | None = None  # that process

    async def at(self, path: str) -> bytes:
        """The handle of a path."""
        handle = self.root
        for name in path.encode().split(b"/") if path else ():
            handle = await self.client.lookup(handle, name)
        return handle

    async def home(self, path: str) -> tuple[bytes, bytes]:
        """The handle of a path's directory, and its name there."""
        directory, _, name = path.rpartition("/")
        return await self.at(directory), name.encode()

    async def has(self, path: str) -> bool:
        directory, name = await self.home(path)
        return name in [entry.name async for entry in self.client.readdirplus(directory)]

    async def stat(self, path: str) -> Fattr3:
        return await self.client.getattr(await self.at(path))

    async def mtime_ns(self, path: str) -> int:
        return ns((await self.stat(path)).mtime)

    async def read(self, path: str) -> bytes:
        return await self.read_by(await self.at(path))

    async def read_by(self, handle: bytes) -> bytes:
        return b"".join([bytes(piece) async for piece in self.client.read_all(handle)])

    async def tree(self) -> Shown:
        """All that is shown."""
        found: Shown = {}
        async for each in self.client.walk(self.root):
            path, type_ = each.path.decode(), each.attributes.type
            if type_ is FileType.LNK:
                found[path] = (await self.client.readlink(each.handle)).decode()
            else:
                found[path] = None if type_ is FileType.DIR else await self.read_by(each.handle)
        return found

    async def paths(self) -> set[str]:
        """All that is shown, unread."""
        return {found.path.decode() async for found in self.client.walk(self.root)}

    # ------------------------------------------------------------ changing

    async def save(self, path: str, data: bytes) -> bytes:
        """Open with O_TRUNC, write, fsync; the file's handle."""
        made = await self.client.create(*await self.home(path), Wanted(size=0))
        await self.client.write_all(made.handle, 0, data)
        await self.client.commit(made.handle)
        return made.handle

    async def write(self, path: str, offset: int, data: bytes) -> None:
        """Write and fsync."""
        await self.client.write_all(await self.at(path), offset, data)

    async def set(self, path: str, **wanted: int) -> None:
        """SETATTR, in Wanted's words."""
        await self.client.setattr(await self.at(path), Wanted(**wanted))

    async def mkdir(self, path: str) -> None:
        await self.client.mkdir(*await self.home(path))

    async def symlink(self, path: str, target: str) -> None:
        await self.client.symlink(*await self.home(path), target.encode())

    async def link(self, path: str, new: str) -> None:
        await self.client.link(await self.at(path), *await self.home(new))

    async def rename(self, old: str, new: str) -> None:
        await self.client.rename(*await self.home(old), *await self.home(new))

    async def remove(self, path: str) -> None:
        await self.client.remove(*await self.home(path))

    async def rmdir(self, path: str) -> None:
        await self.client.rmdir(*await self.home(path))

    def tell_to_end(self) -> None:
        """Let its process send what the Hub lacks, and end."""
        assert self.program is not None
        self.program.terminate()

    async def drained(self) -> None:
        """Send all that the Hub lacks. Raises ChangesUnsent."""
        assert self.served is not None
        await self.served.drained(asyncio.Event())


@dataclass
class Bucket:
    """A bucket, who mounts it, and others who change it."""

    thread: HubThread
    folder: Path
    config: MountConfig

    @property
    def hub(self) -> LocalHub:
        return self.thread.hub

    @property
    def volume(self) -> Path:
        """Where what is changed is kept."""
        (volume,) = (self.config.cache_dir / "volumes").iterdir()
        return volume

    @property
    def lost(self) -> Path:
        """Where staged files are kept of which nothing is known."""
        return self.volume / "staging" / "lost+found"

    # ---------------------------------------------------------- mounting it

    @asynccontextmanager
    async def mounted(self, **changes: Any) -> AsyncIterator[Mount]:
        """Served here until the block is left; `changes` are MountConfig's fields."""
        async with (
            running(replace(self.config, **changes)) as served,
            connected(served.port) as mount,
        ):
            mount.served = served
            yield mount

    @asynccontextmanager
    async def in_a_process(self, *options: str) -> AsyncIterator[Mount]:
        """Served by hf-mount-nfs, which is killed (`kill -9`) when the block is left."""
        launch = partial(
            launched, self.hub.endpoint, NAME, self.folder, *NOT_YET, *options, kind="bucket"
        )
        program, served = await asyncio.to_thread(launch)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, program.communicate)
            stack.callback(program.kill)
            mount = await stack.enter_async_context(connected(served.port))
            mount.program = program
            yield mount
            program.kill()

    async def killed_starts(self) -> int:
        """Kill hf-mount-nfs at each step of its start; how many those were."""
        argv = arguments(self.hub.endpoint, NAME, self.folder, *NOT_YET, kind="bucket")
        argv = [sys.executable, "-m", "tests.app.starts", str(self.volume), *argv]
        run = partial(
            subprocess.run, argv, check=True, stdout=subprocess.PIPE, timeout=PATIENCE_S * 3,
            env={**os.environ, "HF_TOKEN": DEFAULT_TOKEN}, cwd=ROOT,
        )  # fmt: skip
        return int((await asyncio.to_thread(run)).stdout)

    # --------------------------------------------------------------- the Hub

    async def files(self) -> dict[str, bytes]:
        """What the Hub has."""
        return await asyncio.to_thread(lambda: self.thread.do(self.hub.files(NAME)))

    async def history(self) -> list[tuple[str, bytes | None]]:
        """What was put at which path, in order; None: deleted."""
        return await asyncio.to_thread(lambda: self.thread.do(self.hub.history(NAME)))

    async def read_back(self) -> dict[str, Kept]:
        """What the unmodified huggingface_hub finds there."""
        folder = self.folder / f"readback-{len(list(self.folder.iterdir()))}"
        return await asyncio.to_thread(read_back, self.hub, NAME, folder)

    async def put(self, files: Mapping[str, bytes], *, mtime_ns: int | None = None) -> None:
        """Others put files there."""
        work = self.hub.put(NAME, files, mtime_ns=mtime_ns)
        await asyncio.to_thread(self.thread.do, work)

    async def delete(self, *paths: str) -> None:
        """Others delete files there."""
        await asyncio.to_thread(lambda: self.thread.do(self.hub.delete(NAME, paths)))

    @asynccontextmanager
    async def sending(self, mount: Mount, held: str) -> AsyncIterator[None]:
        """Send all that the Hub lacks, and what is changed in the block too.

        Until the block is left the Hub does not answer the first request for `held`.
        """
        fault = self.hub.faults.add(held, hold=True)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(mount.drained())
            try:
                await until(lambda: not fault.count)
                yield
            finally:
                fault.hold = False

    async def until_it_has(self, expected: Mapping[str, bytes]) -> None:
        """Wait until the Hub has these files and no others."""
        await eventually(self.files, expected)


async def eventually(ask: Callable[[], Awaitable[T]], expected: T) -> None:
    """Ask again and again until the answer is that; what is gone while one looks is none."""
    answer: object = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            while answer != expected:
                try:
                    answer = await ask()
                except NotOk as error:
                    answer = error
    except TimeoutError:
        raise AssertionError(f"still {answer!r}, not {expected!r}") from None


def ns(time: NfsTime3) -> int:
    """Since 1970."""
    return time.seconds * 10**9 + time.nseconds


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Mount]:
    """A client of what is served on that port, as root on this machine."""
    credential = AuthSys(1, b"box", 0, 0, [])
    client = await NfsClient.connect("127.0.0.1", port, credential=credential, timeout_s=PATIENCE_S)
    try:
        yield Mount(client, await client.mount(), port)
    finally:
        await client.close()
