"""From what the user named to a Remote: the id resolved, a repo's commit pinned, the folder found.

What stands in the way is said in one line with the next step; where an id is of another kind than
the command said, that line has the right command.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

from hfnfs.errors import RemoteCorrupt, RemoteEntryMissing, RemoteError, SourceMissing
from hfnfs.hub.account import Account
from hfnfs.hub.api import Api
from hfnfs.hub.batch import Batches
from hfnfs.hub.cas import Cas
from hfnfs.hub.content import PlainContent, XetContent
from hfnfs.hub.entries import revision_of
from hfnfs.hub.events import Feed
from hfnfs.hub.http import Http
from hfnfs.hub.source import Source, SourceType, is_id
from hfnfs.hub.tree import BucketTree, Found, RepoTree
from hfnfs.hub.upload import Uploader
from hfnfs.remote import (
    ContentId,
    FeedEvent,
    Kind,
    Listing,
    Operation,
    Piece,
    RemoteEntry,
    Revision,
)

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


async def connect(
    source: Source, account: Account, http: Http, *, folder_may_miss: bool = False
) -> "RepoRemote | BucketRemote":
    """The remote that `source` names, there and readable. Raises RemoteError.

    A repo's is pinned to the commit that its revision is at now; see probe. `folder_may_miss`: a
    folder of a bucket need not be there, as it comes with its first file.
    """
    api = Api(source, account, http)
    try:
        return await _connected(api, folder_may_miss=folder_may_miss)
    except SourceMissing as missing:
        if source.alternative is not None:
            try:
                alternative = api.about(source.alternative)
                return await _connected(alternative, folder_may_miss=folder_may_miss)
            except SourceMissing:
                pass  # neither reading exists; the first is what most users mean
        raise await _better(missing, api) from None


def assumed(
    source: Source, revision: Revision, account: Account, http: Http
) -> "RepoRemote | BucketRemote":
    """The remote of a source that was there at `revision` once, without asking now.

    `source` has the canonical id.
    """
    api = Api(source, account, http)
    is_bucket = source.type is SourceType.BUCKET
    return BucketRemote(api) if is_bucket else RepoRemote(api, revision)


def is_commit(revision: str | None) -> bool:
    """Whether a revision names one state for ever."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


async def probe(source: Source, account: Account, http: Http) -> Revision:
    """What the source is at now, by one small request. Raises RemoteError."""
    return (await _look(Api(source, account, http))).revision


class RepoRemote:
    """A folder of a repo at one commit; implements Remote."""

    immutable = True

    def __init__(self, api: Api, revision: Revision) -> None:
        self.source = api.source
        self._revision = revision
        self._folder = _Folder(RepoTree(api, revision.token), api.source.subfolder)
        self._cas = Cas(api, api.url("xet-read-token", revision.token))
        self._xet = XetContent(self._cas, api.http)
        self._plain = PlainContent(api)

    @property
    def cas(self) -> Cas:
        """Where its Xet content is."""
        return self._cas

    async def check_access(self) -> None:
        """Raise GatedRepo now rather than at the first read: a gated repo can be listed by all."""
        await self._cas.check_access()

    async def prepare(self) -> None:
        """Be ready for the first read."""
        await self._cas.prepare()

    async def revision(self) -> Revision:
        """The commit it is pinned to."""
        return self._revision

    async def list(self, directory: str) -> Listing:
        """All entries of `directory`. Raises RemoteEntryMissing."""
        return await self._folder.list(directory)

    async def find(self, paths: Sequence[str]) -> Found:
        """The entries of `paths`, None for what is not there."""
        return await self._folder.find(paths)

    def open(self, content: ContentId, start: int, end: int) -> AsyncIterator[Piece]:
        """Pieces that cover [start, end) of `content`."""
        assert 0 <= start <= end <= content.size
        part = self._plain if content.xet_hash is None else self._xet
        return part.open(content, start, end)


class BucketRemote:
    """A folder of a bucket; implements WritableRemote."""

    immutable = False

    def __init__(self, api: Api) -> None:
        self.source = api.source
        self._api = api
        self._uploader = Uploader(api)
        self._batches = Batches(api)
        self._tree = BucketTree(api)
        self._folder = _Folder(self._tree, api.source.subfolder)
        self._cas = Cas(api, api.url("xet-read-token"))
        self._xet = XetContent(self._cas, api.http)

    @property
    def cas(self) -> Cas:
        """Where its Xet content is."""
        return self._cas

    async def prepare(self) -> None:
        """Be ready for the first read."""
        await self._cas.prepare()

    async def check_write_access(self) -> None:
        """Raise now, rather than at the first upload, what keeps this account from changing it."""
        await self._uploader.check_access()

    async def revision(self) -> Revision:
        """What the bucket is at now."""
        return await self._tree.revision()

    async def list(self, directory: str) -> Listing:
        """All entries of `directory`. Raises RemoteEntryMissing.

        The mounted folder itself stays when its last file goes.
        """
        try:
            return await self._folder.list(directory)
        except RemoteEntryMissing:
            if directory:
                raise
            return Listing("", {})

    async def find(self, paths: Sequence[str]) -> Found:
        """The files among `paths`; what is no file may be a folder and is left out."""
        return await self._folder.find(paths)

    def open(self, content: ContentId, start: int, end: int) -> AsyncIterator[Piece]:
        """Pieces that cover [start, end) of `content`."""
        assert 0 <= start <= end <= content.size
        return self._xet.open(content, start, end)

    async def upload(self, files: Sequence[Path]) -> Sequence[ContentId | RemoteError]:
        """Bring the bytes of local files there; for each its content, or why not."""
        return await self._uploader.upload(files)

    async def commit(self, operations: Sequence[Operation]) -> Mapping[str, RemoteError]:
        """Do all of `operations`; the paths that failed, with why."""
        return await self._batches.commit(operations)

    def changes(self, since: str = "") -> AsyncGenerator[FeedEvent, None]:
        """What changes after `since`, without end. Raises FeedUnavailable."""
        return Feed(self._api, since).events()


