"""What changes names: create, remove, rename, link (RFC 1813 §3.3.8 to §3.3.15).

Every method looks at all it needs first (NotYet), then changes the tree, what the outbox wants of
the Hub and the records, and submits them as one; its result is held until that is on the disk.

Some names never go to the Hub, `is_private` says which: NFS clients' names for files that are
removed while open, and what operating systems strew about. They are kept here alone.
"""

from collections.abc import Callable

from hfnfs.errors import (
    EntryExists,
    InvalidArgument,
    IsDirectory,
    NotDirectory,
    NotEmpty,
)
from hfnfs.remote import EMPTY, ContentId
from hfnfs.vfs.attributes import Wanted, in_steps
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.means import Means
from hfnfs.vfs.needs import Held, Journaled, Listed, NotYet
from hfnfs.vfs.node import FileType, Node, Symlink
from hfnfs.vfs.ours import path_in
from hfnfs.vfs.outbox import Outbox
from hfnfs.vfs.setting import Setting
from hfnfs.vfs.tree import require_name


class Naming:
    """Changes names of a volume."""

    def __init__(
        self, means: Means, outbox: Outbox, setting: Setting, is_private: Callable[[str], bool]
    ) -> None:
        self._tree, self._ours, self._writing, self._keeper, self._journal, self._clock = means
        self._outbox = outbox
        self._setting = setting
        self._is_private = is_private
        self._writing.when_changed = self._touched
        self._keeper.reasons.append(outbox.wants)
        self._keeper.when_gone = self._writing.discard

    # ------------------------------------------------------------------ making

    def create(
        self, directory: Node, name: bytes, wanted: Wanted, *, guarded: bool = False
    ) -> Held[Node]:
        """A regular file of that name, made if there is none, else cut to the size wanted.

        Raises EntryExists (it is guarded, or no regular file), NotDirectory, NameTooLong,
        AccessDenied (it cannot be a name), InvalidArgument (it is no UTF-8), NotYet.
        """
        self._journal.require_room()
        there = self.found(directory, name)
        if there is None:
            return self._made(FileType.REG, directory, name, wanted)
        if guarded or there.look.type is not FileType.REG:
            raise EntryExists(f"{there!r} is there already")
        if wanted.size is None:
            return Held(there, Journaled(self._journal.submit()))
        return Held(there, self._setting.set(there, Wanted(size=wanted.size)).until)

    def create_exclusive(
        self, directory: Node, name: bytes, verifier: bytes, wanted: Wanted
    ) -> Held[Node]:
        """A new regular file; the same one when it is asked for again with its verifier.

        Raises EntryExists and what `create` does.
        """
        self._journal.require_room()
        there = self.found(directory, name)
        if there is None:
            return self._made(FileType.REG, directory, name, wanted, verifier=verifier)
        if self._keeper.verifiers.get(there) != verifier:
            raise EntryExists(f"{there!r} is there already")
        return Held(there, Journaled(self._journal.submit()))

    def make_directory(self, directory: Node, name: bytes, wanted: Wanted) -> Held[Node]:
        """A new directory. Raises EntryExists and what `create` does."""
        self._require_free(directory, name)
        return self._made(FileType.DIR, directory, name, wanted)

    def make_symlink(
        self, directory: Node, name: bytes, target: bytes, wanted: Wanted
    ) -> Held[Node]:
        """A new symbolic link, which is kept here alone. Raises EntryExists, as `create` does."""
        self._require_free(directory, name)
        if not target or b"\0" in target:
            raise InvalidArgument(f"no symbolic link can say {target!r}")
        return self._made(FileType.LNK, directory, name, wanted, target=target)

    def link(self, node: Node, directory: Node, name: bytes) -> Held[None]:
        """Give a file's bytes one more name: a copy, of which nothing moves to the Hub.

        Raises IsDirectory, EntryExists and what `create` does.
        """
        if isinstance(node, Directory):
            raise IsDirectory(f"{node!r}: directories have one name")
        home = self._require_free(directory, name)
        if isinstance(node, Symlink):
            return Held(None, self._made(FileType.LNK, home, name, Wanted(), node.target).until)
        self._writing.require_copy(node)
        twin = self._new(FileType.REG, home, name)
        twin.look = node.look
        twin.atime_ns, twin.mtime_ns = node.atime_ns, node.mtime_ns
        self.show(home, twin)
        self._writing.clone(node, twin)
        self._keeper.keep(twin)
        done = self._journal.done()
        return Held(None, self._writing.durable(twin) if self._writing.is_dirty(twin) else done)

    def _made(
        self,
        type_: FileType,
        directory: Node,
        name: bytes,
        wanted: Wanted,
        target: bytes = b"",
        verifier: bytes | None = None,
    ) -> Held[Node]:
        home = _directory(directory)
        node = self._new(type_, home, name)
        self._setting.dress(node, wanted)
        if isinstance(node, Symlink):
            node.target = target
            node.size = len(target)
        if verifier is not None:
            self._keeper.verifiers[node] = verifier
        if isinstance(node, Directory):
            self._tree.know_all(node)
        self.show(home, node)
        if node.look.type is FileType.REG and wanted.size:
            self._writing.truncate(node, wanted.size)
        return Held(node, self._journal.done())

    def _new(self, type_: FileType, home: Directory, name: bytes) -> Node:
        """A node for a free name, not shown yet. Raises what is wrong with the name."""
        require_name(name)
        node = self._tree.nodes.make(type_, home, _path_in(home, name))
        now_ns = self._clock.wall_ns()
        node.ctime_ns = now_ns
        node.atime_ns = node.mtime_ns = in_steps(now_ns)
        if type_ is FileType.REG:
            node.content = EMPTY
        return node

    def show(self, home: Directory, node: Node) -> None:
        """Show a new node, let the Hub have it, keep it."""
        self._tree.adopt(home, node)
        path = self._tree.path(node)
        if node.look.type is not FileType.REG or self._is_private(path):
            self._ours.local.add(node)
        else:
            self._outbox.put(path, node, None)
        self.keep(node, home)

    # ---------------------------------------------------------------- removing

    def remove(self, directory: Node, name: bytes) -> Held[None]:
        """Remove a name that is no directory's. Raises NoEntry, IsDirectory and as `create`."""
        self._journal.require_room()
        home, node = self._there(directory, name)
        if isinstance(node, Directory):
            raise IsDirectory(f"{node!r}")
        self._leaves(self._tree.path(node), node)
        self._tree.remove(node)
        self.keep(home)
        return Held(None, self._journal.done())

    def remove_directory(self, directory: Node, name: bytes) -> Held[None]:
        """Remove an empty directory. Raises NoEntry, NotDirectory, NotEmpty and as `create`."""
        self._journal.require_room()
        home, node = self._there(directory, name)
        if not isinstance(node, Directory):
            raise NotDirectory(f"{node!r}")
        if name in (b".", b".."):
            raise InvalidArgument(f"{name!r} cannot be removed")
        self._require_empty(node)
        self._outbox.hide(self._tree.path(node))
        self._tree.remove(node)
        self.keep(home)
        return Held(None, self._journal.done())

    # ---------------------------------------------------------------- renaming

    def rename(
        self, from_directory: Node, from_name: bytes, to_directory: Node, to_name: bytes
    ) -> Held[None]:
        """Give a node another name; what has that name and is of its kind goes (§3.3.14).

        Raises NoEntry, IsDirectory, NotDirectory, NotEmpty, InvalidArgument (into itself) and
        what `create` does.
        """
        self._journal.require_room()
        from_home, node = self._there(from_directory, from_name)
        to_home = _directory(to_directory)
        dots = (b".", b"..")
        if from_name in dots or to_name in dots:
            raise InvalidArgument("neither '.' nor '..' can be renamed")
        there = self.found(to_home, to_name)
        if there is node:
            return Held(None, self._journal.done())
        require_name(to_name)
        old, new = self._tree.path(node), _path_in(to_home, to_name)
        if isinstance(node, Directory) and f"{new}/".startswith(f"{old}/"):
            raise InvalidArgument(f"{old!r} cannot go below itself")
        self._require_replaceable(there, node)
        moves = self._moves(node, old, new)
        if there is not None:
            self._make_way(there, new)
        self._tree.move(node, to_home, to_name)
        for file, old_path, new_path in moves:
            self.moved(file, old_path, new_path)
        if isinstance(node, Directory):
            self._outbox.hide(old)
            self._ours.local.add(node)
        self.keep(*(file for file, _, _ in moves), node, from_home, to_home)
        return Held(None, self._journal.done())

    def _moves(self, node: Node, old: str, new: str) -> list[tuple[Node, str, str]]:
        """The files that a rename moves, with their old and new paths. Raises NotYet."""
        if not isinstance(node, Directory):
            return [(node, old, new)]
        files = self._tree.files_below(node)
        paths = (self._tree.path(file) for file in files)
        return [(f, p, f"{new}{p[len(old) :]}") for f, p in zip(files, paths, strict=True)]

    def _require_replaceable(self, there: Node | None, node: Node) -> None:
        """See that a node may take the place of what is there. Raises NotYet and why not."""
        if there is None:
            return
        if isinstance(there, Directory):
            if not isinstance(node, Directory):
                raise IsDirectory(f"{there!r} is in the way")
            self._require_empty(there)
        elif isinstance(node, Directory):
            raise NotDirectory(f"{there!r} is in the way")

    def _make_way(self, there: Node, path: str) -> None:
        """Remove what a rename replaces."""
        if isinstance(there, Directory):
            self._outbox.hide(path)
        else:
            self._leaves(path, there)
        self._tree.remove(there)

    def moved(self, file: Node, old: str, new: str) -> None:
        """Let the Hub have a file, already shown at `new`, there and no more at `old`."""
        if file.look.type is not FileType.REG:
            return
        is_private = self._is_private(new)
        if not self._is_private(old):
            theirs = self._theirs(file)
            self._outbox.delete(old, theirs, moved=None if is_private else file.fileid)
        if is_private:
            self._ours.local.add(file)
        else:
            self._ours.local.discard(file)
            self._outbox.put(new, file, None)

    # ---------------------------------------------------------------- looking

    def found(self, directory: Node, name: bytes) -> Node | None:
        """What has that name, or that nothing has. Raises NotDirectory, NotYet, ..."""
        return self._tree.find(directory, name)

    def _there(self, directory: Node, name: bytes) -> tuple[Directory, Node]:
        """The directory and what has that name in it. Raises NoEntry, NotDirectory, NotYet."""
        return _directory(directory), self._tree.lookup(directory, name)

    def _require_free(self, directory: Node, name: bytes) -> Directory:
        self._journal.require_room()
        there = self.found(directory, name)
        if there is not None:
            raise EntryExists(f"{there!r} is there already")
        return _directory(directory)

    def _require_empty(self, directory: Directory) -> None:
        """Raise NotEmpty, or NotYet if only a listing can tell."""
        if directory.children:
            raise NotEmpty(f"{directory!r} has {len(directory.children)} entries")
        if not self._tree.is_young(directory):
            raise NotYet(Listed(directory.fileid, self._tree.oldest()))

    # --------------------------------------------------------------- telling

    def _leaves(self, path: str, node: Node) -> None:
        """Nothing is to be at a path on the Hub, where this was shown."""
        if node.look.type is FileType.REG and not self._is_private(path):
            self._outbox.delete(path, self._theirs(node))

    def _theirs(self, node: Node) -> ContentId | None:
        """What the Hub has where a node is shown of which the outbox knows nothing."""
        return None if node in self._ours.local else node.content

    def _touched(self, node: Node) -> None:
        """A file's bytes, size or mtime have changed."""
        entry = self._outbox.home(node.fileid)
        if entry is not None:  # nearly always: it is not private, and held is where it lies
            self._outbox.touch(entry.path, node)
            return
        path = self._tree.path(node)
        if node.parent is None or self._is_private(path):
            return
        self._outbox.touch(path, node)
        if node.parent.parent is not None and node.parent not in self._ours.local:
            self._keeper.keep(*self._ours.hold(node.parent))

    def keep(self, *nodes: Node) -> None:
        """Note the records of nodes, and hold the directories they are in."""
        kept = dict.fromkeys(nodes)
        for node in nodes:
            home = node if isinstance(node, Directory) else node.parent
            if home is not None:
                kept |= dict.fromkeys(self._ours.hold(home))
        self._keeper.keep(*kept)


def _path_in(directory: Directory, name: bytes) -> str:
    """The path of a new name in a directory."""
    path = path_in(directory, name)
    if path is None:
        raise InvalidArgument(f"{name!r} is no UTF-8, which names on the Hub are")
    return path


def _directory(node: Node) -> Directory:
    if not isinstance(node, Directory):
        raise NotDirectory(f"{node!r} has no names")
    return node
