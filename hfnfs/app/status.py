"""What a running mount says of itself, and does, when it is asked through its control socket."""

import logging
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hfnfs.host.control import Words
from hfnfs.remote import RemoteEntry
from hfnfs.transfer.commits import Conflicts
from hfnfs.vfs.outbox import Pending

if TYPE_CHECKING:
    from hfnfs.app.changing import Begun, Parts

_log = logging.getLogger(__name__)

PENDING_TOLD_MAX: Final = 1000
CONFLICTS_TOLD_MAX: Final = 1000


class Conflict(NamedTuple):
    """Somebody else had changed the same path."""

    path: str  # which is theirs now
    ours: str | None  # where ours is; None: we had deleted it


class ToldConflicts:
    """Conflicts as they are settled, remembered."""

    def __init__(self, inner: Conflicts) -> None:
        self._inner = inner
        self.told: deque[Conflict] = deque(maxlen=CONFLICTS_TOLD_MAX)

    def set_aside(self, path: str, theirs: RemoteEntry) -> str | None:
        """Give ours another name and theirs the path; the new path of ours, if there is any."""
        ours = self._inner.set_aside(path, theirs)
        self.told.append(Conflict(path, ours))
        return ours

    def set_directory_aside(self, path: str, theirs: RemoteEntry) -> str | None:
        """Give a directory of ours another name, and theirs, a file, the path; the new path."""
        ours = self._inner.set_directory_aside(path, theirs)
        self.told.append(Conflict(path, ours))
        return ours

    def shown_again(self, path: str, ours: str) -> None:
        """What somebody replaced or removed is written to here all the same, and shown again."""
        if ours == path:
            _log.warning("%s was deleted on the Hub and is written to here: it stays", path)
        else:
            _log.warning("%s was open here and changed on the Hub: ours is now %s", path, ours)
            self.told.append(Conflict(path, ours))

    def give_way(self, path: str, theirs: RemoteEntry) -> None:
        """Show theirs again where we had removed it."""
        self._inner.give_way(path, theirs)
        self.told.append(Conflict(path, None))


@dataclass(frozen=True, slots=True)
class Status:
    """Answers for one mount. `changes`: of what takes them."""

    facts: Words  # that stay as they are
    volume: Path | None = None
    changes: "tuple[Parts, Begun] | None" = None

    def answer(self, request: str) -> Words:
        """The answer to "status", or to "flush", which also has all sent now."""
        if request == "flush" and self.changes is not None:
            self.changes[1].flush.hurry()
        elif request not in ("status", "flush"):
            return {"error": f"no such request: {request[:40]}"}
        return {**self.facts, **self._of_changes()}

    def _of_changes(self) -> dict[str, Any]:
        if self.changes is None:
            return {"pending_count": 0, "pending": [], "outage": "", "conflicts": []}
        parts, begun = self.changes
        pending = begun.flush.pending()
        pending.sort(key=lambda each: (not each.error, each.path))
        return {
            "volume": str(self.volume),
            "pending_count": len(pending),
            "pending": [_words(each) for each in pending[:PENDING_TOLD_MAX]],
            "unsent_bytes": parts.unsent_bytes(),
            "staged_bytes": parts.kept.staging.usage().bytes,
            "outage": begun.flush.outage,
            "conflicts": [each._asdict() for each in begun.conflicts.told],
        }


def _words(pending: Pending) -> dict[str, Any]:
    return {
        "path": pending.path,
        "change": "delete" if pending.is_delete else "put",
        "attempts": pending.attempts,
        "error": pending.error,
        "due_in_s": round(pending.due_in_s, 1),
    }
