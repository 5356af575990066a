"""Names are asked for once where they cannot change, and shown as they were if nobody answers."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hfnfs.disk.names import KeptNames
from hfnfs.disk.records import DiskRecords, MemoryRecords
from hfnfs.errors import (
    Forbidden,
    NotAuthenticated,
    Offline,
    RateLimited,
    RemoteEntryMissing,
    RemoteError,
    RemoteUnavailable,
    SourceMissing,
)
from hfnfs.remote import Listing, Revision
from hfnfs.transfer.kept import KeptRemote, NoRemote, RecalledListing, RecalledNames
from tests.fakes.clock import FakeClock
from tests.fakes.remote import FakeRemote

FILES = {"a": b"1", "b": b"22", "sub/c": b"333", "sub/deep/d": b"4444", "é": b"5"}
GONE = RemoteUnavailable("no answer")


class Side:
    """A far side, and what is kept of it on disk from one mount to the next."""

    def __init__(self, directory: Path, *, immutable: bool = True) -> None:
        self.remote = FakeRemote(FILES)
        self.remote.immutable = immutable
        self.directory = directory
        self.kept = self.mounted()

    def mounted(self, folder: str = "", remote: Any = None) -> KeptRemote:
        return KeptRemote(
            remote or self.remote,
            KeptNames(DiskRecords(self.directory)),
            revision="main" if self.remote.immutable else "",
            folder=folder,
            clock=FakeClock(),
        )


@pytest.fixture
def side(tmp_path: Path) -> Side:
    return Side(tmp_path / "names")


@pytest.fixture
def bucket(tmp_path: Path) -> Side:
    return Side(tmp_path / "names", immutable=False)


def listed(listing: Listing) -> list[tuple[str, object]]:
    return [(name, entry.content) for name, entry in listing.entries.items()]


# --------------------------------------------------------------- what cannot change


async def test_a_listing_of_a_commit_is_asked_for_once_in_all_mounts(side: Side) -> None:
    first = await side.kept.list("sub")
    again = await side.mounted().list("sub")
    assert side.remote.asked == [("list", "sub")]
    assert listed(again) == listed(first)
    assert again.revision == first.revision
    content = again.entries["c"].content
    assert content is not None
    assert (content.path, content.revision) == ("sub/c", "main")


async def test_names_of_a_listed_directory_are_not_asked_for(side: Side) -> None:
    await side.kept.list("sub")
    assert await side.mounted().find(["sub/c", "sub/none"]) is None, "list instead"
    assert side.remote.asked == [("list", "sub")]


async def test_what_was_found_is_asked_for_once(side: Side) -> None:
    first = await side.kept.find(["a", "none"])
    assert await side.mounted().find(["a", "none"]) == first
    assert await side.mounted().find(["a"]) == {"a": first and first["a"]}
    assert side.remote.asked == [("find", "a none")]
    await side.mounted().find(["a", "b"])
    assert side.remote.asked[1:] == [("find", "a b")]


async def test_a_folder_and_the_whole_share_what_they_know(side: Side) -> None:
    await side.kept.list("sub")
    folder = side.mounted("sub", NoRemote("x", Revision("main", 0), immutable=True))
    assert list((await folder.list("")).entries) == ["c", "deep"]
    assert await folder.find(["c"]) is None


async def test_damaged_names_are_asked_for_again(side: Side) -> None:
    await side.kept.list("")
    for path in side.directory.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    await side.mounted().list("")
    assert side.remote.asked == [("list", "")] * 2
    await side.mounted().list("")
    assert len(side.remote.asked) == 2


async def test_a_disk_that_refuses_costs_only_the_memory(
    side: Side, caplog: pytest.LogCaptureFixture
) -> None:
    side.directory.touch()
    assert list((await side.kept.list("sub")).entries) == ["c", "deep"]
    await side.kept.list("")
    assert [record.levelno for record in caplog.records].count(logging.WARNING) >= 1
    said = [r for r in caplog.records if "cannot be kept" in r.getMessage()]
    assert len(said) == 1


# -------------------------------------------------------------------- what may change


async def test_names_of_a_bucket_are_asked_for_each_time(bucket: Side) -> None:
    await bucket.kept.list("")
    bucket.remote.files["new"] = b"1"
    assert "new" in (await bucket.kept.list("")).entries
    await bucket.kept.find(["a"])
    await bucket.kept.find(["a"])
    assert [method for method, _ in bucket.remote.asked] == ["list", "list", "find", "find"]


@pytest.mark.parametrize("error", [RemoteUnavailable("no answer"), Offline("as told")])
async def test_while_nobody_answers_names_are_recalled_as_they_were(
    bucket: Side, error: RemoteError, caplog: pytest.LogCaptureFixture
) -> None:
    first = await bucket.kept.list("")
    found = await bucket.kept.find(["sub/c"])
    bucket.remote.failures = {"list": [error] * 2, "find": [error] * 2}
    for kept in (bucket.kept, bucket.mounted()):
        with pytest.raises(RecalledListing, match=str(error)) as was:
            await kept.list("")
        assert listed(was.value.listing) == listed(first)
    for path, known in {"sub/c": found, "a": None}.items():  # of "a", the directory is listed
        with pytest.raises(RecalledNames, match=str(error)) as names:
            await bucket.kept.find([path])
        assert names.value.found == known
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert [text for text in said if "as they were" in text] == said
    assert len(said) == 2, "once for each mount"
    await bucket.kept.list("")
    assert "answers again" in caplog.text


async def test_what_was_never_seen_is_an_error_while_nobody_answers(bucket: Side) -> None:
    bucket.remote.failures = {"list": [GONE], "find": [GONE]}
    with pytest.raises(RemoteUnavailable):
        await bucket.kept.list("")
    with pytest.raises(RemoteUnavailable):
        await bucket.kept.find(["a"])


@pytest.mark.parametrize(
    "kind", [NotAuthenticated, Forbidden, SourceMissing, RemoteEntryMissing, RateLimited]
)
async def test_a_refusal_is_an_answer(bucket: Side, kind: type[RemoteError]) -> None:
    await bucket.kept.list("")
    await bucket.kept.find(["a"])
    bucket.remote.failures = {"list": [kind("as told")], "find": [kind("as told")]}
    with pytest.raises(kind):
        await bucket.kept.list("")
    with pytest.raises(kind):
        await bucket.kept.find(["a"])


async def test_names_may_be_kept_in_memory_alone(bucket: Side) -> None:
    kept = KeptRemote(
        bucket.remote, KeptNames(MemoryRecords(1 << 20)), revision="", folder="", clock=FakeClock()
    )
    first = await kept.list("")
    bucket.remote.failures["list"] = [GONE]
    with pytest.raises(RecalledListing) as was:
        await kept.list("")
    assert listed(was.value.listing) == listed(first)
    assert not bucket.directory.exists()


# ---------------------------------------------------------------------- asking nobody


async def everything(pieces: AsyncIterator[Any]) -> list[Any]:
    return [piece async for piece in pieces]


async def test_bytes_come_from_the_far_side(side: Side) -> None:
    (piece,) = await everything(side.kept.open(side.remote.content("b"), 0, 2))
    assert bytes(piece.data) == b"22"


async def test_a_far_side_that_is_not_asked_says_what_it_lacks(side: Side) -> None:
    nobody = NoRemote("model me/x", Revision("c" * 40, 5), immutable=True)
    remote = side.mounted("", nobody)
    assert await remote.revision() == Revision("c" * 40, 5)
    with pytest.raises(Offline, match=r"model me/x: 'sub' is|what is in 'sub' is not cached"):
        await remote.list("sub")
    with pytest.raises(Offline, match="'sub/c' is not cached"):
        await remote.find(["sub/c"])
    with pytest.raises(Offline, match=r"\[0, 2\) of b is not cached"):
        await everything(remote.open(side.remote.content("b"), 0, 2))
