"""Uploading a xorb by grant: ask for a URL, put the bytes there, commit.

    POST /v1/xorb-grants/default/{hash}   length and CRC-64/NVME -> a signed URL
    PUT  /grants/{id}                     exactly those bytes; no CAS token
    POST /v1/xorb-commits/default/{hash}/grant/{id}

Where anycrc (the extra "localhub") is missing, grants are not offered, as the real CAS may choose;
clients then upload directly.
"""

import asyncio
import base64
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

from aiohttp import web

from hfnfs.localhub.accounts import Signer
from hfnfs.localhub.contents import Contents
from hfnfs.localhub.store import Store
from hfnfs.localhub.wire import Refusal, body_of, body_to_file
from hfnfs.xet.hashes import from_hex
from hfnfs.xet.xorb import PACKED_BYTES_MAX

_GRANTS_MAX = 1000
_CHECKSUM_HEADER = "x-amz-checksum-crc64nvme"
_PIECE_BYTES = 1 << 20


@dataclass(slots=True)
class Grant:
    """Leave to upload one xorb; forgotten when the Hub ends."""

    xorb: bytes
    length: int
    crc: int
    stack: ExitStack  # removes the scratch file
    scratch: Path
    is_put: bool = False


class GrantRoutes:
    """Handlers; their names are the kinds of requests that Counters knows."""

    def __init__(self, store: Store, contents: Contents, signer: Signer, url: str) -> None:
        self._store = store
        self._contents = contents
        self._signer = signer
        self._url = url
        self._grants: dict[str, Grant] = {}

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Register them."""
        router.add_post("/v1/xorb-grants/default/{hash}", self.xorb_grant)
        router.add_put("/grants/{id}", self.xorb_put)
        router.add_post("/v1/xorb-commits/default/{hash}/grant/{id}", self.xorb_commit)

    def close(self) -> None:
        """Forget what was never committed."""
        for grant in self._grants.values():
            grant.stack.close()
        self._grants.clear()

    async def xorb_grant(self, request: web.Request) -> web.Response:
        """POST /v1/xorb-grants/default/{hash}."""
        self._allow(request)
        name = from_hex(request.match_info["hash"])
        if find_spec("anycrc") is None:
            raise Refusal(404, "grants are not offered")
        length, crc = _asked(await body_of(request, 1 << 16))
        if self._contents.has_xorb(name):
            return web.Response()
        while len(self._grants) >= _GRANTS_MAX:
            self._forget(next(iter(self._grants)))
        number, stack = uuid4().hex, ExitStack()
        scratch = stack.enter_context(self._store.scratch())
        self._grants[number] = Grant(name, length, crc, stack, scratch)
        body = {
            "id": number,
            "method": "PUT",
            "url": f"{self._url}{self._signer.sign(f'/grants/{number}', {})}",
            "headers": {_CHECKSUM_HEADER: _encoded(crc)},
        }
        return web.json_response(body, status=201)

    async def xorb_put(self, request: web.Request) -> web.Response:
        """PUT /grants/{id}: the bytes that were announced, or nothing is kept."""
        grant = self._grants.get(request.match_info["id"])
        if grant is None or not self._signer.accepts(request.path, request.query):
            raise Refusal(403, "no such grant, or it has ended")
        if request.headers.get(_CHECKSUM_HEADER) != _encoded(grant.crc):
            raise Refusal(400, "the grant's headers must be sent")
        with self._store.scratch() as arriving:
            length = await body_to_file(request, arriving, grant.length)
            if length != grant.length:
                raise Refusal(400, f"{length} bytes, not {grant.length}")
            if await asyncio.to_thread(_crc_of, arriving) != grant.crc:
                raise Refusal(400, "the checksum is not of these bytes")
            arriving.rename(grant.scratch)
        grant.is_put = True
        return web.Response()

    async def xorb_commit(self, request: web.Request) -> web.Response:
        """POST /v1/xorb-commits/default/{hash}/grant/{id}."""
        self._allow(request)
        number, name = request.match_info["id"], from_hex(request.match_info["hash"])
        grant = self._grants.get(number)
        if grant is None or not grant.is_put or grant.xorb != name:
            raise Refusal(404, "no such grant with its bytes")
        del self._grants[number]
        with grant.stack:
            await asyncio.to_thread(self._contents.keep_xorb, grant.scratch, name)
        return web.Response()

    def _forget(self, number: str) -> None:
        self._grants.pop(number).stack.close()

    def _allow(self, request: web.Request) -> None:
        if self._signer.scope(request.headers.get("Authorization")) != "write":
            raise Refusal(401, "the token is not ours, has ended, or is for reading")


def _asked(body: bytes) -> tuple[int, int]:
    """Length and checksum of the xorb to come. Raises Refusal (400)."""
    try:
        asked = json.loads(body)
        length, checksum = int(asked["length"]), asked["checksum"]
        crc = int(checksum["value"])
    except (ValueError, KeyError, TypeError):
        raise Refusal(400, "length and checksum are needed") from None
    if checksum.get("algo") != "crc64nvme" or not 0 <= crc < 1 << 64:
        raise Refusal(400, "the checksum must be crc64nvme")
    if not 0 < length <= PACKED_BYTES_MAX:
        raise Refusal(400, f"a xorb cannot have {length} bytes")
    return length, crc


def _encoded(crc: int) -> str:
    return base64.b64encode(crc.to_bytes(8, "big")).decode()


def _crc_of(path: Path) -> int:
    import anycrc

    calculate: Callable[[bytes, int], int] = anycrc.Model("CRC64-NVME").calc
    crc = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            crc = calculate(piece, crc)
    return crc
