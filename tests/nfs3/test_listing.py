from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.nfs3 import pages as pages_module
from hfnfs.nfs3.handle import HANDLE_BYTES
from hfnfs.nfs3.listing import (
    ENTRY,
    ENTRY_PLUS,
    PAGE_BYTES_MAX,
    READDIR_ARGS,
    READDIR_OK,
    READDIR_RESULT,
    READDIRPLUS_ARGS,
    READDIRPLUS_OK,
    READDIRPLUS_RESULT,
    Entry,
    EntryPlus,
    Page,
    ReaddirArgs,
    ReaddirOk,
    ReaddirplusArgs,
    ReaddirplusOk,
    decode_readdirplus_args,
    encode_page,
)
from hfnfs.nfs3.pages import Block, pack_entry, pack_entry_plus
from hfnfs.nfs3.status import Status
from hfnfs.rpc.xdr import decode, encode
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.node import Node
from tests.fakes.volume import Folder
from tests.nfs3.by_hand import READDIRPLUSES, READDIRS, Hand
from tests.nfs3.desk import SMALL, Desk, joined, ok
from tests.nfs3.twins import assert_decodes_alike, spoiled
from tests.vfs.builders import a_file

READDIR = (READDIR_ARGS, READDIR_RESULT)
READDIRPLUS = (READDIRPLUS_ARGS, READDIRPLUS_RESULT)
NO_VERIFIER = bytes(8)
PLENTY = 1 << 20
MANY = [b".", b"..", *(f"file-{number:04}".encode() for number in range(500))]


def plus(handle: bytes, cookie: int = 0, verifier: bytes = NO_VERIFIER) -> ReaddirplusArgs:
    return ReaddirplusArgs(handle, cookie, verifier, PLENTY, PLENTY)


async def pages(
    desk: Desk, handle: bytes, *, plus_: bool, dircount: int = PLENTY, maxcount: int = PLENTY
) -> AsyncIterator[Any]:
    """All pages of a directory, as a client asks for them."""
    cookie, verifier = 0, NO_VERIFIER
    while True:
        if plus_:
            args = ReaddirplusArgs(handle, cookie, verifier, dircount, maxcount)
            page = ok(await desk.call("READDIRPLUS", args, READDIRPLUS))
        else:
            page = ok(
                await desk.call("READDIR", ReaddirArgs(handle, cookie, verifier, maxcount), READDIR)
            )
        yield page
        if page.eof:
            return
        cookie, verifier = page.entries[-1].cookie, page.cookieverf


@pytest.mark.parametrize("plus_", [False, True])
@pytest.mark.parametrize("maxcount", [300, 1000, 4096, 65536, PLENTY])
async def test_pages_of_every_size_give_every_name_once(plus_: bool, maxcount: int) -> None:
    desk = Desk()
    handle = await desk.handle("many")
    found = [
        entry.name
        async for page in pages(desk, handle, plus_=plus_, maxcount=maxcount)
        for entry in page.entries
    ]
    assert found == MANY


async def test_readdirplus_gives_attributes_and_handles_of_all() -> None:
    desk = Desk()
    page = ok(await desk.call("READDIRPLUS", plus(desk.root), READDIRPLUS))
    assert page.dir_attributes == desk.volume.root.fattr3
    assert [entry.name for entry in page.entries] == [b".", b"..", *(n.encode() for n in SMALL)]
    for entry in page.entries:
        node = desk.export.node(entry.name_handle)
        assert (entry.fileid, entry.name_attributes) == (node.fileid, node.fattr3)


async def test_readdir_gives_the_same_names_fileids_and_cookies_as_readdirplus() -> None:
    desk = Desk()
    plain = ok(await desk.call("READDIR", ReaddirArgs(desk.root, 0, NO_VERIFIER, PLENTY), READDIR))
    full = ok(await desk.call("READDIRPLUS", plus(desk.root), READDIRPLUS))
    assert plain.entries == [Entry(e.fileid, e.name, e.cookie) for e in full.entries]
    assert (plain.dir_attributes, plain.cookieverf) == (full.dir_attributes, full.cookieverf)


