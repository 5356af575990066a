"""A directory of staged files, taken over from a process that may have been killed.

What lies there and is not known of:

    a copy                      for an upload, or on its way out: removed
    a file named as ours are    no byte of it was ever answered for as stable, as that needs its
                                record; or none counts any more: removed
    the same, records missing   may be all there is of something: moved to lost+found
    anything else               is not by us: moved to lost+found
"""

import itertools
import logging
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from hfnfs.errors import CacheUnusable

SNAPSHOTS: Final = "snapshots"
LOST: Final = "lost+found"
_NAME: Final = re.compile(r"[0-9a-f]{16}")
_NAMED_MAX: Final = 3  # files, in a line of the log

_log = logging.getLogger(__name__)


class Swept(NamedTuple):
    """What a sweep found."""

    found: frozenset[int]  # fileids that are known, and there
    missing: frozenset[int]  # fileids that were to be there
    removed: frozenset[int]  # fileids of which nothing counts
    lost: tuple[Path, ...]  # what nothing is known of: where it is now


def staged_name(fileid: int) -> str:
    """What the file of that fileid is called."""
    return f"{fileid:016x}"


def sweep(directory: Path, known: Collection[int], *, may_lack: bool) -> Swept:
    """Leave there, of staged files, those of the `known` fileids alone.

    `may_lack`: others may count as well, their records are missing. Raises CacheUnusable, OSError.
    """
    for path in (directory, directory / SNAPSHOTS, directory / LOST):
        path.mkdir(mode=0o700, exist_ok=True)
        if path.is_symlink():  # what lies elsewhere is not ours to remove
            raise CacheUnusable(f"{path}: a symbolic link; choose another --cache-dir instead")
    for snapshot in (directory / SNAPSHOTS).iterdir():
        snapshot.unlink()
    wanted, found, removed, strange = frozenset(known), set(), set(), []
    with os.scandir(directory) as entries:
        for entry in entries:
            fileid = int(entry.name, 16) if _NAME.fullmatch(entry.name) else None
            if fileid in wanted:
                found.add(fileid)
            elif fileid is not None and not may_lack and entry.is_file(follow_symlinks=False):
                os.unlink(entry.path)
                removed.add(fileid)
            elif entry.name not in {SNAPSHOTS, LOST}:
                strange.append(entry.name)
    if removed:
        _log.info("removed staged files that were never synced: %d", len(removed))
    lost = _moved_away(directory, strange)
    return Swept(frozenset(found), wanted - found, frozenset(removed), lost)


def _moved_away(directory: Path, names: Sequence[str]) -> tuple[Path, ...]:
    """Bring files to lost+found; where they are then."""
    lost = directory / LOST
    taken = set(os.listdir(lost))
    moved = []
    for name in sorted(names):
        copies = (f"{name}.{number}" for number in itertools.count(1))
        new = next(n for n in itertools.chain((name,), copies) if n not in taken)
        os.rename(directory / name, lost / new)
        taken.add(new)
        moved.append(lost / new)
    if moved:
        some = ", ".join(path.name for path in moved[:_NAMED_MAX])
        others = f" and {len(moved) - _NAMED_MAX} more" if len(moved) > _NAMED_MAX else ""
        _log.warning("nothing is known of %s%s: kept in %s", some, others, lost)
    return tuple(moved)
