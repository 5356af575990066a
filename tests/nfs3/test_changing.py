"""Every procedure that changes something, from our client to a volume and back."""

from pathlib import Path

import pytest

from hfnfs.nfs3.client import NfsClient, NotOk
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.types import FATTR3, WCC_ATTR, Fattr3, NfsTime3, WccData, wcc_attr_of
from hfnfs.nfs3.writing import Stable
from hfnfs.rpc.message import AuthSys
from hfnfs.rpc.xdr import decode, encode
from hfnfs.vfs.attributes import SERVER_TIME, Wanted
from hfnfs.vfs.node import FileType
from tests.nfs3.writable import mounted

HUB = {"a.txt": b"alpha", "dir/b.txt": b"beta", "dir/c.txt": b"gamma"}
MS = 1_000_000


async def read_all(client: NfsClient, handle: bytes) -> bytes:
    return b"".join([piece async for piece in client.read_all(handle)])


async def names(client: NfsClient, directory: bytes) -> set[bytes]:
    return {found.path async for found in client.walk(directory)}


def attributes(wcc: WccData) -> Fattr3:
    assert wcc.after is not None
    return decode(FATTR3, wcc.after)


async def test_a_new_file_is_there_with_what_was_written(tmp_path: Path) -> None:
    async with mounted(tmp_path, HUB) as (client, root, desk):
        made = await client.create(root, b"new", Wanted(mode=0o640), guarded=True)
        assert (made.attributes.mode, made.attributes.uid, made.attributes.size) == (0o640, 0, 0)
        assert made.handle == await client.lookup(root, b"new")
        await client.write_all(made.handle, 0, b"x" * (3 << 20))
        assert (await client.getattr(made.handle)).size == 3 << 20
        assert await read_all(client, made.handle) == b"x" * (3 << 20)
        assert desk.wanted() == {"new": "put"}


async def test_what_is_written_over_a_file_is_read_with_what_was_there(tmp_path: Path) -> None:
    async with mounted(tmp_path, HUB) as (client, root, _):
        handle = await client.lookup(root, b"a.txt")
        before = await client.getattr(handle)
        ok = await client.write(handle, 3, b"XYZ")
        assert (ok.count, ok.committed) == (3, Stable.UNSTABLE)
        assert ok.file_wcc.before == wcc_attr_of(encode(FATTR3, before))
        assert attributes(ok.file_wcc) == await client.getattr(handle)
        stable = await client.write(handle, 0, b"A", Stable.DATA_SYNC)
        assert stable.committed is Stable.FILE_SYNC
        assert stable.verf == ok.verf == await client.commit(handle)
        assert await read_all(client, handle) == b"AlpXYZ"


async def test_create_takes_what_is_there_unless_it_is_guarded(tmp_path: Path) -> None:
    async with mounted(tmp_path, HUB) as (client, root, _):
        there = await client.lookup(root, b"a.txt")
        assert (await client.create(root, b"a.txt")).handle == there
        assert await read_all(client, there) == b"alpha"
        cut = await client.create(root, b"a.txt", Wanted(size=0))
        assert (cut.handle, cut.attributes.size) == (there, 0)
        with pytest.raises(NotOk, match="CREATE: EXIST"):
            await client.create(root, b"a.txt", guarded=True)
        with pytest.raises(NotOk, match="CREATE: EXIST"):
            await client.create(root, b"dir")


async def test_an_exclusive_create_is_the_same_file_for_the_same_verifier(tmp_path: Path) -> None:
    async with mounted(tmp_path, HUB) as (client, root, _):
        made = await client.create_exclusive(root, b"new", b"verifier")
        assert made.attributes.mode == 0o600
        assert (await client.create_exclusive(root, b"new", b"verifier")).handle == made.handle
        with pytest.raises(NotOk, match="CREATE: EXIST"):
            await client.create_exclusive(root, b"new", b"verifieR")
        with pytest.raises(NotOk, match="CREATE: EXIST"):
            await client.create_exclusive(root, b"a.txt", b"verifier")


async def test_directories_are_made_and_removed(tmp_path: Path) -> None:
    async with mounted(tmp_path, HUB) as (client, root, _):
        made = await client.mkdir(root, b"new", Wanted(mode=0o750))
        assert (made.attributes.type, made.attributes.mode) == (FileType.DIR, 0o750)
        await client.create(made.handle, b"inner")
        for name, status in ((b"new", "NOTEMPTY"), (b"dir", "NOTEMPTY"), (b"a.txt", "NOTDIR")):
            with pytest.raises(NotOk, match=f"RMDIR: {status}"):
                await client.rmdir(root, name)
        await client.remove(made.handle, b"inner")
        wcc = await client.rmdir(root, b"new")
        assert attributes(wcc) == await client.getattr(root)
        with pytest.raises(NotOk, match="GETATTR: STALE"):
            await client.getattr(made.handle)


