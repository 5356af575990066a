"""Server-sent events, however they are cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import RemoteCorrupt
from hfnfs.hub import sse
from hfnfs.hub.sse import SseEvent, SseReader

TEXT = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)
NAME = TEXT.filter(lambda name: not name.startswith(" "))
EVENTS = st.lists(st.tuples(NAME, st.lists(TEXT, min_size=1, max_size=3)), max_size=5)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


@given(
    events=EVENTS, end=ENDS, cuts=st.lists(st.integers(0, 400), max_size=8), has_ping=st.booleans()
)
def test_any_cut_gives_the_same_events(
    events: list[tuple[str, list[str]]], end: str, cuts: list[int], has_ping: bool
) -> None:
    written = ["\ufeff" if has_ping else ""]
    for name, datas in events:
        written += [f": ping{end}{end}"] * has_ping
        written += [f"event: {name}{end}", *(f"data: {data}{end}" for data in datas), end]
    raw = "".join(written).encode()
    edges = sorted({0, len(raw), *(min(cut, len(raw)) for cut in cuts)})
    reader = SseReader()
    got = [e for a, b in pairwise(edges) for e in reader.feed(raw[a:b])]
    assert got == [SseEvent(name or "message", "\n".join(datas)) for name, datas in events]


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_any_bytes_are_read_without_a_fault(pieces: list[bytes]) -> None:
    reader, whole = SseReader(), SseReader()
    got = [event for piece in pieces for event in reader.feed(piece)]
    assert got == whole.feed(b"".join(pieces))


def test_an_event_ends_at_its_empty_line_not_later() -> None:
    reader = SseReader()
    assert reader.feed(b"data:x\r") == []
    assert reader.feed(b"\r") == [SseEvent("message", "x")]
    assert reader.feed(b"\ndata: y\n\n") == [SseEvent("message", "y")]


def test_an_event_without_data_is_none() -> None:
    assert SseReader().feed(b"event: a\nid: 4\nretry\n\ndata\n\n") == [SseEvent("message", "")]


@pytest.mark.parametrize("piece", [b"x" * 60, b"data: xxxxxxx\n", b": " + b"x" * 60])
def test_an_endless_event_is_refused(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENT_BYTES_MAX", 100)
    reader = SseReader()

    def feed_all() -> None:
        for _ in range(20):
            reader.feed(piece)

    with pytest.raises(RemoteCorrupt):
        feed_all()


def test_signs_of_life_are_not_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENT_BYTES_MAX", 100)
    reader = SseReader()
    for _ in range(100):
        assert reader.feed(b": ping\n") == []