@pytest.mark.parametrize("plus_", [False, True])
async def test_a_page_is_never_larger_than_maxcount_and_fills_it(plus_: bool) -> None:
    desk = Desk()
    handle = await desk.handle("many")
    entry_bytes = 24 + 12 + (4 + 84 + 4 + 4 + HANDLE_BYTES if plus_ else 0)
    for maxcount in range(1000, 1000 + entry_bytes, 4):
        if plus_:
            more = ReaddirplusArgs(handle, 0, NO_VERIFIER, PLENTY, maxcount)
            reply = await desk.raw("READDIRPLUS", encode(READDIRPLUS_ARGS, more))
        else:
            args = ReaddirArgs(handle, 0, NO_VERIFIER, maxcount)
            reply = await desk.raw("READDIR", encode(READDIR_ARGS, args))
        assert maxcount - entry_bytes < len(reply) <= maxcount


@pytest.mark.parametrize("dircount", [100, 500, 1000])
async def test_dircount_bounds_names_fileids_and_cookies(dircount: int) -> None:
    desk = Desk()
    handle = await desk.handle("many")
    async for page in pages(desk, handle, plus_=True, dircount=dircount):
        counted = sum(20 + (len(entry.name) + 3 & ~3) for entry in page.entries)
        assert counted <= dircount
        assert page.eof or counted + 32 > dircount


@pytest.mark.parametrize(("dircount", "maxcount"), [(0, PLENTY), (19, PLENTY), (PLENTY, 0)])
async def test_no_room_for_one_entry_is_toosmall(dircount: int, maxcount: int) -> None:
    desk = Desk()
    args = ReaddirplusArgs(desk.root, 0, NO_VERIFIER, dircount, maxcount)
    answered = await desk.call("READDIRPLUS", args, READDIRPLUS)
    assert answered == (Status.TOOSMALL, desk.volume.root.fattr3)


@pytest.mark.parametrize("plus_", [False, True])
async def test_every_maxcount_gives_entries_or_toosmall(plus_: bool) -> None:
    desk = Desk()
    handle = await desk.handle("many")
    for maxcount in range(400):
        if plus_:
            args: Any = ReaddirplusArgs(handle, 0, NO_VERIFIER, PLENTY, maxcount)
            status, page = await desk.call("READDIRPLUS", args, READDIRPLUS)
        else:
            args = ReaddirArgs(handle, 0, NO_VERIFIER, maxcount)
            status, page = await desk.call("READDIR", args, READDIR)
        assert status is Status.TOOSMALL or page.entries


async def test_the_end_of_a_directory_is_an_empty_page_with_eof() -> None:
    desk = Desk()
    page = ok(await desk.call("READDIRPLUS", plus(desk.root), READDIRPLUS))
    last = page.entries[-1].cookie
    rest = ok(await desk.call("READDIRPLUS", plus(desk.root, last, page.cookieverf), READDIRPLUS))
    assert (rest.entries, rest.eof) == ([], True)


async def test_a_listing_goes_on_after_any_cookie_it_gave() -> None:
    desk = Desk()
    page = ok(await desk.call("READDIRPLUS", plus(desk.root), READDIRPLUS))
    for number, entry in enumerate(page.entries):
        args = plus(desk.root, entry.cookie, page.cookieverf)
        rest = ok(await desk.call("READDIRPLUS", args, READDIRPLUS))
        assert rest.entries == page.entries[number + 1 :]


@pytest.mark.parametrize("plus_", [False, True])
async def test_a_cookie_with_another_verifier_is_badcookie(plus_: bool) -> None:
    desk = Desk()
    page = ok(await desk.call("READDIRPLUS", plus(desk.root), READDIRPLUS))
    cookie = page.entries[0].cookie
    if plus_:
        answered = await desk.call("READDIRPLUS", plus(desk.root, cookie, b"othertim"), READDIRPLUS)
    else:
        args = ReaddirArgs(desk.root, cookie, b"othertim", PLENTY)
        answered = await desk.call("READDIR", args, READDIR)
    assert answered == (Status.BAD_COOKIE, desk.volume.root.fattr3)


async def test_a_cookie_that_was_never_given_is_badcookie() -> None:
    desk = Desk()
    page = ok(await desk.call("READDIRPLUS", plus(desk.root), READDIRPLUS))
    args = plus(desk.root, 2**64 - 1, page.cookieverf)
    status, _ = await desk.call("READDIRPLUS", args, READDIRPLUS)
    assert status is Status.BAD_COOKIE


