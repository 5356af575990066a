"""The nodes of a volume by fileid: made of what the far side lists or here, retired, dropped.

A fileid is the hash of the path at which a node was first seen, so it is the same in every mount
and after every restart without being written down; a node that was dropped to save its memory
gets its own again when its directory is listed. One that is made here gets another if a node had
that before: what is kept under a fileid is never that of two.
"""

import secrets
from collections.abc import Callable, Iterable
from hashlib import blake2b

from hfnfs.remote import ContentId, Kind, RemoteEntry
from hfnfs.vfs.attributes import Appearance
from hfnfs.vfs.directory import Directory
from hfnfs.vfs.earlier import Earlier, EarlierFile
from hfnfs.vfs.node import FileType, Look, Node, Symlink

_FILEID_MASK = (1 << 63) - 1
_LOW_HALF = 0xFFFFFFFF  # Darwin skips entries whose fileid has no low half
_RETIRED_MAX = 100_000  # generations remembered; beyond it the oldest may be used again


class Nodes:
    """All nodes of a volume that are in memory, and how many files and bytes they stand for."""

    def __init__(self, appearance: Appearance) -> None:
        self._appearance = appearance
        self._file_look = appearance.file()
        self._directory_look = appearance.directory()
        self._looks: dict[tuple[FileType, int, int, int], Look] = {}
        for look in (self._file_look, self._directory_look, appearance.symlink()):
            self._looks[look.type, look.mode, look.uid, look.gid] = look
        self._alive: dict[int, Node] = {}
        self._generations: dict[int, int] = {}  # of the next node with that fileid, if not 0
        self.earlier = Earlier(self._random_fileid)
        # Called with a node that is gone for good, and the generation of the next of its fileid;
        # with a fileid and the generation of the node that has it from now on; and with a fileid
        # whose generation is forgotten.
        self.when_retired: Callable[[Node, int], None] = lambda _node, _next: None
        self.when_superseded: Callable[[int, int], None] = lambda _fileid, _generation: None
        self.when_forgotten: Callable[[int], None] = lambda _fileid: None
        self.file_count = 0
        self.byte_count = 0
        self.get = self._alive.get
        self.root = self._add_directory(b"", b"", None, None)

    def __len__(self) -> int:
        return len(self._alive)

    def maker(self, directory: Directory, path: str) -> Callable[[bytes, RemoteEntry], Node]:
        """Give what makes nodes of the entries of a directory at `path` ("" is the root)."""
        prefix = f"{path}/".encode()
        alive, generations, look = self._alive, self._generations, self._file_look
        earlier = self.earlier.files
        undated_ns = self._appearance.modified_ns

        def make(name: bytes, entry: RemoteEntry) -> Node:
            if entry.kind is Kind.DIRECTORY:
                return self._add_directory(prefix, name, directory, entry.mtime_ns)
            fileid = _hashed(prefix + name)
            if fileid in alive or not fileid & _LOW_HALF:
                fileid = self._free_after(fileid)
            generation = generations.get(fileid, 0) if generations else 0
            if earlier:
                generation = self._generation_of(fileid, generation, entry.content)
            node = alive[fileid] = Node(fileid, generation, look, name, directory)
            content = node.content = entry.content
            if content is not None:
                node.size = content.size
                self.byte_count += content.size
            date = entry.mtime_ns
            node.atime_ns = node.mtime_ns = node.ctime_ns = undated_ns if date is None else date
            self.file_count += 1
            return node

        return make

    def look(self, like: Look, mode: int | None, uid: int | None, gid: int | None) -> Look:
        """A look like that one but for what is given; equal ones are the same."""
        wanted = (
            like.type,
            like.mode if mode is None else mode,
            like.uid if uid is None else uid,
            like.gid if gid is None else gid,
        )
        look = self._looks.get(wanted)
        if look is None:
            look = self._looks[wanted] = Look(*wanted, like.fsid)
        return look

    def default_look(self, type_: FileType) -> Look:
        """What a regular file or a directory of the far side looks like."""
        return self._directory_look if type_ is FileType.DIR else self._file_look

    def make(self, type_: FileType, directory: Directory, path: str) -> Node:
        """A node that the far side does not know, a regular file, directory or symbolic link.

        It is nowhere to be found yet but by its fileid.
        """
        fileid = self.first_fileid(type_, path)
        while fileid in self._alive or fileid in self._generations or not fileid & _LOW_HALF:
            fileid = self._random_fileid()
        return self.add(type_, fileid, 0, directory, path.rpartition("/")[2].encode())

    def add(
        self, type_: FileType, fileid: int, generation: int, directory: Directory, name: bytes
    ) -> Node:
        """A node as it was known before, or is made here."""
        kind, look = Node, self._file_look
        if type_ is FileType.DIR:
            kind, look = Directory, self._directory_look
        elif type_ is FileType.LNK:
            kind, look = Symlink, self._looks[FileType.LNK, 0o777, look.uid, look.gid]
        node = self._alive[fileid] = kind(fileid, generation, look, name, directory)
        self.file_count += type_ is not FileType.DIR
        return node

    def add_earlier(self, file: EarlierFile) -> None:
        """A file that others have replaced or removed, shown again."""
        self._alive[file.fileid] = file
        self.file_count += 1
        self.byte_count += file.size

    def generation_of(self, fileid: int) -> int:
        """The generation of the node that is made next for that fileid."""
        return self._generations.get(fileid, 0)

    def first_fileid(self, type_: FileType, path: str) -> int:
        """The fileid that a node gets that is first seen at a path, if no other has it."""
        whole = path if "/" in path else f"/{path}"
        return _hashed(whole.encode() + (b"/" if type_ is FileType.DIR else b""))

    def resize(self, file: Node, size: int) -> None:
        """Let a file have so many bytes."""
        self.byte_count += size - file.size
        file.size = size

    def remember(self, generations: dict[int, int]) -> None:
        """Take over the generations of fileids that are not in use any more."""
        self._generations |= generations
        self._forget_oldest()

    def fill(self, file: Node, entry: RemoteEntry) -> None:
        """Give a file the bytes of an entry."""
        size = entry.size
        self.byte_count += size - file.size
        file.content = entry.content
        file.size = size

    def supersede(self, file: Node) -> bool:
        """Let a file in use be another one, as it gets other bytes; whether it is in use."""
        if not self.earlier.keep(file):
            return False
        file.generation += 1
        self._supersede(file.fileid, file.generation)
        return True

    def retire(self, node: Node, *, by_others: bool = False) -> list[Node]:
        """Forget a node and all below it, and give them; their handles are stale from now on.

        `by_others`: but for files in use, which others have removed.
        """
        retired = [node]
        for gone in retired:
            if by_others:
                self.earlier.keep(gone)
            self._remove(gone, gone.generation + 1)
            if isinstance(gone, Directory):
                retired.extend(gone.empty().values())
        return retired

    def drop(self, files: Iterable[Node]) -> None:
        """Forget files that can be listed again; their handles stay good."""
        for file in files:
            self.earlier.keep(file)
            self._remove(file, file.generation)

    def _generation_of(self, fileid: int, generation: int, content: ContentId | None) -> int:
        """That of a file that is listed, and was dropped with other bytes perhaps."""
        if self.earlier.is_back(fileid, generation, content) is not False:
            return generation
        self._supersede(fileid, generation + 1)
        return generation + 1

    def _supersede(self, fileid: int, generation: int) -> None:
        self._generations[fileid] = generation
        self.when_superseded(fileid, generation)
        self._forget_oldest()

    def _remove(self, node: Node, next_generation: int) -> None:
        del self._alive[node.fileid]
        if next_generation > node.generation:
            self._generations[node.fileid] = next_generation
            self.when_retired(node, next_generation)
            self._forget_oldest()
        if not isinstance(node, Directory):
            self.file_count -= 1
            self.byte_count -= node.size

    def _add_directory(
        self, prefix: bytes, name: bytes, parent: Directory | None, mtime_ns: int | None
    ) -> Directory:
        fileid = self._free_after(_hashed(prefix + name + b"/"))
        generation = self._generations.get(fileid, 0)
        node = Directory(fileid, generation, self._directory_look, name, parent)
        date = self._appearance.modified_ns if mtime_ns is None else mtime_ns
        node.atime_ns = node.mtime_ns = node.ctime_ns = date
        self._alive[fileid] = node
        return node

    def _forget_oldest(self) -> None:
        while len(self._generations) > _RETIRED_MAX:
            oldest = next(iter(self._generations))
            del self._generations[oldest]
            self.when_forgotten(oldest)

    def _random_fileid(self) -> int:
        while True:
            fileid = _hashed(secrets.token_bytes(16))
            if fileid not in self._alive and fileid & _LOW_HALF:
                return fileid

    def _free_after(self, fileid: int) -> int:
        """The first free fileid from there on; that two paths have one hash is not to be seen."""
        while fileid in self._alive or not fileid & _LOW_HALF:
            fileid = fileid + 1 & _FILEID_MASK
        return fileid


def _hashed(path: bytes) -> int:
    """The fileid of what is first seen at `path`; directories end in a slash."""
    return int.from_bytes(blake2b(path, digest_size=8).digest()) & _FILEID_MASK
