"""What the state holds of written bytes is put back where they are staged."""

from pathlib import Path

from hfnfs.disk.pieces import lost, never_made, put_back
from hfnfs.disk.ranges import Ranges
from hfnfs.disk.schema import OverlayRecord, PieceRecord
from hfnfs.disk.staging import Staging


def test_later_pieces_are_put_over_earlier_ones_and_over_what_is_staged(tmp_path: Path) -> None:
    staging = Staging(tmp_path, 1)  # whatever its bound
    staging.open(())
    staging.write(7, 0, b"staged")
    pieces = [PieceRecord(1, 7, 1, b"one"), PieceRecord(2, 8, 0, b"8"), PieceRecord(3, 7, 2, b"3")]
    put_back(staging, pieces, {7, 8})
    assert staging.read(7, 0, 6) == b"so3eed"
    assert staging.read(8, 0, 1) == b"8"
    assert staging.unsynced() == []
    staging.close()


def test_pieces_of_files_that_are_not_known_are_left_out(tmp_path: Path) -> None:
    staging = Staging(tmp_path, None)
    staging.open(())
    put_back(staging, [PieceRecord(1, 7, 0, b"gone")], ())
    assert staging.usage().files == 0
    staging.close()


def test_a_missing_file_is_lost_unless_all_that_counts_of_it_is_held() -> None:
    def overlay(fileid: int, *ranges: tuple[int, int]) -> OverlayRecord:
        return OverlayRecord(fileid, Ranges(ranges), 99, 1)

    there, empty, held = overlay(1, (0, 9)), overlay(2), overlay(3, (0, 4), (6, 8))
    half, none = overlay(4, (0, 4)), overlay(5, (0, 1))
    pieces = [
        PieceRecord(1, 3, 0, b"ab"),
        PieceRecord(2, 3, 2, b"cdefgh"),
        PieceRecord(3, 4, 0, b"abc"),
    ]
    assert lost([there, empty, held, half, none], pieces, {2, 3, 4, 5}) == [half, none]


def test_a_copy_whose_name_the_power_took_was_never_made() -> None:
    loose = OverlayRecord(1, Ranges([(0, 9)]), 9, 4, is_loose=True)
    there, missing = loose._replace(fileid=2), loose._replace(fileid=3, is_loose=False)
    assert never_made([loose, there, missing], {1, 3}) == [OverlayRecord(1, Ranges(), 0, 4)]
