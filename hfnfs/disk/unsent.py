"""What the volumes of a cache directory hold for the Hub, read without becoming their owner.

The database is copied with its log and the copy is read: opening the original would need its
lock, and would write. The copy of one that is just being written may be none that can be read.
"""

import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hfnfs.disk import schema
from hfnfs.disk.last_mount import LastMount, last_mount
from hfnfs.disk.schema import OutboxKind, OutboxRecord
from hfnfs.errors import CacheUnusable

_DATABASE: Final = "state.db"
_FILES: Final = (_DATABASE, f"{_DATABASE}-wal")


@dataclass(frozen=True, slots=True)
class Unsent:
    """What one volume holds for the Hub."""

    directory: Path
    last: LastMount | None  # what it is a volume of, if that is known
    changes: tuple[OutboxRecord, ...]


def volumes(cache_dir: Path) -> list[Path]:
    """Directories of volumes that were mounted to be changed."""
    found = (cache_dir / "volumes").glob(f"*/{_DATABASE}")
    return sorted(database.parent for database in found)


def unsent(directory: Path) -> Unsent:
    """What the volume of a directory that is not mounted holds. Raises CacheUnusable."""
    try:
        with tempfile.TemporaryDirectory(prefix="hfnfs-unsent-") as copies:
            for name in _FILES:
                if (directory / name).exists():
                    shutil.copyfile(directory / name, Path(copies, name))
            changes = _changes(Path(copies, _DATABASE))
    except (OSError, sqlite3.Error, ValueError, TypeError) as error:
        raise CacheUnusable(f"{directory / _DATABASE}: cannot be read: {error}") from error
    return Unsent(directory, last_mount(directory), changes)


def _changes(database: Path) -> tuple[OutboxRecord, ...]:
    with closing(sqlite3.connect(database)) as connection:
        (id_,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            return ()  # its first transaction never came to its end
        if id_ != schema.APPLICATION_ID or version > schema.VERSION:
            raise ValueError(f"not of this version of hfnfs ({version})")
        kept = schema.outbox(connection)
        return tuple(record for record in kept if record.kind is not OutboxKind.HIDE)
