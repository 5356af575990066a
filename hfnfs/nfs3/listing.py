"""READDIR and READDIRPLUS (RFC 1813 §3.3.16, §3.3.17): one page of a directory.

A page is filled entry by entry, each packed as it will be sent, until the next would pass what
the client allows: the cost is the page's, not the directory's.
"""

import struct
from collections.abc import Iterator
from typing import TypeAlias

from hfnfs.config import KIB
from hfnfs.errors import BadCookie, ReplyTooSmall
from hfnfs.nfs3.handle import HANDLE_BYTES, Export
from hfnfs.nfs3.types import (
    ABSENT,
    COOKIE_VERIFIER,
    COOKIE_VERIFIER_BYTES,
    FILE_HANDLE,
    NAME,
    POST_OP_ATTR,
    POST_OP_FILE_HANDLE,
    PRESENT,
    STATUS_OK,
    handle_at,
    pack_post_op_attr,
    require_end,
    result_of,
)
from hfnfs.rpc.session import Caller
from hfnfs.rpc.xdr import boolean, linked_list_of, struct_of, u32, u64, wire
from hfnfs.vfs.node import FATTR3_BYTES, Node

# The most of a page that is filled in one turn of the loop, whatever the client allows: about
# 2 ms of work. Linux asks for up to 1 MiB.
PAGE_BYTES_MAX = 256 * KIB
_ENTRIES_MAX = PAGE_BYTES_MAX // 24  # an entry of READDIR with a name of one byte

_PADDING = (b"", bytes(3), bytes(2), bytes(1))  # by length modulo 4
_ENTRY_HEAD = struct.Struct(">IQI")  # an entry follows, its fileid, length of its name
_COOKIE = struct.Struct(">Q")
_COOKIE_PRESENT = struct.Struct(">QI")  # cookie, attributes follow
_HANDLE_HEAD = struct.pack(">II", 1, HANDLE_BYTES)  # a handle follows, its length
_READDIRPLUS_REST = struct.Struct(f">Q{COOKIE_VERIFIER_BYTES}sII")
# All of a result but its entries: status, attributes, verifier; end of the entries, eof.
_AROUND_BYTES = 4 + 4 + FATTR3_BYTES + COOKIE_VERIFIER_BYTES + 4 + 4
# What dircount counts of an entry besides its name: fileid, length of the name, cookie.
_NAMED_BYTES = 8 + 4 + 8

Entries: TypeAlias = Iterator[tuple[int, bytes, Node]]  # cookie, name, node


@wire
class ReaddirArgs:
    """READDIR3args."""

    dir: bytes
    cookie: int
    cookieverf: bytes
    count: int  # bytes of the result


@wire
class ReaddirplusArgs:
    """READDIRPLUS3args."""

    dir: bytes
    cookie: int
    cookieverf: bytes
    dircount: int  # bytes of names, fileids and cookies
    maxcount: int  # bytes of the result


@wire
class Entry:
    """entry3."""

    fileid: int
    name: bytes
    cookie: int


@wire
class EntryPlus:
    """entryplus3."""

    fileid: int
    name: bytes
    cookie: int
    name_attributes: bytes | None
    name_handle: bytes | None


@wire
class ReaddirOk:
    """READDIR3resok, its dirlist3 unfolded."""

    dir_attributes: bytes | None
    cookieverf: bytes
    entries: list[Entry]
    eof: bool


@wire
class ReaddirplusOk:
    """READDIRPLUS3resok, its dirlistplus3 unfolded."""

    dir_attributes: bytes | None
    cookieverf: bytes
    entries: list[EntryPlus]
    eof: bool


READDIR_ARGS = struct_of(
    ReaddirArgs, dir=FILE_HANDLE, cookie=u64, cookieverf=COOKIE_VERIFIER, count=u32
)
READDIRPLUS_ARGS = struct_of(
    ReaddirplusArgs,
    dir=FILE_HANDLE,
    cookie=u64,
    cookieverf=COOKIE_VERIFIER,
    dircount=u32,
    maxcount=u32,
)
ENTRY = struct_of(Entry, fileid=u64, name=NAME, cookie=u64)
ENTRY_PLUS = struct_of(
    EntryPlus,
    fileid=u64,
    name=NAME,
    cookie=u64,
    name_attributes=POST_OP_ATTR,
    name_handle=POST_OP_FILE_HANDLE,
)
READDIR_OK = struct_of(
    ReaddirOk,
    dir_attributes=POST_OP_ATTR,
    cookieverf=COOKIE_VERIFIER,
    entries=linked_list_of(ENTRY, _ENTRIES_MAX),
    eof=boolean,
)
READDIRPLUS_OK = struct_of(
    ReaddirplusOk,
    dir_attributes=POST_OP_ATTR,
    cookieverf=COOKIE_VERIFIER,
    entries=linked_list_of(ENTRY_PLUS, _ENTRIES_MAX),
    eof=boolean,
)
READDIR_RESULT = result_of(READDIR_OK, POST_OP_ATTR)
READDIRPLUS_RESULT = result_of(READDIRPLUS_OK, POST_OP_ATTR)