async def test_a_first_page_is_given_whatever_the_verifier() -> None:
    desk = Desk()
    ok(await desk.call("READDIRPLUS", plus(desk.root, 0, b"whatever"), READDIRPLUS))


async def test_listing_a_file_is_notdir() -> None:
    desk = Desk()
    handle = await desk.handle("hello.txt")
    answered = await desk.call("READDIRPLUS", plus(handle), READDIRPLUS)
    assert answered == (Status.NOTDIR, desk.export.node(handle).fattr3)


async def test_a_page_costs_its_own_size_and_not_the_directorys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk({"many": {f"file-{number:05}": b"" for number in range(5000)}})
    handle = await desk.handle("many")
    first = ok(await desk.call("READDIRPLUS", plus(handle), READDIRPLUS))
    made: list[int] = []
    packs = pages_module.pack_entry_plus

    def noted(cookie: int, name: bytes, node: Node, handle: bytes) -> bytes:
        made.append(cookie)
        return packs(cookie, name, node, handle)

    monkeypatch.setattr(pages_module, "pack_entry_plus", noted)
    args = ReaddirplusArgs(handle, 3000, first.cookieverf, PLENTY, 1000)
    for _ in range(3):
        assert ok(await desk.call("READDIRPLUS", args, READDIRPLUS)).entries[0].cookie == 3001
    assert 0 < len(made) <= 256  # one block, once


@pytest.mark.parametrize("plus_", [False, True])
async def test_a_page_tells_what_is_true_after_a_change(plus_: bool) -> None:
    folder: dict[str, bytes | Folder] = {f"file-{number:04}": b"x" for number in range(600)}
    desk = Desk(dict(folder))
    changes: list[tuple[str, bytes | Folder]] = [
        ("file-0300", b"longer"),
        ("new", b"1"),
        ("file-0000", {"now": b"a folder"}),
    ]
    for gone, (name, becomes) in enumerate(changes, 7):
        async for _ in pages(desk, desk.root, plus_=plus_):
            pass
        folder[name] = becomes
        del folder[f"file-{gone:04}"]
        desk.far.becomes(dict(folder))
        entries = [e async for page in pages(desk, desk.root, plus_=plus_) for e in page.entries]
        assert {e.name.decode() for e in entries} - {".", ".."} == set(folder)
        for entry in entries[2:]:
            node = desk.volume.tree.lookup(desk.volume.root, entry.name)
            assert entry.fileid == node.fileid
            if plus_:
                assert entry.name_attributes == node.fattr3
                assert desk.export.node(entry.name_handle) is node


async def test_what_is_kept_of_listings_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages_module, "KEPT_BYTES_MAX", 100_000)
    desk = Desk({"many": {f"file-{number:05}": b"" for number in range(5000)}})
    handle = await desk.handle("many")
    names = [e.name async for page in pages(desk, handle, plus_=True) for e in page.entries]
    assert len(names) == 5002
    many = await desk.node("many")
    assert isinstance(many, Directory)
    kept = [block.data for forms in many.blocks.values() for block in forms.values()]
    assert 50_000 < sum(map(len, kept)) <= 100_000


async def test_a_page_is_bounded_whatever_the_client_allows() -> None:
    desk = Desk({"x" * 200 + str(number): b"" for number in range(2000)})
    args = ReaddirplusArgs(desk.root, 0, NO_VERIFIER, 2**32 - 1, 2**32 - 1)
    reply = await desk.raw("READDIRPLUS", encode(READDIRPLUS_ARGS, args))
    assert PAGE_BYTES_MAX - 500 < len(reply) <= PAGE_BYTES_MAX


# ---------------------------------------------------------------- on the wire


@given(READDIRS)
def test_readdir_args_lie_on_the_wire_as_the_rfc_says(value: ReaddirArgs) -> None:
    hand = Hand().opaque(value.dir).u64(value.cookie).fixed(value.cookieverf).u32(value.count)
    assert encode(READDIR_ARGS, value) == hand.bytes()
    assert decode(READDIR_ARGS, hand.bytes()) == value


