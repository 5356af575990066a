"""A Hub of one's own on loopback, and what its owner can put there without going over the wire.

Two ports, as two origins: the Hub, and the CAS, to which the Hub redirects what is Xet-backed.
"""

import asyncio
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, TypeAlias

from aiohttp import web

from hfnfs.clock import Clock, SystemClock
from hfnfs.errors import PortRefused, SourceMissing
from hfnfs.localhub.account_routes import AccountRoutes
from hfnfs.localhub.accounts import Accounts, Signer
from hfnfs.localhub.blobs import Blobs, Staged, git_object_id
from hfnfs.localhub.bucket_routes import BucketRoutes
from hfnfs.localhub.buckets import NS_PER_MS, Bucket, BucketFile, Buckets
from hfnfs.localhub.cas import CasRoutes
from hfnfs.localhub.contents import Contents, read_pieces
from hfnfs.localhub.control import ControlRoutes
from hfnfs.localhub.counters import Counters
from hfnfs.localhub.events import Bell
from hfnfs.localhub.faults import Faults
from hfnfs.localhub.gate import Gate
from hfnfs.localhub.grants import GrantRoutes
from hfnfs.localhub.ingest import Packer
from hfnfs.localhub.repo_routes import RESERVED, RepoRoutes, pointer
from hfnfs.localhub.repos import Repo, RepoFile, Repos
from hfnfs.localhub.store import Store
from hfnfs.localhub.wire import Front
from hfnfs.xet.hashes import to_hex
from hfnfs.xet.shard import ShardFile

HOST = "127.0.0.1"
# Requests still running when the Hub is closed get this long to end.
_GRACE_S = 2.0
_FORM_MAX = 8 << 20  # bytes; uploads are streamed and bounded where they are taken
# Files that the Hub keeps in git itself, unless told: small, and of no binary kind.
_PLAIN_BYTES_MAX = 1 << 20
_XET_SUFFIXES = {".safetensors", ".bin", ".parquet", ".pt", ".npy", ".npz", ".gguf", ".onnx"}

Source: TypeAlias = bytes | Path | Iterable[bytes]


