"""hf_xet as a second reader of Xet content (--reader hf-xet), behind the same Protocol.

hf_xet blocks, so it runs in threads of its own, in windows of a few MiB: a longer stream would
read ahead as it likes. What it gives is never believed to be all (a query that failed may end as
an empty stream), so each window is measured; after any failure the group of streams, which may be
poisoned by it, is made anew, and our own query of the plan tells what the failure was.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, Self

from hfnfs.config import MIB
from hfnfs.hub.cas import Access, Cas
from hfnfs.hub.content import Failures
from hfnfs.hub.http import Cut, Http
from hfnfs.hub.tree import Found
from hfnfs.remote import ContentId, Listing, Piece, Remote, Revision

WINDOW_BYTES: Final = 8 * MIB
# Each reads one window: more only cost memory.
_THREADS: Final = 4
_NS: Final = 10**9
# hf_xet's own patience is minutes, and its buffers are made for whole files.
_SETTINGS: Final = {
    "client.retry_max_attempts": 2,
    "client.retry_base_delay": "250ms",
    "client.retry_max_duration": "20s",
    "client.connect_timeout": "10s",
    "client.read_timeout": "30s",
    "reconstruction.min_reconstruction_fetch_size": 2 * WINDOW_BYTES,
    "reconstruction.min_prefetch_buffer": 2 * WINDOW_BYTES,
    "reconstruction.download_buffer_size": 8 * WINDOW_BYTES,
    "reconstruction.download_buffer_perfile_size": 2 * WINDOW_BYTES,
    "reconstruction.download_buffer_limit": 16 * WINDOW_BYTES,
    "telemetry.enabled": False,
}
# All that hf_xet raises; ConnectionError and TimeoutError are OSErrors.
_HF_XET_ERRORS = (OSError, ValueError, RuntimeError)

_log = logging.getLogger(__name__)


class XetRemote(Remote, Protocol):
    """A remote with Xet content."""

    @property
    def cas(self) -> Cas:
        """Where its Xet content is."""
        ...


class HfXetReader:
    """The session and threads of hf_xet; a context manager, to end what still reads."""

    def __init__(self, http: Http) -> None:
        import hf_xet

        self._hf_xet = hf_xet
        self._http = http
        config = hf_xet.XetConfig()
        for name, value in _SETTINGS.items():
            config = config.with_config(name, value)
        self._session = hf_xet.XetSession(config)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="hf_xet")
        self._group: Any = None
        self._group_token = ""  # of the access it was made with

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._group is not None:
            self._group.abort()  # those who read see the end of their stream at once
        self._threads.shutdown(wait=False, cancel_futures=True)

    def over(self, remote: XetRemote) -> "HfXetRemote":
        """The remote, its Xet content read by hf_xet."""
        return HfXetRemote(remote, self)

    async def read(
        self, cas: Cas, content: ContentId, start: int, end: int
    ) -> AsyncGenerator[Piece, None]:
        """Pieces of [start, end), in order. Raises RemoteError."""
        failures = Failures(self._http)
        while start < end:
            stop = min(start + WINDOW_BYTES, end)
            access = await cas.access()
            try:
                data = await self._window(access, content, start, stop)
            except Cut as error:
                await cas.plan(content, start, stop)  # its refusal says more than hf_xet's
                await failures.note(error, start)
                continue
            yield Piece(start, data)
            start = stop

    async def _window(self, access: Access, content: ContentId, start: int, end: int) -> bytes:
        """All bytes of one window. Raises Cut."""
        loop = asyncio.get_running_loop()
        group = await loop.run_in_executor(self._threads, self._group_for, access)
        try:
            data = await loop.run_in_executor(
                self._threads, self._all_of, group, content, start, end
            )
        except _HF_XET_ERRORS as error:
            self._drop(group)
            _log.debug("hf_xet: %s: %s", type(error).__name__, error)
            raise Cut(f"xet {content.xet_hash}: hf_xet failed ({type(error).__name__})") from error
        if len(data) != end - start:
            self._drop(group)
            raise Cut(f"xet {content.xet_hash}: {len(data)} of {end - start} bytes came")
        return data

    def _all_of(self, group: Any, content: ContentId, start: int, end: int) -> bytes:
        info = self._hf_xet.XetFileInfo(content.xet_hash, content.size)
        return b"".join(group.download_stream(info, start, end))

    def _group_for(self, access: Access) -> Any:
        """The group of streams for that token; in a thread, as it makes HTTP clients."""
        group = self._group
        if group is None or self._group_token != access.token:
            group = self._session.new_download_stream_group(
                endpoint=access.url,
                token=access.token,
                token_expiry_unix_secs=access.expires_ns // _NS,
            )
            self._group, self._group_token = group, access.token
        return group

    def _drop(self, group: Any) -> None:
        """Use another one from now on; those who still read from it are left alone."""
        if self._group is group:
            self._group = None


class HfXetRemote:
    """Remote over another one, whose Xet content hf_xet reads."""

    def __init__(self, remote: XetRemote, reader: HfXetReader) -> None:
        self.immutable = remote.immutable
        self._remote = remote
        self._reader = reader

    async def revision(self) -> Revision:
        """What the far side has now."""
        return await self._remote.revision()

    async def list(self, directory: str) -> Listing:
        """All entries of `directory`. Raises RemoteEntryMissing."""
        return await self._remote.list(directory)

    async def find(self, paths: Sequence[str]) -> Found | None:
        """The entries of `paths`."""
        return await self._remote.find(paths)

    def open(self, content: ContentId, start: int, end: int) -> AsyncIterator[Piece]:
        """Pieces that cover [start, end) of `content`."""
        if content.xet_hash is None:
            return self._remote.open(content, start, end)
        return self._reader.read(self._remote.cas, content, start, end)
