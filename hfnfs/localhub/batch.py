"""A batch of changes to a bucket, as its lines say it: checked one by one, applied together."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hfnfs.errors import WireError
from hfnfs.localhub.buckets import BucketFile
from hfnfs.xet.hashes import NO_HASH, from_hex

OPERATIONS_MAX = 1000
PATH_BYTES_MAX = 1024
MTIME_END = 253_402_300_800_000  # ms; the year 10000 has no date


@dataclass(frozen=True, slots=True)
class Known:
    """What a batch is checked against."""

    size_of: Callable[[bytes], int | None]  # of a file by its hash; None: never uploaded
    has_path: Callable[[str], bool]  # in the bucket, before the batch
    has_source: Callable[[str, str], bool]  # kind and id of what a copy comes from
    now_ms: int


@dataclass(frozen=True, slots=True)
class Decided:
    """What to change, and what cannot be."""

    changes: list[tuple[str, BucketFile | None]]
    failed: list[dict[str, str]]


def read_operations(body: bytes) -> list[dict[str, Any]]:
    """The lines of a batch; adds and copies stand before deletes. Raises WireError."""
    lines = [line for line in body.split(b"\n") if line.strip()]
    if len(lines) > OPERATIONS_MAX:
        raise WireError(f"more than {OPERATIONS_MAX} operations")
    try:
        operations = [json.loads(line) for line in lines]
    except ValueError:
        raise WireError("a line is not JSON") from None
    kinds = [operation.get("type") for operation in operations if isinstance(operation, dict)]
    if len(kinds) < len(operations) or set(kinds) - {"addFile", "copyFile", "deleteFile"}:
        raise WireError("a line is no operation")
    deletes = [kind == "deleteFile" for kind in kinds]
    if deletes != sorted(deletes):
        raise WireError("adds must come before deletes")
    return operations


def decide(operations: Sequence[dict[str, Any]], known: Known) -> Decided:
    """What comes of each operation."""
    changes: list[tuple[str, BucketFile | None]] = []
    failed: list[dict[str, str]] = []
    added: set[str] = set()
    for operation in operations:
        try:
            path = _checked(operation.get("path"))
            file = _added(operation, known) if operation["type"] != "deleteFile" else None
        except WireError as error:
            failed.append({"path": str(operation.get("path")), "error": str(error)})
            continue
        if file is None and path not in added and not known.has_path(path):
            failed.append({"path": path, "error": "File not found"})
            continue
        changes.append((path, file))
        added.add(path)
    return Decided(changes, failed)


def is_text(value: str) -> bool:
    """Whether it can be stored and sent: JSON can spell halves of characters."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _added(operation: dict[str, Any], known: Known) -> BucketFile:
    mtime, kind = operation.get("mtime"), operation.get("contentType")
    if mtime is not None and not (type(mtime) is int and 0 <= mtime < MTIME_END):
        raise WireError("mtime must be milliseconds since 1970")
    if kind is not None and not (isinstance(kind, str) and is_text(kind)):
        raise WireError("contentType must be a string")
    name = from_hex(str(operation.get("xetHash")))
    size = 0 if name == NO_HASH else known.size_of(name)
    if size is None:
        raise WireError("xetHash was never uploaded")
    if operation["type"] == "copyFile":
        source = (str(operation.get("sourceRepoType")), str(operation.get("sourceRepoId")))
        if not known.has_source(*source):
            raise WireError("source not found")
    return BucketFile(name, size, mtime, known.now_ms, kind)


def _checked(path: Any) -> str:
    if not isinstance(path, str) or not is_text(path) or "\0" in path:
        raise WireError("path is no string, or holds what no path does")
    if not 0 < len(path.encode()) <= PATH_BYTES_MAX:
        raise WireError("path is empty or too long")
    if any(part in {"", ".", ".."} for part in path.split("/")):
        raise WireError("path has a component that is empty, . or ..")
    return path
