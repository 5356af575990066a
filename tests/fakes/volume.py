"""A real volume over a far side in memory, and a pager that meets its needs from there.

Nothing is known in advance: names, listings and bytes come in only through the pager, which
counts what it met and can be told to fail or to wait.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeAlias

from hfnfs.remote import ContentId, Kind, Listing, RemoteEntry, Revision
from hfnfs.vfs.attributes import Appearance, Attributes
from hfnfs.vfs.data import Data
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.needs import (
    Durable,
    Extent,
    Journaled,
    Listed,
    Named,
    Need,
    Resident,
    Then,
)
from hfnfs.vfs.tree import Freshness, Tree
from hfnfs.vfs.volume import Volume
from tests.fakes.clock import FakeClock

# Names to bytes (a file) or to more of the same (a directory).
Folder: TypeAlias = Mapping[str, "bytes | Folder"]

VOLUME_ID = b"volume01"
MODIFIED_NS = 1_600_000_000_123_456_789


class MemoryExtents:
    """hfnfs.vfs.ports.Extents, as far as reading asks for it; a content is present or not."""

    def __init__(self) -> None:
        self.present: dict[ContentId, bytes] = {}

    def read(self, content: ContentId, start: int, end: int) -> memoryview | None:
        data = self.present.get(content)
        return None if data is None else memoryview(data)[start:end]

    def has(self, content: ContentId, start: int, end: int) -> bool:
        return content in self.present

    def gap(self, content: ContentId, start: int, end: int) -> tuple[int, int] | None:
        return None if content in self.present else (0, content.size)

    def add(self, content: ContentId, offset: int, data: bytes | memoryview) -> None:
        assert (offset, len(data)) == (0, content.size)
        self.present[content] = bytes(data)

    def make_resident(self, content: ContentId, start: int, end: int) -> None:
        raise AssertionError("what is present is resident here")

    def pin(self, content: ContentId, start: int, end: int) -> None:
        raise AssertionError("MemoryPager keeps the pins")

    def unpin(self, content: ContentId, start: int, end: int) -> None:
        raise AssertionError("MemoryPager keeps the pins")


class FarSide:
    """A volume, what it shows, and the Pager that brings it in."""

    def __init__(
        self, folder: Folder, *, file_mode: int = 0o444, nodes_soft_max: int = 1_000_000
    ) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.extents = MemoryExtents()
        appearance = Appearance(
            fsid=7, uid=1000, gid=100, file_mode=file_mode, directory_mode=0o555,
            modified_ns=MODIFIED_NS,
        )  # fmt: skip
        freshness = Freshness(10.0, 3, nodes_soft_max)
        tree = Tree(appearance, freshness, boot_verifier=b"bootboot", clock=self.clock)
        self.volume = Volume(
            VOLUME_ID,
            Revision("sha", MODIFIED_NS, total_bytes=12345, total_files=67),
            tree=tree,
            data=Data(self.extents),
            attributes=Attributes(read_only=True),
        )
        self.met: list[Need] = []
        self.pinned: list[Need] = []
        self.pinned_most = 0
        self.before_meeting: Callable[[Need], None] = lambda need: None
        self.gate: asyncio.Event | None = None  # needs wait for it
        self._meeting: set[asyncio.Future[None]] = set()

    @asynccontextmanager
    async def meet(self, need: Need) -> AsyncIterator[None]:
        self.before_meeting(need)
        if self.gate is not None:
            await self.gate.wait()
        self.met.append(need)
        self._bring(need)
        self.pinned.append(need)
        self.pinned_most = max(self.pinned_most, len(self.pinned))
        try:
            yield
        finally:
            self.pinned.remove(need)

    def when_met(self, need: Durable | Journaled, then: Then) -> None:
        self._meeting.add(asyncio.ensure_future(self._meet_then(need, then)))

    async def _meet_then(self, need: Need, then: Then) -> None:
        try:
            async with self.meet(need):
                pass
        except Exception as error:
            then(error)
        else:
            then(None)

    def becomes(self, folder: Folder) -> None:
        """The far side changes, and the mounted folder is listed again."""
        self.folder = folder
        self._bring(Listed(self.volume.root.fileid, self.clock.now()))

    def forget_contents(self) -> None:
        self.extents.present.clear()

    def _bring(self, need: Need) -> None:
        tree = self.volume.tree
        match need:
            case Listed(fileid):
                directory = self._directory(fileid)
                entries = {name: self._entry(directory, name) for name in self._at(directory)}
                tree.apply_listing(directory, Listing("sha", entries))
            case Named(fileid, name):
                directory = self._directory(fileid)
                text = name.decode(errors="surrogateescape")  # a wire may ask for any bytes
                entry = self._entry(directory, text) if text in self._at(directory) else None
                tree.apply_found(directory, name, entry)
            case Extent(content) | Resident(content):
                self.extents.add(content, 0, self._file(content.path))

    def _directory(self, fileid: int) -> Directory:
        node = self.volume.tree.node_by_fileid(fileid)
        assert isinstance(node, Directory)
        return node

    def _at(self, directory: Directory) -> Folder:
        folder = self.folder
        for name in filter(None, self.volume.tree.path(directory).split("/")):
            inner = folder[name]
            assert not isinstance(inner, bytes)
            folder = inner
        return folder

    def _file(self, path: str) -> bytes:
        *parents, name = path.split("/")
        folder = self.folder
        for parent in parents:
            inner = folder[parent]
            assert not isinstance(inner, bytes)
            folder = inner
        data = folder[name]
        assert isinstance(data, bytes)
        return data

    def _entry(self, directory: Directory, name: str) -> RemoteEntry:
        inner = self._at(directory)[name]
        if not isinstance(inner, bytes):
            return RemoteEntry(name, Kind.DIRECTORY)
        path = f"{self.volume.tree.path(directory)}/{name}".lstrip("/")
        return RemoteEntry(name, Kind.FILE, ContentId(f"git-{path}", len(inner), path), None)
