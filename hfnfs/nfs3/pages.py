"""Entries of directories packed as READDIR and READDIRPLUS send them, kept for the next reader.

They are packed and kept by block (vfs/directory.py): a page is a few slices of blocks, so it costs
the same in a directory of any size. A block is packed when a page first needs it, and again after
one of its entries or their attributes has changed.
"""

import struct
from array import array
from bisect import bisect_right
from collections.abc import Callable
from enum import Enum

from hfnfs.config import MIB
from hfnfs.nfs3.handle import HANDLE_BYTES
from hfnfs.nfs3.types import HANDLE_FORMAT, POST_OP_ATTR_FORMAT
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.node import Node
from hfnfs.vfs.tree import NAME_BYTES_MAX

# Bytes of blocks that are kept, some 350,000 entries; the oldest go first.
KEPT_BYTES_MAX = 64 * MIB

_WORDS_MAX = (NAME_BYTES_MAX + 3) // 4
# An entry follows, its fileid, name and cookie; by the words of four bytes that its name takes.
_ENTRY = [struct.Struct(f">IQI{4 * words}sQ") for words in range(_WORDS_MAX + 1)]
# And attributes and handle.
_ENTRY_PLUS = [
    struct.Struct(f">IQI{4 * words}sQ{POST_OP_ATTR_FORMAT}I{HANDLE_FORMAT}")
    for words in range(_WORDS_MAX + 1)
]
# What READDIRPLUS's dircount counts of an entry without its name: fileid, length, cookie. What it
# does not count: "an entry follows", attributes, handle.
_NAMED_BYTES = 8 + 4 + 8


class Form(Enum):
    """What is told of an entry."""

    PLAIN = "READDIR"
    PLUS = "READDIRPLUS"


def pack_entry(cookie: int, name: bytes, node: Node) -> bytes:
    """Hand-packed twin of ENTRY, as an item of a linked list."""
    length = len(name)
    return _ENTRY[length + 3 >> 2].pack(1, node.fileid, length, name, cookie)


def pack_entry_plus(cookie: int, name: bytes, node: Node, handle: bytes) -> bytes:
    """Hand-packed twin of ENTRY_PLUS, as an item of a linked list."""
    length = len(name)
    return _ENTRY_PLUS[length + 3 >> 2].pack(
        1, node.fileid, length, name, cookie, 1, node.pack(), 1, HANDLE_BYTES, handle
    )


_UNCOUNTED = {
    form: table[0].size - _NAMED_BYTES
    for form, table in ((Form.PLAIN, _ENTRY), (Form.PLUS, _ENTRY_PLUS))
}


class Block:
    """Entries packed one behind the other."""

    __slots__ = ("_ends", "_uncounted", "cookies", "data")

    def __init__(self, cookies: list[int], packed: list[bytes], uncounted: int) -> None:
        """`uncounted` are the bytes of each entry that dircount does not count."""
        self.cookies = array("Q", cookies)
        self.data = b"".join(packed)
        self._uncounted = uncounted
        end = 0
        self._ends = array("I", [end := end + len(entry) for entry in packed])

    def __len__(self) -> int:
        return len(self.cookies)

    def first_after(self, cookie: int) -> int:
        """The index of the first entry after a cookie."""
        return bisect_right(self.cookies, cookie)

    def fitting(self, first: int, room: int, names_room: int) -> int:
        """The index behind the last of the entries from `first` on for which there is room."""
        begin = self.offset(first)
        last = bisect_right(self._ends, begin + room, first)
        if self.counted(first, last) <= names_room:
            return last
        return (
            bisect_right(
                range(first, last), names_room, key=lambda index: self.counted(first, index + 1)
            )
            + first
        )

    def offset(self, index: int) -> int:
        """Where an entry begins, in bytes."""
        return self._ends[index - 1] if index else 0

    def counted(self, first: int, last: int) -> int:
        """What dircount counts of entries, in bytes."""
        return self.offset(last) - self.offset(first) - (last - first) * self._uncounted

    def part(self, first: int, last: int) -> bytes | memoryview:
        """The bytes of some entries."""
        if last - first == len(self):
            return self.data
        return memoryview(self.data)[self.offset(first) : self.offset(last)]


class Pages:
    """Packs entries, and keeps blocks of them within a number of bytes."""

    def __init__(self, make_handle: Callable[[Node], bytes]) -> None:
        self._make_handle = make_handle
        self._kept: dict[tuple[Directory, int, Form], int] = {}  # bytes, oldest first
        self._bytes = 0

    def entry(self, form: Form, cookie: int, name: bytes, node: Node) -> tuple[bytes, int]:
        """A single entry packed, and what dircount counts of it."""
        if form is Form.PLAIN:
            packed = pack_entry(cookie, name, node)
        else:
            packed = pack_entry_plus(cookie, name, node, self._make_handle(node))
        return packed, len(packed) - _UNCOUNTED[form]

    def block(self, form: Form, directory: Directory, number: int) -> Block:
        """A block of a directory's entries, packed."""
        forms = directory.blocks.setdefault(number, {})
        block: Block | None = forms.get(form)
        if block is None:
            nodes = directory.block(number)
            packed = [self.entry(form, node.cookie, node.name, node)[0] for node in nodes]
            cookies = [node.cookie for node in nodes]
            block = forms[form] = Block(cookies, packed, _UNCOUNTED[form])
            self._keep((directory, number, form), len(block.data))
        return block

    def _keep(self, key: tuple[Directory, int, Form], size: int) -> None:
        self._bytes += size - self._kept.pop(key, 0)
        self._kept[key] = size
        while self._bytes > KEPT_BYTES_MAX and len(self._kept) > 1:
            oldest = next(iter(self._kept))
            self._bytes -= self._kept.pop(oldest)
            directory, number, _ = oldest
            directory.blocks.pop(number, None)
