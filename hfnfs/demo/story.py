"""⏳ What the demo does and tells: a Hub, three volumes, and what their use costs."""

import asyncio
import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from hfnfs.app.running import Running, running
from hfnfs.config import MountConfig
from hfnfs.demo.lines import Meter, in_bytes, step
from hfnfs.demo.looks import Look, MountLook, over_nfs
from hfnfs.demo.saving import save_and_rename
from hfnfs.errors import (
    HostError,
    KernelWithoutNfs,
    MountHelperMissing,
    MountNotPermitted,
    RemoteCorrupt,
)
from hfnfs.host.lifetime import MountPlan, mounted, until_over
from hfnfs.host.mount_command import Unmount, unmount_line
from hfnfs.host.mount_watch import mount_table
from hfnfs.host.preflight import Surroundings, check_machine
from hfnfs.host.stopping import StopRequests
from hfnfs.localhub import sample
from hfnfs.localhub.accounts import DEFAULT_TOKEN
from hfnfs.localhub.hub import LocalHub

Say = Callable[[str], None]

_HEAD_LENGTH = struct.Struct("<Q")
_TENSORS_NAMED = 2
_CANNOT_MOUNT = (MountHelperMissing, KernelWithoutNfs, MountNotPermitted)


class Chapter(NamedTuple):
    """One volume of the story: what it is, and what was put into it."""

    name: str
    kind: Literal["repo", "bucket"]
    source: str
    content: Callable[[], Mapping[str, bytes]]
    read_whole: str  # the file that is compared from its first to its last byte


CHAPTERS = (
    Chapter("model", "repo", sample.MODEL, sample.model_files, "model.safetensors"),
    Chapter("dataset", "repo", f"datasets/{sample.DATASET}", sample.dataset_files,
            "data/train-00001-of-00003.parquet"),
    Chapter("bucket", "bucket", sample.BUCKET, sample.bucket_files, "logs/train.log"),
)  # fmt: skip


async def tell(mount_point: str | None, say: Say) -> None:
    """Run the demo; with a mount point it stays mounted until a signal.

    Raises RemoteCorrupt if a byte is not what it should be, Interrupted, HostError.
    """
    with StopRequests() as stop, tempfile.TemporaryDirectory(prefix="hfnfs-demo-") as directory:
        async with LocalHub(Path(directory, "hub")) as hub:
            await sample.fill(hub)
            say(f"A Hub of its own runs at {hub.endpoint}, with a model, a dataset and a bucket.")
            stage = _Stage(hub, Path(directory), mount_point, stop, say)
            try:
                await asyncio.to_thread(check_machine, Surroundings())
                await stage.play_mounted()
            except _CANNOT_MOUNT as error:
                await stage.play_served(error)
    say("\nNow yours: hf-mount-nfs repo openai-community/gpt2 /tmp/gpt2")


@dataclass(frozen=True, slots=True)
class _Stage:
    """Where the story plays."""

    hub: LocalHub
    directory: Path
    mount_point: str | None
    stop: StopRequests
    say: Say

    def config(self, chapter: Chapter) -> MountConfig:
        return MountConfig(
            source=chapter.source,
            kind=chapter.kind,
            cache_dir=self.directory / "cache",
            endpoint=self.hub.endpoint,
            token=DEFAULT_TOKEN,
            uid=os.getuid(),
            gid=os.getgid(),
        )

    async def play_mounted(self) -> None:
        """Mount all three, look at them, and stay if the user named the place."""
        place = Path(self.mount_point or self.directory / "mounts")
        async with AsyncExitStack() as stack:
            table = stack.enter_context(mount_table())
            mounts = []
            for chapter in CHAPTERS:
                config = self.config(chapter)
                plan = MountPlan(str(place / chapter.name), config.metadata_ttl_s)
                mount = await stack.enter_async_context(mounted(plan, running(config), table))
                self.say(f"Mounted {mount.served.source_label} on {mount.point.path}.")
                mounts.append(mount)
            for chapter, mount in zip(CHAPTERS, mounts, strict=True):
                await self.act(chapter, MountLook(mount.point.path), mount.served)
            if self.mount_point is None:
                for mount in mounts:
                    await mount.mounting.unmount(Unmount.CLEAN)
                return
            self.stop.orderly()
            ends = " and ".join(unmount_line(m.point.path, sudo=m.sudo) for m in mounts)
            self.say(f"\nIt stays mounted: look around in {place}. To end it: Ctrl-C, or {ends}")
            for mount in mounts:
                await until_over(mount.mounting, self.stop, table)

    async def play_served(self, reason: HostError) -> None:
        """Serve one after the other, and read with our own client."""
        why = str(reason).partition(":")[0]  # what to do about it is not of interest here
        self.say(f"Nothing can be mounted here: {why}.")
        self.say("So the files are served all the same, and the demo reads them over NFS itself.")
        for chapter in CHAPTERS:
            async with (
                running(self.config(chapter)) as served,
                over_nfs("127.0.0.1", served.port, served.export) as look,
            ):
                await self.act(chapter, look, served)

    async def act(self, chapter: Chapter, look: Look, served: Running) -> None:
        """Look at one of them, and write to it if it can be written to."""
        await look_around(chapter, look, served, self.say)
        if not served.read_only:
            await save_and_rename(look, served, self.hub, self.say)


async def look_around(chapter: Chapter, look: Look, served: Running, say: Say) -> None:
    """List a volume, read a little, read a whole file twice; tell what each of it transferred."""
    meter = Meter(served.counters.requests, served.counters.bytes, "nothing transferred")
    say(f"\n{chapter.name} {served.source_label}")
    files = await look.files()
    for seen in files:
        say(f"    {in_bytes(seen.size):>9}  {seen.path}")
    told = partial(_tell_step, say, meter)
    told(f"{len(files)} files of {in_bytes(sum(f.size for f in files))}, listed")
    told(await _peek(look, {seen.path: seen.size for seen in files}))
    given = (await asyncio.to_thread(chapter.content))[chapter.read_whole]
    wanted = hashlib.sha256(given).hexdigest()
    for how in ("read to its end, equal", "the same again"):
        got = await look.sha256(chapter.read_whole)
        if got != wanted:
            raise RemoteCorrupt(f"{chapter.read_whole} reads as {got}, and is {wanted}")
        told(f"{chapter.read_whole}, {in_bytes(len(given))}: {how}")


def _tell_step(say: Say, meter: Meter, done: str) -> None:
    say(step(done, meter.since()))


async def _peek(look: Look, sizes: Mapping[str, int]) -> str:
    """Read a little of the kind of file that it is, and say what it was."""
    for path, size in sizes.items():
        if path.endswith(".safetensors"):
            length = _HEAD_LENGTH.unpack(await look.read(path, 0, _HEAD_LENGTH.size))[0]
            head = json.loads(await look.read(path, _HEAD_LENGTH.size, length))
            names = [name for name in head if name != "__metadata__"]
            some = ", ".join(names[:_TENSORS_NAMED])
            return f"{path}: its {len(names)} tensors ({some}, …)"
        if path.endswith(".parquet"):
            magic = (await look.read(path, size - 4, 4)).decode()
            return f"{path}: its last bytes ({magic})"
    path = max(sizes, key=lambda path: sizes[path])
    first = (await look.read(path, 0, 4)).hex(" ")
    return f"{path}: its first bytes ({first})"
