"""Local files to Xet's storage, by hf_xet: it cuts, finds what is there already, packs and sends.

Files go up in groups, each one commit of hf_xet: small ones share a few requests. Nothing counts
as uploaded before its group's commit has succeeded, whatever hf_xet said of the file until then.
hf_xet blocks, so each group has a thread of its own, watched from here: one that makes no
progress, or is not wanted any more, is aborted.
"""

import asyncio
import concurrent.futures
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias, TypeVar

from hfnfs.config import MIB
from hfnfs.errors import NotAuthenticated, RemoteError, RemoteUnavailable
from hfnfs.hub import blame
from hfnfs.hub.api import Api
from hfnfs.hub.cas import Cas
from hfnfs.hub.xet_writer import Dedup, Job, LocalFile, Target, XetWriter
from hfnfs.remote import EMPTY, ContentId

GROUP_FILES_MAX: Final = 1000
GROUP_BYTES_MAX: Final = 256 * MIB
# To ask the storage whether it has a file's first chunk costs a request for each file: for
# smaller ones that is more than it can save.
ASK_BYTES_MIN: Final = MIB
GROUPS_IN_FLIGHT_MAX: Final = 4
# Longer than hf_xet takes for all its tries of a request.
STALL_TIMEOUT_S: Final = 120.0

_LOOKS: Final = 8  # at the progress, within the time-out
_ABORT_GRACE_S: Final = 10.0

Outcome: TypeAlias = ContentId | RemoteError
T = TypeVar("T")
_log = logging.getLogger(__name__)


class Group(NamedTuple):
    """Files that go up together; `numbers` are their places in what was asked for."""

    numbers: list[int]
    files: list[LocalFile]
    dedup: Dedup


class Uploader:
    """Uploads to one bucket."""

    def __init__(self, api: Api, *, stall_timeout_s: float = STALL_TIMEOUT_S) -> None:
        self._api = api
        self._token_url = api.url("xet-write-token")
        self._cas = Cas(api, self._token_url)
        self._writer = XetWriter()
        self._stall_timeout_s = stall_timeout_s
        self._slots = asyncio.Semaphore(GROUPS_IN_FLIGHT_MAX)

    async def check_access(self) -> None:
        """Get leave to upload now; a refusal is raised."""
        await self._cas.access()

    async def upload(self, paths: Sequence[Path]) -> list[Outcome]:
        """The content of each, or why it has none, as WritableRemote.upload."""
        seen = await asyncio.to_thread(lambda: [looked_at(path) for path in paths])
        outcomes: dict[int, Outcome] = {}
        files: list[tuple[int, LocalFile]] = []
        for number, file in enumerate(seen):
            if isinstance(file, RemoteError):
                outcomes[number] = file
            elif file.size == 0:
                outcomes[number] = EMPTY
            else:
                files.append((number, file))
        async with asyncio.TaskGroup() as tasks:
            for group in grouped(files):
                tasks.create_task(self._take_up(group, outcomes))
        return [outcomes[number] for number in range(len(paths))]

    async def _take_up(self, group: Group, outcomes: dict[int, Outcome]) -> None:
        found = await blame.each(group.files, partial(self._attempt, group.dedup))
        outcomes |= zip(group.numbers, found, strict=True)

    async def _attempt(self, dedup: Dedup, files: Sequence[LocalFile]) -> list[Outcome]:
        """One commit; another where that may help. Raises RemoteError."""
        async with self._slots:
            try:
                return await self._commit(dedup, files)
            except NotAuthenticated:
                # The storage's token, or ours? A new one, or the Hub's refusal, says it.
                self._cas = Cas(self._api, self._token_url)
                return await self._commit(dedup, files)
            except RemoteError as error:
                if type(error) is not RemoteError:
                    raise
                _log.debug("%s; once more without what is known of earlier ones", error)
                return await self._commit(Dedup.DISTRUSTING, files)

    async def _commit(self, dedup: Dedup, files: Sequence[LocalFile]) -> list[Outcome]:
        token = await self._api.account.token()
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        name = self._api.source.name
        target = Target(name, await self._cas.access(), self._token_url, headers)
        return await self._watched(self._writer.job(target, files, dedup), name)

    async def _watched(self, job: Job, name: str) -> list[Outcome]:
        """Run it to its end, or until it makes no progress. Raises RemoteError."""
        ended = _in_a_thread(job.run)
        try:
            progress, still = job.progress, 0
            while still < _LOOKS:
                done, _ = await asyncio.wait([ended], timeout=self._stall_timeout_s / _LOOKS)
                if done:
                    return ended.result()
                still = still + 1 if job.progress == progress else 0
                progress = job.progress
            raise RemoteUnavailable(
                f"{name}: upload failed: no progress for {self._stall_timeout_s:.0f} s"
            )
        finally:
            if not ended.done():
                job.abort()
                await asyncio.wait([ended], timeout=_ABORT_GRACE_S)
                if not ended.done():
                    _log.warning("%s: an upload that was given up does not end", name)


def looked_at(path: Path) -> LocalFile | RemoteError:
    """A file as it is now; an error if it cannot be read."""
    try:
        found = path.stat()
        is_file = stat.S_ISREG(found.st_mode)
        is_good = is_file and os.access(path, os.R_OK)
    except OSError as error:
        return RemoteError(f"{path.name}: cannot be read to be uploaded: {error.strerror}")
    if not is_good:
        return RemoteError(f"{path.name}: cannot be read to be uploaded")
    return LocalFile(path, found.st_size)


def grouped(files: Iterable[tuple[int, LocalFile]]) -> list[Group]:
    """Files by groups, in order; the storage is asked about those for which it pays."""
    groups: list[Group] = []
    current: dict[Dedup, tuple[Group, int]] = {}
    for number, file in files:
        dedup = Dedup.ASKED if file.size >= ASK_BYTES_MIN else Dedup.KNOWN
        group, size = current.get(dedup, (None, 0))
        is_full = group is None or len(group.files) >= GROUP_FILES_MAX
        if group is None or is_full or size + file.size > GROUP_BYTES_MAX:
            group, size = Group([], [], dedup), 0
            groups.append(group)
        group.numbers.append(number)
        group.files.append(file)
        current[dedup] = (group, size + file.size)
    return groups


def _in_a_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """Its result, from a thread of its own, which does not keep the process from ending."""
    promise: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            promise.set_result(work())
        except BaseException as error:  # handed to who waits
            promise.set_exception(error)

    threading.Thread(target=run, name="hf_xet upload", daemon=True).start()
    ended = asyncio.wrap_future(promise)
    ended.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    return ended
