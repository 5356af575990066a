"""What a refusal of the Hub, the CAS or the storage behind them means, in one line.

The line names the repo or bucket and the next step. Text from a server is cut, freed of control
characters and of anything that looks like a secret; a URL's query never gets in.
"""

import json
import re
from dataclasses import dataclass

from hfnfs.errors import (
    Forbidden,
    GatedRepo,
    NotAuthenticated,
    QuotaReached,
    RateLimited,
    RemoteCorrupt,
    RemoteEntryMissing,
    RemoteError,
    RemoteUnavailable,
    RevisionMissing,
    SourceMissing,
)
from hfnfs.hub.http import Answer
from hfnfs.hub.source import Source

SERVER_TEXT_CHARS_MAX = 200

_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
_SECRET = re.compile(
    r"\bhf_\w+|\bapi_org_\w+|\bBearer\s+\S+|\beyJ[\w.-]+|(?<=\?)\S+", re.IGNORECASE
)

# Statuses that mean one thing, whatever was asked.
_PLAIN: dict[int, tuple[type[RemoteError], str]] = {
    413: (QuotaReached, "no room left on the Hub"),
    416: (RemoteCorrupt, "shorter than its size says"),
    429: (RateLimited, "too many requests, even after waiting"),
    507: (QuotaReached, "no room left on the Hub"),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request was about, as far as a message needs it."""

    source: Source
    endpoint: str
    has_token: bool
    path: str | None = None  # a file or folder of the source; None: the source itself

    @property
    def whole(self) -> str:
        """The source, and the path in it."""
        return f"{self.source.name}: {self.path}" if self.path else self.source.name


def refusal(answer: Answer, asked: Asked) -> RemoteError:
    """The error to raise for an answer that is no success."""
    status = answer.status
    if status in {401, 403, 404}:
        return _no_access(answer, asked, answer.headers.get("X-Error-Code", ""))
    if status in _PLAIN:
        kind, fact = _PLAIN[status]
    elif status >= 500:
        kind, fact = RemoteUnavailable, f"the Hub failed with {status}"
    else:
        kind, fact = RemoteError, f"refused with {status}"
    return kind(f"{asked.whole}: {fact}{_said(answer)}")


def _no_access(answer: Answer, asked: Asked, code: str) -> RemoteError:
    if code == "GatedRepo":
        return _gated(asked)
    if answer.status == 401:
        return _not_authenticated(answer, asked, code)
    return _forbidden(answer, asked) if answer.status == 403 else _missing(asked, code)


def _gated(asked: Asked) -> GatedRepo:
    source = asked.source
    prefix = "" if source.type.value == "model" else f"{source.type.plural}/"
    login = "" if asked.has_token else f", then {_LOG_IN}"
    where = f"{asked.endpoint}/{prefix}{source.id}"
    return GatedRepo(f"{source.name} is gated: accept its terms at {where}{login}")


def _not_authenticated(answer: Answer, asked: Asked, code: str) -> RemoteError:
    name = asked.source.name
    if asked.has_token and code != "RepoNotFound":
        return NotAuthenticated(
            f"{name}: the Hub does not take this token; {_LOG_IN}{_said(answer)}"
        )
    if code == "RepoNotFound" or not asked.has_token:
        # To the anonymous, what is private and what does not exist look alike.
        kind = SourceMissing if code == "RepoNotFound" else NotAuthenticated
        return kind(f"{name} does not exist or is private; if it is private, {_LOG_IN}")
    return NotAuthenticated(f"{name}: {_LOG_IN}")


def _forbidden(answer: Answer, asked: Asked) -> Forbidden:
    if asked.has_token:
        hint = "this token does not reach that far; check its permissions"
    else:
        hint = f"not for everyone; {_LOG_IN}"
    return Forbidden(f"{asked.whole}: {hint}{_said(answer)}")


def _missing(asked: Asked, code: str) -> RemoteError:
    source = asked.source
    if code == "RevisionNotFound":
        return RevisionMissing(f"{source.name} has no branch, tag or commit {source.revision!r}")
    if code == "EntryNotFound" or (asked.path is not None and code != "RepoNotFound"):
        return RemoteEntryMissing(f"{asked.whole}: no such file or folder")
    token = "or this token may not see it" if asked.has_token else f"or is private: {_LOG_IN}"
    return SourceMissing(f"{source.name} does not exist, {token}")


def _said(answer: Answer) -> str:
    """The server's own words, in brackets, or nothing."""
    text = answer.headers.get("X-Error-Message", "")
    if not text:
        try:
            value = json.loads(answer.body)
        except (ValueError, RecursionError):
            value = None
        error = value.get("error") if isinstance(value, dict) else None
        text = error if isinstance(error, str) else ""
    text = harmless(text)
    return f" ({text})" if text else ""


def harmless(text: str) -> str:
    """A server's text made fit for one line of a log."""
    text = _SECRET.sub("…", text[: 8 * SERVER_TEXT_CHARS_MAX])
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= SERVER_TEXT_CHARS_MAX else f"{text[:SERVER_TEXT_CHARS_MAX]}…"


# ---------------------------------------------------------------------------- hf_xet

_XET_STATUS = re.compile(r"HTTP status (?:client|server) error \((\d{3})\b")
_OF_XET: dict[int, tuple[type[RemoteError], str]] = {
    **_PLAIN,
    401: (NotAuthenticated, "the storage does not take the Hub's token"),
    403: (Forbidden, "the storage does not take uploads with this token"),
}


def xet_failure(error: Exception, name: str) -> RemoteError:
    """What an upload's failure in hf_xet means; it knows few classes, so its text is read."""
    text = str(error)
    found = _XET_STATUS.search(text)
    if found is not None:
        status = int(found[1])
        default = (RemoteUnavailable if status >= 500 else RemoteError, f"refused with {status}")
        kind, fact = _OF_XET.get(status, default)
        return kind(f"{name}: upload failed: {fact}")
    if isinstance(error, ConnectionError | TimeoutError):
        return RemoteUnavailable(f"{name}: upload failed: the storage cannot be reached")
    return RemoteError(f"{name}: upload failed: {harmless(text)}")
