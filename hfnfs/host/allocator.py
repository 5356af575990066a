"""The C library's allocator, told not to give memory back that is wanted again at once.

Bytes pass through buffers of 64 KiB to some MiB that live for milliseconds. glibc returns such
ones to the kernel when they are freed, which then fills new pages with zeros for the next: a
quarter of what fetching costs.
"""

import ctypes
import sys
from typing import Final

# Parameters of mallopt(3).
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
# Larger than all buffers that come and go; what is larger is rare and goes back to the kernel.
_KEPT_BLOCK_BYTES: Final = 4 * 1024 * 1024
# Each thread's arena keeps at most this.
_KEPT_BYTES: Final = 32 * 1024 * 1024


def keep_freed_memory() -> bool:
    """Have glibc keep freed buffers for the next ones; False where there is no glibc."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return bool(
        mallopt(_MMAP_THRESHOLD, _KEPT_BLOCK_BYTES) and mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    )