class Routes(Protocol):
    """A group of handlers."""

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Register them."""
        ...


class LocalHub:
    """The Hub in `directory`. Port 0 is one of the kernel's choice.

    Belongs to the event loop it was started on; all methods must be called there (HubThread of
    background.py brings a loop of its own), but `faults` and `counters` anywhere.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        accounts: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.faults = Faults()
        self.counters = Counters()
        self.endpoint = ""  # once started, as is cas_url
        self.cas_url = ""
        self._directory = directory
        self._port = port
        self._clock = clock or SystemClock()
        self._accounts = Accounts() if accounts is None else Accounts(dict(accounts))
        self._runners: list[web.AppRunner] = []

    async def __aenter__(self) -> "LocalHub":
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Open the directory and serve. Raises CacheUnusable, PortRefused."""
        self._store = Store(self._directory)
        self._contents = Contents(self._store)
        self._blobs = Blobs(self._store)
        self._repos = Repos(self._store, self._clock)
        self._buckets = Buckets(self._store, self._clock)
        self._bell = Bell()
        self._signer = Signer(self._store.key, self._clock)
        try:
            await self._serve()
        except BaseException:
            self._store.close()
            raise

    async def close(self) -> None:
        """End what runs and close the directory; what was put there stays."""
        self._bell.close()
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()
        self._grants.close()
        self._store.close()

    # ------------------------------------------------------------------- repos

    async def create_repo(
        self,
        kind: str,
        name: str,
        *,
        private: bool = False,
        gated: bool = False,
        aliases: Iterable[str] = (),
    ) -> None:
        """Make an empty "model", "dataset" or "space"; `aliases` are older names of it.

        Raises ValueError when the name is taken, or reserved.
        """
        if name.rpartition("/")[2] in RESERVED:
            raise ValueError(f"{name} would hide a route of the Hub")
        repo = self._repos.create(kind, name, private=private, gated=gated)
        for alias in aliases:
            self._repos.add_alias(repo, alias)

    async def commit(
        self,
        kind: str,
        name: str,
        files: Mapping[str, Source | None],
        *,
        revision: str = "main",
        plain: bool | None = None,
    ) -> str:
        """Put (None: delete) files on a branch or "refs/pr/N"; the new commit's sha.

        `plain` says that git keeps them (True) or Xet does (False); None: as the Hub chooses, by
        size and suffix. Paths are taken as they are, however malicious.
        """
        repo = self._repo(kind, name)
        packer = Packer(self._store)
        staged = await asyncio.to_thread(self._stage, packer, files, plain)
        self._blobs.keep(staged.values())
        packed = dict(zip(_xet_paths(files, staged), packer.files(), strict=True))
        self._contents.keep_files(list(packed.values()), packer.xorbs)
        changes: dict[str, RepoFile | None] = dict.fromkeys(files)
        changes |= {path: RepoFile(blob.oid, blob.size) for path, blob in staged.items()}
        changes |= {path: _linked(file) for path, file in packed.items()}
        title = f"Change {len(files)} files"
        return self._repos.commit(repo, revision, changes, title).sha

    async def tag(self, kind: str, name: str, tag: str, revision: str = "main") -> None:
        """Name a commit."""
        repo = self._repo(kind, name)
        commit = self._repos.resolve(repo, revision)
        if commit is None:
            raise SourceMissing(f"{name} has no revision {revision}")
        self._repos.point(repo, f"refs/tags/{tag}", commit)

    # ----------------------------------------------------------------- buckets

    async def create_bucket(self, name: str, *, private: bool = False) -> None:
        """Make an empty bucket; raises ValueError when the name is taken."""
        self._buckets.create(name, private=private)

    async def put(
        self, bucket: str, files: Mapping[str, Source], *, mtime_ns: int | None = None
    ) -> dict[str, str]:
        """Put files into a bucket in one change; their Xet hashes by path.

        Paths are taken as they are, however malicious.
        """
        found = self._bucket(bucket)
        packer = Packer(self._store)
        await asyncio.to_thread(_pack_all, packer, files.values())
        packed = dict(zip(files, packer.files(), strict=True))
        self._contents.keep_files(packer.files(), packer.xorbs)
        now = self._clock.wall_ns()
        mtime = (now if mtime_ns is None else mtime_ns) // NS_PER_MS
        changes = [
            (path, BucketFile(file.hash, file.size, mtime, now // NS_PER_MS))
            for path, file in packed.items()
        ]
        self._buckets.change(found, changes)
        self._bell.ring()
        return {path: to_hex(file.hash) for path, file in packed.items()}

    async def delete(self, bucket: str, paths: Iterable[str]) -> None:
        """Delete files of a bucket in one change."""
        self._buckets.change(self._bucket(bucket), [(path, None) for path in paths])
        self._bell.ring()

    async def files(self, bucket: str) -> dict[str, bytes]:
        """All files of a bucket with their bytes, as a test wants to see them."""
        found = self._buckets.snapshot(self._bucket(bucket)).files
        return {path: self._bytes_of(file.xet) for path, file in found.items()}

    async def usage(self, bucket: str) -> tuple[int, int]:
        """Bytes and number of a bucket's files."""
        return self._buckets.usage(self._bucket(bucket))

    async def history(self, bucket: str) -> list[tuple[str, bytes | None]]:
        """What was put at which path (None: deleted) since the bucket was made, in order."""
        return [
            (change.path, None if change.after is None else self._bytes_of(change.after.xet))
            for change in self._buckets.changes(self._bucket(bucket), 0) or ()
        ]

    # ------------------------------------------------------------------ serving

    async def _serve(self) -> None:
        hub, cas = _bound(self._port), _bound(0)
        self.endpoint, self.cas_url = _url_of(hub), _url_of(cas)
        self._grants = GrantRoutes(self._store, self._contents, self._signer, self.cas_url)
        gate = Gate(self._accounts, self._repos, self._buckets, self._signer)
        await self._listen(
            cas,
            CasRoutes(self._store, self._contents, self._signer, self.cas_url),
            self._grants,
        )
        await self._listen(
            hub,
            ControlRoutes(self.faults, self.counters),
            AccountRoutes(gate),
            BucketRoutes(gate, self._contents, self._bell, self.cas_url),
            RepoRoutes(gate, self._blobs, self.cas_url),
        )

    async def _listen(self, bound: socket.socket, *routes: Routes) -> None:
        app = web.Application(
            middlewares=[Front(self.faults, self.counters).middleware()], client_max_size=_FORM_MAX
        )
        for group in routes:
            group.add_to(app.router)
        # A client that left is not waited for, however slow the Hub was told to be.
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=_GRACE_S, handler_cancellation=True
        )
        self._runners.append(runner)
        await runner.setup()
        await web.SockSite(runner, bound).start()

    def _repo(self, kind: str, name: str) -> Repo:
        repo = self._repos.find(kind, name)
        if repo is None:
            raise SourceMissing(f"there is no {kind} {name}")
        return repo

    def _bucket(self, name: str) -> Bucket:
        bucket = self._buckets.find(name)
        if bucket is None:
            raise SourceMissing(f"there is no bucket {name}")
        return bucket

    def _bytes_of(self, xet: bytes) -> bytes:
        file = self._contents.file(xet)
        assert file is not None, "a bucket holds only files that were stored"
        return b"".join(self._contents.read(file, 0, file.size))

    def _stage(
        self, packer: Packer, files: Mapping[str, Source | None], plain: bool | None
    ) -> dict[str, Staged]:
        """Give what Xet keeps to the packer; the plain files. Any thread."""
        staged: dict[str, Staged] = {}
        with packer:
            for path, source in files.items():
                if source is None:
                    continue
                if _is_plain(path, source) if plain is None else plain:
                    staged[path] = self._blobs.stage(_pieces(source))
                else:
                    packer.add(_pieces(source))
        return staged


def _xet_paths(files: Mapping[str, Source | None], staged: Mapping[str, Staged]) -> list[str]:
    """The paths that were given to the packer, in that order."""
    return [path for path, source in files.items() if source is not None and path not in staged]


def _pack_all(packer: Packer, sources: Iterable[Source]) -> None:
    with packer:
        for source in sources:
            packer.add(_pieces(source))


def _linked(file: ShardFile) -> RepoFile:
    """A Xet-backed file of a repo: git has a pointer to it."""
    assert file.sha256 is not None, "Packer hashes all that it packs"
    oid = git_object_id(pointer(file.sha256, file.size))
    return RepoFile(oid, file.size, file.hash, file.sha256)


def _is_plain(path: str, source: Source) -> bool:
    if Path(path).suffix in _XET_SUFFIXES:
        return False
    if isinstance(source, bytes):
        return len(source) <= _PLAIN_BYTES_MAX
    return isinstance(source, Path) and source.stat().st_size <= _PLAIN_BYTES_MAX


def _pieces(source: Source) -> Iterable[bytes]:
    if isinstance(source, Path):
        return read_pieces(source, 0, source.stat().st_size)
    return [source] if isinstance(source, bytes) else source


def _bound(port: int) -> socket.socket:
    """A listening address on loopback. Raises PortRefused."""
    bound = socket.socket()
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise PortRefused(f"{HOST}:{port}: {error}") from error
    return bound


def _url_of(bound: socket.socket) -> str:
    return f"http://{HOST}:{bound.getsockname()[1]}"
