"""A far side that changes, and remembers all it ever was."""

from collections.abc import AsyncIterator

from hfnfs.errors import RemoteEntryMissing
from hfnfs.remote import ContentId, Piece
from hfnfs.xet.whole import whole_hash
from tests.fakes.clock import FakeClock
from tests.fakes.remote import FakeRemote

Tree = dict[str, bytes]  # files by path; directories are what leads to them


class ChangingHub(FakeRemote):
    """A bucket: others change it, and old contents stay fetchable by their hash."""

    immutable = False

    def __init__(self, clock: FakeClock) -> None:
        super().__init__({}, piece_bytes=50_000)
        self._clock = clock
        self._contents: dict[str, bytes] = {}
        self._hashes: dict[bytes, str] = {}
        self.alters = False  # one byte of whatever it sends
        self.altered = 0  # streams
        self._states: list[tuple[float, Tree]] = [(clock.now(), {})]

    def change(self, path: str, data: bytes | None) -> None:
        """Put a file there, in place of any other kind of thing, or take it away (None)."""
        tree = {p: d for p, d in self.tree.items() if not _in_the_way(p, path)}
        if data is not None:
            tree[path] = data
        self.files = dict(tree)
        self._states.append((self._clock.now(), tree))

    @property
    def tree(self) -> Tree:
        """What is there now."""
        return self._states[-1][1]

    def states_since(self, moment: float) -> list[Tree]:
        """All that it was at that moment and later."""
        older = [tree for begun, tree in self._states if begun <= moment]
        return older[-1:] + [tree for begun, tree in self._states if begun > moment]

    def content(self, path: str) -> ContentId:
        data = self.tree[path]
        if data not in self._hashes:
            self._hashes[data] = f"xet-{whole_hash([data], len(data))}"
        key = self._hashes[data]
        self._contents[key] = data
        return ContentId(key, len(data))

    async def open(self, content: ContentId, start: int, end: int) -> AsyncIterator[Piece]:
        is_right = not self.alters
        self.altered += self.alters
        async for offset, piece in super().open(content, start, end):
            yield Piece(offset, piece if is_right else bytes([piece[0] ^ 1]) + piece[1:])
            is_right = True

    def _bytes_of(self, content: ContentId) -> bytes:
        if content.key not in self._contents:
            raise RemoteEntryMissing(content.key)
        return self._contents[content.key]


def _in_the_way(there: str, path: str) -> bool:
    return there == path or there.startswith(path + "/") or path.startswith(there + "/")