# ------------------------------------------------------------------ by hand


@wire
class Page:
    """READDIR3resok or READDIRPLUS3resok with its entries packed."""

    dir_attributes: bytes
    cookieverf: bytes
    entries: list[bytes]
    eof: bool


def decode_readdirplus_args(buf: bytes | memoryview, pos: int, end: int) -> ReaddirplusArgs:
    """Hand-packed twin of READDIRPLUS_ARGS."""
    handle, pos = handle_at(buf, pos)
    require_end(pos + _READDIRPLUS_REST.size, end)
    return ReaddirplusArgs(handle, *_READDIRPLUS_REST.unpack_from(buf, pos))


def encode_page(page: Page) -> bytes:
    """Hand-packed twin of READDIR_OK and READDIRPLUS_OK, after their status."""
    head = STATUS_OK + pack_post_op_attr(page.dir_attributes) + page.cookieverf
    return b"".join((head, *page.entries, ABSENT, PRESENT if page.eof else ABSENT))


def pack_entry(cookie: int, name: bytes, node: Node) -> bytes:
    """Hand-packed twin of ENTRY, as an item of a linked list."""
    length = len(name)
    head = _ENTRY_HEAD.pack(1, node.fileid, length)
    return head + name + _PADDING[length & 3] + _COOKIE.pack(cookie)


def pack_entry_plus(cookie: int, name: bytes, node: Node, handle: bytes) -> bytes:
    """Hand-packed twin of ENTRY_PLUS, as an item of a linked list."""
    length = len(name)
    return b"".join(
        (
            _ENTRY_HEAD.pack(1, node.fileid, length),
            name,
            _PADDING[length & 3],
            _COOKIE_PRESENT.pack(cookie, 1),
            node.fattr3,
            _HANDLE_HEAD,
            handle,
        )
    )


# --------------------------------------------------------------- procedures


def readdir(export: Export, args: ReaddirArgs, caller: Caller) -> Page:
    """Give the names after a cookie, as many as `count` allows."""
    directory, entries = _resumed(export, args)
    page = _Filling(args.count)
    for cookie, name, node in entries:
        if not page.takes(pack_entry(cookie, name, node)):
            break
    else:
        page.eof = True
    return page.of(export, directory)


def readdirplus(export: Export, args: ReaddirplusArgs, caller: Caller) -> Page:
    """Give the names after a cookie with attributes and handles."""
    directory, entries = _resumed(export, args)
    handle_of = export.handle_of
    page = _Filling(args.maxcount)
    names_room = args.dircount
    for cookie, name, node in entries:
        names_room -= _NAMED_BYTES + (len(name) + 3 & ~3)
        if names_room < 0 or not page.takes(pack_entry_plus(cookie, name, node, handle_of(node))):
            break
    else:
        page.eof = True
    return page.of(export, directory)


def _resumed(export: Export, args: ReaddirArgs | ReaddirplusArgs) -> tuple[Node, Entries]:
    """Give a directory and its entries after the cookie.

    Raises BadCookie, NotDirectory, NotYet.
    """
    directory = export.node(args.dir)
    tree = export.volume.tree
    entries = tree.page(directory, args.cookie)
    if args.cookie and args.cookieverf != tree.cookie_verifier(directory):
        raise BadCookie(f"{directory!r} gives other cookies now")
    return directory, entries


class _Filling:
    """A page being filled up to a number of bytes."""

    __slots__ = ("_entries", "_room", "eof")

    def __init__(self, bytes_max: int) -> None:
        self._entries: list[bytes] = []
        self._room = min(bytes_max, PAGE_BYTES_MAX) - _AROUND_BYTES
        self.eof = False

    def takes(self, packed: bytes) -> bool:
        """Add an entry, if there is room for it."""
        self._room -= len(packed)
        if self._room < 0:
            return False
        self._entries.append(packed)
        return True

    def of(self, export: Export, directory: Node) -> Page:
        """Give the page. Raises ReplyTooSmall for one that would say nothing."""
        if not self._entries and (not self.eof or self._room < 0):
            raise ReplyTooSmall(f"{directory!r}: no room for one entry")
        verifier = export.volume.tree.cookie_verifier(directory)
        return Page(directory.fattr3, verifier, self._entries, self.eof)
