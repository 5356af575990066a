"""What the local Hub was told to do wrong: to be slow, to fail, to break off, and to lie."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from hfnfs.errors import UsageError


class Lie(StrEnum):
    """An answer that is well formed and wrong."""

    EXPIRED_TOKEN = "expired-token"  # noqa: S105 -- a token route hands out one that has ended
    EXPIRED_URL = "expired-url"  # a reconstruction's URLs have ended
    SHARD_ERROR = "shard-error"  # /v2/shards answers 200 and ends in an error frame


@dataclass(slots=True)
class Fault:
    """What befalls requests whose method and path (with query) match.

    The first fault that matches is used up by one; several effects of one fault come together.
    """

    path: str  # regular expression, searched in "/path?query"
    method: str = ""  # "": any
    after: int = 0  # requests that it lets pass first
    count: int | None = 1  # requests that it befalls then; None: all
    latency_s: float = 0.0
    hold: bool = False  # not answered until this is False again, or all faults are cleared
    drop: bool = False  # the connection is closed without an answer
    status: int = 0  # answered instead of asking the handler
    code: str = ""  # X-Error-Code of that answer
    headers: dict[str, str] = field(default_factory=dict)  # of that answer
    cut_after: int | None = None  # bytes of the body; then the connection is closed
    corrupt_at: int | None = None  # byte of the body that is flipped
    late_by: int = 0  # changes of a bucket that its listing does not show yet
    lie: Lie | None = None

    def __post_init__(self) -> None:
        re.compile(self.path)

    def matches(self, method: str, path: str) -> bool:
        """Whether it is for such a request."""
        return self.method in {"", method} and re.search(self.path, path) is not None


NO_FAULT = Fault("", count=0)


class Faults:
    """The faults in wait, in the order they were added."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, path: str, **effects: Any) -> Fault:
        """Add a fault; `effects` are Fault's fields. Its `count` goes down as it is used."""
        fault = Fault(path, **effects)
        self._waiting.append(fault)
        return fault

    def add_described(self, description: Mapping[str, Any]) -> Fault:
        """Add one from JSON or a command line. Raises UsageError."""
        try:
            return self.add(**{name: _read(name, value) for name, value in description.items()})
        except (TypeError, ValueError, re.error) as error:
            raise UsageError(f"fault {dict(description)}: {error}") from None

    def clear(self) -> None:
        """Behave again, also towards those who wait."""
        for fault in self._waiting:
            fault.hold = False
        self._waiting.clear()

    def take(self, method: str, path: str) -> Fault:
        """The fault that befalls this request, used up by one; else NO_FAULT."""
        for fault in self._waiting:
            if not fault.matches(method, path):
                continue
            if fault.after > 0:
                fault.after -= 1
            elif fault.count is None:
                return fault
            elif fault.count > 0:
                fault.count -= 1
                return fault
        return NO_FAULT


def described(text: str) -> dict[str, str]:
    """A fault as typed: "[METHOD] REGEX [field=value …]", as in "GET /xorbs/ status=503 count=2".

    Raises UsageError.
    """
    words = shlex.split(text)
    method = words.pop(0) if words and words[0].isalpha() and words[0].isupper() else ""
    if not words:
        raise UsageError(f"fault {text!r} names no path")
    path, *effects = words
    pairs = dict(effect.partition("=")[::2] for effect in effects)
    return {"path": path, "method": method, **pairs}


def _read(name: str, value: Any) -> Any:
    """A field's value in its type; a command line has only strings."""
    kinds = {field.name: field.type for field in fields(Fault)}
    if name not in kinds:
        raise ValueError(f"{name} is none of {', '.join(kinds)}")
    if name in {"path", "method", "code"}:
        return str(value)
    if name == "headers":
        return {str(key): str(text) for key, text in value.items()}
    if name == "lie":
        return Lie(value)
    if name == "latency_s":
        return float(value)
    if name in {"drop", "hold"}:
        return value in {True, "true", "yes", "1"}
    return None if value in {None, "all"} else int(value)
