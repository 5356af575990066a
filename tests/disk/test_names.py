"""Listings and entries come back as they were, order and all."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from hfnfs.disk.names import KeptEntry, KeptListing, KeptNames, KnownSource, KnownSources
from hfnfs.disk.records import MemoryRecords
from hfnfs.remote import ContentId, Kind, Listing, RemoteEntry, Revision

COMMIT = "c" * 40
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1)
TIMES = st.none() | st.integers(0, 2**62)
SIZES = st.integers(0, 2**63 - 1)


def names() -> KeptNames:
    return KeptNames(MemoryRecords(1 << 24))


@st.composite
def entries(draw: st.DrawFn, prefix: str) -> list[RemoteEntry]:
    made = []
    for name in draw(st.lists(NAMES, unique=True, max_size=8)):
        size, digit = draw(SIZES), draw(st.sampled_from("0123456789abcdef"))
        content = draw(
            st.sampled_from(
                [
                    None,
                    ContentId("xet-" + digit * 64, size),
                    ContentId("git-" + digit * 40, size, prefix + name, COMMIT),
                ]
            )
        )
        kind = Kind.DIRECTORY if content is None else Kind.FILE
        made.append(RemoteEntry(name, kind, content, draw(TIMES)))
    return made


def everything(listed: Sequence[RemoteEntry]) -> list[object]:
    """All of the entries; ContentId's own == leaves out where its bytes are fetched."""
    return [(e, e.content and (e.content.path, e.content.revision)) for e in listed]


@given(listed=entries("d/e/"))
def test_a_listing_comes_back_in_its_order(listed: list[RemoteEntry]) -> None:
    kept = names()
    kept.keep_listing(COMMIT, "d/e", Listing(COMMIT, {e.name: e for e in listed}), 7)
    found = kept.listing(COMMIT, "d/e")
    assert found is not None
    assert found.seen_ns == 7
    assert found.listing.revision == COMMIT
    assert everything(list(found.listing.entries.values())) == everything(listed)
    assert kept.has_listing(COMMIT, "d/e")
    assert kept.listing(COMMIT, "d") is None
    assert kept.listing("", "d/e") is None


@given(listed=entries("d/"))
def test_an_entry_comes_back(listed: list[RemoteEntry]) -> None:
    kept = names()
    for entry in listed:
        kept.keep_entry(COMMIT, f"d/{entry.name}", entry, 7)
        found = kept.entry(COMMIT, f"d/{entry.name}")
        assert found is not None
        assert found.entry is not None
        assert everything([found.entry]) == everything([entry])


def test_that_there_is_nothing_is_known_too() -> None:
    kept = names()
    kept.keep_entry(COMMIT, "a", None, 7)
    assert kept.entry(COMMIT, "a") == KeptEntry(None, 7)
    assert kept.entry(COMMIT, "b") is None


def test_an_empty_directory_is_not_an_unknown_one() -> None:
    kept = names()
    kept.keep_listing("", "", Listing("", {}), 7)
    assert kept.listing("", "") == KeptListing(Listing("", {}), 7)


def test_a_source_comes_back() -> None:
    sources = KnownSources(MemoryRecords(1 << 20))
    known = KnownSource("me/x", Revision(COMMIT, 5, None, 3))
    sources.keep(("hub", "model", "x", "main"), known, 1)
    assert sources.get("hub", "model", "x", "main") == known
    assert sources.get("hub", "model", "x", "other") is None
