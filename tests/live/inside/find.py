"""Count what find(1) finds, twice: with an empty cache, and with what the first left behind."""

import json
import subprocess
from pathlib import Path


def found() -> int:
    argv = ["find", ".", "-type", "f", "-size", "+0"]
    return len(subprocess.run(argv, stdout=subprocess.PIPE, check=True).stdout.splitlines())


first = found()
Path("/proc/sys/vm/drop_caches").write_text("3\n")
print(json.dumps({"first": first, "again": found()}))
