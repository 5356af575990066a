import pytest

from hfnfs.errors import StaleHandle
from hfnfs.nfs3 import export as export_module
from hfnfs.nfs3.export import Export
from hfnfs.nfs3.pages import Form
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.needs import Listed, NotYet
from tests.nfs3.desk import NOBODY, Desk, user

MANY = {"many": {f"file-{number}": b"x" for number in range(20)}}


async def test_a_good_handle_of_a_vanished_node_is_stale() -> None:
    desk = Desk({"gone": {}})
    handle = await desk.handle("gone")
    assert desk.export.node(handle).name == b"gone"
    desk.far.becomes({})
    with pytest.raises(StaleHandle):
        desk.export.node(handle)


async def test_what_goes_is_forgotten_and_all_else_stays_remembered() -> None:
    desk = Desk({"stays": b"x", "goes": b"x", "empty": {}, "full": {"inner": b"x"}})
    tree, export = desk.volume.tree, desk.export
    paths = ("stays", "goes", "empty", "full/inner")
    stays, goes, empty, inner = [await desk.node(path) for path in paths]
    handles = {node: export.handle_of(node) for node in (stays, goes, empty, inner)}
    for node in (goes, empty):
        tree.remove(node)
        assert node not in export._handle_of
        with pytest.raises(StaleHandle):
            export.node(handles[node])
    assert handles[stays] in export._node_of
    assert handles[inner] in export._node_of
    tree.remove(await desk.node("full"))
    with pytest.raises(StaleHandle):
        export.node(handles[inner])
    assert export.node(handles[stays]) is stays


async def test_one_handle_of_a_node_is_remembered() -> None:
    desk = Desk({"a": {"file": b"1"}, "b": {}})
    file, b = await desk.node("a/file"), await desk.node("b")
    other = desk.export.handles.make(file, b.fileid)  # as it would be, had it been seen there
    for handle in (desk.export.handle_of(file), other):
        assert desk.export.node(handle) is file
        assert len(desk.export._node_of) == len(desk.export._handle_of)
    desk.volume.tree.remove(file)
    assert file not in desk.export._handle_of
    assert file not in desk.export._node_of.values()


async def test_what_is_remembered_of_nodes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_module, "HANDLES_KEPT_MAX", 4)
    desk = Desk(MANY)
    nodes = [await desk.node(f"many/file-{number}") for number in range(20)]
    for node in nodes:
        assert desk.export.node(desk.export.handle_of(node)) is node
        assert len(node.fattr3) == 84
        assert len(desk.export._node_of) <= 4
        assert len(desk.export._handle_of) <= 4
    assert sum(node._fattr3 is not None for node in nodes) <= 5


async def test_what_is_remembered_of_callers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_module, "ACCESSES_KEPT_MAX", 4)
    desk = Desk()
    file = await desk.node("hello.txt")
    for uid in range(20):
        assert desk.export.access(user(uid, 0), file) == desk.export.access(NOBODY, file)
        assert len(desk.export._access_of) <= 4


async def test_a_handle_of_a_dropped_file_leads_to_its_directory() -> None:
    desk = Desk({"a": {"file": b"1"}, "b": {"file": b"2"}}, nodes_soft_max=4)
    handle = await desk.handle("a/file")
    for path in ("a", "b"):
        async with desk.far.meet(Listed((await desk.node(path)).fileid, 0.0)):
            desk.volume.tree.trim()
    with pytest.raises(NotYet) as missing:
        desk.export.node(handle)
    async with desk.far.meet(missing.value.need):
        again = desk.export.node(handle)
    assert again.name == b"file"
    assert desk.export.handle_of(again) == handle


async def test_a_handle_outlives_moves_of_its_node_and_of_the_directory_it_is_in() -> None:
    desk = Desk({"a": {"file": b"1"}, "b": {}, "c": {}})
    tree = desk.volume.tree
    file, a, b, c = [await desk.node(path) for path in ("a/file", "a", "b", "c")]
    assert isinstance(a, Directory)
    assert isinstance(b, Directory)
    assert isinstance(c, Directory)
    handle = desk.export.handle_of(file)
    for directory, name in ((b, b"file"), (c, b"other"), (a, b"again"), (b, b"file")):
        tree.move(file, directory, name)
        assert desk.export.make_handle(file) == handle
    tree.move(b, c, b"inner")
    assert desk.export.make_handle(file) == handle
    anew = Export(desk.volume, desk.export.handles)
    assert anew.node(handle) is file
    assert anew.handle_of(file) == handle


async def test_a_listing_gives_the_handle_that_a_lookup_gave_before_the_move() -> None:
    desk = Desk({"a": {"file": b"1"}, "b": {}})
    file, b = await desk.node("a/file"), await desk.node("b")
    assert isinstance(b, Directory)
    async with desk.far.meet(Listed(b.fileid, 0.0)):
        handle = desk.export.handle_of(file)
        desk.volume.tree.move(file, b, b"moved")
        block = desk.export.pages.block(Form.PLUS, b, b.block_after(0) or 0)
    assert handle in bytes(block.data)
