"""Opens a source: connected, or, where the Hub is not asked or gives no answer, from what is kept.

--offline                    what is kept, or Offline
a commit whose root is kept  what is kept; the Hub is asked for what is not
else                         connect; no answer at all: what is kept, with a warning
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, TypeAlias

from hfnfs.clock import Clock
from hfnfs.disk.names import KeptNames, KnownSource, KnownSources
from hfnfs.errors import CacheUnusable, NoSpace, Offline, RemoteError
from hfnfs.hub.account import Account
from hfnfs.hub.connect import BucketRemote, RepoRemote, assumed, connect, is_commit, probe
from hfnfs.hub.http import Http
from hfnfs.hub.source import Source
from hfnfs.remote import Remote, Revision, WritableRemote
from hfnfs.transfer.branch import Branch, BranchRemote
from hfnfs.transfer.kept import UNREACHABLE, KeptRemote, NoRemote

# What the Hub calls the branch that is meant when none is named.
_DEFAULT_BRANCH = "main"
_SHORT_SHA = 7

_log = logging.getLogger(__name__)


ReadBy: TypeAlias = Callable[[RepoRemote | BucketRemote], Remote]
Prepare: TypeAlias = Callable[[], Coroutine[None, None, None]]


def _as_it_is(remote: RepoRemote | BucketRemote) -> Remote:
    return remote


class Memory(Protocol):
    """What outlives a mount; disk/ implements it."""

    def sources(self) -> KnownSources:
        """What the names that users type were found to mean."""
        ...

    def names(self, source: str) -> KeptNames:
        """What was seen in a repo or bucket."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """A source that is there, or was."""

    source: Source  # under its canonical id
    revision: Revision
    remote: Remote
    bucket: WritableRemote | None = None  # what takes changes; None: they cannot be sent
    # To be awaited beside the serving, where the Hub was not asked: makes the first read as fast.
    prepare: Prepare | None = None
    # Raises the RemoteError that keeps the account from changing it; None: nobody can tell now.
    check_write_access: Prepare | None = None
    branch: Branch | None = None  # that the repo is mounted at, rather than at a commit for ever


class _Known(NamedTuple):
    """A source under its canonical id, and what it was at."""

    source: Source
    revision: Revision


class Opening:
    """Opens sources as one account sees them."""

    def __init__(
        self,
        account: Account,
        http: Http,
        memory: Memory,
        clock: Clock,
        read_by: ReadBy | None = None,
    ) -> None:
        self._account = account
        self._http = http
        self._memory = memory
        self._clock = clock
        self._read_by = read_by or _as_it_is

    async def open(self, source: Source, *, offline: bool, folder_may_miss: bool = False) -> Opened:
        """What `source` names; `folder_may_miss` as for connect. Raises RemoteError."""
        known = await asyncio.to_thread(self._known, source)
        if offline:
            if known is None:
                raise Offline(
                    f"{source.name}: nothing of it is cached, and the Hub is not asked because "
                    "of HF_HUB_OFFLINE or --offline"
                )
            return self._disconnected(*known)
        is_for_ever = known is not None and is_commit(source.revision)
        if known and is_for_ever and await asyncio.to_thread(self._shows_its_root, known):
            return self._unasked(*known)
        try:
            remote = await connect(
                source, self._account, self._http, folder_may_miss=folder_may_miss
            )
            revision = await remote.revision()
        except UNREACHABLE as error:
            if known is None:
                raise
            return self._left_alone(*known, error)
        await self._remember(source, remote.source, revision)
        opened = self._connected(remote, remote.source, revision)
        if isinstance(remote, BucketRemote):
            opened = replace(opened, check_write_access=remote.check_write_access)
        return opened

    # ------------------------------------------------------------- what is known

    def _known(self, source: Source) -> _Known | None:
        """What the source was last, by either reading of its name; None if it was never seen."""
        for meant in (source, source.alternative):
            known = None if meant is None else self._memory.sources().get(*self._key(meant))
            if meant is not None and known is not None:
                found = replace(meant, id=known.id, is_ambiguous=False)
                return _Known(found, known.revision)
        return None

    def _shows_its_root(self, known: _Known) -> bool:
        names = self._names_of(known.source)
        return names.has_listing(known.revision.token, known.source.subfolder)

    async def _remember(self, source: Source, found: Source, revision: Revision) -> None:
        """Keep what the name and the canonical one mean now, and the commit itself."""
        # Of the two readings of an ambiguous name it was the one that ends in the same folder.
        alternative = source.alternative
        meant = alternative if alternative and alternative.subfolder == found.subfolder else source
        sources = {meant, found}
        if found.kind == "repo":
            sources |= {replace(each, revision=revision.token) for each in (meant, found)}
        known = KnownSource(found.id, revision)
        try:
            for each in sources:
                await asyncio.to_thread(
                    self._memory.sources().keep, self._key(each), known, self._clock.wall_ns()
                )
        except (CacheUnusable, NoSpace) as error:
            _log.warning("%s cannot be opened offline later: %s", found.name, error)

    def _key(self, source: Source) -> tuple[str, ...]:
        """A source whatever its folder; a bucket's revision is always its present state."""
        revision = source.revision or _DEFAULT_BRANCH
        at = "" if source.kind == "bucket" else revision
        return self._account.endpoint, source.type.value, source.id, at

    def _names_of(self, source: Source) -> KeptNames:
        return self._memory.names(f"{self._account.endpoint} {source.type.value} {source.id}")

    # ------------------------------------------------------------------ opening

    def _disconnected(self, source: Source, revision: Revision) -> Opened:
        remote = NoRemote(source.name, revision, immutable=source.kind == "repo")
        _log.warning("offline: showing what is cached of %s", _described(source, revision))
        return Opened(source, revision, self._kept(remote, source, revision))

    def _left_alone(self, source: Source, revision: Revision, error: RemoteError) -> Opened:
        what = _described(source, revision)
        _log.warning("the Hub cannot be reached: showing what is cached of %s (%s)", what, error)
        return self._unasked(source, revision)

    def _unasked(self, source: Source, revision: Revision) -> Opened:
        remote = assumed(source, revision, self._account, self._http)
        return replace(self._connected(remote, source, revision), prepare=remote.prepare)

    def _connected(
        self, remote: RepoRemote | BucketRemote, source: Source, revision: Revision
    ) -> Opened:
        kept = self._kept(self._read_by(remote), source, revision)
        if isinstance(remote, BucketRemote):
            return Opened(source, revision, kept, bucket=remote)
        if is_commit(source.revision):
            return Opened(source, revision, kept)
        branch = self._branch(BranchRemote(kept), source)
        return Opened(source, revision, branch.remote, branch=branch)

    def _branch(self, remote: BranchRemote, source: Source) -> Branch:
        async def at(revision: Revision) -> Remote:
            pinned = assumed(source, revision, self._account, self._http)
            await pinned.prepare()
            return self._kept(self._read_by(pinned), source, revision)

        return Branch(
            remote,
            probe=lambda: probe(source, self._account, self._http),
            at=at,
            remember=lambda revision: self._remember(source, source, revision),
        )

    def _kept(self, remote: Remote, source: Source, revision: Revision) -> KeptRemote:
        return KeptRemote(
            remote,
            self._names_of(source),
            revision=revision.token if remote.immutable else "",
            folder=source.subfolder,
            clock=self._clock,
        )


def _described(source: Source, revision: Revision) -> str:
    at = f" at commit {revision.token[:_SHORT_SHA]}" if source.kind == "repo" else ""
    return f"{source.name}{at}"
