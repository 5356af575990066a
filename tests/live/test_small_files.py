"""Many small files go to the Hub together."""

from pathlib import Path

from tests.live.small_files import requests_of

FILES = 1000
REQUESTS_OF_100_FILES_MAX = 10


def test_a_thousand_small_files_cost_ten_requests_a_hundred(tmp_path: Path) -> None:
    counted = requests_of(FILES, tmp_path)
    assert counted.total() * 100 <= REQUESTS_OF_100_FILES_MAX * FILES, counted
