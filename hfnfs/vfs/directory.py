"""The names of one directory, and the cookies by which a listing is resumed.

A cookie is the insertion number of an entry in its directory: never reused, valid while other
entries come and go, and all that is needed to find the next entry (RFC 1813 §3.3.16). Names are
numbered when the directory is listed, in the far side's order; one that was looked up before has
cookie 0 until then, so that a directory of an unchanging revision is always numbered alike.

    unlisted --(lookups answered one by one: `asked`)--> unlisted --listed--> listed, and so on
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from hfnfs.errors import BadCookie
from hfnfs.vfs.node import FileType, Node

COOKIE_SELF = 1  # "."
COOKIE_PARENT = 2  # ".."
_COOKIE_FIRST = 3
_TOMBSTONES_KEPT = 64  # fewer are not worth a rebuild


class Directory(Node):
    """A node with names in it."""

    __slots__ = (
        "_in_order",
        "_next_cookie",
        "_numbers",
        "_tombstones",
        "asked",
        "children",
        "listed_at",
        "verifier",
    )

    def __init__(
        self, fileid: int, generation: int, name: bytes, parent: "Directory | None"
    ) -> None:
        super().__init__(fileid, generation, FileType.DIR, name, parent)
        self.nlink = 2
        self.children: dict[bytes, Node] = {}
        self.listed_at: float | None = None  # monotonic seconds
        self.verifier = bytes(8)  # cookieverf3 of the listing
        self.asked: dict[bytes, float] = {}  # names looked up one by one, and when (monotonic)
        self._numbers = array("Q")  # cookies given, ascending
        self._in_order: list[Node | None] = []  # what they stand for; None: removed since
        self._tombstones = 0
        self._next_cookie = _COOKIE_FIRST

    def put(self, node: Node) -> None:
        """Add a node under its name; it gets no cookie yet."""
        self.children[node.name] = node

    def number(self, node: Node) -> None:
        """Give a child its place in the listing."""
        node.cookie = self._next_cookie
        self._next_cookie += 1
        self._numbers.append(node.cookie)
        self._in_order.append(node)

    def remove(self, name: bytes) -> Node:
        """Take a name away; the cookies of all others stay what they are."""
        node = self.children.pop(name)
        if node.cookie:
            self._in_order[bisect_left(self._numbers, node.cookie)] = None
            self._tombstones += 1
            if self._tombstones > max(_TOMBSTONES_KEPT, len(self._in_order) // 2):
                self._bury()
        return node

    def entries_after(self, cookie: int) -> Iterator[tuple[int, bytes, Node]]:
        """Cookie, name and node of each entry after `cookie`; 0 begins with "." and "..".

        Raises BadCookie for one that was never given.
        """
        if cookie >= self._next_cookie:
            raise BadCookie(f"{self!r}: no cookie {cookie} was given")
        return self._walk(cookie)

    def _walk(self, cookie: int) -> Iterator[tuple[int, bytes, Node]]:
        if cookie < COOKIE_SELF:
            yield COOKIE_SELF, b".", self
        if cookie < COOKIE_PARENT:
            yield COOKIE_PARENT, b"..", self.parent or self
        in_order = self._in_order
        for index in range(bisect_right(self._numbers, cookie), len(in_order)):
            node = in_order[index]
            if node is not None:
                yield node.cookie, node.name, node

    def _bury(self) -> None:
        """Forget removed entries; what is left keeps its number."""
        self._in_order = [node for node in self._in_order if node is not None]
        self._numbers = array("Q", [node.cookie for node in self._in_order if node is not None])
        self._tombstones = 0
