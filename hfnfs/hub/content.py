"""The bytes of files: Xet content put together from chunks, plain files by ranged GET.

Both give consecutive pieces and carry on where they stopped: a body that is cut, or a signed URL
that is no longer good, costs a new plan or request from the last good byte on. Bounded by the
failures in a row, and by those in all; a piece that arrived ends a row.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from hfnfs.errors import (
    ContentMissing,
    RemoteCorrupt,
    RemoteEntryMissing,
    RemoteUnavailable,
    WireError,
)
from hfnfs.hub.api import Api
from hfnfs.hub.cas import Cas
from hfnfs.hub.http import Answer, Cut, Http, Request, Stream, is_worth_a_retry
from hfnfs.hub.pace import Lane
from hfnfs.hub.plans import Plans
from hfnfs.remote import ContentId, Piece
from hfnfs.xet.plan import Assembly, Fetch
from hfnfs.xet.runs import Run, RunReader

FAILURES_IN_A_ROW_MAX = 4
FAILURES_MAX = 32
# A plan covers at most this: it bounds the chunks that are kept for later use, and the signed
# URLs are used soon after they were made.
PLAN_SPAN_BYTES = 64 * 1024 * 1024
# What is received before a thread has a turn to decode it, at first and later on: soon for who
# waits for the first bytes, then seldom, as each turn is two ways to a thread and back.
TURN_BYTES_MIN = 64 * 1024
TURN_BYTES_MAX = 2 * 1024 * 1024
_TURNS_GROW = 4  # times
# What a turn unpacks to at most; rather all that came than a rest that needs a turn of its own.
UNPACKED_BYTES_MAX = 3 * 1024 * 1024

_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_ENTITY_TAG = re.compile(r'(?:W/)?"?([0-9a-f]{40}|[0-9a-f]{64})"?')


class Failures:
    """Counts what went wrong on the way through one range, and says when it is too much."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._in_a_row = 0
        self._in_all = 0
        self._offset = -1

    async def note(self, error: Cut, offset: int) -> None:
        """Wait a little after a failure at `offset`, or raise it when it is one too many."""
        self._in_a_row = self._in_a_row + 1 if offset == self._offset else 1
        self._in_all += 1
        self._offset = offset
        if self._in_a_row >= FAILURES_IN_A_ROW_MAX or self._in_all >= FAILURES_MAX:
            raise RemoteUnavailable(str(error)) from error
        await self._http.back_off(self._in_a_row)


class XetContent:
    """Ranges of Xet files."""

    def __init__(self, cas: Cas, http: Http) -> None:
        self._plans = Plans(cas.plan, http.clock)
        self._http = http

    async def open(self, content: ContentId, start: int, end: int) -> AsyncGenerator[Piece, None]:
        """Whole chunks that cover [start, end), in order. Raises RemoteError."""
        failures = Failures(self._http)
        offset = start
        while offset < end:
            until = min(end, offset + PLAN_SPAN_BYTES)
            try:
                async with aclosing(self._planned(content, offset, until)) as pieces:
                    async for piece in pieces:
                        offset = piece.offset + len(piece.data)
                        yield piece
            except Cut as error:
                await failures.note(error, offset)

    async def _planned(
        self, content: ContentId, start: int, end: int
    ) -> AsyncGenerator[Piece, None]:
        """All pieces of one plan. Raises Cut where a new plan may help."""
        plan = await self._plans.plan(content, start, end)
        assembly = Assembly(plan)
        while (number := assembly.wanted) is not None:
            fetch = plan.fetches[number]
            index = fetch.first
            try:
                async with aclosing(self._runs(fetch)) as runs:
                    async for run in runs:
                        for offset, ready in assembly.take(number, index, run):
                            yield Piece(offset, ready)
                        index += len(run.lengths)
                        if assembly.wanted is None:
                            break
            except Cut:
                self._plans.forget(plan)
                raise
            if assembly.wanted == number:
                raise RemoteCorrupt(f"xet {content.xet_hash}: a range lacks chunks of its plan")

    async def _runs(self, fetch: Fetch) -> AsyncGenerator[Run, None]:
        """The decoded chunks of a signed range, as they arrive."""
        span = f"bytes={fetch.start}-{fetch.end - 1}"
        request = Request(
            fetch.url, Lane.XORBS, headers={"Range": span, "Accept-Encoding": "identity"}
        )
        reader = RunReader()
        chunks_left = fetch.last - fetch.first
        async with self._http.stream(request) as got:
            stream = _opened(got, fetch)
            async with aclosing(_received(stream, fetch, reader)) as arrivals:
                async for _ in arrivals:
                    while _has_chunk(reader, stream):
                        run = await _decoded(reader, stream)
                        chunks_left -= len(run.lengths)
                        if chunks_left < 0:
                            raise RemoteCorrupt(f"{stream.place}: more chunks than planned")
                        yield run
        if chunks_left or not reader.is_between_chunks:
            raise RemoteCorrupt(f"{stream.place}: not the chunks that were planned")


