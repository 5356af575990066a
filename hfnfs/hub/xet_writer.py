"""hf_xet as it uploads: one commit of some files, in a thread that it may block.

Its sessions keep to what the environment says (HF_XET_*, telemetry included), and its cache of
what was uploaded already is the one that huggingface_hub uses, below HF_XET_CACHE.
"""

import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple

from hfnfs.errors import RemoteError
from hfnfs.hub.cas import Access
from hfnfs.hub.errors import xet_failure
from hfnfs.remote import ContentId

_PROGRESS_MS: Final = 250
_NS: Final = 10**9
_HASH: Final = re.compile(r"[0-9a-f]{64}")
# All that hf_xet raises; ConnectionError and TimeoutError are OSErrors.
_HF_XET_ERRORS: Final = (OSError, ValueError, RuntimeError)
# Of a report on shards, what moves when the storage takes them in.
_SHARD_STEPS: Final = (
    "total_shard_bytes_upload_completed",
    "total_shard_validation_entries_completed",
    "total_shards_uploaded_to_store",
    "total_shards_synced",
    "total_shards_completed",
)
# Where the environment says nothing. Its read time-out stays: it counts from when a request
# begins, and a slow line takes minutes to send a xorb.
_SETTINGS: Final[Mapping[str, object]] = {
    "client.retry_max_attempts": 4,  # the caller tries again too
    "client.retry_base_delay": "1s",
    "client.connect_timeout": "10s",
    "client.ac_max_upload_concurrency": 4,  # each holds a xorb of up to 64 MiB
}


class Dedup(Enum):
    """Where a commit looks for bytes that need not be sent."""

    KNOWN = "what this machine has uploaded"
    ASKED = "the same, and the storage is asked"
    # hf_xet believes for weeks that what it uploaded is there. If it is not, a commit that
    # refers to it is refused; this way, all that the storage does not know is sent again.
    DISTRUSTING = "the storage alone"


_OF_DEDUP: Final[Mapping[Dedup, Mapping[str, object]]] = {
    Dedup.KNOWN: {"deduplication.global_dedup_query_enabled": False},
    Dedup.ASKED: {},
    # A directory of its own, of which nothing is used: the common one stays as it is.
    Dedup.DISTRUSTING: {"shard.cache_subdir": "hfnfs-distrusting", "shard.cache_size_limit": 1},
}


class LocalFile(NamedTuple):
    """A file to upload, as it was looked at."""

    path: Path
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Target:
    """Where to upload to, and what lets us."""

    name: str  # of the bucket, for messages
    access: Access
    refresh_url: str
    refresh_headers: Mapping[str, str] = field(repr=False)


class XetWriter:
    """hf_xet's sessions, made when they are needed; any thread."""

    def __init__(self) -> None:
        self._making = threading.Lock()
        self._sessions: dict[Dedup, Any] = {}

    def job(self, target: Target, files: Sequence[LocalFile], dedup: Dedup) -> "Job":
        """A commit of `files`, to be run in a thread."""
        return Job(lambda: self._session(dedup), target, files)

    def _session(self, dedup: Dedup) -> Any:
        import hf_xet

        with self._making:
            if dedup not in self._sessions:
                config = hf_xet.XetConfig()
                for name, value in {**_SETTINGS, **_OF_DEDUP[dedup]}.items():
                    if name not in _SETTINGS or _variable(name) not in os.environ:
                        config = config.with_config(name, value)
                self._sessions[dedup] = hf_xet.XetSession(config)
            return self._sessions[dedup]


class Job:
    """One commit. `run` blocks; `progress` and `abort` are for another thread."""

    def __init__(
        self, session: Callable[[], Any], target: Target, files: Sequence[LocalFile]
    ) -> None:
        self.progress: tuple[object, ...] = ()  # differs when there was some
        self._session = session
        self._target = target
        self._files = files
        self._lock = threading.Lock()
        self._commit: Any = None
        self._is_aborted = False

    def run(self) -> list[ContentId | RemoteError]:
        """Upload all; for each file its content, or why it has none. Raises RemoteError."""
        try:
            return self._uploaded()
        except _HF_XET_ERRORS as error:
            self.abort()  # what else it had begun
            raise xet_failure(error, self._target.name) from error
        finally:
            # It knows our _note: the two would keep each other for ever, with all that hf_xet
            # had in memory for it, and no collector sees through hf_xet.
            with self._lock:
                self._commit = None

    def abort(self) -> None:
        """End `run` soon; nothing reads the files any more once it has ended."""
        with self._lock:
            self._is_aborted = True
            if self._commit is not None:
                self._commit.abort()

    def _uploaded(self) -> list[ContentId | RemoteError]:
        import hf_xet

        target = self._target
        commit = self._session().new_upload_commit(
            endpoint=target.access.url,
            token=target.access.token,
            token_expiry_unix_secs=target.access.expires_ns // _NS,
            token_refresh_url=target.refresh_url,
            token_refresh_headers=dict(target.refresh_headers),
            progress_callback=self._note,
            progress_interval_ms=_PROGRESS_MS,
        )
        with self._lock:
            self._commit = commit
        uploads = []
        for file in self._files:
            if self._is_aborted:
                raise RuntimeError("aborted")
            uploads.append(commit.start_upload_file(str(file.path), sha256=hf_xet.SKIP_SHA256))
            self.progress = (len(uploads),)
        commit.wait_to_finish()
        infos = [upload.result().xet_info for upload in uploads]
        return [self._outcome(file, info) for file, info in zip(self._files, infos, strict=True)]

    def _outcome(self, file: LocalFile, info: Any) -> ContentId | RemoteError:
        if info.file_size != file.size:
            return RemoteError(
                f"{file.path.name}: {info.file_size} bytes were uploaded and {file.size} meant; "
                "it changed meanwhile"
            )
        assert _HASH.fullmatch(info.hash), "hf_xet gives no hash"
        return ContentId(f"xet-{info.hash}", file.size)

    def _note(self, group: Any, _items: Any) -> None:
        """Called now and then, whether or not there was progress."""
        shard = group.shard
        self.progress = (
            len(self._files),
            group.total_bytes,
            group.total_bytes_completed,
            group.total_transfer_bytes_completed,
            *(getattr(shard, name) for name in _SHARD_STEPS),
        )


def _variable(name: str) -> str:
    """The environment's name of a setting of hf_xet."""
    return f"HF_XET_{name.upper().replace('.', '_')}"
