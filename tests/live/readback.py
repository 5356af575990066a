"""What a bucket holds, as the unmodified huggingface_hub reads it back."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from hfnfs.config import MIB
from hfnfs.localhub.hub import LocalHub
from hfnfs.xet.whole import whole_hash
from tests.live.inside.manifest import Manifest
from tests.localhub.clients import run

_SCRIPT = """
from calendar import timegm
files = list(api.list_bucket_tree(given["bucket"], recursive=True))
pairs = [(file.path, os.path.join(given["to"], str(n))) for n, file in enumerate(files)]
api.download_bucket_files(given["bucket"], pairs)
def ms(time):
    return timegm(time.utctimetuple()) * 1000 + time.microsecond // 1000
tell([[file.path, file.size, file.xet_hash, ms(file.mtime)] for file in files])
"""


class Kept(NamedTuple):
    """One file of a bucket."""

    size: int  # bytes
    sha256: str
    mtime_ms: int


def read_back(hub: LocalHub, bucket: str, folder: Path) -> dict[str, Kept]:
    """List and download a whole bucket into `folder`, in a process that never saw it before.

    Fails if what is downloaded has another size or Xet hash than was listed.
    """
    to = folder / "downloaded"
    to.mkdir(parents=True)
    listed = run(hub, folder / "home", _SCRIPT, bucket=bucket, to=str(to))
    return {path: _checked(to / str(n), path, *told) for n, (path, *told) in enumerate(listed)}


def _checked(file: Path, path: str, size: int, xet_hash: str, mtime_ms: int) -> Kept:
    assert file.stat().st_size == size, path
    with file.open("rb") as data:
        digest = hashlib.file_digest(data, "sha256").hexdigest()
        data.seek(0)
        assert whole_hash(iter(lambda: data.read(8 * MIB), b""), size) == xet_hash, path
    return Kept(size, digest, mtime_ms)


def files_of(manifest: Manifest) -> dict[str, Kept]:
    """The files of what inside/manifest.py told, as the Hub must have them."""
    return {
        path: Kept(told["size"], told["sha256"], told["mtime_ns"] // 1_000_000)
        for path, told in manifest.items()
        if told["kind"] == "file"
    }
