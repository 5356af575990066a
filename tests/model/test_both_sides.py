"""Two sides change the same few paths at random: we, through the mount, and somebody in the bucket.

Whatever fails or crashes in between, nothing is lost that either side wrote last: at the end each
is under its name, or in a conflict file beside it, unless the same side has overwritten or deleted
it after having seen it. And the mount shows what the bucket has. A file that we hold open keeps the
bytes that we know it to have, whatever they do.
"""

import re
from collections.abc import Coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from hfnfs.nfs3.client import NotOk
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.writing import Stable
from hfnfs.vfs.node import FileType
from tests.model.machine import Machine
from tests.until import until

PATHS = st.sampled_from(["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a"])
DIRECTORIES = st.sampled_from(["d", "d/e", "g"])
ANYWHERE = ""  # in place of a name: a directory was renamed while they wrote into it
_CONFLICT = re.compile(r"\.conflict-[^/]*")
SIZE = 16  # of every file, so that one WRITE is all of it
# What a path that the other side has changed may answer, or a bucket that fails.
_CAN_BE = {
    Status.NOENT, Status.EXIST, Status.NOTDIR, Status.ISDIR, Status.NOTEMPTY,
    Status.STALE, Status.INVAL, Status.IO, Status.JUKEBOX,
}  # fmt: skip


