"""After a crash: what is staged no more, and what the state holds of it to be put back."""

from collections.abc import Collection, Iterable
from itertools import groupby
from operator import attrgetter

from hfnfs.disk.ranges import Ranges
from hfnfs.disk.schema import OverlayRecord, PieceRecord
from hfnfs.disk.staging import Staging


def lost(
    overlays: Iterable[OverlayRecord], pieces: Iterable[PieceRecord], missing: Collection[int]
) -> list[OverlayRecord]:
    """Which overlays count bytes that are neither staged nor held; `missing`: staged not at all."""
    held: dict[int, Ranges] = {}
    for _, fileid, start, data in pieces:
        held.setdefault(fileid, Ranges()).add(start, start + len(data))
    return [
        overlay
        for overlay in overlays
        if overlay.fileid in missing and not _covers(held.get(overlay.fileid), overlay.ranges)
    ]


def never_made(overlays: Iterable[OverlayRecord], missing: Collection[int]) -> list[OverlayRecord]:
    """What to take, empty, for overlays of copies whose names the power took.

    Nobody was told that there is one (LINK), and the bytes are where they were copied from.
    """
    return [
        OverlayRecord(overlay.fileid, Ranges(), 0, overlay.version)
        for overlay in overlays
        if overlay.is_loose and overlay.fileid in missing
    ]


def put_back(staging: Staging, pieces: Iterable[PieceRecord], known: Collection[int]) -> None:
    """Stage them and sync that; those of files that are not `known` count no more.

    Raises NoSpace, CacheUnusable.
    """
    wanted = frozenset(known)
    by_file = sorted(pieces, key=attrgetter("fileid", "number"))
    for fileid, held in groupby(by_file, attrgetter("fileid")):
        if fileid in wanted:
            staging.put_back(fileid, held)


def _covers(held: Ranges | None, counted: Ranges) -> bool:
    return all(held is not None and held.covers(start, end) for start, end in counted)