@given(READDIRPLUSES)
def test_readdirplus_args_lie_on_the_wire_as_the_rfc_says(value: ReaddirplusArgs) -> None:
    hand = Hand().opaque(value.dir).u64(value.cookie).fixed(value.cookieverf)
    packed = hand.u32(value.dircount, value.maxcount).bytes()
    assert encode(READDIRPLUS_ARGS, value) == packed
    assert_decodes_alike(decode_readdirplus_args, READDIRPLUS_ARGS, packed)


@given(READDIRPLUSES, st.integers(0, 90), st.integers(0, 255), st.integers(0, 120))
def test_readdirplus_args_by_hand_refuse_what_the_declaration_refuses(
    value: ReaddirplusArgs, at: int, byte: int, cut: int
) -> None:
    packed = spoiled(encode(READDIRPLUS_ARGS, value), at, byte, cut)
    assert_decodes_alike(decode_readdirplus_args, READDIRPLUS_ARGS, packed)


node = a_file


ITEMS = st.lists(
    st.tuples(st.integers(1, 2**63), st.binary(min_size=1, max_size=255), st.integers(1, 2**63)),
    max_size=4,
)
HANDLE = bytes(range(HANDLE_BYTES))
VERIFIER = b"verifier"


@given(ITEMS, st.booleans())
def test_a_page_of_readdir_by_hand_is_as_declared(
    items: list[tuple[int, bytes, int]], eof: bool
) -> None:
    attributes = node(1).fattr3
    packed = [pack_entry(cookie, name, node(fileid)) for fileid, name, cookie in items]
    declared = ReaddirOk(attributes, VERIFIER, [Entry(*item) for item in items], eof)
    page = joined(encode_page(Page(attributes, VERIFIER, list(packed), eof)))
    assert page == encode(READDIR_RESULT, (Status.OK, declared))
    hand = Hand().post_op_attr(attributes).fixed(VERIFIER)
    for fileid, name, cookie in items:
        hand.u32(1).u64(fileid).opaque(name).u64(cookie)
    assert encode(READDIR_OK, declared) == hand.u32(0, eof).bytes()
    for fileid, name, cookie in items:
        assert (
            pack_entry(cookie, name, node(fileid))
            == Hand().u32(1).fixed(encode(ENTRY, Entry(fileid, name, cookie))).bytes()
        )


@given(ITEMS, st.booleans())
def test_a_page_of_readdirplus_by_hand_is_as_declared(
    items: list[tuple[int, bytes, int]], eof: bool
) -> None:
    attributes = node(1).fattr3
    packed = [pack_entry_plus(cookie, name, node(fileid), HANDLE) for fileid, name, cookie in items]
    entries = [EntryPlus(*item, node(item[0]).fattr3, HANDLE) for item in items]
    declared = ReaddirplusOk(attributes, VERIFIER, entries, eof)
    page = joined(encode_page(Page(attributes, VERIFIER, list(packed), eof)))
    assert page == encode(READDIRPLUS_RESULT, (Status.OK, declared))
    hand = Hand().post_op_attr(attributes).fixed(VERIFIER)
    for fileid, name, cookie in items:
        hand.u32(1).u64(fileid).opaque(name).u64(cookie)
        hand.post_op_attr(node(fileid).fattr3).u32(1).opaque(HANDLE)
    assert encode(READDIRPLUS_OK, declared) == hand.u32(0, eof).bytes()
    assert [encode(ENTRY_PLUS, entry) for entry in entries] == [item[4:] for item in packed]


@given(
    st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=20),
    st.integers(0, 22),
    st.integers(-1, 900),
    st.integers(-1, 900),
)
def test_a_block_gives_as_many_entries_as_there_is_room_for(
    names: list[bytes], cookie: int, room: int, names_room: int
) -> None:
    packed = [pack_entry(number, name, node()) for number, name in enumerate(names, 1)]
    block = Block(list(range(1, len(names) + 1)), packed, uncounted=4)
    first = last = min(cookie, len(names))
    while last < len(names):
        taken = packed[first : last + 1]
        if sum(map(len, taken)) > room or sum(map(len, taken)) - 4 * len(taken) > names_room:
            break
        last += 1
    assert block.first_after(cookie) == first
    assert block.fitting(first, room, names_room) == last
    assert block.part(first, last) == b"".join(packed[first:last])
