"""The cache directory: where it is, that it is ours alone, and what has to survive a restart.

    <cache>/version                      "1": the layout below
    <cache>/blocks/…                     remote bytes (segment.py)
    <cache>/volumes/<hash>/handle-key    32 secret bytes, made once for each source
    <cache>/volumes/<hash>/…             state.db, lock, staging/: of what is mounted to be changed
    <cache>/hashed/…                     hashes of blobs that huggingface_hub keeps (records.py)
    <cache>/sources/…, names/<hash>/…    what was seen of sources and in them (records.py)

Several processes use one cache directory at once; what is made here is made atomically.
"""

import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blake3 import blake3

from hfnfs.disk.errors import disk_errors
from hfnfs.disk.names import KeptNames, KnownSources
from hfnfs.disk.records import DiskRecords, Records
from hfnfs.errors import CacheUnusable

VERSION: Final = b"1\n"
HANDLE_KEY_BYTES: Final = 32
VOLUME_ID_BYTES: Final = 8

_VERSION_FILE = "version"
_HANDLE_KEY_FILE = "handle-key"
_VOLUME_CONTEXT = "hfnfs volume of a source"
_NAMES_CONTEXT = "hfnfs names of a source"
_NEW = ".new-"  # begins the names of files that are about to be published
_SMALL_FILE_BYTES_MAX = 4096
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class VolumeState:
    """What outlives the process for one source, so that its file handles do too."""

    id: bytes  # VOLUME_ID_BYTES, the same for equal sources
    key: bytes  # HANDLE_KEY_BYTES, secret; signs handles
    directory: Path | None = None  # for what is not on the Hub yet; None: nothing may be kept


@dataclass(frozen=True, slots=True)
class CacheLayout:
    """An opened cache directory."""

    root: Path

    @property
    def blocks(self) -> Path:
        """Where remote bytes are kept."""
        return self.root / "blocks"

    def sources(self) -> KnownSources:
        """What the names that users type were found to mean."""
        return KnownSources(DiskRecords(self.root / "sources"))

    def names(self, source: str) -> KeptNames:
        """What was seen in `source` (a repo or bucket, whatever revision or folder of it)."""
        digest = blake3(source.encode(), derive_key_context=_NAMES_CONTEXT).hexdigest(length=16)
        return KeptNames(DiskRecords(self.root / "names" / digest))

    def hashed_blobs(self) -> Records:
        """Which hash blobs of other programs were found to have."""
        return DiskRecords(self.root / "hashed")

    def volume_state(self, source: str) -> VolumeState:
        """The state of `source` (its canonical identity), made at the first call.

        Mounts of one source share it. Raises CacheUnusable.
        """
        digest = _volume_digest(source)
        directory = self.root / "volumes" / digest.hex()[:32]
        with disk_errors(directory):
            directory.mkdir(mode=0o700, exist_ok=True)
        with _own_directory(directory) as fd:
            key = _published(fd, _HANDLE_KEY_FILE, secrets.token_bytes(HANDLE_KEY_BYTES))
        if len(key) != HANDLE_KEY_BYTES:
            raise CacheUnusable(
                f"{directory / _HANDLE_KEY_FILE}: {len(key)} bytes instead of "
                f"{HANDLE_KEY_BYTES}; remove it (file handles of live mounts go stale)"
            )
        return VolumeState(digest[-VOLUME_ID_BYTES:], key, directory)


def passing_state(source: str) -> VolumeState:
    """A state that ends with the process: its handles are good for this mount alone."""
    key = secrets.token_bytes(HANDLE_KEY_BYTES)
    return VolumeState(_volume_digest(source)[-VOLUME_ID_BYTES:], key)


def default_cache_dir(environ: Mapping[str, str]) -> Path:
    """$XDG_CACHE_HOME/hfnfs, else ~/.cache/hfnfs (a relative XDG path does not count)."""
    given = environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
    return base / "hfnfs"


def open_cache(path: Path) -> CacheLayout:
    """Make or check the cache directory at `path`.

    Raises CacheUnusable when it belongs to or can be written by someone else, is a symbolic
    link, holds something that is not ours, or has another version.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    with _own_directory(path) as fd:
        names = os.listdir(fd)
        if _VERSION_FILE not in names and any(not name.startswith(_NEW) for name in names):
            raise CacheUnusable(
                f"{path}: not empty and no cache of hfnfs; choose another directory"
            )
        version = _published(fd, _VERSION_FILE, VERSION)
        if version != VERSION:
            raise CacheUnusable(
                f"{path}: made by another version of hfnfs (layout {version[:16]!r}, "
                f"this one needs {VERSION!r}); remove it or choose another directory"
            )
        for name in ("blocks", "hashed", "names", "sources", "volumes"):
            with disk_errors(path / name):
                (path / name).mkdir(mode=0o700, exist_ok=True)
            with _own_directory(path / name):
                pass
    return CacheLayout(path)


def _volume_digest(source: str) -> bytes:
    return blake3(source.encode(), derive_key_context=_VOLUME_CONTEXT).digest()


@contextmanager
def _own_directory(path: Path) -> Iterator[int]:
    """A descriptor of the directory, after checking that nobody else can have a hand in it."""
    with disk_errors(path):
        fd = os.open(path, _OPEN_DIRECTORY)
    try:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid():
            raise CacheUnusable(f"{path}: belongs to uid {status.st_uid}, not to you")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise CacheUnusable(f"{path}: others may write to it; run chmod 700 on it")
        with disk_errors(path):
            yield fd
    finally:
        os.close(fd)


def _published(directory_fd: int, name: str, content: bytes) -> bytes:
    """The content of the file `name`; given `content` whole, by whoever comes first."""
    existing = _small_file(directory_fd, name)
    if existing is not None:
        return existing
    new = _NEW + secrets.token_hex(8)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(new, flags, 0o600, dir_fd=directory_fd)
    try:
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(new, name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
    except FileExistsError:
        pass  # another process was first: its content is the one
    finally:
        os.unlink(new, dir_fd=directory_fd)
    os.fsync(directory_fd)
    return _small_file(directory_fd, name) or b""


def _small_file(directory_fd: int, name: str) -> bytes | None:
    """The bytes of a file that only we could have written; None if it is not there."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
    except FileNotFoundError:
        return None
    with open(fd, "rb") as file:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode):
            raise CacheUnusable(f"{name} in the cache directory: not a file of yours")
        return file.read(_SMALL_FILE_BYTES_MAX)
