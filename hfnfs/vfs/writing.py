"""Writing to files: into overlays, which the Hub is to have later. Nothing is fetched for it.

    write, truncate --> dirty --settled at its version--> clean --evicted, discarded--> gone
                          ^                                 |
                          +-------- write, truncate --------+

What a write has put into memory and the page cache becomes durable in three steps, of which the
middle one is a thread's: `claim`, sync the staged file, `keep`. Versions count all changes of the
volume, so that no two overlays of a file, one after the other, share one.

What is not to be staged any more is noted in `left`. It is given up only when the record of that
is durable, and only as far as nothing was staged there anew: `give_up`.
"""

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from hfnfs.clock import Clock
from hfnfs.disk.ranges import OFFSET_MAX, RANGES_MAX
from hfnfs.disk.schema import DropOverlay, MetaKey, OverlayRecord, SetMeta, SetOverlay
from hfnfs.disk.snapshot import Snapshot
from hfnfs.errors import (
    CacheUnusable,
    FileTooLarge,
    HfnfsError,
    InvalidArgument,
    IsDirectory,
    NoSpace,
    QuotaExceeded,
    StaleHandle,
)
from hfnfs.remote import ContentId
from hfnfs.vfs.attributes import in_steps
from hfnfs.vfs.data import Data
from hfnfs.vfs.earlier import EarlierFile
from hfnfs.vfs.journal import Journal
from hfnfs.vfs.needs import Cloned, Durable, NotYet, StagingRoom, Synced
from hfnfs.vfs.node import FileType, Node
from hfnfs.vfs.overlay import Overlay, Shape, restored
from hfnfs.vfs.pieces import Pieces
from hfnfs.vfs.tree import Tree

VERIFIER_BYTES: Final = 8
# Of files that the Hub has as well no more are kept: with its node each takes two kilobytes of
# memory, and small ones are many before they fill the disk.
OVERLAYS_MAX: Final = 50_000


class Keeper(Protocol):
    """Notes the records of nodes; keeping.py has it."""

    reasons: list[Callable[[Node], bool]]

    def keep(self, *nodes: Node) -> None:
        """Note the records of nodes of which something has changed."""
        ...


class Bounds(NamedTuple):
    """How far writers may run ahead."""

    unsynced_bytes_max: int
    # How many bytes more the volume may hold; None: there is no quota.
    quota_left: Callable[[], int | None] = lambda: None


