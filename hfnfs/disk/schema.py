"""What the state database holds: records, the changes made to them, and their tables.

Fileids and generations take 64 bits and SQLite's integers are signed, so they are kept as two's
complement. Names and paths are bytes. `check` is for the thread that submits a change: what has
passed it can be written.
"""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import reduce
from operator import or_
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

from hfnfs.disk import done
from hfnfs.disk.ranges import RANGES_MAX, Ranges
from hfnfs.errors import CacheUnusable, InvalidArgument
from hfnfs.remote import ContentId

VERSION: Final = 2
APPLICATION_ID: Final = 0x68664E53  # "hfNS", in the file's header

TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS nodes (
        fileid INTEGER PRIMARY KEY, generation INTEGER NOT NULL, parent INTEGER NOT NULL,
        name BLOB NOT NULL, type INTEGER NOT NULL, mode INTEGER NOT NULL, uid INTEGER NOT NULL,
        gid INTEGER NOT NULL, size INTEGER NOT NULL, atime_ns INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, target BLOB, content_key TEXT,
        content_size INTEGER, verifier BLOB, home INTEGER NOT NULL, is_local INTEGER NOT NULL)
    """,
    "CREATE TABLE IF NOT EXISTS retired (fileid INTEGER PRIMARY KEY, generation INTEGER NOT NULL)",
    """CREATE TABLE IF NOT EXISTS overlay (
        fileid INTEGER PRIMARY KEY, ranges BLOB NOT NULL, ranges_crc INTEGER NOT NULL,
        size INTEGER NOT NULL, version INTEGER NOT NULL, base_key TEXT, base_size INTEGER,
        base_end INTEGER NOT NULL, is_sent INTEGER NOT NULL, is_loose INTEGER NOT NULL DEFAULT 0)
    """,
    """CREATE TABLE IF NOT EXISTS outbox (
        path BLOB PRIMARY KEY, kind TEXT NOT NULL, fileid INTEGER NOT NULL, theirs_key TEXT,
        theirs_size INTEGER, sent TEXT NOT NULL, moved TEXT NOT NULL, attempts INTEGER NOT NULL,
        due_ns INTEGER NOT NULL, error TEXT NOT NULL) WITHOUT ROWID
    """,
    """CREATE TABLE IF NOT EXISTS pieces (
        number INTEGER PRIMARY KEY, fileid INTEGER NOT NULL, start INTEGER NOT NULL,
        bytes BLOB NOT NULL)
    """,
    done.TABLE,
    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
)

# What version 1 lacks, but for tables.
ADDED: Final = ("ALTER TABLE overlay ADD COLUMN is_loose INTEGER NOT NULL DEFAULT 0",)

Row: TypeAlias = tuple[Any, ...]
MetaValue: TypeAlias = int | bytes | str

_RANGES_A_WEIGHT: Final = 10
_BYTES_A_WEIGHT: Final = 1024
_U64: Final = 1 << 64
_I64: Final = 1 << 63
_ERROR_CHARACTERS_MAX: Final = 1000


class OutboxKind(Enum):
    """What the Hub shall have at a path."""

    PUT = "put"  # a node's bytes
    DELETE = "delete"  # nothing
    HIDE = "hide"  # no directory: one that is not shown while files below it are to be deleted


class MetaKey(StrEnum):
    """Single facts about the volume."""

    WRITE_VERIFIER = "write-verifier"  # (RFC 1813 §3.3.7) of a time that ended in order


class NodeRecord(NamedTuple):
    """A file or directory: what of it the Hub does not hold, or not yet."""

    fileid: int
    generation: int
    parent: int  # fileid of its directory
    name: bytes
    type: int  # ftype3 (RFC 1813 §2.5)
    mode: int
    uid: int
    gid: int
    size: int  # bytes
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    target: bytes | None = None  # of a symbolic link
    content: ContentId | None = None  # what the Hub has under this node; by key and size alone
    verifier: bytes | None = None  # of the exclusive CREATE that made it (RFC 1813 §3.3.8)
    home: int = 0  # fileid of the directory that its handles name
    is_local: bool = False  # shown whatever the Hub lists


class OverlayRecord(NamedTuple):
    """Which bytes of a file are staged, and what shows where none are.

    A byte outside of `ranges` is the base's where it is below `base_end`, else zero. Whoever
    submits it changes `ranges` no more.
    """

    fileid: int
    ranges: Ranges
    size: int
    version: int
    base: ContentId | None = None
    base_end: int = 0
    is_sent: bool = False  # the Hub has all of it: what is staged is only a cache
    is_loose: bool = False  # the name of its staged file is perhaps not on the disk


class PieceRecord(NamedTuple):
    """Staged bytes that are perhaps nowhere else: to be put back before any of them is read."""

    number: int  # later ones are newer
    fileid: int
    start: int
    bytes: bytes


class OutboxRecord(NamedTuple):
    """What the Hub shall have at a path, and what it has there as far as is known."""

    path: bytes
    kind: OutboxKind
    fileid: int = 0  # of the node whose bytes it shall be; 0 where it shall be none
    theirs: ContentId | None = None
    sent: tuple[ContentId, ...] = ()  # what it may have by our doing: no answer came, or not yet
    moved: tuple[int, ...] = ()  # fileids of nodes that left the path: it goes once they are put
    attempts: int = 0
    due_ns: int = 0  # since 1970: it outlives the process
    error: str = ""  # why the last attempt failed; its first 1000 characters are kept


@dataclass(frozen=True, slots=True)
class UpsertNode:
    """The node of that fileid is this one."""

    node: NodeRecord
    sql = "INSERT OR REPLACE INTO nodes VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
    weight = 1

    @property
    def key(self) -> tuple[str, int]:
        """What it changes."""
        return "nodes", self.node.fileid

    def check(self) -> None:
        """Raise InvalidArgument unless it can be written."""
        n = self.node
        plain = n.type | n.mode | n.uid | n.gid | n.size | _size(n.content)
        times = abs(n.atime_ns) | abs(n.mtime_ns) | abs(n.ctime_ns)
        _require_fit(n, ids=n.fileid | n.generation | n.parent | n.home, plain=plain | times)

    def row(self) -> Row:
        """As in its table."""
        n = self.node
        return (
            _signed(n.fileid), _signed(n.generation), _signed(n.parent), n.name, n.type, n.mode,
            n.uid, n.gid, n.size, n.atime_ns, n.mtime_ns, n.ctime_ns, n.target,
            *_content_row(n.content), n.verifier, _signed(n.home), n.is_local,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _OfFileid:
    """A row is to go."""

    fileid: int
    sql: ClassVar[str]
    table: ClassVar[str]
    weight = 1

    @property
    def key(self) -> tuple[str, int]:
        """What it changes."""
        return self.table, self.fileid

    def check(self) -> None:
        """Raise InvalidArgument unless it can be written."""
        _require_fit(self, ids=self.fileid)

    def row(self) -> Row:
        """Of what is dropped, the key."""
        return (_signed(self.fileid),)


@dataclass(frozen=True, slots=True)
class DropNode(_OfFileid):
    """There is no such node."""

    sql = "DELETE FROM nodes WHERE fileid = ?"
    table = "nodes"


@dataclass(frozen=True, slots=True)
class Reuse(_OfFileid):
    """That fileid is in use again."""

    sql = "DELETE FROM retired WHERE fileid = ?"
    table = "retired"


@dataclass(frozen=True, slots=True)
class DropOverlay(_OfFileid):
    """Nothing of that file is staged."""

    sql = "DELETE FROM overlay WHERE fileid = ?"
    table = "overlay"


@dataclass(frozen=True, slots=True)
class Retire:
    """The node of that fileid is gone; one that has it again gets this generation."""

    fileid: int
    generation: int
    sql = "INSERT OR REPLACE INTO retired VALUES (?,?)"
    weight = 1

    @property
    def key(self) -> tuple[str, int]:
        """What it changes."""
        return "retired", self.fileid

    def check(self) -> None:
        """Raise InvalidArgument unless it can be written."""
        _require_fit(self, ids=self.fileid | self.generation)

    def row(self) -> Row:
        """As in its table."""
        return _signed(self.fileid), _signed(self.generation)


@dataclass(frozen=True, slots=True)
class SetOverlay:
    """The overlay of that fileid is this one."""

    overlay: OverlayRecord
    sql = "INSERT OR REPLACE INTO overlay VALUES (?,?,?,?,?,?,?,?,?,?)"

    @property
    def weight(self) -> int:
        """Memory it takes while it is queued, in changes without ranges."""
        return 1 + len(self.overlay.ranges) // _RANGES_A_WEIGHT

    @property
    def key(self) -> tuple[str, int]:
        """What it changes."""
        return "overlay", self.overlay.fileid

    def check(self) -> None:
        """Raise InvalidArgument unless it can be written."""
        o = self.overlay
        if len(o.ranges) > RANGES_MAX:
            raise InvalidArgument(f"file {o.fileid:x}: staged in {len(o.ranges)} places")
        _require_fit(o, ids=o.fileid, plain=o.size | o.version | o.base_end | _size(o.base))

    def row(self) -> Row:
        """As in its table."""
        o = self.overlay
        packed = o.ranges.pack()
        where = _signed(o.fileid), packed, zlib.crc32(packed)
        how = o.base_end, o.is_sent, o.is_loose
        return (*where, o.size, o.version, *_content_row(o.base), *how)


@dataclass(frozen=True, slots=True)
class PutPiece:
    """These bytes are staged."""

    piece: PieceRecord
    sql = "INSERT OR REPLACE INTO pieces VALUES (?,?,?,?)"

    @property
    def weight(self) -> int:
        """Memory it takes while it is queued, in changes without bytes."""
        return 1 + len(self.piece.bytes) // _BYTES_A_WEIGHT

    @property
    def key(self) -> tuple[str, int]:
        """What it changes."""
        return "pieces", self.piece.number

    def check(self) -> None:
        """Raise InvalidArgument unless it can be written."""
        _require_fit(self.piece[:3], ids=self.piece.fileid, plain=self.piece.start)

    def row(self) -> Row:
        """As in its table."""
        number, fileid, start, data = self.piece
        return number, _signed(fileid), start, data


@dataclass(frozen=True, slots=True)
class DropPiece:
    """They are on the disk where they are staged, or do not count."""

    number: int
    sql = "DELETE FROM pieces WHERE number = ?"
    weight = 1

    @property
    def key(self) -> tuple[str, int]:
        """What it changes."""
        return "pieces", self.number

    def check(self) -> None:
        """Raise InvalidArgument unless it can be written."""

    def row(self) -> Row:
        """Of what is dropped, the key."""
        return (self.number,)


@dataclass(frozen=True, slots=True)
class PutOutbox:
    """The outbox holds this of its path."""

    entry: OutboxRecord
    sql = "INSERT OR REPLACE INTO outbox VALUES (?,?,?,?,?,?,?,?,?,?)"
    weight = 1

    @property
    def key(self) -> tuple[str, bytes]:
        """What it changes."""
        return "outbox", self.entry.path

    def check(self) -> None:
        """Raise InvalidArgument unless it can be written."""
        e = self.entry
        sizes = reduce(or_, map(_size, e.sent), _size(e.theirs))
        ids = reduce(or_, e.moved, e.fileid)
        _require_fit(e, ids=ids, plain=e.attempts | e.due_ns | sizes)

    def row(self) -> Row:
        """As in its table."""
        e = self.entry
        sent = _packed([[content.key, content.size] for content in e.sent])
        error = e.error[:_ERROR_CHARACTERS_MAX].encode("utf-8", "replace").decode()
        what = e.path, e.kind.value, _signed(e.fileid), *_content_row(e.theirs), sent
        return (*what, _packed(e.moved), e.attempts, e.due_ns, error)


@dataclass(frozen=True, slots=True)
class DropOutbox:
    """The Hub has at that path what it shall have."""

    path: bytes
    sql = "DELETE FROM outbox WHERE path = ?"
    weight = 1

    @property
    def key(self) -> tuple[str, bytes]:
        """What it changes."""
        return "outbox", self.path

    def check(self) -> None:
        """Raise InvalidArgument unless it can be written."""

    def row(self) -> Row:
        """Of what is dropped, the key."""
        return (self.path,)


@dataclass(frozen=True, slots=True)
class SetMeta:
    """This fact is now that."""

    name: MetaKey
    value: MetaValue
    sql = "INSERT OR REPLACE INTO meta VALUES (?,?)"
    weight = 1

    @property
    def key(self) -> tuple[str, str]:
        """What it changes."""
        return "meta", self.name.value

    def check(self) -> None:
        """Raise InvalidArgument unless it can be written."""
        if isinstance(self.value, int):
            _require_fit(self, plain=self.value)

    def row(self) -> Row:
        """As in its table."""
        return self.name.value, self.value


Change: TypeAlias = (
    UpsertNode
    | DropNode
    | Retire
    | Reuse
    | SetOverlay
    | DropOverlay
    | PutPiece
    | DropPiece
    | PutOutbox
    | DropOutbox
    | done.MarkDone
    | SetMeta
)
Key: TypeAlias = tuple[str, int] | tuple[str, str] | tuple[str, bytes]


def apply(connection: sqlite3.Connection, changes: Iterable[Change]) -> None:
    """Make the changes, no two of which have the same key, in the running transaction."""
    rows: dict[str, list[Row]] = {}
    for change in changes:
        rows.setdefault(change.sql, []).append(change.row())
    for sql, parameters in rows.items():
        connection.executemany(sql, parameters)


def nodes(connection: sqlite3.Connection) -> Iterator[NodeRecord]:
    """All nodes, in no order."""
    for row in connection.execute("SELECT * FROM nodes"):
        fileid, generation, parent, *plain, key, size, verifier, home, is_local = row
        ids = fileid % _U64, generation % _U64, parent % _U64
        rest = _content(key, size), verifier, home % _U64, bool(is_local)
        fields: Row = (*ids, *plain, *rest)
        yield NodeRecord(*fields)


def retired(connection: sqlite3.Connection) -> dict[int, int]:
    """The next generation of each fileid that is not in use any more."""
    rows = connection.execute("SELECT * FROM retired ORDER BY rowid")
    return {fileid % _U64: generation % _U64 for fileid, generation in rows}


def overlays(connection: sqlite3.Connection) -> Iterator[OverlayRecord]:
    """All overlays, in no order. Raises CacheUnusable for ranges that are not what was kept."""
    for row in connection.execute("SELECT * FROM overlay"):
        fileid, packed, crc, size, version, base_key, base_size, base_end, *how = row
        if zlib.crc32(packed) != crc:
            raise CacheUnusable(f"the staged ranges of file {fileid % _U64:x} have a wrong CRC")
        base = _content(base_key, base_size)
        where = fileid % _U64, Ranges.unpack(packed)
        yield OverlayRecord(*where, size, version, base, base_end, *map(bool, how))


def pieces(connection: sqlite3.Connection) -> Iterator[PieceRecord]:
    """Staged bytes that are to be put back, oldest first."""
    rows = connection.execute("SELECT * FROM pieces ORDER BY number")
    return (PieceRecord(number, fileid % _U64, *rest) for number, fileid, *rest in rows)


def outbox(connection: sqlite3.Connection) -> Iterator[OutboxRecord]:
    """What the Hub shall have otherwise, by path."""
    for row in connection.execute("SELECT * FROM outbox ORDER BY path"):
        path, kind, fileid, key, size, packed, moved, *plain = row
        sent = tuple(ContentId(str(sent_key), int(size)) for sent_key, size in json.loads(packed))
        left = tuple(map(int, json.loads(moved)))
        fields: Row = (fileid % _U64, _content(key, size), sent, left, *plain)
        yield OutboxRecord(path, OutboxKind(kind), *fields)


def meta(connection: sqlite3.Connection) -> dict[MetaKey, MetaValue]:
    """The single facts that were set."""
    return {MetaKey(key): value for key, value in connection.execute("SELECT * FROM meta")}


def _packed(many: Sequence[object]) -> str:
    """As JSON; nearly always there are none."""
    return json.dumps(many) if many else "[]"


def _signed(number: int) -> int:
    """The same 64 bits with a sign; `% _U64` undoes it."""
    return number - _U64 if number >= _I64 else number


def _content(key: str | None, size: int) -> ContentId | None:
    return None if key is None else ContentId(key, size)


def _content_row(content: ContentId | None) -> tuple[str | None, int | None]:
    return (None, None) if content is None else (content.key, content.size)


def _size(content: ContentId | None) -> int:
    return 0 if content is None else content.size


def _require_fit(what: object, *, ids: int = 0, plain: int = 0) -> None:
    """Raise InvalidArgument unless numbers fit, given all their bits: ids 64 of them, others 63.

    One that is negative makes all of it negative.
    """
    if ids >> 64 or plain >> 63:
        raise InvalidArgument(f"{what!r}: a number that SQLite cannot hold")
