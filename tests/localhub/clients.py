"""The real clients, unmodified, each in a process of its own that never saw another Hub."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hfnfs.localhub.accounts import DEFAULT_TOKEN
from hfnfs.localhub.hub import LocalHub

_TIMEOUT_S = 100

_BEFORE = """
import json, os, sys
from huggingface_hub import HfApi, HfFileSystem, hf_hub_download, snapshot_download
api = HfApi()
given = json.loads(sys.argv[1])
def tell(value):
    print(json.dumps(value))
"""


def environment(hub: LocalHub, home: Path, token: str = DEFAULT_TOKEN) -> dict[str, str]:
    """What a client reads when it is imported. A fresh home knows no other Hub's xorbs."""
    return {
        **os.environ,
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(home),
        "HF_XET_CACHE": str(home / "xet"),
        "HF_TOKEN": token,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_XET_CLIENT_RETRY_BASE_DELAY": "10ms",
        "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "2",
        "HF_XET_LOG_DEST": f"{home}/",
        "NO_PROXY": "127.0.0.1,localhost",
    }


def run(hub: LocalHub, home: Path, script: str, token: str = DEFAULT_TOKEN, **given: Any) -> Any:
    """What `script` tells: it finds `api` and `given`, and calls tell(value) at most once."""
    home.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", _BEFORE + script, json.dumps(given)],
        env=environment(hub, home, token),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else None