class _Tree(Protocol):
    async def list(self, directory: str) -> Listing: ...

    async def find(self, paths: Sequence[str]) -> Found: ...


class _Folder:
    """A tree seen from one of its folders."""

    def __init__(self, tree: _Tree, subfolder: str) -> None:
        self._tree = tree
        self._subfolder = subfolder

    async def list(self, directory: str) -> Listing:
        return await self._tree.list("/".join(filter(None, (self._subfolder, directory))))

    async def find(self, paths: Sequence[str]) -> Mapping[str, RemoteEntry | None]:
        whole = {f"{self._subfolder}/{path}" if self._subfolder else path: path for path in paths}
        found = await self._tree.find(list(whole))
        return {whole[path]: entry for path, entry in found.items()}


# ------------------------------------------------------------------- connecting


class _Seen(NamedTuple):
    """The source under its canonical id, what it is at now, and whether it has terms to accept."""

    source: Source
    revision: Revision
    is_gated: bool


async def _connected(api: Api, *, folder_may_miss: bool) -> RepoRemote | BucketRemote:
    source, revision, is_gated = await _look(api)
    api = api.about(source)
    folder = source.subfolder
    if source.type is SourceType.BUCKET:
        tree = BucketTree(api)
        if folder:
            _check_folder(source, (await tree.find([folder])).get(folder))
            if not folder_may_miss:
                await tree.list(folder)
        bucket = BucketRemote(api)
        await bucket.prepare()
        return bucket
    if folder:
        entry = (await RepoTree(api, revision.token).find([folder]))[folder]
        if entry is None:
            at = source.revision or "its default branch"
            raise RemoteEntryMissing(f"{source.name} has no folder {folder!r} at {at}")
        _check_folder(source, entry)
    remote = RepoRemote(api, revision)
    if is_gated:
        await remote.check_access()
    else:
        await remote.prepare()
    return remote


def _check_folder(source: Source, entry: RemoteEntry | None) -> None:
    if entry is not None and entry.kind is Kind.FILE:
        raise RemoteEntryMissing(
            f"{source.name}: {source.subfolder!r} is a file; mount the folder that holds it"
        )


async def _look(api: Api) -> _Seen:
    source = api.source
    if source.type is SourceType.BUCKET:
        raw = (await api.get(api.url())).object()
        return _Seen(_canonical(source, raw), revision_of(raw, raw.get("updatedAt")), False)
    at = f"/revision/{quote(source.revision, safe='')}" if source.revision else ""
    # Without "expand" the answer names every file of the repo.
    gated = "" if source.type is SourceType.SPACE else "&expand=gated"
    url = f"{api.url()}{at}?expand=sha&expand=lastModified{gated}"
    raw = (await api.get(url)).object()
    commit = raw.get("sha")
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise RemoteCorrupt(f"{source.name}: the Hub's answer names no commit")
    return _Seen(_canonical(source, raw), revision_of(raw, commit), bool(raw.get("gated")))


def _canonical(source: Source, raw: dict[str, Any]) -> Source:
    """The source as the Hub calls it: "openai-community/gpt2" for "gpt2"."""
    id_ = raw.get("id")
    if not isinstance(id_, str) or not is_id(id_):
        raise RemoteCorrupt(f"{source.name}: the Hub's answer has no id")
    return replace(source, id=id_, is_ambiguous=False)


async def _better(missing: SourceMissing, api: Api) -> RemoteError:
    """The same error, or one with the right command if the id is of another kind."""
    source = api.source
    for type_ in SourceType:
        if type_ is source.type or (type_ is SourceType.BUCKET and "/" not in source.id):
            continue
        revision = None if type_ is SourceType.BUCKET else source.revision
        other = replace(source, type=type_, revision=revision)
        try:
            await _look(api.about(replace(other, revision=None)))
        except RemoteError:
            continue
        return SourceMissing(
            f"{source.id} is a {type_.value}, not a {source.type.value}: "
            f"hf-mount-nfs {other.kind} {other.typed}"
        )
    return missing
