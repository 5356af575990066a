"""The names of one directory, and the cookies by which a listing is resumed.

A cookie is the insertion number of an entry in its directory: never reused, valid while other
entries come and go, and all that is needed to find the next entry (RFC 1813 §3.3.16). Names are
numbered when the directory is listed, in the far side's order; one that was looked up before has
cookie 0 until then, so that a directory of an unchanging revision is always numbered alike.

    unlisted --(lookups answered one by one: `asked`)--> unlisted --listed--> listed, and so on
                                                             ^-----dropped-----'

Entries whose cookies differ only in the lower bits are a block. What others make of a block, such
as the bytes of a page, they keep in `blocks`, where it is forgotten when an entry changes.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from hfnfs.errors import BadCookie
from hfnfs.vfs.node import Look, Node

if TYPE_CHECKING:
    from hfnfs.vfs.merge import Draft

COOKIE_SELF = 1  # "."
COOKIE_PARENT = 2  # ".."
_COOKIE_FIRST = 3
_TOMBSTONES_KEPT = 64  # fewer are not worth a rebuild
# Entries in a block: some 40 KiB of a page, made in less than half a millisecond.
_BLOCK_BITS = 8


class Directory(Node):
    """A node with names in it."""

    __slots__ = (
        "_in_order",
        "_next_cookie",
        "_numbers",
        "_tombstones",
        "asked",
        "blocks",
        "children",
        "draft",
        "is_used",
        "listed_at",
        "verifier",
    )

    def __init__(
        self, fileid: int, generation: int, look: Look, name: bytes, parent: "Directory | None"
    ) -> None:
        super().__init__(fileid, generation, look, name, parent)
        self.children: dict[bytes, Node] = {}
        self.listed_at: float | None = None  # monotonic seconds
        self.is_used = True  # since the last look for directories that nobody needs
        self.verifier = b""  # cookieverf3 of the listing; empty before the first
        self.asked: dict[bytes, float] = {}  # names looked up one by one, and when (monotonic)
        self.draft: Draft | None = None  # of a listing that is being taken in
        self.blocks: dict[int, Any] = {}  # what others keep, by number of the block
        self._start_numbering()

    # --------------------------------------------------------------- names

    def _start_numbering(self) -> None:
        self._numbers = array("Q")  # cookies given, ascending
        self._in_order: list[Node | None] = []  # what they stand for; None: removed since
        self._tombstones = 0
        self._next_cookie = _COOKIE_FIRST
        self.blocks.clear()

    def put(self, nodes: dict[bytes, Node]) -> None:
        """Add nodes under their names; they get no cookies by that."""
        if self.children:
            self.children.update(nodes)
        else:
            self.children = nodes

    def number_anew(self) -> None:
        """Take all cookies back; for a directory that is not listed."""
        for node in self.children.values():
            node.cookie = 0
        self._start_numbering()

    def number(self, nodes: Sequence[Node]) -> None:
        """Give children their places in the listing, behind all others."""
        first = self._next_cookie
        self._next_cookie = first + len(nodes)
        for cookie, node in enumerate(nodes, first):
            node.cookie = cookie
        self._numbers.extend(range(first, self._next_cookie))
        self._in_order.extend(nodes)
        self.forget_block(first)  # the others are new

    def remove(self, name: bytes) -> Node:
        """Take a name away; the cookies of all others stay what they are."""
        node = self.children.pop(name)
        if node.cookie:
            self._in_order[bisect_left(self._numbers, node.cookie)] = None
            self.forget_block(node.cookie)
            self._tombstones += 1
            if self._tombstones > max(_TOMBSTONES_KEPT, len(self._in_order) // 2):
                self._bury()
        return node

    def unnumber(self, node: Node) -> None:
        """Take the cookie of a node back that was given it for a listing which nobody has seen."""
        if node.cookie:
            self._in_order[bisect_left(self._numbers, node.cookie)] = None
            self._tombstones += 1
            node.cookie = 0

    def keep_only(self, stays: Callable[[Node], bool]) -> list[Node]:
        """Become unlisted again, with nothing in it but what stays; gives what was dropped.

        Cookies that were given may mean something else after the next listing, unless that is
        of the same revision.
        """
        nodes = self.children
        self.children = {n: node for n, node in nodes.items() if stays(node)}
        self.listed_at = None
        self.verifier = blake2b(self.verifier, digest_size=8).digest()
        self.number_anew()
        return [node for node in nodes.values() if node.name not in self.children]

    def empty(self) -> Mapping[bytes, Node]:
        """Give up all children, also those of a draft, so that nothing holds them; gives them."""
        drafted = {} if self.draft is None else self.draft.fresh
        nodes = {**self.children, **drafted}
        self.children = {}
        self.draft = None
        self._start_numbering()
        return nodes

    # ------------------------------------------------------------- listing

    def require_cookie(self, cookie: int) -> None:
        """Raise BadCookie for one that was never given."""
        if cookie >= self._next_cookie:
            raise BadCookie(f"{self!r}: no cookie {cookie} was given")

    def block_after(self, cookie: int) -> int | None:
        """The number of the block that holds the first entry after `cookie`, if there is one."""
        index = bisect_right(self._numbers, cookie)
        return self._numbers[index] >> _BLOCK_BITS if index < len(self._numbers) else None

    def block(self, number: int) -> list[Node]:
        """The entries of a block, in the order of their cookies."""
        start = bisect_left(self._numbers, number << _BLOCK_BITS)
        end = bisect_left(self._numbers, number + 1 << _BLOCK_BITS, start)
        return [node for node in self._in_order[start:end] if node is not None]

    def last_cookie(self, number: int) -> int:
        """The last cookie that an entry of the block can have."""
        return (number + 1 << _BLOCK_BITS) - 1

    def forget_block(self, cookie: int) -> None:
        """Note that the entry of that cookie, or an attribute of it, has changed."""
        self.blocks.pop(cookie >> _BLOCK_BITS, None)

    def _bury(self) -> None:
        """Forget removed entries; what is left keeps its number."""
        self._in_order = [node for node in self._in_order if node is not None]
        self._numbers = array("Q", [node.cookie for node in self._in_order if node is not None])
        self._tombstones = 0
