"""The files that both sides serve; the same names and sizes in every run."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

MIB = 1024 * 1024
BIG, MANY, MODEL = "big.bin", "many", "model"
SHARDS = 3
TENSOR_SHAPE, TENSOR_MIB = (1024, 1024), 4  # of float32


def make_big(folder: Path, mib: int) -> None:
    """One file of bytes that do not compress."""
    with (folder / BIG).open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))
        os.fsync(file.fileno())  # so that its pages can be dropped


def make_many(folder: Path, entries: int) -> None:
    """One directory of small files."""
    (folder / MANY).mkdir()
    for number in range(entries):
        (folder / MANY / f"sample-{number:06}.json").write_bytes(b"%d\n" % number)


def make_model(folder: Path, mib: int) -> str:
    """A model in shards, with the index that transformers writes beside them.

    Returns the digest of its tensors, in the order of their names.
    """
    (folder / MODEL).mkdir()
    dice, where, digest = np.random.default_rng(5), dict[str, str](), hashlib.sha256()
    for shard in range(1, SHARDS + 1):
        name = f"model-{shard:05}-of-{SHARDS:05}.safetensors"
        tensors = {
            f"layers.{shard}.{number:03}.weight": dice.standard_normal(TENSOR_SHAPE, np.float32)
            for number in range(max(1, mib // TENSOR_MIB // SHARDS))
        }
        save_file(tensors, folder / MODEL / name)
        with (folder / MODEL / name).open("rb") as file:
            os.fsync(file.fileno())
        where |= dict.fromkeys(tensors, name)
        for tensor in tensors.values():
            digest.update(tensor.data)
    index = {"metadata": {}, "weight_map": where}
    (folder / MODEL / "model.safetensors.index.json").write_text(json.dumps(index))
    return digest.hexdigest()


def forget(folder: Path) -> None:
    """Drop the files' pages from this machine's memory: the next read comes from the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
