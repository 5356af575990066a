"""What the directory of a volume tells of its last mount: of what, and on which port.

A small file of JSON; written whole, and read with nothing taken for granted. Without it a mount
gets any port, and what is left unsent has no name but its directory's.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from hfnfs.disk.errors import disk_errors

_NAME: Final = "last-mount"
_NEW: Final = ".new-last-mount"
_BYTES_MAX: Final = 4096
_PORT_MAX: Final = 65535


@dataclass(frozen=True, slots=True)
class LastMount:
    """How a volume was mounted last."""

    kind: str  # the command's word for it
    source: str  # as one would type it
    endpoint: str
    port: int


def last_mount(directory: Path) -> LastMount | None:
    """How the volume of that directory was mounted last; None: not known."""
    try:
        with (directory / _NAME).open("rb") as file:
            raw = json.loads(file.read(_BYTES_MAX))
        kept = LastMount(raw["kind"], raw["source"], raw["endpoint"], raw["port"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    texts = (kept.kind, kept.source, kept.endpoint)
    is_sane = all(isinstance(text, str) for text in texts) and isinstance(kept.port, int)
    return kept if is_sane and 0 < kept.port <= _PORT_MAX else None


def remember_mount(directory: Path, mount: LastMount) -> None:
    """Keep how the volume is mounted, for its owner. Raises CacheUnusable, NoSpace."""
    new = directory / _NEW
    with disk_errors(new):
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            json.dump(asdict(mount), file)
        new.replace(directory / _NAME)
