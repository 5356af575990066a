"""Xet's content-addressed storage: a token for it, and plans for ranges of its files."""

import asyncio
from contextlib import suppress
from typing import NamedTuple

from hfnfs.errors import (
    ContentMissing,
    Forbidden,
    HfnfsError,
    NotAuthenticated,
    RateLimited,
    RemoteCorrupt,
    RemoteError,
    RemoteUnavailable,
    UsageError,
)
from hfnfs.hub.account import clean_token
from hfnfs.hub.api import Api
from hfnfs.hub.http import Answer, Request
from hfnfs.hub.pace import Lane
from hfnfs.remote import ContentId
from hfnfs.xet.plan import Plan, parse

PLAN_BYTES_MAX = 32 * 1024 * 1024  # of JSON
# A token is renewed this long before it expires, so that it lasts for the request it is sent with.
EXPIRY_MARGIN_S = 60.0
# Our clock may be wrong: a token just fetched is used this long, whatever its date says.
TOKEN_USE_MIN_S = 30.0
# To be ready for the first read is not worth more of the time in which one waits for a mount.
PREPARE_TIMEOUT_S = 3.0


class Access(NamedTuple):
    """Where the CAS is, and what lets us read there."""

    url: str
    token: str
    fetched_at: float  # monotonic seconds
    expires_ns: int  # since 1970

    def __repr__(self) -> str:
        return f"<Access to {self.url}>"


class Cas:
    """Reads one source's files in the CAS. `token_url` is where the Hub gives the token."""

    def __init__(self, api: Api, token_url: str) -> None:
        self._api = api
        self._token_url = token_url
        self._access: Access | None = None
        self._renewing = asyncio.Lock()
        self._version: int | None = None  # of reconstructions, once one was answered

    async def check_access(self) -> None:
        """Get a token now; a refusal is raised, as of a gated repo."""
        await self.access()

    async def prepare(self) -> None:
        """Get a token now, so that the first read need not wait for it.

        Where there is none to be had in time, the read that needs one says why.
        """
        with suppress(HfnfsError, TimeoutError):
            async with asyncio.timeout(PREPARE_TIMEOUT_S):
                await self.access()

    async def plan(self, content: ContentId, start: int, end: int) -> Plan:
        """How bytes [start, end) of `content` are put together. Raises RemoteError."""
        answer = await self._reconstruction(content, start, end)
        if answer.status != 200:
            raise self._refusal(answer, content)
        return parse(answer.object(), start, end, content.size)

    async def _reconstruction(self, content: ContentId, start: int, end: int) -> Answer:
        """Version 2, or 1 of a CAS that does not know it; 404 may mean either, or no such file."""
        if self._version == 1:
            return await self._query(1, content, start, end)
        answer = await self._query(2, content, start, end)
        if answer.status == 501 or (answer.status == 404 and self._version is None):
            older = await self._query(1, content, start, end)
            if older.status == 200 or answer.status == 501:
                self._version = 1
            return older
        if answer.status == 200:
            self._version = 2
        return answer

    async def _query(self, version: int, content: ContentId, start: int, end: int) -> Answer:
        access = await self.access()
        answer = await self._send(access, version, content, (start, end))
        if answer.status == 401:
            access = await self._renewed(access)
            answer = await self._send(access, version, content, (start, end))
        return answer

    async def _send(
        self, access: Access, version: int, content: ContentId, span: tuple[int, int]
    ) -> Answer:
        request = Request(
            f"{access.url}/v{version}/reconstructions/{content.xet_hash}",
            Lane.CAS,
            headers={"Range": f"bytes={span[0]}-{span[1] - 1}"},
            token=access.token,
        )
        return await self._api.http.fetch(request, PLAN_BYTES_MAX)

    # ------------------------------------------------------------------ token

    async def access(self) -> Access:
        """Where to read just now, and with what. Raises RemoteError."""
        async with self._renewing:
            if self._access is None or self._is_stale(self._access):
                self._access = await self._fetched()
            return self._access

    async def _renewed(self, refused: Access) -> Access:
        """Another token than the one that was refused; many may ask at once."""
        async with self._renewing:
            if self._access is None or self._access.token == refused.token:
                self._access = await self._fetched()
            return self._access

    def _is_stale(self, access: Access) -> bool:
        clock = self._api.http.clock
        if clock.now() - access.fetched_at < TOKEN_USE_MIN_S:
            return False
        return clock.wall_ns() >= access.expires_ns - EXPIRY_MARGIN_S * 1e9

    async def _fetched(self) -> Access:
        answer = await self._api.get(self._token_url)
        raw = answer.object()
        url, token, expires = raw.get("casUrl"), raw.get("accessToken"), raw.get("exp")
        if not (isinstance(url, str) and isinstance(token, str) and isinstance(expires, int)):
            raise RemoteCorrupt(f"{answer.place}: no access to Xet in the answer")
        try:
            token = clean_token(token, "Xet's token")
        except UsageError as error:
            raise RemoteCorrupt(f"{answer.place}: {error}") from None
        safe = ("https://",) if answer.place.startswith("https://") else ("https://", "http://")
        if not url.startswith(safe) or "?" in url or "#" in url:
            raise RemoteCorrupt(f"{answer.place}: names no address of Xet's storage")
        return Access(
            url.rstrip("/"),
            token,
            self._api.http.clock.now(),
            expires * 10**9,
        )

    def _refusal(self, answer: Answer, content: ContentId) -> RemoteError:
        what = f"{self._api.source.name}: Xet file {content.xet_hash}"
        status = answer.status
        if status == 416:
            return RemoteCorrupt(f"{what} is shorter than the {content.size} bytes listed")
        kinds: dict[int, tuple[type[RemoteError], str]] = {
            401: (NotAuthenticated, "the storage does not take the Hub's token"),
            403: (Forbidden, "the storage does not give it to this token"),
            404: (ContentMissing, "the storage does not know it"),
            429: (RateLimited, "too many requests, even after waiting"),
        }
        default = (RemoteUnavailable if status >= 500 else RemoteError, f"refused with {status}")
        kind, fact = kinds.get(status, default)
        return kind(f"{what}: {fact}")
