"""What the Hub has at some paths: few are asked about each time, many by what is known."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from hfnfs.errors import RemoteUnavailable
from hfnfs.remote import Changed, ContentId, FeedEvent, Kind, Put, Ready, RemoteEntry, Reset
from hfnfs.transfer.directories import TRUSTED_S, Directories
from hfnfs.transfer.standing import Standing
from tests.fakes.clock import FakeClock
from tests.transfer.bucket import MTIME_NS, FakeBucket, content_of

EMPTY = content_of(b"")


class FedBucket(FakeBucket):
    """One with a feed."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(files)
        self.events: asyncio.Queue[FeedEvent | None] = asyncio.Queue()

    async def changes(self, since: str = "") -> AsyncIterator[FeedEvent]:
        while (event := await self.events.get()) is not None:
            yield event

    def told(self, *paths: str) -> FeedEvent:
        return Changed({path: self.entry(path) for path in paths})


class Look:
    """A bucket, and who looks at it."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.bucket = FedBucket(files)
        self.clock = FakeClock()
        self.standing = Standing(self.bucket, self.clock)
        self.feed = self.standing.directories.overhearing(self.bucket.changes)("")

    async def kinds(self, *paths: str) -> list[Kind | None]:
        told = await self.standing.of(paths, set(paths))
        return [None if (entry := told[path]) is None else entry.kind for path in paths]

    async def made(self, *paths: str) -> list[Kind | None]:
        """Look, then make a file at each of these paths."""
        found = await self.kinds(*paths)
        self.standing.directories.told(paths)
        await self.bucket.commit([Put(path, EMPTY, MTIME_NS) for path in paths])
        return found

    async def hear(self, event: FeedEvent | None) -> None:
        await self.bucket.events.put(event)
        await anext(self.feed, None)


def names(directory: str, first: int, count: int = 10) -> list[str]:
    return [f"{directory}/{number}" for number in range(first, first + count)]


async def test_the_requests_for_new_files_in_one_directory_grow_with_their_number() -> None:
    look = Look({"d/old": b"1"})
    await look.hear(Ready())
    asked = []
    for start in range(0, 400, 10):
        await look.made(*names("d", start))
        asked.append(look.bucket.asked.copy())
    assert asked[-1]["list"] == asked[0]["list"] == 1
    assert asked[-1]["find"] == 40


async def test_new_directories_are_not_listed_however_many() -> None:
    look = Look({"old": b"1"})
    await look.hear(Ready())
    for file in range(20):
        await look.made(*(f"{number}/inner/{file}" for number in range(100)))
    assert look.bucket.asked["list"] == 1  # of the root


async def test_few_names_are_looked_at_anew_each_time() -> None:
    look = Look({})
    await look.hear(Ready())
    await look.made(*names("d", 0))
    look.bucket.files["d/x/theirs"] = b"not told yet"
    assert await look.kinds("d/x", "d/y") == [Kind.DIRECTORY, None]


@pytest.mark.parametrize("is_whole", [True, False])
async def test_a_directory_that_comes_while_many_are_made_is_known_by_the_feed(
    *, is_whole: bool
) -> None:
    look = Look({})
    await look.hear(Ready())
    await look.made(*names("d", 0))
    look.clock.advance(10 * TRUSTED_S)
    look.bucket.files["d/17/theirs"] = b"new"
    told = look.bucket.told("d/17/theirs")
    await look.hear(told if is_whole else Changed({}, frozenset({"d/17/theirs"})))
    listed = look.bucket.asked["list"]
    found = dict(zip(names("d", 10), await look.kinds(*names("d", 10)), strict=True))
    assert found.pop("d/17") is Kind.DIRECTORY
    assert set(found.values()) == {None}
    assert look.bucket.asked["list"] == listed + 1


async def test_what_was_a_directory_is_none_any_more_when_the_hub_says_so() -> None:
    look = Look({f"d/{number}/old": b"1" for number in range(10)})
    await look.hear(Ready())
    assert await look.kinds(*names("d", 0)) == [Kind.DIRECTORY] * 10
    look.bucket.files.clear()
    assert await look.kinds(*names("d", 0)) == [None] * 10


@pytest.mark.parametrize("end", [Reset("a gap"), None])
async def test_what_was_known_before_a_gap_of_the_feed_is_asked_for_again(
    end: FeedEvent | None,
) -> None:
    look = Look({})
    await look.hear(Ready())
    await look.made(*names("d", 0))
    look.bucket.files["d/17/theirs"] = b"never told"
    look.clock.advance(2 * TRUSTED_S)
    await look.hear(end)
    assert Kind.DIRECTORY in await look.kinds(*names("d", 10))


async def test_what_was_listed_before_the_feed_began_is_asked_for_again() -> None:
    look = Look({})
    await look.made(*names("d", 0))
    look.bucket.files["d/17/theirs"] = b"never told"
    look.clock.advance(1.0)
    await look.hear(Ready())
    assert Kind.DIRECTORY in await look.kinds(*names("d", 10))


async def test_without_a_feed_what_is_known_grows_old() -> None:
    look = Look({})
    await look.made(*names("d", 0))
    look.clock.advance(TRUSTED_S)
    await look.made(*names("d", 10))
    assert look.bucket.asked["list"] == 1
    look.bucket.files["d/27/theirs"] = b"never told"
    look.clock.advance(1.0)
    assert Kind.DIRECTORY in await look.kinds(*names("d", 20))


async def test_a_directory_that_is_told_of_while_its_own_is_listed_counts() -> None:
    directories = Directories(FakeClock())
    directories.ask("d")
    directories.told(["d/new/theirs"])
    directories.answer("d", 0.0, {"old"})
    directories.answered("d")
    assert not directories.is_absent("d/new", 0.0)
    assert not directories.is_absent("d/old", 0.0)
    assert directories.is_absent("d/other", 0.0)


async def test_a_listing_that_fails_says_of_nothing_that_it_is_absent() -> None:
    look = Look({"d/x/theirs": b"1"})
    look.bucket.down = RemoteUnavailable("down")
    with pytest.raises(RemoteUnavailable):
        await look.standing._list("d")
    assert not look.standing.directories.is_absent("d/x", 0.0)


async def test_files_come_with_what_the_hub_has_of_them() -> None:
    look = Look({"d/a": b"1", "d/b/c": b"2"})
    paths = ["d/a", "d/b", "e", *names("d", 0)]
    told = await look.standing.of(paths, set(paths))
    assert told == {
        **dict.fromkeys(paths),
        "d/a": RemoteEntry("a", Kind.FILE, ContentId(content_of(b"1").key, 1), MTIME_NS),
        "d/b": RemoteEntry("b", Kind.DIRECTORY),
    }
