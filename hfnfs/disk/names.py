"""What a repo or bucket was last seen to hold: listings of directories, and single entries.

`revision` is the commit of what never changes, "" of what may (a bucket). Paths are of the whole
repo or bucket, so a mount of one folder and one of all share what they know.
"""

from typing import Any, NamedTuple

from hfnfs.disk.records import Record, Records
from hfnfs.remote import ContentId, Kind, Listing, RemoteEntry, Revision

_LISTING = "listing"
_ENTRY = "entry"
_DIRECTORY = "d"


class KeptListing(NamedTuple):
    """A listing, and when it was last what the far side said."""

    listing: Listing
    seen_ns: int  # since 1970


class KeptEntry(NamedTuple):
    """What a path was last found to be; None: nothing."""

    entry: RemoteEntry | None
    seen_ns: int  # since 1970


class KeptNames:
    """Names of one repo or bucket. Reads and writes files: in a thread."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def has_listing(self, revision: str, directory: str) -> bool:
        """Whether that directory was listed, unless the record turns out to be damaged."""
        return self._records.has(_LISTING, revision, directory)

    def listing(self, revision: str, directory: str) -> KeptListing | None:
        """The directory's entries in the far side's order; None if they are not known."""
        record = self._records.get(_LISTING, revision, directory)
        if record is None:
            return None
        listing_revision, *columns = record.value
        prefix = f"{directory}/" if directory else ""
        entries = {
            row[0]: _entry(row, prefix + row[0], revision) for row in zip(*columns, strict=True)
        }
        return KeptListing(Listing(listing_revision, entries), record.seen_ns)

    def keep_listing(self, revision: str, directory: str, listing: Listing, seen_ns: int) -> None:
        """Keep what the far side said just now. Raises NoSpace, CacheUnusable."""
        rows = [_row(entry) for entry in listing.entries.values()]
        columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
        key = _LISTING, revision, directory
        self._records.put(key, [listing.revision, *columns], seen_ns)

    def entry(self, revision: str, path: str) -> KeptEntry | None:
        """What one path was found to be; None if it is not known."""
        record = self._records.get(_ENTRY, revision, path)
        if record is None:
            return None
        row = record.value[0]
        return KeptEntry(row and _entry(row, path, revision), record.seen_ns)

    def keep_entry(self, revision: str, path: str, entry: RemoteEntry | None, seen_ns: int) -> None:
        """Keep what the far side said of one path. Raises NoSpace, CacheUnusable."""
        key = _ENTRY, revision, path
        self._records.put(key, [entry and _row(entry)], seen_ns)


class KnownSource(NamedTuple):
    """What a source was last seen to be."""

    id: str  # canonical
    revision: Revision


class KnownSources:
    """What the names that users type were found to mean. Reads and writes files: in a thread."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def get(self, *source: str) -> KnownSource | None:
        """What that source was last seen to be; None if it never was."""
        record: Record | None = self._records.get(*source)
        if record is None:
            return None
        id_, token, modified_ns, total_bytes, total_files = record.value
        return KnownSource(id_, Revision(token, modified_ns, total_bytes, total_files))

    def keep(self, source: tuple[str, ...], known: KnownSource, seen_ns: int) -> None:
        """Keep what the far side said just now. Raises NoSpace, CacheUnusable."""
        at = known.revision
        value = [known.id, at.token, at.modified_ns, at.total_bytes, at.total_files]
        self._records.put(source, value, seen_ns)


def _row(entry: RemoteEntry) -> list[Any]:
    """An entry as four values; the content's key says which kind of file it is."""
    key = _DIRECTORY if entry.content is None else entry.content.key
    return [entry.name, key, entry.size, entry.mtime_ns]


def _entry(row: "tuple[Any, ...] | list[Any]", path: str, revision: str) -> RemoteEntry:
    name, key, size, mtime_ns = row
    if key == _DIRECTORY:
        return RemoteEntry(name, Kind.DIRECTORY, None, mtime_ns)
    content = ContentId(key, size)
    if content.xet_hash is None:  # plain bytes are fetched by path
        content = ContentId(key, size, path, revision)
    return RemoteEntry(name, Kind.FILE, content, mtime_ns)
