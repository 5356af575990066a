"""READDIR and READDIRPLUS (RFC 1813 §3.3.16, §3.3.17): one page of a directory.

A page is slices of packed entries (pages.py), up to what the client allows: the cost is the
page's, not the directory's.
"""

import struct
from typing import NamedTuple

from hfnfs.config import KIB
from hfnfs.errors import BadCookie, ReplyTooSmall
from hfnfs.nfs3.export import Export
from hfnfs.nfs3.handle import HANDLE_BYTES
from hfnfs.nfs3.pages import Form, Pages
from hfnfs.nfs3.types import (
    ABSENT,
    COOKIE_VERIFIER,
    COOKIE_VERIFIER_BYTES,
    FILE_HANDLE,
    HANDLE_FORMAT,
    NAME,
    POST_OP_ATTR,
    POST_OP_FILE_HANDLE,
    PRESENT,
    STATUS_OK,
    result_of,
)
from hfnfs.rpc.session import Body, Caller
from hfnfs.rpc.xdr import boolean, decode, linked_list_of, struct_of, u32, u64, wire
from hfnfs.vfs.directory import COOKIE_PARENT, COOKIE_SELF, Directory
from hfnfs.vfs.node import FATTR3_BYTES

# The most of a page, whatever the client allows: its entries take about 2 ms if none of them was
# packed before. Linux asks for up to 1 MiB.
PAGE_BYTES_MAX = 256 * KIB
_ENTRIES_MAX = PAGE_BYTES_MAX // 24  # an entry of READDIR with a name of one byte

_READDIRPLUS = struct.Struct(f">{HANDLE_FORMAT}Q{COOKIE_VERIFIER_BYTES}sII")
# All of a result but its entries: status, attributes, verifier; end of the entries, eof.
_AROUND_BYTES = 4 + 4 + FATTR3_BYTES + COOKIE_VERIFIER_BYTES + 4 + 4


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


class Page(NamedTuple):
    """READDIR3resok or READDIRPLUS3resok with its entries packed."""

    dir_attributes: bytes
    cookieverf: bytes
    entries: list[bytes | memoryview]
    eof: bool


def decode_readdirplus_args(buf: bytes | memoryview, pos: int, end: int) -> ReaddirplusArgs:
    """Hand-packed twin of READDIRPLUS_ARGS."""
    if end - pos == _READDIRPLUS.size:
        length, handle, cookie, verifier, dircount, maxcount = _READDIRPLUS.unpack_from(buf, pos)
        if length == HANDLE_BYTES:
            return ReaddirplusArgs(handle, cookie, verifier, dircount, maxcount)
    return decode(READDIRPLUS_ARGS, buf, pos, end)


def encode_page(page: Page) -> Body:
    """Hand-packed twin of READDIR_OK and READDIRPLUS_OK, with their status."""
    head = STATUS_OK + PRESENT + page.dir_attributes + page.cookieverf
    return [head, *page.entries, ABSENT, PRESENT if page.eof else ABSENT]


# --------------------------------------------------------------- procedures


def readdir(export: Export, args: ReaddirArgs, caller: Caller) -> Page:
    """Give the names after a cookie, as many as `count` allows."""
    filling = _Filling(export.pages, Form.PLAIN, args.count, PAGE_BYTES_MAX)
    return _filled(export, args, filling)


def readdirplus(export: Export, args: ReaddirplusArgs, caller: Caller) -> Page:
    """Give the names after a cookie with attributes and handles."""
    filling = _Filling(export.pages, Form.PLUS, args.maxcount, args.dircount)
    return _filled(export, args, filling)


def _filled(export: Export, args: ReaddirArgs | ReaddirplusArgs, filling: "_Filling") -> Page:
    """Raises BadCookie, NotDirectory, ReplyTooSmall, NotYet."""
    cookie = args.cookie
    directory = export.volume.tree.listed(export.node(args.dir), cookie)
    if cookie and args.cookieverf != directory.verifier:
        raise BadCookie(f"{directory!r} gives other cookies now")
    eof = filling.takes_dots(directory, cookie) and filling.takes_blocks(directory, cookie)
    if filling.is_empty and (not eof or filling.room < 0):
        raise ReplyTooSmall(f"{directory!r}: no room for one entry")
    return Page(directory.fattr3, directory.verifier, filling.parts, eof)


class _Filling:
    """A page being filled up to a number of bytes, and of bytes that dircount counts."""

    __slots__ = ("_form", "_names_room", "_pages", "parts", "room")

    def __init__(self, pages: Pages, form: Form, bytes_max: int, names_bytes_max: int) -> None:
        self.parts: list[bytes | memoryview] = []
        self.room = min(bytes_max, PAGE_BYTES_MAX) - _AROUND_BYTES
        self._names_room = names_bytes_max
        self._form = form
        self._pages = pages

    @property
    def is_empty(self) -> bool:
        """Whether there is no entry in it."""
        return not self.parts

    def takes_dots(self, directory: Directory, cookie: int) -> bool:
        """Add "." and ".." unless they come before the cookie; whether there was room."""
        dots = (COOKIE_SELF, b".", directory), (COOKIE_PARENT, b"..", directory.parent or directory)
        for dot in dots[cookie:]:
            packed, counted = self._pages.entry(self._form, *dot)
            if len(packed) > self.room or counted > self._names_room:
                return False
            self.parts.append(packed)
            self.room -= len(packed)
            self._names_room -= counted
        return True

    def takes_blocks(self, directory: Directory, cookie: int) -> bool:
        """Add the entries after the cookie; whether there was room for all of them."""
        cookie = max(cookie, COOKIE_PARENT)
        while (number := directory.block_after(cookie)) is not None:
            block = self._pages.block(self._form, directory, number)
            first = block.first_after(cookie)
            last = block.fitting(first, self.room, self._names_room)
            if last > first:
                part = block.part(first, last)
                self.parts.append(part)
                self.room -= len(part)
                self._names_room -= block.counted(first, last)
            if last < len(block):
                return False
            cookie = directory.last_cookie(number)
        return True
