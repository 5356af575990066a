"""The flush over the wire: a local Hub, hf_xet, and what others read back."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hfnfs.localhub.background import HubThread
from hfnfs.remote import ContentId, RemoteEntry
from tests.hub.writing import connected, serving
from tests.transfer.bucket import content_of
from tests.transfer.flushing import Rig, ShownDesk, running

FILES = 300


class WireDesk(ShownDesk):
    """A desk that is told what the Hub has."""

    def __init__(self, home: Path, hub: Mapping[str, bytes]) -> None:
        self.there: dict[str, ContentId] = {}
        super().__init__(home, hub)

    def content(self, path: str) -> ContentId:
        return self.there[path]


def entry_of(found: Mapping[str, RemoteEntry | None] | None, path: str) -> ContentId:
    entry = None if found is None else found[path]
    assert entry is not None
    assert entry.content is not None
    return entry.content


@pytest.fixture
def thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubThread]:
    yield from serving(tmp_path, monkeypatch)


async def test_small_files_cost_at_most_ten_requests_for_each_hundred(
    tmp_path: Path, thread: HubThread
) -> None:
    async with connected(thread.hub) as remote:
        async with running(Rig(ShownDesk(tmp_path / "staging", {}), remote)) as r:
            r.mkdir("new")
            thread.hub.counters.clear()
            for number in range(FILES):
                r.write(f"new/{number}", b"file %d" % number)
                if number % 100 == 0:
                    r.desk.sync()
            await r.done()
            asked = sum(thread.hub.counters.requests.values())
            assert asked <= FILES / 10, thread.hub.counters.requests
        listing = await remote.list("new")
        assert len(listing.entries) == FILES
        assert listing.entries["7"].size == len(b"file 7")


async def test_names_change_there_as_here(tmp_path: Path, thread: HubThread) -> None:
    async with connected(thread.hub) as remote:
        async with running(Rig(desk := WireDesk(tmp_path / "staging", {}), remote)) as r:
            r.mkdir("d")
            r.write("d/a", b"a" * 100_000)
            r.write("b", b"b")
            r.write("empty", b"")
            await r.done()
            for path in ("d/a", "b", "empty"):
                found = await remote.find([path])
                desk.there[path] = entry_of(found, path)
                r.desk.hub[path] = b""
            r.rename("d", "e")
            r.rename("b", "c")
            r.remove("empty")
            await r.done()
        assert set((await remote.list("")).entries) == {"c", "e"}
        moved = (await remote.list("e")).entries["a"]
        assert moved.mtime_ns == r.desk.at("e/a").mtime_ns
        assert moved.content == r.desk.at("e/a").content != content_of(b"a" * 100_000)
