import pytest

from hfnfs.errors import StaleHandle
from hfnfs.nfs3 import export as export_module
from hfnfs.vfs.needs import Listed, NotYet
from tests.nfs3.desk import NOBODY, Desk, user

MANY = {"many": {f"file-{number}": b"x" for number in range(20)}}


async def test_a_good_handle_of_a_vanished_node_is_stale() -> None:
    desk = Desk({"gone": b"x"})
    handle = await desk.handle("gone")
    assert desk.export.node(handle).name == b"gone"
    desk.far.becomes({})
    with pytest.raises(StaleHandle):
        desk.export.node(handle)


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
