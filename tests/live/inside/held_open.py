"""Hold files open while somebody else replaces and removes them.

held_open.py SIZE OTHERS      of the files "replaced" and "removed", SIZE bytes each; OTHERS is what
                              "replaced" becomes once the file "opened" was made

What was open is read on from its middle, and from the start past what this client keeps of it.
"""

import hashlib
import json
import os
import sys
import time
from pathlib import Path

PATIENCE_S = 120.0


def wait_until(text: str) -> None:
    """Until "replaced" is `text` for who opens it, and "removed" is no name any more."""
    end = time.monotonic() + PATIENCE_S
    while Path("replaced").read_text(errors="replace") != text or Path("removed").exists():
        if time.monotonic() > end:
            raise TimeoutError("what others changed is not to be seen")
        time.sleep(0.2)


def rest_and_start(fd: int, size: int) -> str:
    """The hash of a file, its second half read first, nothing of it out of this memory."""
    second = os.pread(fd, size - size // 2, size // 2)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    first = os.pread(fd, size // 2, 0)
    return hashlib.sha256(first + second).hexdigest()


def main() -> None:
    size, others = int(sys.argv[1]), sys.argv[2]
    replaced, removed = (os.open(name, os.O_RDWR) for name in ("replaced", "removed"))
    for fd in (replaced, removed):
        os.pread(fd, 4096, 0)
    Path("opened").touch()
    wait_until(others)
    seen: dict[str, object] = {
        "replaced": rest_and_start(replaced, size),
        "removed": rest_and_start(removed, size),
        "sizes": [os.fstat(fd).st_size for fd in (replaced, removed)],
        "names": sorted(os.listdir()),
    }
    for fd in (replaced, removed):
        os.pwrite(fd, b"ours", size)
        os.fsync(fd)
    seen["beside"] = sorted(set(os.listdir()) - {"opened", "replaced"})
    seen["theirs"] = Path("replaced").read_text()
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