async def _received(stream: Stream, fetch: Fetch, reader: RunReader) -> AsyncGenerator[int, None]:
    """Feed the body to the reader, and say now and then how many bytes that were.

    At first soon, so that the first reader need not wait; then seldom, as each time costs a turn
    of a thread. Raises Cut, once all that came before was told of.
    """
    left, untold, enough = fetch.end - fetch.start, 0, TURN_BYTES_MIN
    cut: Cut | None = None
    try:
        async for data in stream.pieces():
            left -= len(data)
            if left < 0:
                raise RemoteCorrupt(f"{stream.place}: more bytes than asked for")
            reader.feed(data)
            untold += len(data)
            if untold >= enough and left:
                yield untold
                untold, enough = 0, min(_TURNS_GROW * enough, TURN_BYTES_MAX)
        if left:
            cut = Cut(f"{stream.place}: cut {left} bytes before its end")
    except Cut as error:
        cut = error
    if untold:
        yield untold
    if cut is not None:
        raise cut


def _has_chunk(reader: RunReader, stream: Stream) -> bool:
    try:
        return reader.has_chunk
    except WireError as error:
        raise RemoteCorrupt(f"{stream.place}: {error}") from error


async def _decoded(reader: RunReader, stream: Stream) -> Run:
    try:
        return await asyncio.to_thread(reader.take, UNPACKED_BYTES_MAX)
    except WireError as error:
        raise RemoteCorrupt(f"{stream.place}: {error}") from error


def _opened(got: Stream | Answer, fetch: Fetch) -> Stream:
    """The stream of exactly the fetch's bytes."""
    if isinstance(got, Answer):
        # 403, 404 and the like: the signature has expired, or the object was moved.
        kind = RemoteUnavailable if is_worth_a_retry(got.status) else Cut
        raise kind(f"{got.place}: refused with {got.status}")
    length = _length_of(got.headers)
    if got.status not in {200, 206} or length not in {None, fetch.end - fetch.start}:
        raise RemoteCorrupt(f"{got.place}: not the bytes that were asked for")
    if got.status == 206:
        span = _CONTENT_RANGE.fullmatch(got.headers.get("Content-Range", ""))
        if span and (int(span[1]), int(span[2]) + 1) != (fetch.start, fetch.end):
            raise RemoteCorrupt(f"{got.place}: not the range that was asked for")
    return got


class PlainContent:
    """Ranges of files that lie in git or LFS, of a repo at a commit."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def open(self, content: ContentId, start: int, end: int) -> AsyncGenerator[Piece, None]:
        """Pieces that cover [start, end), in order. Raises RemoteError."""
        failures = Failures(self._api.http)
        offset = start
        while offset < end:
            try:
                async with aclosing(self._pieces(content, offset, end)) as pieces:
                    async for piece in pieces:
                        offset = piece.offset + len(piece.data)
                        yield piece
            except Cut as error:
                await failures.note(error, offset)
            except RemoteEntryMissing as error:
                raise ContentMissing(str(error)) from error

    async def _pieces(
        self, content: ContentId, start: int, end: int
    ) -> AsyncGenerator[Piece, None]:
        """One request's bytes; exactly [start, end) or an error."""
        url = self._api.file_url(content.revision, content.path)
        headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
        async with self._api.download(url, headers, content.path) as stream:
            _check_object(stream, content)
            skip = start - _begins_at(stream, content, start, end)
            offset = start
            async for data in stream.pieces():
                useful = memoryview(data)[skip : skip + end - offset]
                skip = max(0, skip - len(data))
                if useful:
                    yield Piece(offset, useful)
                    offset += len(useful)
                if offset == end:
                    return
            raise Cut(f"{stream.place}: cut {end - offset} bytes before its end")


def _begins_at(stream: Stream, content: ContentId, start: int, end: int) -> int:
    """The offset of the body's first byte: `start`, or 0 where ranges are not known."""
    if stream.status == 206:
        span = _CONTENT_RANGE.fullmatch(stream.headers.get("Content-Range", ""))
        wanted = str(start), str(end - 1), str(content.size)
        if span is None or span.groups() not in {wanted, (*wanted[:2], "*")}:
            raise RemoteCorrupt(f"{content.path}: not the range that was asked for")
        return start
    if stream.status != 200 or _length_of(stream.headers) not in {None, content.size}:
        raise RemoteCorrupt(f"{content.path}: not the {content.size} bytes that were listed")
    return 0


def _check_object(stream: Stream, content: ContentId) -> None:
    """The Hub's own first answer says which object it is about to send."""
    listed = content.key.partition("-")[2]
    tag = stream.first.get("X-Linked-ETag") or stream.first.get("ETag") or ""
    found = _ENTITY_TAG.fullmatch(tag.strip())
    # An id of the other length is of another kind (a storage's own), and says nothing.
    if found and len(found[1]) == len(listed) and found[1] != listed:
        raise RemoteCorrupt(f"{content.path}: the Hub sends another file than it listed")


def _length_of(headers: Mapping[str, str]) -> int | None:
    text = headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