class BothSides(Machine):
    """`owed` says of which bytes it is known that they have to be there, and under which name.

    `held`: what the files have that are open, by handle, and the paths at which they were opened.
    """

    def __init__(self) -> None:
        super().__init__()
        self.owed: dict[bytes, str] = {}
        self.held: dict[bytes, tuple[str, bytes]] = {}
        self.written = 0

    def others_begin(self) -> None:
        for path in ("a", "d/a"):
            self.they_write(path)

    def new_bytes(self, whose: bytes) -> bytes:
        self.written += 1
        return (b"%s %d " % (whose, self.written)).ljust(SIZE, b".")

    def gone(self, data: bytes | None) -> None:
        """Somebody has overwritten or deleted it who has seen it."""
        if data is not None:
            self.owed.pop(data, None)

    # ------------------------------------------------------------ what we do

    async def home(self, path: str) -> tuple[bytes, bytes]:
        """The directory of a path, made if there is none, and the name in it."""
        *above, name = path.encode().split(b"/")
        handle = self.mount.root
        for each in above:
            try:
                handle = await self.mount.client.lookup(handle, each)
            except NotOk as error:
                if error.status is not Status.NOENT:
                    raise
                handle = (await self.mount.client.mkdir(handle, each)).handle
        return handle, name

    async def seen(self, path: str) -> tuple[bytes, bytes] | None:
        """The handle of a file and its bytes; None: there is none."""
        try:
            handle = await self.at(path)
            data = await self.read(handle)
        except NotOk as error:
            if error.status in {Status.NOENT, Status.ISDIR, Status.NOTDIR}:
                return None
            raise
        return handle, data

    def try_(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it, or not where what the other side did or a failure is in the way."""
        try:
            self.run(work)
        except NotOk as error:
            if error.status not in _CAN_BE:
                raise

    async def put(self, path: str, handle: bytes, before: bytes, data: bytes, at: int) -> None:
        """Write to a file that held `before`; until there is an answer it may be either."""
        self.gone(before)
        was_held = self.held.pop(handle, None)
        await self.mount.client.write(handle, at, data, Stable.FILE_SYNC)
        after = before[:at] + data + before[at + len(data) :]
        self.owed[after] = path
        if was_held is not None:
            self.held[handle] = was_held[0], after

    @rule(path=PATHS)
    def we_write(self, path: str) -> None:
        async def work() -> None:
            found = await self.seen(path)
            if found is None:
                made = await self.mount.client.create(*await self.home(path), guarded=True)
                found = made.handle, b""
            await self.put(path, *found, self.new_bytes(b"ours"), 0)

        self.try_(work())

    @rule(path=PATHS)
    def we_write_a_part(self, path: str) -> None:
        async def work() -> None:
            found = await self.seen(path)
            if found is not None and len(found[1]) == SIZE:
                self.written += 1
                await self.put(path, *found, b"<%d>" % self.written, 8)

        self.try_(work())

    @rule(path=PATHS)
    def we_save_by_rename(self, path: str) -> None:
        async def work() -> None:
            home, _ = await self.home(path)
            handle = (await self.mount.client.create(home, b"new~", guarded=True)).handle
            data = self.new_bytes(b"saved")
            await self.mount.client.write(handle, 0, data, Stable.FILE_SYNC)
            await self.rename(f"{path.rpartition('/')[0]}/new~".lstrip("/"), path)

        self.try_(work())

    @rule(old=PATHS, new=PATHS)
    def we_rename(self, old: str, new: str) -> None:
        if old != new:
            self.try_(self.rename(old, new))

    async def rename(self, old: str, new: str) -> None:
        source, target = await self.home(old), await self.home(new)
        moving, there = await self.seen(old), await self.seen(new)
        if moving is None:
            return
        if there is not None:
            self.gone(there[1])
            self.held.pop(there[0], None)
        held = self.held.pop(moving[0], None)
        was_owed = self.owed.pop(moving[1], None)
        conflicts = self.mount.flush.conflicts
        await self.mount.client.rename(*source, *target)
        if (was_owed is not None or moving[1].startswith(b"saved")) and (
            conflicts == self.mount.flush.conflicts
        ):
            self.owed[moving[1]] = new
        if held is not None:
            self.held[moving[0]] = new, held[1]

    @rule(path=PATHS)
    def we_remove(self, path: str) -> None:
        async def work() -> None:
            home = await self.home(path)
            found = await self.seen(path)
            if found is not None:
                self.gone(found[1])
                self.held.pop(found[0], None)
                await self.mount.client.remove(*home)

        self.try_(work())

    @rule(path=DIRECTORIES)
    def we_remove_a_directory(self, path: str) -> None:
        async def work() -> None:
            await self.mount.client.rmdir(*await self.home(path))

        self.try_(work())

    @rule(old=DIRECTORIES, new=DIRECTORIES)
    def we_rename_a_directory(self, old: str, new: str) -> None:
        async def work() -> None:
            source, target = await self.home(old), await self.home(new)
            if await self.seen(old) is None and await self.seen(new) is None:
                for data, path in self.owed.items():
                    if path.startswith(f"{old}/"):
                        self.owed[data] = ANYWHERE
                for handle, (path, data) in self.held.items():
                    if path.startswith(f"{old}/"):
                        self.held[handle] = ANYWHERE, data
                await self.mount.client.rename(*source, *target)

        self.try_(work())

    @rule(path=PATHS)
    def we_open(self, path: str) -> None:
        async def work() -> None:
            found = await self.seen(path)
            if found is not None and len(found[1]) == SIZE:
                self.held[found[0]] = path, found[1]

        self.try_(work())

    @rule()
    def we_read_on(self) -> None:
        async def work(handle: bytes, expected: bytes) -> None:
            assert await self.read(handle) == expected

        for handle, (_, data) in self.held.items():
            try:
                self.run(work(handle, data))
            except NotOk as error:
                if error.status not in {Status.IO, Status.JUKEBOX}:
                    raise

    @rule(index=st.integers(0, 10))
    def we_write_on(self, index: int) -> None:
        if self.held:
            handle = list(self.held)[index % len(self.held)]
            path, before = self.held[handle]
            self.try_(self.put(path, handle, before, self.new_bytes(b"on"), 0))

    # -------------------------------------------------------- what they do

    def between_our_batches(self) -> None:
        """Let a batch end that is under way: it has looked already at what it overwrites.

        The Hub cannot be told to do something only if nothing has changed.
        """
        while hasattr(self.mount, "flush") and self.mount.flush._is_committing:
            self.run(until(lambda: not self.mount.flush._is_committing))

    @rule(path=PATHS)
    def they_write(self, path: str) -> None:
        self.between_our_batches()
        for other in list(self.bucket.files):
            if f"{other}/".startswith(f"{path}/") or f"{path}/".startswith(f"{other}/"):
                self.gone(self.bucket.read(other))
                self.bucket.delete(other)
        data = self.new_bytes(b"theirs")
        self.bucket.put(path, data)
        self.owed[data] = path

    @rule(path=PATHS)
    def they_delete(self, path: str) -> None:
        self.between_our_batches()
        self.gone(self.bucket.read(path))
        self.bucket.delete(path)

    # ------------------------------------------------------ what happens

    def when_ended(self) -> None:
        self.held.clear()

    def when_it_is_back(self) -> None:
        self.held.clear()

    # ------------------------------------------------------ what is there

    @rule()
    def all_is_right(self) -> None:
        """Nothing is lost, and what the bucket has is what is shown."""
        self.all_is_well()
        left = self.run(self.drained())
        assert not left, left
        there = {path: self.bucket.read(path) for path in self.bucket.files}
        for data, path in self.owed.items():
            names = [_CONFLICT.sub("", name) for name, held in there.items() if held == data]
            is_there = path in names or (path == ANYWHERE and names)
            assert is_there, f"{data!r} of {path} is at {names}, of {there}"
        self.clock.advance(11)
        shown = self.run(self.shown())
        assert shown == there

    async def shown(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        async for each in self.mount.client.walk(self.mount.root):
            if each.attributes.type is not FileType.DIR:
                found[each.path.decode()] = await self.read(each.handle)
        return found


TestBothSides = BothSides.TestCase
TestBothSides.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, print_blob=True
)
