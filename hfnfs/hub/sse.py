"""Server-sent events out of bytes, as they come; pure."""

import re
from typing import Final, NamedTuple

from hfnfs.errors import RemoteCorrupt

EVENT_BYTES_MAX: Final = 16 * 1024 * 1024  # of its lines; thousands of changes in one fit

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_BOM: Final = b"\xef\xbb\xbf"


class SseEvent(NamedTuple):
    """One event."""

    name: str
    data: str


class SseReader:
    """Gathers lines to events."""

    def __init__(self) -> None:
        self._line = bytearray()  # not ended yet
        self._event_bytes = 0  # of the lines of the event that has begun
        self._name = ""
        self._data: list[str] = []
        self._is_begun = False
        self._skip_lf = False  # a line ended with CR, the last byte there was

    def feed(self, received: bytes) -> list[SseEvent]:
        """The events that are complete now. Raises RemoteCorrupt when one is too long."""
        if self._skip_lf and received:
            received = received.removeprefix(b"\n")
            self._skip_lf = False
        self._skip_lf |= received.endswith(b"\r")
        events = []
        *ended, rest = _LINE_END.split(received)
        for part in ended:
            self._line += part
            self._check_length()
            event = self._take(bytes(self._line))
            self._line.clear()
            if event is not None:
                events.append(event)
        self._line += rest
        self._check_length()
        return events

    def _check_length(self) -> None:
        if self._event_bytes + len(self._line) > EVENT_BYTES_MAX:
            raise RemoteCorrupt(f"an event of more than {EVENT_BYTES_MAX} bytes")

    def _take(self, line: bytes) -> SseEvent | None:
        if not self._is_begun:
            line = line.removeprefix(_BOM)
            self._is_begun = True
        if not line:
            return self._ended()
        field, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
            self._event_bytes += len(line) + 1
        return None  # comments are signs of life; nobody needs the other fields

    def _ended(self) -> SseEvent | None:
        """The event that an empty line ends, if there is data in it."""
        name, data = self._name, self._data
        self._name, self._data, self._event_bytes = "", [], 0
        return SseEvent(name or "message", "\n".join(data)) if data else None