async def test_symbolic_links_say_what_they_were_told(tmp_path: Path) -> None:
    async with mounted(tmp_path, HUB) as (client, root, desk):
        made = await client.symlink(root, b"link", b"dir/b.txt")
        assert (made.attributes.type, made.attributes.size) == (FileType.LNK, 9)
        assert await client.readlink(made.handle) == b"dir/b.txt"
        assert desk.wanted() == {}


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (FileType.FIFO, Status.NOTSUPP),
        (FileType.SOCK, Status.NOTSUPP),
        (FileType.BLK, Status.NOTSUPP),
        (FileType.CHR, Status.NOTSUPP),
        (FileType.REG, Status.BADTYPE),
    ],
)
async def test_special_files_are_not_made(tmp_path: Path, kind: FileType, status: Status) -> None:
    async with mounted(tmp_path, HUB) as (client, root, _):
        with pytest.raises(NotOk) as refused:
            await client.mknod(root, b"special", kind)
        assert refused.value.status is status
        assert b"special" not in await names(client, root)


async def test_a_removed_file_is_gone_and_its_handle_is_stale(tmp_path: Path) -> None:
    async with mounted(tmp_path, HUB) as (client, root, desk):
        handle = await client.lookup(root, b"a.txt")
        await client.remove(root, b"a.txt")
        with pytest.raises(NotOk, match="LOOKUP: NOENT"):
            await client.lookup(root, b"a.txt")
        with pytest.raises(NotOk, match="GETATTR: STALE"):
            await client.getattr(handle)
        with pytest.raises(NotOk, match="REMOVE: NOENT"):
            await client.remove(root, b"a.txt")
        with pytest.raises(NotOk, match="REMOVE: ISDIR"):
            await client.remove(root, b"dir")
        assert desk.wanted() == {"a.txt": "delete"}


async def test_a_handle_stays_what_it_was_while_its_file_and_directory_are_moved(
    tmp_path: Path,
) -> None:
    async with mounted(tmp_path, HUB) as (client, root, desk):
        directory = await client.lookup(root, b"dir")
        handle = await client.lookup(directory, b"b.txt")
        wcc = await client.rename(directory, b"b.txt", root, b"moved")
        assert attributes(wcc.fromdir_wcc) == await client.getattr(directory)
        assert attributes(wcc.todir_wcc) == await client.getattr(root)
        assert await client.lookup(root, b"moved") == handle
        await client.rename(root, b"moved", directory, b"back")
        await client.rename(root, b"dir", root, b"other")
        assert await client.lookup(root, b"other") == directory
        assert await client.lookup(directory, b"back") == handle
        found = {f.path: f.handle async for f in client.walk(root)}
        assert found[b"other/back"] == handle
        assert await read_all(client, handle) == b"beta"
        kept = handle, directory
        again = desk.restarted()
    try:
        async with mounted(again) as (client, root, _):
            assert (await client.lookup(kept[1], b"back"), kept[1]) == kept
            assert await client.lookup(root, b"other") == kept[1]
            assert await read_all(client, kept[0]) == b"beta"
    finally:
        again.staging.close()


async def test_a_rename_over_a_file_puts_the_one_in_the_place_of_the_other(tmp_path: Path) -> None:
    async with mounted(tmp_path, HUB) as (client, root, _):
        made = await client.create(root, b"tmp")
        await client.write(made.handle, 0, b"saved")
        old = await client.lookup(root, b"a.txt")
        await client.rename(root, b"tmp", root, b"a.txt")
        assert await client.lookup(root, b"a.txt") == made.handle
        assert await read_all(client, made.handle) == b"saved"
        with pytest.raises(NotOk, match="GETATTR: STALE"):
            await client.getattr(old)
        with pytest.raises(NotOk, match="RENAME: INVAL"):
            await client.rename(root, b"dir", await client.lookup(root, b"dir"), b"inside")


async def test_a_link_is_a_file_of_its_own_with_the_same_bytes(tmp_path: Path) -> None:
    async with mounted(tmp_path, HUB) as (client, root, _):
        handle = await client.lookup(root, b"a.txt")
        for name in (b"clean", b"dirty"):
            wcc = await client.link(handle, root, name)
            assert attributes(wcc.linkdir_wcc) == await client.getattr(root)
            twin = await client.lookup(root, name)
            assert twin != handle
            content = await read_all(client, handle)
            await client.write(handle, 0, b"Z")
            assert await read_all(client, twin) == content
        with pytest.raises(NotOk, match="LINK: EXIST"):
            await client.link(handle, root, b"clean")


