"""The bytes of files: Xet content put together from chunks, plain files by ranged GET.

Both give consecutive pieces and carry on where they stopped: a body that is cut, or a signed URL
that is no longer good, costs a new plan or request from the last good byte on. Bounded by the
failures in a row, and by those in all; a piece that arrived ends a row.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing

from hfnfs.errors import RemoteCorrupt, RemoteUnavailable, WireError
from hfnfs.hub.api import Api
from hfnfs.hub.cas import Cas
from hfnfs.hub.http import Answer, Cut, Http, Request, Stream, is_worth_a_retry
from hfnfs.hub.pace import Lane
from hfnfs.remote import ContentId, Piece
from hfnfs.xet.chunk import ChunkReader
from hfnfs.xet.plan import Assembly, Fetch

FAILURES_IN_A_ROW_MAX = 4
FAILURES_MAX = 32
# A plan covers at most this: it bounds the chunks that are kept for later use, and the signed
# URLs are used soon after they were made.
PLAN_SPAN_BYTES = 64 * 1024 * 1024
# Decoding a chunk takes about 50 us; others on the loop wait for this many.
CHUNKS_PER_TURN = 8

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
        self._cas = cas
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
        plan = await self._cas.plan(content, start, end)
        assembly = Assembly(plan)
        while (number := assembly.wanted) is not None:
            fetch = plan.fetches[number]
            index = fetch.first
            async with aclosing(self._chunks(fetch)) as chunks:
                async for data in chunks:
                    for offset, ready in assembly.take(number, index, data):
                        yield Piece(offset, ready)
                    index += 1
                    if assembly.wanted is None:
                        break
            if assembly.wanted == number:
                raise RemoteCorrupt(f"xet {content.xet_hash}: a range lacks chunks of its plan")

    async def _chunks(self, fetch: Fetch) -> AsyncGenerator[bytes, None]:
        """The decoded chunks of a signed range, as they arrive."""
        span = f"bytes={fetch.start}-{fetch.end - 1}"
        request = Request(
            fetch.url, Lane.XORBS, headers={"Range": span, "Accept-Encoding": "identity"}
        )
        reader = ChunkReader()
        left, chunks_left = fetch.end - fetch.start, fetch.last - fetch.first
        async with self._http.stream(request) as got:
            stream = _opened(got, fetch)
            async for data in stream.pieces():
                left -= len(data)
                if left < 0:
                    raise RemoteCorrupt(f"{stream.place}: more bytes than asked for")
                for chunk in _decoded(reader, data, stream):
                    chunks_left -= 1
                    if chunks_left < 0:
                        raise RemoteCorrupt(f"{stream.place}: more chunks than planned")
                    yield chunk
                    if chunks_left % CHUNKS_PER_TURN == 0:
                        await asyncio.sleep(0)
            if left > 0:
                raise Cut(f"{stream.place}: cut {left} bytes before its end")
        if chunks_left or not reader.is_between_chunks:
            raise RemoteCorrupt(f"{stream.place}: not the chunks that were planned")


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


def _decoded(reader: ChunkReader, data: bytes, stream: Stream) -> Iterator[bytes]:
    """One at a time: what compresses well would fill the memory with chunks."""
    try:
        yield from reader.feed(data)
    except WireError as error:
        raise RemoteCorrupt(f"{stream.place}: {error}") from error


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
