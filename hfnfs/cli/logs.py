"""What is said on stderr: lines for people, or JSON for machines."""

import logging
import sys
from enum import StrEnum
from math import inf

# A warning that was given is not given again for so long: what a program tries a thousand times
# and cannot have, offline for one, is one line.
REPEAT_AFTER_S = 60.0
_WARNINGS_MAX = 1000  # remembered


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


def one_line(text: str) -> str:
    """Text of anybody's as it can be shown in a line.

    A name may hold what would end the line and begin one of its own, move the cursor, or turn
    the direction of what follows: all that is not to be seen is written as in Python.
    """
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text
    )


class TextFormatter(logging.Formatter):
    """One line a record; tracebacks, times and names of loggers only for who asked with -v."""

    def __init__(self, program: str, *, is_verbose: bool) -> None:
        super().__init__()
        self._program = program
        self._is_verbose = is_verbose

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        message = one_line(record.getMessage())
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        if not self._is_verbose:
            hint = " (-v shows the traceback)" if record.exc_info else ""
            return f"{self._program}: {level}{message}{hint}"
        line = f"{self.formatTime(record)} {record.name}: {level}{message}"
        if record.exc_info:
            # Set in, so that no part of it, which may hold names too, looks like a line of ours.
            told = self.formatException(record.exc_info).split("\n")
            line += "".join(f"\n  {one_line(part)}" for part in told)
        return line


class Once(logging.Filter):
    """Lets a warning through once in a while, however often it is given."""

    def __init__(self) -> None:
        super().__init__()
        self._given_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to give it now."""
        if record.levelno != logging.WARNING:
            return True
        warning = f"{record.name} {record.getMessage()}"
        given_at = self._given_at.pop(warning, -inf)
        is_new = record.created - given_at >= REPEAT_AFTER_S
        self._given_at[warning] = record.created if is_new else given_at
        if len(self._given_at) > _WARNINGS_MAX:
            del self._given_at[next(iter(self._given_at))]
        return is_new


def set_up_logging(program: str, verbosity: int, log_format: LogFormat) -> None:
    """Log to stderr: 0 what a user should know, 1 what hfnfs does, 2 all that libraries say."""
    formatter: logging.Formatter
    if log_format is LogFormat.JSON:
        from pythonjsonlogger.json import JsonFormatter

        formatter = JsonFormatter(
            ["asctime", "levelname", "name", "message"],
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            static_fields={"program": program},
        )
    else:
        formatter = TextFormatter(program, is_verbose=verbosity > 0)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    if verbosity < 2:
        handler.addFilter(Once())
    # A reader of stderr that went away must not end the mount.
    logging.raiseExceptions = False
    logging.basicConfig(
        handlers=[handler], level=logging.DEBUG if verbosity > 1 else logging.WARNING, force=True
    )
    logging.getLogger("hfnfs").setLevel(logging.DEBUG if verbosity else logging.INFO)