class Writing:
    """Owner of the overlays: what was written, what of it is durable, what the Hub has.

    Changes are noted in the journal; only `keep` and `keep_little` submit.
    """

    def __init__(
        self,
        tree: Tree,
        data: Data,
        journal: Journal,
        keeper: Keeper,
        clock: Clock,
        bounds: Bounds,
    ) -> None:
        assert data.staging is not None, "there is nowhere to write to"
        self._tree = tree
        self._overlays = data.overlays
        self._staging = data.staging
        self._journal = journal
        self.pieces = Pieces(journal)
        self._keeper = keeper
        self._clock = clock
        self._bounds = bounds
        self._version = 0  # the last one given
        self.unsent_bytes = 0  # by which files are larger than the Hub knows
        self._failures: dict[int, HfnfsError] = {}  # why a file did not get to the Hub
        self.left: dict[int, int] = {}  # fileids, and versions that tell one time from another
        self.copies: dict[Cloned, Snapshot] = {}  # for `clone` to take
        self.write_verifier = bytes(VERIFIER_BYTES)  # (RFC 1813 §3.3.7)
        self.when_changed: Callable[[Node], None] = lambda _node: None  # its bytes, or its size
        self.show_again: Callable[[EarlierFile], None] = _refuse  # before it is changed
        self.when_left: Callable[[], None] = lambda: None  # something was put into `left`
        self.when_settled: Callable[[], None] = lambda: None  # more could be evicted than before
        self.when_unsynced: Callable[[Synced], None] = lambda _need: None  # it will be needed soon
        keeper.reasons.append(lambda node: node.fileid in self._overlays)
        tree.when_replaced.append(self._replaced)

    # ------------------------------------------------------------ changing

    def write(self, node: Node, offset: int, data: bytes | memoryview) -> int:
        """Put data at offset (bytes); its length (RFC 1813 §3.3.7). A gap before it is zeros.

        All of it is staged, or none counts. Raises IsDirectory, InvalidArgument, FileTooLarge,
        QuotaExceeded, NoSpace, CacheUnusable, NotYet.
        """
        count = len(data)
        self._require_file(node)
        if not count:
            return 0
        end = offset + count
        self._require_size(node, end)
        self._require_staging(count)
        if type(node) is EarlierFile and not node.is_shown:
            self.show_again(node)
        fileid = node.fileid
        overlay = self._overlays.get(fileid)
        if overlay is None:
            overlay = self._lay_over(node)
        else:
            self._overlays.move_to_end(fileid)
        if len(overlay.ranges) >= RANGES_MAX and not any(overlay.ranges.intersect(offset, end)):
            raise NoSpace(f"{node!r}: written in more than {RANGES_MAX} places")
        try:
            self._staging.write(fileid, offset, data)
        except HfnfsError:
            overlay.staged = self._staging.reaches(fileid, 0)
            if any(overlay.ranges.intersect(offset, end)):  # which may hold the new bytes now
                overlay.scratch(offset, end, self._next_version())
                self.when_changed(node)
            raise
        overlay.staged = True
        overlay.write(offset, end, self._next_version())
        self._changed(node, overlay)
        return count

    def truncate(self, node: Node, size: int) -> None:
        """Let a file end at `size` (bytes); what is new in it is zeros.

        Durable once the journal is. Raises as write does, but for NoSpace and CacheUnusable.
        """
        self._require_file(node)
        self._require_size(node, size)
        if type(node) is EarlierFile and not node.is_shown:
            self.show_again(node)
        overlay = self._overlays.get(node.fileid) or self._lay_over(node)
        overlay.truncate(size)
        overlay.version = self._next_version()
        self._changed(node, overlay)
        self._note(node, overlay)
        if overlay.staged:
            self._leave(node.fileid)

    def require_copy(self, node: Node) -> None:
        """See that `clone` can be done. Raises NotYet, IsDirectory, InvalidArgument."""
        self._require_file(node)
        overlay = self._overlays.get(node.fileid)
        if overlay is not None and not overlay.is_clean and overlay.ranges:
            need = Cloned(node.fileid, overlay.version)
            if need not in self.copies:
                raise NotYet(need)

    def clone(self, node: Node, to: Node) -> None:
        """Give the new file `to` the bytes of another; `require_copy` comes first (LINK).

        Durable once `durable(to)` is.
        """
        overlay = self._overlays.get(node.fileid)
        if overlay is None or overlay.is_clean:
            to.content = node.content
            self._tree.nodes.resize(to, node.size)
            return
        twin = Overlay(0, self._next_version(), None)
        twin.ranges, twin.base, twin.base_end = (
            overlay.ranges.copy(),
            overlay.base,
            overlay.base_end,
        )
        twin.size = overlay.size
        twin.kept = twin.copy()
        twin.sent_version = -1
        twin.version = self._next_version()
        if twin.ranges:
            self._staging.adopt(self.copies.pop(Cloned(node.fileid, overlay.version)), to.fileid)
            twin.staged = twin.loose = True  # its name is still to be synced
        self._overlays[to.fileid] = twin
        self._grow(twin, twin.size)
        self._tree.nodes.resize(to, twin.size)
        self._note(to, twin)
        self.when_changed(to)

    # ------------------------------------------------------ what is durable

    def durable(self, node: Node) -> Durable:
        """What COMMIT, and WRITE with FILE_SYNC, wait for."""
        overlay = self._overlays.get(node.fileid)
        return Durable(node.fileid, 0 if overlay is None else overlay.version)

    def lacks(self, need: Durable) -> bool:
        """Whether something is to be claimed, synced and kept for that."""
        overlay = self._overlays.get(need.fileid)
        return overlay is not None and overlay.kept_version < need.version

    def lacking(self) -> list[Durable]:
        """All for which that is so."""
        return [
            Durable(fileid, overlay.version)
            for fileid, overlay in self._overlays.items()
            if overlay.kept_version < overlay.version
        ]

    def shape_at(self, need: Cloned) -> Shape | None:
        """Which byte of a file comes from where, if it is at that version."""
        overlay = self._overlays.get(need.fileid)
        return overlay.copy() if overlay is not None and overlay.version == need.version else None

    def claim(self, fileid: int) -> Shape | None:
        """Before a sync: what may be kept when it is done; None: nothing is to be synced."""
        overlay = self._overlays.get(fileid)
        return None if overlay is None else overlay.begin_claim()

    def is_staged(self, fileid: int) -> bool:
        """Whether there is a staged file that counts."""
        overlay = self._overlays.get(fileid)
        return overlay is not None and overlay.staged

    def keep(self, fileid: int, claim: Shape | None) -> int:
        """After the sync: note what was claimed, but for what was truncated or settled since.

        Gives the ticket with which it is durable.
        """
        overlay = self._overlays.get(fileid)
        node = self._tree.node_by_fileid(fileid)
        if claim is not None and overlay is not None and overlay.claim is claim and node:
            overlay.keep_claim()
            self._note(node, overlay)
        return self._journal.submit()

    def keep_little(self, fileid: int) -> int | None:
        """Keep what is written of a file by now with its bytes, without a sync; the ticket.

        None: `claim` and `keep` it.
        """
        overlay = self._overlays.get(fileid)
        if overlay is None:
            return None
        written = self._staging.take_little(fileid) if overlay.staged else []
        if written is None:
            return None
        self.pieces.put(fileid, written)
        return self.keep(fileid, overlay.begin_claim())

    # ---------------------------------------------------- what the Hub has

    def is_dirty(self, node: Node) -> bool:
        """Whether bytes were written that the Hub does not have."""
        overlay = self._overlays.get(node.fileid)
        return overlay is not None and not overlay.is_clean

    def settle(self, node: Node, version: int, content: ContentId) -> None:
        """Take note that the Hub has `content`, which is the file's bytes at `version`.

        The version of a file without an overlay is 0. What is staged stays as a cache.
        """
        self._failures.pop(node.fileid, None)
        overlay = self._overlays.get(node.fileid)
        if overlay is None:
            if content.size == node.size:
                node.content = content
                self._keeper.keep(node)
            return
        overlay.settle(version, content)
        if overlay.is_clean and version == overlay.version:
            assert node.size == content.size, "what was uploaded is not what was written"
            self._grow(overlay, -overlay.grown)
            node.content = content
        self._note(node, overlay)
        self.distrust(node.fileid)
        self._bound_overlays()
        self.when_settled()

    def fail(self, node: Node, error: HfnfsError) -> None:
        """Let the next COMMIT of a file say why it does not get to the Hub."""
        self._failures[node.fileid] = error

    def take_failure(self, fileid: int) -> HfnfsError | None:
        """Why the file did not get to the Hub; told once."""
        return self._failures.pop(fileid, None)

    def discard(self, node: Node) -> None:
        """Give up all that was written to a file: it is gone, or the Hub has other bytes."""
        self._failures.pop(node.fileid, None)
        overlay = self._overlays.pop(node.fileid, None)
        if overlay is not None:
            self._grow(overlay, -overlay.grown)
            self._journal.note(DropOverlay(node.fileid))
            self.pieces.drop(node.fileid)
            if overlay.staged:
                self._leave(node.fileid)

    def distrust(self, fileid: int) -> None:
        """Read what the Hub has from there, if some of what is staged of it is in doubt."""
        overlay, node = self._overlays.get(fileid), self._tree.node_by_fileid(fileid)
        if overlay is None or node is None or not overlay.is_clean:
            return
        if self._staging.doubtful(fileid):
            self.discard(node)
            self._keeper.keep(node)

    def evict(self, count: int) -> bool:
        """Give up clean overlays, longest unused first, with `count` staged bytes or all.

        Whether there were any. They are read from the Hub's content from now on.
        """
        dropped = 0
        for fileid, overlay in list(self._overlays.items()):
            if count <= 0:
                break
            node = self._tree.node_by_fileid(fileid)
            if overlay.is_clean and node is not None:
                self.discard(node)
                self._keeper.keep(node)
                count -= overlay.ranges.total
                dropped += 1
        return bool(dropped)

    def _bound_overlays(self) -> None:
        """Give up the overlay that was unused for longest, if there are too many and it is clean.

        One that is not comes last, and its turn again when the others had theirs.
        """
        if len(self._overlays) <= OVERLAYS_MAX:
            return
        fileid, overlay = next(iter(self._overlays.items()))
        self._overlays.move_to_end(fileid)
        node = self._tree.node_by_fileid(fileid)
        if overlay.is_clean and node is not None:
            self.discard(node)
            self._keeper.keep(node)

    def _replaced(self, node: Node) -> None:
        assert not self.is_dirty(node), "what we wrote was to be claimed"
        if node.fileid in self._overlays:
            self.discard(node)
            self._keeper.keep(node)

    # --------------------------------------------------- what is given up

    def give_up(self, left: Mapping[int, int]) -> list[Path]:
        """Give up what was in `left` before a ticket that is durable by now; what to unlink."""
        gone = []
        for fileid, version in left.items():
            if self.left.get(fileid) != version:
                continue  # there is more to come
            overlay = self._overlays.get(fileid)
            if overlay is None:
                gone.append(fileid)
            else:
                self._staging.truncate(fileid, max((end for _, end in overlay.ranges), default=0))
            del self.left[fileid]
        return self._staging.set_aside(*gone)

    def _leave(self, fileid: int) -> None:
        self.left[fileid] = self._next_version()
        self.when_left()

    # ------------------------------------------------------- over restarts

    def restore(self, node: Node, record: OverlayRecord) -> None:
        """Take over what was kept of a file. Raises CacheUnusable if its staged bytes are lost."""
        last = max((end for _, end in record.ranges), default=0)
        if last and not self._staging.reaches(node.fileid, last):
            raise CacheUnusable(f"{node!r}: bytes that were written to it are staged no more")
        overlay = self._overlays[node.fileid] = restored(record)
        overlay.staged = self._staging.reaches(node.fileid, 0)
        self._version = max(self._version, record.version)
        self.unsent_bytes += overlay.grown
        if self._staging.reaches(node.fileid, last + 1):  # written, and never kept
            self._leave(node.fileid)
        self._tree.nodes.resize(node, record.size)

    def begin(self, kept: object) -> None:
        """Choose the write verifier: the one that was kept at a clean end, else a new one.

        It is kept no more: durable before anything is served, or a crash would go unnoticed.
        """
        if isinstance(kept, bytes) and len(kept) == VERIFIER_BYTES:
            self.write_verifier = kept
        else:
            self.renew_verifier()
        self._journal.note(SetMeta(MetaKey.WRITE_VERIFIER, b""))

    def end(self) -> None:
        """Keep the write verifier: everything that was answered under it is durable."""
        self._journal.note(SetMeta(MetaKey.WRITE_VERIFIER, self.write_verifier))

    def renew_verifier(self) -> None:
        """Let clients write again what they do not know to be durable: some of it may be lost."""
        self.write_verifier = secrets.token_bytes(VERIFIER_BYTES)

    # -------------------------------------------------------------- inside

    def _require_file(self, node: Node) -> None:
        if node.look.type is FileType.DIR:
            raise IsDirectory(f"{node!r} has no bytes")
        if node.look.type is not FileType.REG:
            raise InvalidArgument(f"{node!r} has no bytes")

    def _require_size(self, node: Node, size: int) -> None:
        """Raise FileTooLarge, QuotaExceeded."""
        if size > OFFSET_MAX:
            raise FileTooLarge(f"{node!r}: no file reaches as far as {size}")
        growth = size - node.size
        if growth > 0:
            left = self._bounds.quota_left()
            if left is not None and growth > left:
                raise QuotaExceeded(f"{node!r}: {growth} bytes more, and {left} are left")

    def _require_staging(self, count: int) -> None:
        """Raise NotYet."""
        staging, unsynced_bytes_max = self._staging, self._bounds.unsynced_bytes_max
        if staging.is_crowded or staging.unsynced_bytes > unsynced_bytes_max:
            raise NotYet(Synced(unsynced_bytes_max))
        if staging.unsynced_bytes > unsynced_bytes_max >> 1:
            self.when_unsynced(Synced(unsynced_bytes_max))
        if not staging.has_room(count):
            raise NotYet(StagingRoom(count))

    def _next_version(self) -> int:
        self._version += 1
        return self._version

    def _lay_over(self, node: Node) -> Overlay:
        """The overlay of a file that has none. It is known before there is a staged file."""
        self._journal.require_room()
        overlay = Overlay(node.size, self._next_version(), node.content)
        overlay.staged = node.fileid in self.left
        self._overlays[node.fileid] = overlay
        self._note(node, overlay)
        return overlay

    def _grow(self, overlay: Overlay, count: int) -> None:
        overlay.grown += count
        self.unsent_bytes += count

    def _note(self, node: Node, overlay: Overlay) -> None:
        self._journal.note(SetOverlay(overlay.record(node.fileid)))
        self._keeper.keep(node)

    def _changed(self, node: Node, overlay: Overlay) -> None:
        """Its bytes or its size have."""
        self._grow(overlay, overlay.size - node.size)
        self._tree.nodes.resize(node, overlay.size)
        now_ns = in_steps(self._clock.wall_ns())
        if node.atime_ns == node.mtime_ns:  # nobody has set it; else each would need a record
            node.atime_ns = now_ns
        node.mtime_ns = now_ns
        self._tree.stamp(node)
        self.when_changed(node)


def _refuse(file: EarlierFile) -> None:
    """What there is where nobody can show a file again."""
    raise StaleHandle(f"{file!r} was replaced or removed")
