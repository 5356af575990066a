"""Facts that could be asked for again: one small file each, whole or absent, checked when read.

    <directory>/<32 hex of the key>      32 bytes BLAKE3 of the rest | zlib of JSON [key, value]

A file that is damaged, or that another key has led to, is as good as absent. Several processes
write at once: the last one stands. The mtime says when the fact was last found to be true.
"""

import json
import logging
import os
import secrets
import threading
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from blake3 import blake3

from hfnfs.disk.errors import disk_errors

_DIGEST_BYTES: Final = 32
_ZLIB_LEVEL: Final = 1  # hashes do not compress; names and JSON do at any level
_NEW: Final = ".new-"
_OPEN_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_log = logging.getLogger(__name__)


class Record(NamedTuple):
    """A fact, and when it was last known to be true."""

    value: Any  # as JSON gives it
    seen_ns: int  # since 1970


class Records(Protocol):
    """Facts by key. May be used from several threads at once."""

    def get(self, *key: str) -> Record | None:
        """The fact of that key; None if it is not known, or damaged."""
        ...

    def has(self, *key: str) -> bool:
        """Whether there is something under that key, perhaps damaged."""
        ...

    def put(self, key: tuple[str, ...], value: Any, seen_ns: int) -> None:
        """Keep a fact in place of the one before. Raises NoSpace, CacheUnusable."""
        ...


class DiskRecords:
    """Records in a directory of their own, made with the first one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, *key: str) -> Record | None:
        """The fact of that key; None if it is not known, or damaged."""
        path = self._path(key)
        try:
            fd = os.open(path, _OPEN_READ)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.warning("%s cannot be read: %s", path, error.strerror)
            return None
        with open(fd, "rb") as file:
            raw, seen_ns = file.read(), os.fstat(fd).st_mtime_ns
        value = _unpacked(raw, key)
        if value is None:
            _log.warning("%s is damaged: what it held is asked for again", path)
            return None
        return Record(value, seen_ns)

    def has(self, *key: str) -> bool:
        """Whether there is something under that key, perhaps damaged."""
        return self._path(key).exists()

    def put(self, key: tuple[str, ...], value: Any, seen_ns: int) -> None:
        """Keep a fact in place of the one before. Raises NoSpace, CacheUnusable."""
        path, raw = self._path(key), _packed(key, value)
        with disk_errors(path):
            if _bytes_at(path) != raw:  # listings of a bucket are found unchanged most times
                self._write(path, raw)
            os.utime(path, ns=(seen_ns, seen_ns))

    def _write(self, path: Path, raw: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(_NEW + secrets.token_hex(8))
        fd = os.open(new, _OPEN_NEW, 0o600)
        try:
            with open(fd, "wb") as file:
                file.write(raw)  # not synced: what a crash leaves of it fails its check
            new.rename(path)
        except BaseException:
            new.unlink(missing_ok=True)
            raise

    def _path(self, key: tuple[str, ...]) -> Path:
        return self._directory / _name_of(key)


class MemoryRecords:
    """Records that end with the process; beyond `bytes_max` the longest unused go."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[tuple[str, ...], tuple[bytes, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, *key: str) -> Record | None:
        """The fact of that key; None if it is not known."""
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            raw, seen_ns = self._kept[key]
        return Record(_unpacked(raw, key), seen_ns)

    def has(self, *key: str) -> bool:
        """Whether there is something under that key."""
        return key in self._kept

    def put(self, key: tuple[str, ...], value: Any, seen_ns: int) -> None:
        """Keep a fact in place of the one before."""
        raw = _packed(key, value)
        with self._lock:
            before, _ = self._kept.pop(key, (b"", 0))
            self._kept[key] = raw, seen_ns
            self._bytes += len(raw) - len(before)
            while self._bytes > self._bytes_max:
                _, (gone, _) = self._kept.popitem(last=False)
                self._bytes -= len(gone)


def _name_of(key: tuple[str, ...]) -> str:
    return blake3(json.dumps(key).encode()).hexdigest(length=16)


def _packed(key: tuple[str, ...], value: Any) -> bytes:
    body = zlib.compress(json.dumps([key, value], separators=(",", ":")).encode(), _ZLIB_LEVEL)
    return blake3(body).digest() + body


def _unpacked(raw: bytes, key: tuple[str, ...]) -> Any:
    """The value, or None unless these are all the bytes that were written under that key."""
    body = raw[_DIGEST_BYTES:]
    if blake3(body).digest() != raw[:_DIGEST_BYTES]:
        return None
    kept_key, value = json.loads(zlib.decompress(body))
    return value if tuple(kept_key) == key else None


def _bytes_at(path: Path) -> bytes | None:
    try:
        fd = os.open(path, _OPEN_READ)
    except FileNotFoundError:
        return None
    with open(fd, "rb") as file:
        return file.read()
