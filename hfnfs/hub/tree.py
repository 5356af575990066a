"""Listings and single entries of a repo at one commit, or of a bucket.

Paths here are of the whole repo or bucket; remotes put the mounted folder before them.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urljoin

from hfnfs.errors import RemoteCorrupt, RemoteEntryMissing
from hfnfs.hub.api import Api
from hfnfs.hub.entries import Gathering, Unshowable, entry_of, is_name, path_of, revision_of
from hfnfs.hub.http import Answer, same_origin
from hfnfs.remote import Listing, RemoteEntry, Revision

REPO_PAGE = 1000  # entries; the Hub gives no more at once
BUCKET_PAGE = 5000
PATHS_PER_REQUEST = 1000
# More in one directory is a server gone wrong, or one that wants our memory.
ENTRIES_MAX = 1_000_000
PAGES_MAX = 10_000
_SLICE_ENTRIES = 256  # are taken in at once: some milliseconds

_NEXT = re.compile(r'<([^>]*)>\s*;[^,<]*\brel="?next"?(?=[\s;,]|$)')

Found = Mapping[str, RemoteEntry | None]


class RepoTree:
    """The files of a repo as one commit has them."""

    def __init__(self, api: Api, commit: str) -> None:
        self._api = api
        self._commit = commit

    async def list(self, directory: str) -> Listing:
        """All entries of `directory`. Raises RemoteEntryMissing."""
        where = [directory] if directory else []
        url = self._api.url("tree", self._commit, *where)
        url = f"{url}?recursive=false&limit={REPO_PAGE}"
        return await _listing(self._api, url, directory, self._commit)

    async def find(self, paths: Sequence[str]) -> Found:
        """The entries of `paths`; None for what is not there."""
        found: dict[str, RemoteEntry | None] = dict.fromkeys(paths)
        url = self._api.url("paths-info", self._commit)
        for some in _askable(paths):
            form = urlencode([*(("paths", path) for path in some), ("expand", "false")])
            answer = await self._api.post(url, form.encode(), "application/x-www-form-urlencoded")
            found |= _found(answer.array(), some, self._commit)
        return found


class BucketTree:
    """The files of a bucket as they are now."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def revision(self) -> Revision:
        """What the bucket is at now."""
        raw = (await self._api.get(self._api.url())).object()
        return revision_of(raw, raw.get("updatedAt"))

    async def list(self, directory: str) -> Listing:
        """All entries of `directory`. Raises RemoteEntryMissing.

        A bucket keeps no folders of their own: one without files is not there.
        """
        where = [directory] if directory else []
        url = f"{self._api.url('tree', *where)}?recursive=false&limit={BUCKET_PAGE}"
        listing = await _listing(self._api, url, directory, "")
        if directory and not listing.entries:
            raise RemoteEntryMissing(f"{self._api.source.name}: {directory}: no such folder")
        return listing

    async def find(self, paths: Sequence[str]) -> Found:
        """The files among `paths`; what is no file may be a folder and is left out."""
        found: dict[str, RemoteEntry | None] = {}
        url = self._api.url("paths-info")
        for some in _askable(paths):
            body = json.dumps({"paths": some}).encode()
            answer = await self._api.post(url, body, "application/json")
            found |= _found(answer.array(), some, "")
        return found


async def _listing(api: Api, url: str, directory: str, commit: str) -> Listing:
    name = api.source.name
    gathering = Gathering(f"{name}: {directory}" if directory else name, directory, commit)
    async for page in _pages(api, url, directory):
        for start in range(0, len(page), _SLICE_ENTRIES):
            gathering.add(page[start : start + _SLICE_ENTRIES])
            await asyncio.sleep(0)  # others are served in between
        if len(gathering.entries) > ENTRIES_MAX:
            raise RemoteCorrupt(f"{name}: {directory}: more than {ENTRIES_MAX} entries")
    gathering.warn()
    return Listing(commit, gathering.entries)


async def _pages(api: Api, url: str, directory: str) -> AsyncIterator[list[Any]]:
    """All pages, by the links from each to the next. Raises RemoteCorrupt if they do not end."""
    seen: set[str] = set()
    following: str | None = url
    while following is not None:
        seen.add(following)
        answer = await api.get(following, path=directory or None)
        yield answer.array()
        following = _next_page(answer, following, api.account.endpoint)
        if following in seen or len(seen) >= PAGES_MAX:
            raise RemoteCorrupt(f"{api.source.name}: {directory}: its listing does not end")


def _next_page(answer: Answer, url: str, endpoint: str) -> str | None:
    """Where the next page is, from the Link header (RFC 8288), only at the Hub itself."""
    link = _NEXT.search(answer.headers.get("Link", ""))
    if link is None:
        return None
    following: str = urljoin(url, link[1])
    if not same_origin(following, endpoint):
        raise RemoteCorrupt(f"{answer.place}: the next page is not at the Hub")
    return following


def _askable(paths: Sequence[str]) -> Iterator[list[str]]:
    """Batches of those paths that can exist at all."""
    good = [path for path in paths if all(is_name(part) for part in path.split("/"))]
    for start in range(0, len(good), PATHS_PER_REQUEST):
        yield good[start : start + PATHS_PER_REQUEST]


def _found(raws: list[Any], asked: list[str], commit: str) -> dict[str, RemoteEntry]:
    """What an answer says of the paths that were asked about."""
    wanted, found = set(asked), {}
    for raw in raws:
        path = path_of(raw)
        if path in wanted:
            try:
                found[path] = entry_of(raw, path.rpartition("/")[2], commit)
            except Unshowable:
                continue  # as a listing leaves it out
    return found