async def test_attributes_are_set_and_told(tmp_path: Path) -> None:
    async with mounted(tmp_path, HUB) as (client, root, _):
        handle = await client.lookup(root, b"a.txt")
        wanted = Wanted(0o100751, 5, 6, 2, 7_000_000_001, 8_123 * MS)
        wcc = await client.setattr(handle, wanted)
        got = await client.getattr(handle)
        assert attributes(wcc) == got
        assert (got.mode, got.uid, got.gid, got.size) == (0o751, 5, 6, 2)
        assert (got.atime, got.mtime) == (NfsTime3(7, 1), NfsTime3(8, 123 * MS))
        assert await read_all(client, handle) == b"al"
        await client.setattr(handle, Wanted(mtime_ns=SERVER_TIME))
        now = (await client.getattr(handle)).mtime
        assert now.seconds > 8
        assert now.nseconds % MS == 0


async def test_a_guard_lets_pass_only_who_knows_the_ctime(tmp_path: Path) -> None:
    async with mounted(tmp_path, HUB) as (client, root, _):
        handle = await client.lookup(root, b"a.txt")
        ctime = (await client.getattr(handle)).ctime
        await client.setattr(handle, Wanted(mode=0o600), guard=ctime)
        with pytest.raises(NotOk, match="SETATTR: NOT_SYNC"):
            await client.setattr(handle, Wanted(mode=0o777), guard=ctime)
        assert (await client.getattr(handle)).mode == 0o600


async def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    async with mounted(tmp_path, HUB) as (client, root, _):
        handle = await client.lookup(root, b"a.txt")
        refused = {
            "CREATE: NAMETOOLONG": client.create(root, b"x" * 256),
            "CREATE: ACCES": client.create(root, b"a/b"),
            "CREATE: INVAL": client.create(root, b"\xff"),
            "CREATE: NOTDIR": client.create(handle, b"x"),
            "CREATE: BADHANDLE": client.create(bytes(40), b"x"),
            "MKDIR: EXIST": client.mkdir(root, b"dir"),
            "SYMLINK: INVAL": client.symlink(root, b"x", b""),
            "RENAME: NOENT": client.rename(root, b"nothere", root, b"x"),
            "RENAME: ISDIR": client.rename(root, b"a.txt", root, b"dir"),
            "RENAME: NOTDIR": client.rename(root, b"dir", root, b"a.txt"),
            "LINK: ISDIR": client.link(root, root, b"x"),
            "READLINK: INVAL": client.readlink(handle),
            "SETATTR: ISDIR": client.setattr(root, Wanted(size=0)),
            "WRITE: ISDIR": client.write(root, 0, b"x"),
            "WRITE: FBIG": client.write(handle, 2**63 - 1, b"x"),
        }
        for words, call in refused.items():
            with pytest.raises(NotOk, match=words):
                await call
        assert await names(client, root) == {b"a.txt", b"dir", b"dir/b.txt", b"dir/c.txt"}


async def test_each_change_moves_the_ctime_of_what_it_changes(tmp_path: Path) -> None:
    async with mounted(tmp_path, HUB) as (client, root, _):
        handle = await client.lookup(root, b"a.txt")
        seen = [(await client.getattr(handle)).ctime]
        for call in (
            client.write(handle, 0, b"A"),
            client.setattr(handle, Wanted(mode=0o600)),
            client.rename(root, b"a.txt", root, b"b"),
            client.setattr(handle, Wanted(size=1)),
        ):
            await call
            seen.append((await client.getattr(handle)).ctime)
        times = [(time.seconds, time.nseconds) for time in seen]
        assert times == sorted(set(times))


async def test_before_and_after_of_one_change_fit_those_of_the_next(tmp_path: Path) -> None:
    async with mounted(tmp_path, HUB) as (client, root, _):
        last = encode(
            WCC_ATTR, decode(WCC_ATTR, wcc_attr_of(encode(FATTR3, await client.getattr(root))))
        )
        for wcc in (
            await client.remove(root, b"a.txt"),
            (await client.rename(root, b"dir", root, b"other")).todir_wcc,
            await client.setattr(root, Wanted(mode=0o700)),
        ):
            assert wcc.before == last
            assert wcc.after is not None
            last = wcc_attr_of(wcc.after)


async def test_a_write_by_anyone_but_root_takes_the_set_id_bits_away(tmp_path: Path) -> None:
    async with mounted(tmp_path, HUB) as (client, root, desk):
        handle = await client.lookup(root, b"a.txt")
        await client.setattr(handle, Wanted(mode=0o6777))
        await client.write(handle, 0, b"X")
        assert (await client.getattr(handle)).mode == 0o6777
        client._rpc._credential = AuthSys(1, b"box", 5, 5, [])
        ok = await client.write(handle, 0, b"Y")
        assert attributes(ok.file_wcc).mode == 0o777
        assert (await client.getattr(handle)).mode == 0o777
        assert desk.restarted().at("a.txt").look.mode == 0o777
