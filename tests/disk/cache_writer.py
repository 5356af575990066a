"""A process that fills a cache and tells what it has added, until it is killed.

argv: the cache's directory, its budget in bytes, a seed.
"""

import random
import sys
from pathlib import Path

from hfnfs.config import BLOCK_BYTES
from hfnfs.disk.extents import DiskExtents
from tests.disk.contents import block, numbered

CONTENTS = [numbered(number, 40 * BLOCK_BYTES + number) for number in range(6)]


def main() -> None:
    directory, bytes_max, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)
    extents = DiskExtents(directory, bytes_max)
    while True:
        which = rng.randrange(len(CONTENTS))
        number = rng.randrange(41)
        extents.add(CONTENTS[which], number * BLOCK_BYTES, block(CONTENTS[which], number))
        print(which, number, flush=True)


if __name__ == "__main__":
    main()
