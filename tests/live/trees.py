"""Trees of files that the real clients read; the same bytes in every run."""

import random

import numpy as np
from safetensors.numpy import save

KIB, MIB = 1024, 1024 * 1024
BIG, TENSORS = "big.bin", "model.safetensors"
# Written like this by the Hub's own git: everything else there is Xet-backed.
PLAIN = {"README.md", "config.json", "a folder/with spaces & ünïcödé/文.txt", "one-byte"}


def noise(size: int, seed: int) -> bytes:
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(size)


def tensors() -> dict[str, np.ndarray]:
    """What TENSORS holds."""
    dice = np.random.default_rng(3)
    return {
        "wte.weight": dice.standard_normal((2000, 256)).astype(np.float32),
        "ln.bias": np.arange(256, dtype=np.float16),
        "empty": np.zeros((0, 4), dtype=np.float32),
    }


def sample() -> dict[str, bytes]:
    """A repo with what is awkward about names and sizes."""
    tree = {
        "README.md": b"# A sample\n",
        "config.json": b'{"model_type": "sample"}\n',
        "a folder/with spaces & \u00fcn\u00efc\u00f6d\u00e9/\u6587.txt": "wörter\n".encode(),
        "one-byte": b"1",
        "empty": b"",
        BIG: noise(20 * MIB + 12_345, seed=1),
        TENSORS: save(tensors()),
        "deep/er/and/deep/er/blocks.bin": noise(128 * KIB, seed=2) + bytes(400 * KIB),
        "text.csv": b"".join(b"%d,%d\n" % (n, n * n) for n in range(60_000)),
    }
    return tree | {f"many/{n:04}.txt": b"%d\n" % n for n in range(1200)}


def wide(directories: int, files: int) -> dict[str, bytes]:
    """Small files in many directories."""
    return {
        f"d{d:03}/f{f:03}.txt": b"%d/%d\n" % (d, f)
        for d in range(directories)
        for f in range(files)
    }
