"""What the Hub says of files and folders, checked and put into the words of remote.py; pure.

Nothing here is trusted: a name must be one component that a directory can hold, a size must fit
a file, a hash must be one. What cannot be shown is left out, with one warning for each listing.
Dates are anybody's to choose: those that NFS cannot tell are the last one that it can.
"""

import logging
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from hfnfs.errors import RemoteCorrupt
from hfnfs.hub.source import NAME_BYTES_MAX
from hfnfs.remote import ContentId, Kind, RemoteEntry, Revision

SIZE_MAX = 2**63 - 1
DATE_NS_MAX = (2**32 - 1) * 10**9  # nfstime3 counts seconds in 32 bits (RFC 1813 §2.5)

_XET_HASH = re.compile(r"[0-9a-f]{64}")
_OBJECT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_KINDS = {"file": Kind.FILE, "directory": Kind.DIRECTORY}

_log = logging.getLogger(__name__)


class Unshowable(ValueError):
    """An entry that no directory can show; the message says why."""


class Gathering:
    """Entries of one directory, taken from what may be many pages."""

    def __init__(self, where: str, directory: str, commit: str) -> None:
        self._where = where
        self._prefix = f"{directory}/" if directory else ""
        self._commit = commit
        self.entries: dict[str, RemoteEntry] = {}
        self._left_out: list[str] = []

    def add(self, raws: Iterable[object]) -> None:
        """Take what lies directly in the directory; of equal names the last one.

        A bucket may hold "a" and "a/b": the folder is shown, or all below it would be lost.
        """
        for raw in raws:
            path = path_of(raw)
            if not path.startswith(self._prefix) or path == self._prefix:
                continue  # a bucket's listing of "log" also brings "log.txt"
            try:
                entry = entry_of(raw, path[len(self._prefix) :], self._commit)
            except Unshowable as error:
                self._left_out.append(str(error))
                continue
            known = self.entries.get(entry.name)
            if known is None or known.kind is not Kind.DIRECTORY or entry.kind is known.kind:
                self.entries[entry.name] = entry

    def warn(self) -> None:
        """Say once what was left out."""
        if self._left_out:
            _log.warning(
                "%s: %d entries cannot be shown, as %s",
                self._where, len(self._left_out), self._left_out[0],
            )  # fmt: skip


def path_of(raw: object) -> str:
    """The path of an entry as the Hub wrote it. Raises RemoteCorrupt."""
    path = raw.get("path") if isinstance(raw, dict) else None
    if not isinstance(path, str):
        raise RemoteCorrupt("the Hub lists an entry without a path")
    return path


def entry_of(raw: Any, name: str, commit: str) -> RemoteEntry:
    """The entry that `raw` describes. `commit` is "" of a bucket. Raises Unshowable."""
    if not is_name(name):
        raise Unshowable(f"{name[:80]!r} is no file name")
    kind = _KINDS.get(str(raw.get("type")))
    if kind is None:
        raise Unshowable(f"{name!r} is neither file nor folder")
    content = _content_of(raw, name, commit) if kind is Kind.FILE else None
    return RemoteEntry(name, kind, content, _mtime_of(raw))


def is_name(name: str) -> bool:
    """Whether a directory can show this as one of its names."""
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        return False
    try:
        return len(name.encode()) <= NAME_BYTES_MAX
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def revision_of(raw: dict[str, Any], token: object) -> Revision:
    """The state that an info answer of the Hub describes; `token` is what names it."""
    if not isinstance(token, str) or not token or len(token) > NAME_BYTES_MAX:
        raise RemoteCorrupt("the Hub's answer does not say at which revision it is")
    date = raw.get("lastModified") or raw.get("updatedAt") or raw.get("createdAt")
    return Revision(
        token,
        time_ns(date) or 0,
        _count_or_none(raw.get("size")),
        _count_or_none(raw.get("totalFiles")),
    )


def time_ns(text: object) -> int | None:
    """Nanoseconds since 1970 of an ISO 8601 date; None of anything else, or before 1970.

    What is later than DATE_NS_MAX is that.
    """
    if not isinstance(text, str):
        return None
    try:
        date = datetime.fromisoformat(text)
        seconds = (date.replace(tzinfo=date.tzinfo or UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    if seconds < 0:
        return None
    return min(int(seconds) * 10**9 + date.microsecond * 1000, DATE_NS_MAX)


def _content_of(raw: dict[str, Any], name: str, commit: str) -> ContentId:
    lfs = raw.get("lfs")
    if not isinstance(lfs, dict):
        lfs = {}
    size = lfs.get("size", raw.get("size"))  # of an LFS file, `size` may be its pointer's
    if type(size) is not int or not 0 <= size <= SIZE_MAX:
        raise Unshowable(f"{name!r} has no size that a file can have")
    xet_hash = raw.get("xetHash")
    if isinstance(xet_hash, str) and _XET_HASH.fullmatch(xet_hash):
        return ContentId(f"xet-{xet_hash}", size)
    object_id = lfs.get("oid", raw.get("oid"))
    if not commit or not isinstance(object_id, str) or not _OBJECT_ID.fullmatch(object_id):
        raise Unshowable(f"{name!r} has no hash")
    return ContentId(f"git-{object_id}", size, path_of(raw), commit)


def _mtime_of(raw: dict[str, Any]) -> int | None:
    commit = raw.get("lastCommit")
    date = commit.get("date") if isinstance(commit, dict) else None
    return time_ns(date or raw.get("mtime") or raw.get("uploadedAt"))


def _count_or_none(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= SIZE_MAX else None
