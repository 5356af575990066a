"""The CAS's routes: reconstructions, xorbs in and out, shards, deduplication."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from aiohttp import web

from hfnfs.errors import WireError
from hfnfs.localhub.accounts import Signer
from hfnfs.localhub.contents import Contents
from hfnfs.localhub.faults import Lie
from hfnfs.localhub.plans import Plan, plan
from hfnfs.localhub.store import Store
from hfnfs.localhub.wire import (
    FAULT,
    Refusal,
    body_of,
    body_to_file,
    ranged,
    requested_range,
)
from hfnfs.xet import shard
from hfnfs.xet.hashes import from_hex, to_hex
from hfnfs.xet.xorb import PACKED_BYTES_MAX

# A footer may follow the chunks.
_XORB_BODY_MAX = PACKED_BYTES_MAX + (1 << 20)
_DEDUP_LIFE_S = 3600


class Fetch(NamedTuple):
    """A range of a xorb that a client may get, and where."""

    chunks: tuple[int, int]  # half open
    packed: tuple[int, int]  # bytes, half open
    url: str


class CasRoutes:
    """Handlers; their names are the kinds of requests that Counters knows."""

    def __init__(self, store: Store, contents: Contents, signer: Signer, url: str) -> None:
        self._store = store
        self._contents = contents
        self._signer = signer
        self._url = url

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Register them."""
        router.add_get("/v1/reconstructions", self.reconstructions)
        router.add_get("/{version:v1|v2}/reconstructions/{hash}", self.reconstruction)
        router.add_get("/v1/chunks/{prefix:default|default-merkledb}/{hash}", self.chunk_query)
        router.add_post("/v1/xorbs/default/{hash}", self.xorb_upload)
        router.add_post("/{version:v1|v2}/shards", self.shard_upload)
        router.add_post("/v1/telemetry", self.telemetry)
        router.add_get("/xorbs/{hash}", self.xorb)
        router.add_get("/bridge/{hash}", self.bridge)

    async def reconstruction(self, request: web.Request) -> web.Response:
        """GET /v1|v2/reconstructions/{file hash}, perhaps of a range."""
        self._allow(request, "read")
        file = self._file(request.match_info["hash"])
        asked = requested_range(request, file.size)
        start, end = asked or (0, file.size)
        made = plan(file.terms, self._contents.index, start, end)
        fetches = self._fetches(made, expired=request[FAULT].lie is Lie.EXPIRED_URL)
        body = {"offset_into_first_range": made.skip, "terms": _terms(made)}
        v2 = request.match_info["version"] == "v2"
        return web.json_response(body | (_v2(fetches) if v2 else _v1(fetches)))

    async def reconstructions(self, request: web.Request) -> web.Response:
        """GET /v1/reconstructions?file_id=…&file_id=…, whole files."""
        self._allow(request, "read")
        files, fetches = {}, {}
        for name in request.query.getall("file_id", []):
            file = self._file(name)
            made = plan(file.terms, self._contents.index, 0, file.size)
            files[name] = _terms(made)
            fetches.update(self._fetches(made, expired=False))
        return web.json_response({"files": files, **_v1(fetches)})

    async def xorb(self, request: web.Request) -> web.StreamResponse:
        """GET /xorbs/{hash}: exactly the range that was signed."""
        signed, asked = request.query.get("range"), request.headers.get("Range")
        if not self._signer.accepts(request.path, request.query) or signed != asked:
            raise Refusal(403, "the signature is not of this request, or has ended")
        name = from_hex(request.match_info["hash"])
        index = self._contents.index(name)
        size = index.packed_ends[-1]
        return ranged(request, size, lambda a, b: self._contents.xorb_pieces(name, a, b))

    async def bridge(self, request: web.Request) -> web.StreamResponse:
        """GET, HEAD /bridge/{file hash}: a file's bytes, for those who do not speak Xet."""
        if not self._signer.accepts(request.path, request.query):
            raise Refusal(403, "the signature is not of this request, or has ended")
        file = self._file(request.match_info["hash"])
        return ranged(request, file.size, lambda a, b: self._contents.read(file, a, b))

    async def chunk_query(self, request: web.Request) -> web.Response:
        """GET /v1/chunks/default/{chunk hash}: a shard to deduplicate against."""
        self._allow(request, "read")
        found = self._contents.xorb_with(from_hex(request.match_info["hash"]))
        if found is None:
            raise Refusal(404, "no such chunk")
        now = self._signer.now_s()
        body = shard.pack_answer([found], now, now + _DEDUP_LIFE_S)
        return web.Response(body=body, content_type="application/octet-stream")

    async def xorb_upload(self, request: web.Request) -> web.Response:
        """POST /v1/xorbs/default/{hash}."""
        self._allow(request, "write")
        name = from_hex(request.match_info["hash"])
        with self._store.scratch() as scratch:
            await body_to_file(request, scratch, _XORB_BODY_MAX)
            inserted = await asyncio.to_thread(self._contents.keep_xorb, scratch, name)
        return web.json_response({"was_inserted": inserted})

    async def shard_upload(self, request: web.Request) -> web.StreamResponse:
        """POST /v1|v2/shards; version 2 tells how far it is, line by line."""
        self._allow(request, "write")
        upload = shard.read(await body_of(request, shard.SHARD_BYTES_MAX))
        if request.match_info["version"] == "v1":
            files = await asyncio.to_thread(lambda: list(self._contents.verify(upload)))
            self._contents.keep_files(files, upload.xorbs)
            return web.json_response({"result": 1})
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        try:
            await self._keep_telling(response, upload, lying=request[FAULT].lie)
        except WireError as error:
            await _tell(response, type="error", message=str(error), retryable=False)
        await response.write_eof()
        return response

    async def telemetry(self, request: web.Request) -> web.Response:
        """POST /v1/telemetry: read and forgotten."""
        await body_of(request, 1 << 20)
        return web.Response()

    async def _keep_telling(
        self, response: web.StreamResponse, upload: shard.Shard, lying: Lie | None
    ) -> None:
        if lying is Lie.SHARD_ERROR:
            await _tell(response, type="error", message="as told", retryable=False)
            return
        verified, files = self._contents.verify(upload), []
        while (file := await asyncio.to_thread(next, verified, None)) is not None:
            files.append(file)
            counts = {"verified": len(files), "total": len(upload.files)}
            await _tell(response, type="validating", **counts)
        self._contents.keep_files(files, upload.xorbs)
        await _tell(response, type="committing", stage="syncing")
        await _tell(response, type="result")

    def _allow(self, request: web.Request, scope: str) -> None:
        held = self._signer.scope(request.headers.get("Authorization"))
        if held is None:
            raise Refusal(401, "the token is not ours, or has ended")
        if scope == "write" and held != "write":
            raise Refusal(403, "the token is for reading")

    def _file(self, name: str) -> shard.ShardFile:
        file = self._contents.file(from_hex(name))
        if file is None:
            raise Refusal(404, f"file {name} is unknown")
        return file

    def _fetches(self, made: Plan, *, expired: bool) -> dict[str, list[Fetch]]:
        found: dict[str, list[Fetch]] = {}
        for raw, ranges in made.fetches.items():
            name, index = to_hex(raw), self._contents.index(raw)
            for chunks in ranges:
                packed = index.packed(*chunks)
                fields = {"range": f"bytes={packed[0]}-{packed[1] - 1}"}
                url = self._signer.sign(f"/xorbs/{name}", fields, expired=expired)
                found.setdefault(name, []).append(Fetch(chunks, packed, f"{self._url}{url}"))
        return found


