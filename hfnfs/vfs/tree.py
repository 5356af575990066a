"""Names of a volume: what is under which name, and what a handle stands for.

A directory that is listed and young answers for every name, also for those that are not there.
In one that was never listed names are asked for one by one, until there were so many that the
whole listing is cheaper. What the far side says comes in through `applying` and `apply_found`
alone; a large listing is taken in over many turns of the loop, and shown at once at its end.

Beyond a number of nodes, `trim` drops the files of directories that were not used for longest.
They are listed again when somebody asks for one of them, by name or by handle.

In a volume that takes changes some names are ours to decide: those that are `local`, and those of
which the `claims` say so. What a listing says of them, or that it does not name them, is ignored.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from math import inf

from hfnfs.clock import Clock
from hfnfs.errors import (
    AccessDenied,
    NameTooLong,
    NoEntry,
    NotDirectory,
    StaleHandle,
)
from hfnfs.remote import Kind, Listing, RemoteEntry, same
from hfnfs.vfs.attributes import Appearance
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.merge import Draft, changes
from hfnfs.vfs.needs import Listed, Named, NotYet, Subtree
from hfnfs.vfs.node import Node
from hfnfs.vfs.nodes import Nodes
from hfnfs.vfs.ours import Claims, Ours
from hfnfs.vfs.shown import Shown

NAME_BYTES_MAX = 255
# To list all that is below a directory may take longer than a listing is believed otherwise.
_SUBTREE_TTL_S = 300.0
# Entries of a listing that are taken in at once: about a millisecond.
_SLICE_ENTRIES = 256


@dataclass(frozen=True, slots=True)
class Freshness:
    """How long what the far side said is believed, and how much of it is kept."""

    ttl_s: float  # age at which a listing or a found name is asked for again; inf: never
    lookups_before_listing: int
    nodes_soft_max: int = 1_000_000  # in memory; beyond it those that nobody uses are dropped


class Tree(Shown):
    """Owner of names, nodes, listings and cookies of one volume.

    `claims` None: it takes no changes, everything is the far side's to say.
    """

    def __init__(
        self,
        appearance: Appearance,
        freshness: Freshness,
        *,
        boot_verifier: bytes,
        clock: Clock,
        claims: Claims | None = None,
    ) -> None:
        super().__init__(Nodes(appearance), boot_verifier, clock)
        self.nodes.earlier.when_forgotten = lambda file: self._gone([file])
        self.ours = None if claims is None else Ours(claims)
        self._lookups_before_listing = freshness.lookups_before_listing
        self._ttl_s = freshness.ttl_s
        self._believes_for_ever = freshness.ttl_s == inf
        self._nodes_soft_max = freshness.nodes_soft_max
        self._now = clock.now
        self.when_replaced: list[Callable[[Node], None]] = []  # by other bytes of the far side
        self.when_listed: list[Callable[[Directory], None]] = []  # or asked for a name of it

    # -------------------------------------------------------------- asking

    def node(self, fileid: int, directory: int, generation: int) -> Node:
        """The node a handle stands for; `directory` is the fileid of the one that shows it.

        Raises StaleHandle, or NotYet if only a listing of the directory can tell.
        """
        node = self.nodes.get(fileid)
        if node is None:
            home = self.nodes.get(directory)
            if isinstance(home, Directory) and home.listed_at is None:
                raise NotYet(Listed(directory, self._now() - self._ttl_s))
        if node is None or node.generation != generation:
            node = self._earlier(fileid, generation)
        (node.parent or self.root).is_used = True
        return node

    def _earlier(self, fileid: int, generation: int) -> Node:
        """The file that a handle was made for, if it is not the one that has its fileid now."""
        earlier = self.nodes.earlier.find(fileid, generation)
        if earlier is not None and (not earlier.is_shown or self.nodes.get(earlier.fileid)):
            return earlier
        node = self.nodes.get(fileid)
        if node is not None and generation > node.generation and self.ours is None:
            return node  # of an earlier run: where nothing changes here, generations start anew
        raise StaleHandle(f"fileid {fileid:x} is gone")

    def lookup(self, directory: Node, name: bytes) -> Node:
        """The node of that name; "." and ".." too (RFC 1813 §3.3.3).

        Raises NoEntry, and what `find` does.
        """
        node = self.find(directory, name)
        if node is None:
            raise NoEntry(f"{self.path(directory)!r} has no {name!r}")
        return node

    def find(self, directory: Node, name: bytes) -> Node | None:
        """The node of that name, as `lookup`; None where there is no such entry.

        Raises NotDirectory, NameTooLong, AccessDenied (it cannot be a name), NotYet.
        """
        if not isinstance(directory, Directory):
            raise _nameless(directory)
        listed_at = directory.listed_at
        if listed_at is not None and (
            self._believes_for_ever or self._now() - listed_at < self._ttl_s
        ):
            node = directory.children.get(name)
            if node is not None:
                directory.is_used = True
                return node
        elif name not in (b".", b".."):
            return self._find_unlisted(directory, name, self._now())
        if name == b".":
            return directory
        if name == b"..":
            return directory.parent or directory
        require_name(name)
        return None

    def _find_unlisted(self, directory: Directory, name: bytes, now: float) -> Node | None:
        """The node of a name where no young listing answers for it."""
        oldest = now - self._ttl_s
        unlisted = directory.listed_at is None
        answered_at = directory.asked.get(name)
        is_answered = unlisted and answered_at is not None and answered_at > oldest
        if is_answered or self._is_ours(directory, name, now):
            return directory.children.get(name)
        require_name(name)
        if unlisted and (
            answered_at is not None or len(directory.asked) < self._lookups_before_listing
        ):
            raise NotYet(Named(directory.fileid, name))
        raise NotYet(Listed(directory.fileid, oldest))

    def listed(self, directory: Node, cookie: int) -> Directory:
        """The directory, its entries after `cookie` (0: all) ready to be given.

        A listing that was begun is finished even if it has grown old meanwhile. Raises
        NotDirectory, BadCookie, NotYet.
        """
        if not isinstance(directory, Directory):
            raise _nameless(directory)
        oldest = self._now() - self._ttl_s
        listed_at = directory.listed_at
        if listed_at is None or (cookie == 0 and listed_at <= oldest):
            raise NotYet(Listed(directory.fileid, oldest))
        directory.require_cookie(cookie)
        directory.is_used = True
        return directory

    def files_below(self, directory: Directory) -> list[Node]:
        """Everything below a directory but directories.

        Raises NotYet while there is one that is not listed, or not lately.
        """
        oldest = min(self.oldest(), self._now() - _SUBTREE_TTL_S)
        files: list[Node] = []
        below = [directory]
        while below:
            one = below.pop()
            if one.listed_at is None or one.listed_at <= oldest:
                raise NotYet(Subtree(directory.fileid, oldest))
            for node in one.children.values():
                if isinstance(node, Directory):
                    below.append(node)
                else:
                    files.append(node)
        return files

    def oldest(self) -> float:
        """When what is believed now must have been asked for at least (monotonic seconds)."""
        return self._now() - self._ttl_s

    def is_young(self, directory: Directory) -> bool:
        """Whether a directory's names are all known, and still believed."""
        return directory.listed_at is not None and directory.listed_at > self.oldest()

    def _is_ours(self, directory: Directory, name: bytes, asked_at: float) -> bool:
        return self.ours is not None and self.ours.decides(directory, name, asked_at)

    # ------------------------------------------------ what the far side says

    def apply_listing(
        self, directory: Directory, listing: Listing, asked_at: float | None = None
    ) -> None:
        """Show what the far side just listed, in one go."""
        for _ in self.applying(directory, listing, asked_at):
            pass

    def applying(
        self, directory: Directory, listing: Listing, asked_at: float | None = None
    ) -> Iterator[None]:
        """Show what the far side just listed: the work in slices, all of it shown at the end.

        Between two slices anything may happen, also to the directory: if it goes away, or
        another listing of it is begun, this one comes to nothing. `asked_at` (monotonic seconds,
        None: now) is when the far side was asked.
        """
        if asked_at is None:
            asked_at = self._now()
        self.discard(directory)
        if directory.listed_at is None:
            directory.number_anew()
        draft = directory.draft = Draft()
        entries = iter(listing.entries.values())
        try:
            while batch := list(islice(entries, _SLICE_ENTRIES)):
                self._make_ready(directory, draft, batch)
                yield
                if directory.draft is not draft:
                    return
            self._leave_ours(directory, draft, asked_at)
            self._show_listing(directory, draft, listing)
        finally:
            if directory.draft is draft:
                self.discard(directory)

    def apply_found(
        self,
        directory: Directory,
        name: bytes,
        entry: RemoteEntry | None,
        asked_at: float | None = None,
    ) -> None:
        """Show what the far side said of one name; None: it is not there. Asked as `applying`."""
        is_file = entry is not None and entry.kind is Kind.FILE
        at = self._now() if asked_at is None else asked_at
        if self.ours is not None and self.ours.decides(directory, name, at, is_file=is_file):
            return
        shown = directory.children.get(name)
        draft = Draft()
        if entry is None:
            draft.gone += [] if shown is None else [shown]
        else:
            if shown is None and directory.draft is not None and name in directory.draft.fresh:
                directory.put({name: directory.draft.fresh[name]})  # it is on its way already
            found = changes(directory.children, [entry])
            make = self.nodes.maker(directory, self.path(directory))
            draft.take(found, {name: make(name, entry) for name, entry in found.appeared})
        self._show(directory, draft)
        if directory.listed_at is None:
            directory.asked[name] = self._now()
        else:
            directory.number([node for node in draft.fresh.values() if not node.cookie])
        self._tell_listed(directory)

    def forget(self, directory: Directory) -> None:
        """Know nothing of a directory but what is in use; it is asked for when it is wanted."""
        self.discard(directory)
        directory.asked.clear()
        self.drop(directory.keep_only(self._stays))
        self._touch(directory)

    def discard(self, directory: Directory) -> None:
        """Give up a listing that is being taken in, if there is one."""
        draft, directory.draft = directory.draft, None
        if draft is not None:
            shown = directory.children
            self.nodes.drop(n for name, n in draft.fresh.items() if shown.get(name) is not n)

    def trim(self) -> None:
        """Drop files of directories that were not used for longest, if there are too many nodes.

        Those that were used since the last time are dropped only after all others, and the one
        that was listed last is not.
        """
        second_chances = len(self._listed)
        while len(self.nodes) > self._nodes_soft_max and len(self._listed) > 1:
            directory = next(iter(self._listed))
            del self._listed[directory]
            if directory.is_used and second_chances:
                second_chances -= 1
                directory.is_used = False
                self._listed[directory] = None
            elif any(not self._stays(node) for node in directory.children.values()):
                self._drop(directory)

    def _make_ready(self, directory: Directory, draft: Draft, batch: list[RemoteEntry]) -> None:
        """Find out what a slice of a listing changes, and make the nodes for it."""
        shown = directory.children
        found = changes(shown, batch)
        make = self.nodes.maker(directory, self.path(directory))
        made = {name: make(name, entry) for name, entry in found.appeared}
        draft.take(found, made)
        nodes = [made.get(name) or shown[name] for name in found.names]
        if directory.listed_at is None:
            directory.number(nodes)  # nobody can see it yet
        else:
            draft.unnumbered += [node for node in nodes if not node.cookie]

    def _leave_ours(self, directory: Directory, draft: Draft, asked_at: float) -> None:
        """Take out of a draft what is ours to decide, as it is now, and what came in between."""
        if self.ours is None:
            return
        shown = directory.children
        claimed = self.ours.names(directory, asked_at, lambda name: _is_file(draft.fresh.get(name)))
        going = set(draft.gone)
        taken = [
            name
            for name in draft.fresh
            if name in claimed or (name in shown and shown[name] not in going)
        ]
        fresh = [draft.fresh.pop(name) for name in taken]
        for drafted in fresh:
            directory.unnumber(drafted)
        self.nodes.drop(node for node in fresh if shown.get(node.name) is not node)
        draft.gone = [node for node in draft.gone if node.name not in claimed]
        draft.replaced = [pair for pair in draft.replaced if pair[0].name not in claimed]
        draft.names |= claimed
        draft.unnumbered += [shown[name] for name in claimed if name in shown]

    def _show_listing(self, directory: Directory, draft: Draft, listing: Listing) -> None:
        shown = directory.children
        if self.ours or len(shown) > len(draft.names) - len(draft.fresh):
            draft.gone += [node for name, node in shown.items() if name not in draft.names]
        first = directory.listed_at is None
        if first:
            directory.asked.clear()
            directory.verifier = _verifier_of(listing) or directory.verifier or self._boot_verifier
        self._show(directory, draft)
        shown = directory.children
        unnumbered = dict.fromkeys(draft.unnumbered)
        directory.number([n for n in unnumbered if not n.cookie and shown.get(n.name) is n])
        directory.draft = None
        directory.listed_at = self._now()
        directory.is_used = True
        self._listed.pop(directory, None)
        self._listed[directory] = None
        self._tell_listed(directory)

    def _tell_listed(self, directory: Directory) -> None:
        for told in self.when_listed:
            told(directory)

    def _show(self, directory: Directory, draft: Draft) -> None:
        """Let the directory show what has changed; what came in between is left as it is."""
        for node in draft.gone:
            if directory.children.get(node.name) is node:
                directory.remove(node.name)
                self._retire(node, by_others=True)
        for node, entry in draft.replaced:
            if directory.children.get(node.name) is node:
                self._update(node, entry)
        directory.put(draft.fresh)
        if draft.replaced or draft.gone or (draft.fresh and directory.listed_at is not None):
            self._touch(directory)  # somebody may have seen it otherwise

    def _update(self, node: Node, entry: RemoteEntry) -> None:
        """Other bytes under the same name, and perhaps another date.

        It is the same node, and clients drop its pages. Who has it open has another one from now
        on, with the bytes that it had.
        """
        before = node.content
        if not same(before, entry.content) and self.nodes.supersede(node):
            self._gone([node])
        self.nodes.fill(node, entry)
        now_ns = self._clock.wall_ns()
        node.mtime_ns = now_ns if entry.mtime_ns is None else entry.mtime_ns
        node.ctime_ns = max(now_ns, node.ctime_ns + 1)
        node.changed()
        if node.content != before:
            for told in self.when_replaced:
                told(node)

    def _drop(self, directory: Directory) -> None:
        """Drop the files of a directory; it may be listed otherwise when it is asked for again."""
        self.drop(directory.keep_only(self._stays))
        if self._ttl_s != inf:
            self._touch(directory)


def _is_file(node: Node | None) -> bool:
    return node is not None and not isinstance(node, Directory)


def _nameless(node: Node) -> NotDirectory:
    return NotDirectory(f"{node!r} has no names")


def require_name(name: bytes) -> None:
    """Refuse what no entry can be called (RFC 1813 §3.2). Raises AccessDenied, NameTooLong."""
    if not name or b"/" in name or b"\0" in name:
        raise AccessDenied(f"{name!r} is no name")
    if len(name) > NAME_BYTES_MAX:
        raise NameTooLong(f"a name of {len(name)} bytes; the most is {NAME_BYTES_MAX}")


def _verifier_of(listing: Listing) -> bytes | None:
    """The same for every listing of one revision, whose order is the same as well."""
    if not listing.revision:
        return None
    return blake2b(listing.revision.encode(), digest_size=8).digest()
