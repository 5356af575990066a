"""hf-mount status, hf-mount flush: what mounts do, and what the Hub does not have yet."""

import json
import logging
import os
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer

from hfnfs.cli.exits import one_line_and_a_code
from hfnfs.cli.logs import one_line
from hfnfs.clock import SystemClock
from hfnfs.config import MIB
from hfnfs.disk.layout import default_cache_dir
from hfnfs.disk.unsent import Unsent, unsent, volumes
from hfnfs.errors import CacheUnusable, ChangesUnsent, NotServing
from hfnfs.host.control import Words, ask, sockets

NAMED_MAX: Final = 10  # files, unless --json
LOOK_EVERY_S: Final = 0.2
TOLD_EVERY_S: Final = 3.0

log = logging.getLogger("hfnfs")

CacheDir = Annotated[
    Path | None,
    typer.Option(help="as for the mounts (default: ~/.cache/hfnfs)", show_default=False),
]
Which = Annotated[
    str | None,
    typer.Argument(metavar="BUCKET|MOUNTPOINT", help="default: all mounts", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="for machines")]
Timeout = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="wait no longer", show_default="for ever")
]


class Mount(NamedTuple):
    """A mount that answers."""

    socket: Path
    told: Words


def status(cache_dir: CacheDir = None, as_json: Json = False) -> None:
    """Show what is mounted, and what the Hub does not have yet, of mounts of before too."""
    with one_line_and_a_code():
        mounts = [mount.told for mount in _running()]
        here = {mount.get("volume") for mount in mounts}
        root = cache_dir or default_cache_dir(os.environ)
        left = [told for path in volumes(root) if str(path) not in here and (told := _left(path))]
        if as_json:
            typer.echo(json.dumps({"mounts": mounts, "not_mounted": left}, indent=2))
            return
        for line in _lines(mounts, left):
            typer.echo(one_line(line))


def flush(which: Which = None, timeout: Timeout = inf) -> None:
    """Send all changes to the Hub now, and wait until it has them.

    What programs still hold in memory is no change yet: they write it when they close a file or
    call fsync.
    """
    with one_line_and_a_code():
        found = [mount for mount in _running() if which is None or _is_meant(mount.told, which)]
        if which is not None and not found:
            raise NotServing(f"{which} is not mounted, or its mount does not answer")
        for mount in found:
            ask(mount.socket, "flush")
        _wait_for(found, timeout)


def _running() -> list[Mount]:
    found = []
    for path in sockets():
        try:
            found.append(Mount(path, ask(path, "status")))
        except NotServing as error:
            log.debug("%s", error)
    return found


def _is_meant(told: Words, which: str) -> bool:
    place = told["mount_point"]
    typed = which.removeprefix("hf://").removeprefix("buckets/").rstrip("/")
    is_there = place is not None and _place(place) == _place(which)
    return is_there or told["source"].removeprefix("buckets/") == typed


def _place(path: str) -> str:
    """A mount point, however it is written; it is not looked at itself."""
    parent, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(parent), name)


def _wait_for(mounts: list[Mount], timeout_s: float) -> None:
    """Return once the Hub has all. Raises ChangesUnsent, NotServing."""
    clock = SystemClock()
    ends_at, tell_at = clock.now() + timeout_s, clock.now() + TOLD_EVERY_S
    while True:
        told = [ask(mount.socket, "status") for mount in mounts]
        left = [words for words in told if words["pending_count"]]
        if not left:
            return
        if clock.now() >= ends_at:
            first = left[0]
            raise ChangesUnsent(f"{first['source']}: {_amount(first)}{_why(first)}")
        if clock.now() >= tell_at:
            tell_at = clock.now() + TOLD_EVERY_S
            for words in left:
                log.info("%s: %s%s", words["source"], _amount(words), _why(words))
        time.sleep(LOOK_EVERY_S)


# ----------------------------------------------------------------------- words


def _left(directory: Path) -> dict[str, Any] | None:
    """What a volume that is not mounted holds for the Hub; None: nothing."""
    try:
        found = unsent(directory)
    except CacheUnusable as error:
        log.warning("%s", error)
        return None
    return _words(found) if found.changes else None


def _words(found: Unsent) -> dict[str, Any]:
    last = found.last
    return {
        "kind": "bucket" if last is None else last.kind,
        "source": None if last is None else last.source,
        "endpoint": None if last is None else last.endpoint,
        "volume": str(found.directory),
        "pending_count": len(found.changes),
        "pending": [
            {
                "path": change.path.decode("utf-8", "replace"),
                "change": change.kind.value,
                "attempts": change.attempts,
                "error": change.error,
            }
            for change in found.changes
        ],
    }


def _lines(mounts: list[Words], left: list[dict[str, Any]]) -> Iterator[str]:
    for told in mounts:
        where = f"on {told['mount_point']}" if told["mount_point"] else "served only"
        how = "read-only" if told["read_only"] else "read-write"
        how += f", port {told['port']}, pid {told['pid']}"
        yield f"{told['kind']} {told['source']} {where} ({how})"
        if not told["read_only"]:
            yield from _changes(told)
    for told in left:
        name = told["source"] or told["volume"]
        yield f"{told['kind']} {name} is not mounted, and has changes to send:"
        yield from _pending(told)
        yield f"  they are kept in {told['volume']} and go to the Hub at the next mount"
    if not mounts and not left:
        yield "nothing is mounted, and nothing is left to send"


def _changes(told: Words) -> Iterator[str]:
    staged = f"{told['staged_bytes'] / MIB:.1f} MiB staged"
    if told["pending_count"]:
        yield f"  {_amount(told)}; {staged}"
    else:
        yield f"  the Hub has everything; {staged}"
    if told["outage"]:
        yield f"  nothing goes to the Hub for now: {told['outage']}"
    yield from _pending(told)
    for conflict in told["conflicts"]:
        if conflict["ours"] is None:
            yield f"  conflict: {conflict['path']} stays: deleted here, changed on the Hub"
        else:
            yield f"  conflict: {conflict['path']} is theirs, ours is {conflict['ours']}"


def _pending(told: Words) -> Iterator[str]:
    for each in told["pending"][:NAMED_MAX]:
        tries = f", failed {each['attempts']} times: {each['error']}" if each["error"] else ""
        when = f", due in {each['due_in_s']:.0f} s" if each.get("due_in_s") else ""
        yield f"    {each['change']} {each['path']}{when}{tries}"
    if told["pending_count"] > NAMED_MAX:
        yield f"    and {told['pending_count'] - NAMED_MAX} more (--json shows them)"


def _amount(told: Words) -> str:
    count = told["pending_count"]
    return f"{count} change{'s' * (count != 1)} to send, {told['unsent_bytes'] / MIB:.1f} MiB"


def _why(told: Words) -> str:
    errors = [told["outage"], *(each["error"] for each in told["pending"])]
    why = next(filter(None, errors), "")
    return f" ({why})" if why else ""