def _terms(made: Plan) -> list[dict[str, Any]]:
    return [
        {
            "hash": to_hex(term.xorb),
            "unpacked_length": term.length,
            "range": {"start": term.start, "end": term.end},
        }
        for term in made.terms
    ]


def _v1(fetches: Mapping[str, list[Fetch]]) -> dict[str, Any]:
    return {
        "fetch_info": {
            name: [
                {"range": _half_open(f.chunks), "url": f.url, "url_range": _inclusive(f.packed)}
                for f in ranges
            ]
            for name, ranges in fetches.items()
        }
    }


def _v2(fetches: Mapping[str, list[Fetch]]) -> dict[str, Any]:
    return {
        "xorbs": {
            name: [
                {
                    "url": f.url,
                    "ranges": [{"chunks": _half_open(f.chunks), "bytes": _inclusive(f.packed)}],
                }
                for f in ranges
            ]
            for name, ranges in fetches.items()
        }
    }


def _half_open(chunks: tuple[int, int]) -> dict[str, int]:
    return {"start": chunks[0], "end": chunks[1]}


def _inclusive(packed: tuple[int, int]) -> dict[str, int]:
    return {"start": packed[0], "end": packed[1] - 1}


async def _tell(response: web.StreamResponse, **frame: Any) -> None:
    await response.write(json.dumps(frame).encode() + b"\n")
