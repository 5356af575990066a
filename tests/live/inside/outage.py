"""Read everything while the Hub is bad at its work, and one file while it is down and after.

outage.py CONTROL FLAKY DOWN FILE      CONTROL: URL of the Hub's faults, for POST and DELETE
                                       FLAKY, DOWN: faults, as JSON; FILE is read last
"""

import hashlib
import json
import os
import sys
import time
import urllib.request
from pathlib import Path


def control(url: str, method: str, body: str = "") -> None:
    request = urllib.request.Request(url, body.encode(), method=method)
    with urllib.request.urlopen(request, timeout=30):
        pass


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def all_files(but: str) -> dict[str, str]:
    paths = (str(Path(folder, name)) for folder, _, names in os.walk(".") for name in names)
    return {path: sha256(path) for path in paths if path != but}


def main() -> None:
    url, flaky, down, last = sys.argv[1:]
    seen: dict[str, object] = {}
    control(url, "POST", flaky)
    seen["flaky"] = all_files(but=last)
    control(url, "DELETE")
    control(url, "POST", down)
    began = time.monotonic()
    try:
        seen["down"] = sha256(last)
    except OSError as error:
        seen["down"] = error.errno
    seen["down_s"] = time.monotonic() - began
    control(url, "DELETE")
    seen["after"] = sha256(last)
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
