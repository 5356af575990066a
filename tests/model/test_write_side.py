"""Random work on a read-write mount, and on its bucket by others; faults, crashes, restarts.

What is shown is always what the model says; what was answered as stable survives every crash; and
once the bucket answers again it has exactly what the mount shows. Others keep to files of their
own; what happens when both change a path is for tests of its own.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    invariant,
    precondition,
    rule,
)

from hfnfs.nfs3.client import NotOk
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.writing import Stable
from hfnfs.vfs.attributes import Wanted
from hfnfs.vfs.node import FileType
from tests.model.files import Directory, File, Link, Refused, Thing, Volume
from tests.model.machine import Machine

T = TypeVar("T")

PATHS = st.sampled_from(["a", "b", "d", "d/a", "d/e", "d/e/a", ".nfs1", "d/.DS_Store"])
THEIRS = ["o/x", "o/y", "t"]
THEIRS_FOR_EVER = ["o", "o/stays"]  # so that a walk never meets a directory that goes
OFFSETS = st.one_of(st.integers(0, 40), st.sampled_from([4096, 70_000, 131_072]))
SIZES = st.one_of(st.integers(0, 30), st.sampled_from([4096, 60_000]))
STABLE = st.sampled_from(list(Stable))


class WritesAgainstModel(Machine):
    """A volume as a dict of dicts is the model."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Volume()
        self.seed = 0

    def others_begin(self) -> None:
        self.bucket.put("o/stays", b"")

    # ------------------------------------------------------------ what we do

    def bytes_of(self, size: int) -> bytes:
        self.seed += 1
        return (b"%d." % self.seed * (size // 2 + 1))[:size]

    async def home(self, path: str) -> tuple[bytes, bytes]:
        directory, _, name = path.rpartition("/")
        return await self.at(directory), name.encode()

    def both(self, ours: Callable[[], Awaitable[object]], model: Callable[[], object]) -> bool:
        """Do it here and in the model, where both refuse or neither; whether it was done.

        While the Hub fails it may be refused for that: nothing is done then.
        """

        async def attempt() -> NotOk | None:
            try:
                await ours()
            except NotOk as error:
                return error
            return None

        error = self.run(attempt())
        if error is not None and error.status is Status.IO and self.is_troubled:
            return False
        try:
            model()
        except Refused:
            assert error is not None, "the model refuses it"
            return False
        assert error is None, f"{error}, and the model does it"
        return True

    @rule(path=PATHS)
    def create(self, path: str) -> None:
        async def ours() -> None:
            await self.mount.client.create(*await self.home(path), guarded=True)

        self.both(ours, lambda: self.model.make(path, File()))

    @rule(path=PATHS)
    def make_directory(self, path: str) -> None:
        async def ours() -> None:
            await self.mount.client.mkdir(*await self.home(path))

        self.both(ours, lambda: self.model.make(path, Directory()))

    @rule(path=PATHS)
    def make_link(self, path: str) -> None:
        target = self.bytes_of(5)

        async def ours() -> None:
            await self.mount.client.symlink(*await self.home(path), target)

        self.both(ours, lambda: self.model.make(path, Link(target)))

    @rule(path=PATHS, offset=OFFSETS, size=SIZES, stable=STABLE)
    def write(self, path: str, offset: int, size: int, stable: Stable) -> None:
        data = self.bytes_of(size)

        async def ours() -> None:
            await self.mount.client.write(await self.at(path), offset, data, stable)

        def model() -> None:
            file = self.model.file(path)
            if data:
                file.write(offset, data)
            if stable is not Stable.UNSTABLE:
                file.commit()

        self.both(ours, model)

    @rule(path=PATHS)
    def commit(self, path: str) -> None:
        if not isinstance(self.model.at(path), File):
            return

        async def ours() -> None:
            handle = await self.at(path)
            for _ in range(50):  # each failure on the way to the Hub is told once
                with suppress(NotOk):
                    await self.mount.client.commit(handle)
                    return
            raise AssertionError("it cannot be committed")

        self.both(ours, lambda: self.model.file(path).commit())

    @rule(path=PATHS, size=st.one_of(st.integers(0, 50), st.just(80_000)))
    def truncate(self, path: str, size: int) -> None:
        async def ours() -> None:
            await self.mount.client.setattr(await self.at(path), Wanted(size=size))

        self.both(ours, lambda: self.model.file(path).truncate(size))

    @rule(path=PATHS)
    def remove(self, path: str) -> None:
        async def ours() -> None:
            await self.mount.client.remove(*await self.home(path))

        self.both(ours, lambda: self.model.remove(path))

    @rule(path=PATHS)
    def remove_directory(self, path: str) -> None:
        async def ours() -> None:
            await self.mount.client.rmdir(*await self.home(path))

        self.both(ours, lambda: self.model.remove_directory(path))

    @rule(old=PATHS, new=PATHS)
    def rename(self, old: str, new: str) -> None:
        async def ours() -> None:
            await self.mount.client.rename(*await self.home(old), *await self.home(new))

        self.both(ours, lambda: self.model.rename(old, new))

    @rule(old=PATHS, new=PATHS)
    def link(self, old: str, new: str) -> None:
        async def ours() -> None:
            await self.mount.client.link(await self.at(old), *await self.home(new))

        self.both(ours, lambda: self.model.link(old, new))

    # ---------------------------------------------------- what others do

    @rule(path=st.sampled_from(THEIRS), size=SIZES)
    def somebody_writes(self, path: str, size: int) -> None:
        self.bucket.put(path, self.bytes_of(size))

    @rule(path=st.sampled_from(THEIRS))
    def somebody_deletes(self, path: str) -> None:
        self.bucket.delete(path)

    # ------------------------------------------------------ what happens

    def when_ended(self) -> None:
        for thing in self.model.walk().values():
            if isinstance(thing, File):
                thing.commit()

    def when_it_is_back(self) -> None:
        self.all_is_well()
        shown = self.run(self.walk())
        for path, thing in self.model.walk().items():
            if isinstance(thing, File):
                data = shown.get(path)
                assert isinstance(data, bytes), f"{path} is not there any more"
                assert thing.may_be(data), f"{path} is {data[:50]!r}, was {thing.past}"
                thing.data = data
                thing.commit()

    # ------------------------------------------------------ what is shown

    async def walk(self) -> dict[str, object]:
        """Bytes of files, None for directories, targets in tuples; without what others made."""
        found: dict[str, object] = {}
        async for each in self.mount.client.walk(self.mount.root):
            path = each.path.decode()
            if path in THEIRS + THEIRS_FOR_EVER:
                continue
            match each.attributes.type:
                case FileType.DIR:
                    found[path] = None
                case FileType.LNK:
                    found[path] = (await self.mount.client.readlink(each.handle),)
                case _:
                    found[path] = await self.read(each.handle)
        return found

    @precondition(lambda self: not self.is_troubled)
    @invariant()
    def what_is_shown_is_what_the_model_says(self) -> None:
        if not hasattr(self, "rng") or self.rng.random() < 0.6:
            return
        assert self.run(self.walk()) == {p: seen(t) for p, t in self.model.walk().items()}

    @rule()
    def all_is_right(self) -> None:
        """The bucket gets everything, and it is what is shown."""
        self.all_is_well()
        left = self.run(self.drained())
        assert not left, left
        files = {
            path: thing.data
            for path, thing in self.model.walk().items()
            if isinstance(thing, File) and not is_private(path)
        }
        there = {
            path: self.bucket.read(path)
            for path in self.bucket.files
            if path not in THEIRS + THEIRS_FOR_EVER
        }
        assert there == files, f"the Hub has {short(there)}, not {short(files)}"
        self.clock.advance(11)
        assert self.run(self.walk()) == {p: seen(t) for p, t in self.model.walk().items()}


def seen(thing: Thing) -> object:
    match thing:
        case File(data):
            return data
        case Link(target):
            return (target,)
        case _:
            return None


def short(files: Mapping[str, bytes | None]) -> dict[str, bytes]:
    return {path: (data or b"")[:20] for path, data in files.items()}


def is_private(path: str) -> bool:
    return ".DS_Store" in path.split("/") or path.rpartition("/")[2] == ".nfs1"


TestTheWriteSide = WritesAgainstModel.TestCase
TestTheWriteSide.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, print_blob=True
)
