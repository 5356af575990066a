"""What it costs in requests that small files are made and flushed: counted by the local Hub.

    PYTHONPATH=. .venv/bin/python scripts/bench/flushing.py [FILES]

Prints Markdown: requests by kind, and of all kinds for 100 files.
"""

import sys
import tempfile
from pathlib import Path

from tests.live.small_files import requests_of


def main() -> None:
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory(prefix="hfnfs-requests-") as folder:
        counted = requests_of(files, Path(folder))
    print("| requests | number |\n|---|---|")
    for kind, number in sorted(counted.items()):
        print(f"| {kind} | {number} |")
    print(f"| all, of 100 files | {counted.total() * 100 / files:.1f} |")


if __name__ == "__main__":
    main()
