"""Changes to a bucket's names: many in one request, each with its own outcome.

A batch is not done as one: some of its operations may fail while the others are done. To send it
again does no harm, so what got no answer is simply sent again, here and by the caller.
"""

import json
import mimetypes
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from hfnfs.errors import QuotaReached, RemoteCorrupt, RemoteError
from hfnfs.hub import blame
from hfnfs.hub.api import Api
from hfnfs.hub.errors import harmless
from hfnfs.remote import Delete, Operation, Put

OPERATIONS_MAX: Final = 1000  # of one request
_MEDIA_TYPE: Final = "application/x-ndjson"
_NS_PER_MS: Final = 10**6
_MTIME_MS_MAX: Final = 253_402_300_799_999  # the last of the year 9999; later ones have no date
_ALL_FAILED: Final = 422

_NOT_THERE = re.compile(r"not found|not exist|no such|missing", re.IGNORECASE)
_NO_ROOM = re.compile(r"quota|storage limit|insufficient storage", re.IGNORECASE)
# By the name alone, as huggingface_hub guesses; without the machine's own tables, so that
# the same file has the same type wherever it comes from.
_TYPES: Final = mimetypes.MimeTypes()

Failures: TypeAlias = dict[str, RemoteError]


class Batches:
    """Sends operations on the files of a bucket's folder; paths are relative to it."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._url = api.url("batch")
        folder = api.source.subfolder
        self._prefix = f"{folder}/" if folder else ""

    async def commit(self, operations: Sequence[Operation]) -> Mapping[str, RemoteError]:
        """Do all of them, as WritableRemote.commit; the paths that failed, with why."""
        last = {operation.path: operation for operation in operations}
        puts = [one for one in last.values() if isinstance(one, Put)]
        put_here = {put.path for put in puts}
        deletes: list[Delete] = []
        moves: list[tuple[Delete, str]] = []
        for one in last.values():
            if isinstance(one, Delete):
                if one.moved_to in put_here:
                    moves.append((one, one.moved_to))
                else:
                    deletes.append(one)
        failed = await self._done([*puts, *deletes])
        safe = [one for one, target in moves if target not in failed]
        failed |= {one.path: failed[target] for one, target in moves if target in failed}
        return failed | await self._done(safe)

    async def _done(self, operations: Sequence[Operation]) -> Failures:
        """Do them in this order, as many at once as may be; what failed."""
        failed: Failures = {}
        for start in range(0, len(operations), OPERATIONS_MAX):
            some = operations[start : start + OPERATIONS_MAX]
            outcomes = await blame.each(some, self._send)
            failed |= {
                operation.path: error
                for operation, error in zip(some, outcomes, strict=True)
                if error is not None
            }
            if outcomes[0] is not None and all(error is outcomes[0] for error in outcomes):
                rest = operations[start + len(some) :]  # would fare no better
                return failed | {operation.path: outcomes[0] for operation in rest}
        return failed

    async def _send(self, operations: Sequence[Operation]) -> list[RemoteError | None]:
        """One request; for each operation None, or why it failed. Raises RemoteError."""
        body = b"".join(self._line(operation) for operation in operations)
        answer = await self._api.post(self._url, body, _MEDIA_TYPE, also={_ALL_FAILED})
        told = _told(answer.object(), {self._prefix + operation.path for operation in operations})
        return [
            self._outcome(operation, told, is_refused=answer.status == _ALL_FAILED)
            for operation in operations
        ]

    def _outcome(
        self, operation: Operation, told: Mapping[str, str], *, is_refused: bool
    ) -> RemoteError | None:
        whole = self._prefix + operation.path
        text = told.get(whole, "refused by the Hub" if is_refused else None)
        if text is None or (isinstance(operation, Delete) and _NOT_THERE.search(text)):
            return None
        kind = QuotaReached if _NO_ROOM.search(text) else RemoteError
        return kind(f"{self._api.source.name}: {whole}: {harmless(text)}")

    def _line(self, operation: Operation) -> bytes:
        """An operation as a line of the request."""
        whole = self._prefix + operation.path
        fields: dict[str, Any] = {"type": "deleteFile", "path": whole}
        if isinstance(operation, Put):
            assert operation.content.xet_hash is not None, "a bucket's files are Xet's"
            fields = {
                "type": "addFile",
                "path": whole,
                "xetHash": operation.content.xet_hash,
                "mtime": min(max(operation.mtime_ns // _NS_PER_MS, 0), _MTIME_MS_MAX),
            }
            media_type, _ = _TYPES.guess_type(whole.rpartition("/")[2])
            if media_type is not None:
                fields["contentType"] = media_type
        return json.dumps(fields).encode() + b"\n"


def _told(raw: dict[str, Any], asked: set[str]) -> dict[str, str]:
    """What an answer says of the paths that failed. Raises RemoteCorrupt.

    A failure of something that was not asked for may be any of ours: then none counts as done.
    """
    entries = raw.get("failed") or []
    if not isinstance(entries, list):
        raise RemoteCorrupt("the Hub's answer to a batch does not say what failed")
    told: dict[str, str] = {}
    for entry in entries:
        path = entry.get("path") if isinstance(entry, dict) else None
        if not isinstance(path, str) or path not in asked:
            raise RemoteCorrupt("the Hub's answer to a batch says of no path of it that it failed")
        told[path] = str(entry.get("error") or "refused by the Hub")
    return told
