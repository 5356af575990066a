"""Reconstruction plans: right ones give the file's bytes, wrong ones end in RemoteCorrupt."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import RemoteCorrupt
from hfnfs.xet.plan import Assembly, Fetch, Plan, Term, parse
from hfnfs.xet.runs import Run

XORBS = ["a" * 64, "b" * 64, "c" * 64]
JsonObject = dict[str, Any]


class File:
    """A file made of rows of chunks of xorbs, and the CAS's answer for a range of it.

    Chunk n of xorb x holds `size` bytes of a value of its own, so that a swap is seen.
    """

    def __init__(self, sizes: list[list[int]], rows: list[tuple[int, int, int]]) -> None:
        self.sizes = sizes
        self.rows = rows

    def chunk(self, xorb: int, index: int) -> bytes:
        return bytes([xorb * 64 + index]) * self.sizes[xorb][index]

    @property
    def data(self) -> bytes:
        return b"".join(self.chunk(x, i) for x, a, b in self.rows for i in range(a, b))

    def answer(self, start: int, end: int, version: int) -> JsonObject:
        """Terms trimmed to whole chunks; one fetch from the first to the last chunk of a xorb."""
        offset, skip = 0, 0
        terms: list[JsonObject] = []
        spans: dict[int, tuple[int, int]] = {}
        for xorb, first, last in self.rows:
            chosen: list[int] = []
            for index in range(first, last):
                size = self.sizes[xorb][index]
                if offset < end and offset + size > start:
                    if not terms and not chosen:
                        skip = start - offset
                    chosen.append(index)
                offset += size
            if chosen:
                terms.append(self.term(xorb, chosen[0], chosen[-1] + 1))
                low, high = spans.get(xorb, (chosen[0], 0))
                spans[xorb] = min(low, chosen[0]), max(high, chosen[-1] + 1)
        whole = {"offset_into_first_range": skip, "terms": terms}
        return {**whole, **(self.xorbs(spans) if version == 2 else self.fetch_info(spans))}

    def term(self, xorb: int, first: int, last: int) -> JsonObject:
        length = sum(self.sizes[xorb][first:last])
        span = {"start": first, "end": last}
        return {"hash": XORBS[xorb], "unpacked_length": length, "range": span}

    def bytes_of(self, xorb: int, first: int, last: int) -> JsonObject:
        ends = [8 * n + sum(self.sizes[xorb][:n]) for n in (first, last)]
        return {"start": ends[0], "end": ends[1] - 1}

    def xorbs(self, spans: dict[int, tuple[int, int]]) -> JsonObject:
        each = {
            XORBS[x]: [
                {
                    "url": f"http://h/{x}?sig=s",
                    "ranges": [{"chunks": {"start": a, "end": b}, "bytes": self.bytes_of(x, a, b)}],
                }
            ]
            for x, (a, b) in spans.items()
        }
        return {"xorbs": each}

    def fetch_info(self, spans: dict[int, tuple[int, int]]) -> JsonObject:
        each = {
            XORBS[x]: [
                {
                    "url": f"http://h/{x}?sig=s",
                    "range": {"start": a, "end": b},
                    "url_range": self.bytes_of(x, a, b),
                }
            ]
            for x, (a, b) in spans.items()
        }
        return {"fetch_info": each}

    def fetched(self, fetch: Fetch) -> Iterator[tuple[int, bytes]]:
        xorb = int(fetch.url[len("http://h/")])
        for index in range(fetch.first, fetch.last):
            yield index, self.chunk(xorb, index)


def run_of(*chunks: bytes) -> Run:
    return Run(memoryview(b"".join(chunks)), [len(chunk) for chunk in chunks])


def put_together(file: File, plan: Plan, at_once: int = 1) -> tuple[int, bytes, list[int]]:
    """Where the bytes begin, the bytes, and which fetches were made; so many chunks in a run."""
    assembly, out, fetched = Assembly(plan), bytearray(), []
    while (number := assembly.wanted) is not None:
        fetched.append(number)
        chunks = list(file.fetched(plan.fetches[number]))
        for start in range(0, len(chunks), at_once):
            run = run_of(*(data for _, data in chunks[start : start + at_once]))
            for offset, data in assembly.take(number, chunks[start][0], run):
                assert offset == plan.offset + len(out)
                out += data
        if assembly.wanted == number:
            raise RemoteCorrupt("chunks are missing")
    return plan.offset, bytes(out), fetched


SIZES = st.lists(st.lists(st.integers(1, 60), min_size=1, max_size=9), min_size=3, max_size=3)


@st.composite
def files(draw: st.DrawFn) -> File:
    sizes = draw(SIZES)
    rows = []
    for _ in range(draw(st.integers(1, 7))):
        xorb = draw(st.integers(0, 2))
        first = draw(st.integers(0, len(sizes[xorb]) - 1))
        rows.append((xorb, first, draw(st.integers(first + 1, len(sizes[xorb])))))
    return File(sizes, rows)


@st.composite
def queries(draw: st.DrawFn) -> tuple[File, int, int, int]:
    file = draw(files())
    start = draw(st.integers(0, len(file.data) - 1))
    return file, start, draw(st.integers(start + 1, len(file.data))), draw(st.sampled_from([1, 2]))


@given(queries(), st.integers(1, 9))
def test_a_right_plan_gives_the_files_bytes(
    query: tuple[File, int, int, int], at_once: int
) -> None:
    file, start, end, version = query
    size = len(file.data)
    plan = parse(file.answer(start, end, version), start, end, size)
    offset, out, fetched = put_together(file, plan, at_once)
    assert offset <= start < end <= offset + len(out) <= size
    assert out == file.data[offset : offset + len(out)]
    assert len(fetched) == len(set(fetched)), "each range is fetched once"


@given(queries(), st.data())
def test_a_plan_that_was_tampered_with_never_gives_wrong_lengths(
    query: tuple[File, int, int, int], data: st.DataObject
) -> None:
    file, start, end, version = query
    size = len(file.data)
    answer = copy.deepcopy(file.answer(start, end, version))
    tamper(answer, data)
    try:
        offset, out, _ = put_together(file, parse(answer, start, end, size))
    except (RemoteCorrupt, IndexError):  # IndexError: our own server has no such chunk
        return
    assert 0 <= offset <= start < end <= offset + len(out) <= size


def tamper(node: Any, data: st.DataObject) -> None:
    """Replace one value somewhere in the answer by another."""
    while True:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        is_inner = isinstance(node[key], dict | list) and node[key]
        if is_inner and data.draw(st.integers(0, 9)):
            node = node[key]
            continue
        near = [node[key] - 1, node[key] + 1, -node[key]] if type(node[key]) is int else []
        odd: list[Any] = [None, -1, 0, 1, 2**40, 1.5, "x", [], {}, True, "1"]
        node[key] = data.draw(st.sampled_from([*near, *odd]))
        return


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["terms", "xorbs", "fetch_info", "range", "hash", "a" * 64]), inner
        )
    ),
)


@given(st.dictionaries(st.sampled_from(["terms", "xorbs", "fetch_info"]), JSON))
def test_any_json_that_is_no_plan_is_refused(answer: JsonObject) -> None:
    with pytest.raises(RemoteCorrupt):
        parse(answer, 0, 10, 10)


ONE = File([[10, 20, 30], [5]], [(0, 0, 3), (1, 0, 1)])
ONE_CHUNKS = [bytes(10), bytes(20), bytes(30)]


def test_terms_behind_the_range_are_left_out() -> None:
    plan = parse(ONE.answer(0, 65, 2), 0, 40, 65)
    assert plan.terms == (Term(0, 0, 3, 60),)
    assert (plan.offset, plan.length) == (0, 60)


def test_a_range_in_the_middle_begins_with_its_chunk() -> None:
    plan = parse(ONE.answer(15, 20, 1), 15, 20, 65)
    assert (plan.offset, plan.length) == (10, 20)
    assert plan.fetches == (Fetch("http://h/0?sig=s", 18, 46, 1, 2),)


def test_a_repeated_chunk_is_fetched_once() -> None:
    zeros = File([[7], [1], [1]], [(0, 0, 1)] * 76)
    offset, out, fetched = put_together(zeros, parse(zeros.answer(0, 532, 2), 0, 532, 532))
    assert (offset, len(out), fetched) == (0, 532, [0])


def test_chunks_that_come_before_they_are_due_are_kept() -> None:
    file = File([[3, 4, 5], [6], [1]], [(0, 2, 3), (1, 0, 1), (0, 0, 2)])
    _, out, fetched = put_together(file, parse(file.answer(0, 18, 2), 0, 18, 18))
    assert out == file.data
    assert len(fetched) == 2


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["offset_into_first_range"], 60),
        (["offset_into_first_range"], 16),
        (["terms"], []),
        (["terms", 0, "unpacked_length"], 59),
        (["terms", 1, "unpacked_length"], 6),
        (["terms", 0, "unpacked_length"], 3 * 128 * 1024 + 1),
        (["terms", 0, "hash"], "d" * 64),
        (["terms", 0, "range", "end"], 4),
        (["terms", 0, "range", "start"], 3),
        (["terms", 0, "range", "end"], True),
        (["xorbs", XORBS[0], 0, "url"], "file:///etc/passwd"),
        (["xorbs", XORBS[0], 0, "ranges", 0, "bytes", "end"], 3),
        (["xorbs", XORBS[0], 0, "ranges", 0, "bytes", "end"], 2**31),
        (["xorbs", XORBS[0], 0, "ranges", 0, "chunks", "end"], 9000),
        (["xorbs"], {"nonsense": []}),
    ],
)
def test_a_plan_that_does_not_fit_together_is_refused(path: list[Any], value: Any) -> None:
    answer = json.loads(json.dumps(ONE.answer(0, 65, 2)))
    node = answer
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    with pytest.raises(RemoteCorrupt):
        parse(answer, 0, 65, 65)


def test_chunks_of_other_lengths_than_planned_are_refused() -> None:
    plan = parse(ONE.answer(0, 65, 2), 0, 65, 65)
    assembly = Assembly(plan)
    for index, size in enumerate((10, 20)):
        given = assembly.take(0, index, run_of(bytes(size)))
        assert [len(chunks.data) for chunks in given] == [size]
    with pytest.raises(RemoteCorrupt, match="term ends"):
        assembly.take(0, 2, run_of(bytes(29)))


def test_chunks_that_are_due_are_given_as_they_came() -> None:
    assembly, run = Assembly(parse(ONE.answer(0, 65, 2), 0, 65, 65)), run_of(*ONE_CHUNKS)
    (chunks,) = assembly.take(0, 0, run)
    assert chunks.offset == 0
    assert chunks.data.obj is run.data.obj, "not a copy"


def test_chunks_kept_for_later_are_never_more_than_the_plan() -> None:
    file = File([[1, 1], [1], [1]], [(0, 1, 2), (0, 0, 1)])
    assembly = Assembly(parse(file.answer(0, 2, 2), 0, 2, 2))
    with pytest.raises(RemoteCorrupt, match="longer than"):
        assembly.take(0, 0, run_of(bytes(100_000)))
