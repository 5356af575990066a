"""What the allocator keeps."""

import ctypes
import subprocess
import sys

import pytest

FAULTS = """
import resource
from hfnfs.host.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(100):
        buffers = [bytearray(1024 * 1024) for _ in range(3)]
        del buffers
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

is_kept = keep_freed_memory()
faults()
print(is_kept, faults())
"""


def has_glibc() -> bool:
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")


@pytest.mark.skipif(not has_glibc(), reason="other C libraries are not told")
def test_buffers_that_come_and_go_cost_no_new_pages() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True
    )
    is_kept, faults = done.stdout.split()
    assert is_kept == "True"
    assert int(faults) < 1000, "of the 76,800 pages that were written"
