"""The Hub as one account sees one source: its addresses, asked with the token, refusals raised."""

from collections.abc import AsyncIterator, Container, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import quote

from hfnfs.hub.account import Account
from hfnfs.hub.errors import Asked, refusal
from hfnfs.hub.http import Answer, Http, Request, Stream
from hfnfs.hub.pace import Lane
from hfnfs.hub.source import Source, SourceType


class Api:
    """Asks the Hub about one repo or bucket; a 401 is asked again if there is a newer token."""

    def __init__(self, source: Source, account: Account, http: Http) -> None:
        self.source = source
        self.account = account
        self.http = http

    def about(self, source: Source) -> "Api":
        """The same for another source."""
        return Api(source, self.account, self.http)

    def url(self, *segments: str) -> str:
        """An address below the source's own; each segment is one, whatever it holds."""
        tail = "".join(f"/{quote(segment, safe='')}" for segment in segments)
        return f"{self.account.endpoint}/api/{self.source.type.plural}/{self.source.id}{tail}"

    def file_url(self, commit: str, path: str) -> str:
        """Where a repo's file is downloaded from."""
        source = self.source
        prefix = "" if source.type is SourceType.MODEL else f"{source.type.plural}/"
        tail = f"{quote(commit, safe='')}/{quote(path)}"
        return f"{self.account.endpoint}/{prefix}{source.id}/resolve/{tail}"

    async def get(self, url: str, *, path: str | None = None) -> Answer:
        """A good answer about the source, or a path of it. Raises RemoteError."""
        return await self._ask(Request(url, Lane.API), path)

    async def post(
        self, url: str, body: bytes, media_type: str, also: Container[int] = ()
    ) -> Answer:
        """A good answer to `body`, or one of a status in `also`. Raises RemoteError."""
        headers = {"Content-Type": media_type}
        return await self._ask(Request(url, Lane.API, "POST", headers, body), None, also)

    @asynccontextmanager
    async def download(
        self, url: str, headers: Mapping[str, str], path: str
    ) -> AsyncIterator[Stream]:
        """The body of a file as it arrives. Raises RemoteError."""
        token = await self.account.token()
        request = Request(url, Lane.FILES, headers=headers, token=token)
        async with self.http.stream(request) as got:
            if isinstance(got, Stream):
                yield got
                return
        if not (got.status == 401 and await self.account.has_other_than(token)):
            raise refusal(got, self.asked(token, path))
        newer = await self.account.token()
        async with self.http.stream(replace(request, token=newer)) as got:
            if not isinstance(got, Stream):
                raise refusal(got, self.asked(newer, path))
            yield got

    def asked(self, token: str | None, path: str | None = None) -> Asked:
        """What a message about a refusal needs to know."""
        return Asked(self.source, self.account.endpoint, token is not None, path)

    async def _ask(self, request: Request, path: str | None, also: Container[int] = ()) -> Answer:
        token = await self.account.token()
        answer = await self.http.fetch(replace(request, token=token))
        if answer.status == 401 and await self.account.has_other_than(token):
            token = await self.account.token()
            answer = await self.http.fetch(replace(request, token=token))
        if not 200 <= answer.status < 300 and answer.status not in also:
            raise refusal(answer, self.asked(token, path))
        return answer
