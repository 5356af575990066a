"""Something to look at: a small model, a dataset and a bucket of a few MB, made on the spot."""

import json
import struct
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from hfnfs.localhub.hub import LocalHub

MODEL = "local/tiny-model"
DATASET = "local/tiny-dataset"
BUCKET = "local/tiny-bucket"

_LAYERS = 4
_WIDTH = 256
_VOCABULARY = 2048
_DTYPES = {"<f4": "F32", "<f2": "F16", "<i8": "I64"}
# Some day in 2024, so that the bucket's files have a date one recognizes.
_MTIME_NS = 1_720_000_000 * 1_000_000_000


async def fill(hub: LocalHub) -> None:
    """Put the sample there; what is there already is left as it is."""
    try:
        await hub.create_repo("model", MODEL, aliases=["tiny-model"])
    except ValueError:
        return
    await hub.commit("model", MODEL, model_files())
    await hub.tag("model", MODEL, "v1.0")
    await hub.create_repo("dataset", DATASET)
    await hub.commit("dataset", DATASET, dataset_files())
    await hub.create_bucket(BUCKET)
    await hub.put(BUCKET, bucket_files(), mtime_ns=_MTIME_NS)


def model_files() -> dict[str, bytes]:
    """A model that the safetensors package loads; its numbers were never trained."""
    rng = np.random.default_rng(1)

    def weights(*shape: int) -> npt.NDArray[np.float32]:
        return (rng.standard_normal(shape) * 0.02).astype("<f4")

    tensors: dict[str, npt.NDArray[np.float32]] = {"wte.weight": weights(_VOCABULARY, _WIDTH)}
    for number in range(_LAYERS):
        tensors[f"h.{number}.attn.weight"] = weights(_WIDTH, 3 * _WIDTH)
        tensors[f"h.{number}.mlp.weight"] = weights(_WIDTH, 4 * _WIDTH)
    config = {"model_type": "tiny", "n_layer": _LAYERS, "n_embd": _WIDTH}
    words = {f"word{number}": number for number in range(_VOCABULARY)}
    tokenizer = {"version": "1.0", "model": {"type": "WordLevel", "vocab": words}}
    return {
        "README.md": b"---\nlicense: apache-2.0\n---\n# tiny-model\n\nMade to be looked at.\n",
        "config.json": json.dumps(config, indent=2).encode(),
        "tokenizer.json": json.dumps(tokenizer).encode(),
        "model.safetensors": safetensors(tensors),
    }


def dataset_files() -> dict[str, bytes]:
    """Shards in the outline of Parquet: magic, row groups, footer, magic."""
    rng = np.random.default_rng(2)
    shards = {
        f"data/train-{number:05}-of-00003.parquet": _parquet_like(rng.bytes(700_000))
        for number in range(3)
    }
    return {"README.md": b"# tiny-dataset\n\nThree shards of noise.\n", **shards}


def bucket_files() -> dict[str, bytes]:
    """What a training run leaves behind."""
    rng = np.random.default_rng(3)
    log = "".join(f"step {step} loss {10 / (step + 1):.4f}\n" for step in range(5000))
    return {
        "logs/train.log": log.encode(),
        "checkpoints/step-1000/state.bin": rng.bytes(1_000_000),
        "checkpoints/step-2000/state.bin": rng.bytes(1_000_000),
        "notes/empty": b"",
    }


def safetensors(tensors: Mapping[str, npt.NDArray[np.float32]]) -> bytes:
    """A safetensors file: u64 length of a JSON head, the head, the tensors' bytes."""
    head: dict[str, object] = {"__metadata__": {"format": "np"}}
    parts, offset = [], 0
    for name, tensor in tensors.items():
        data = tensor.tobytes()
        head[name] = {
            "dtype": _DTYPES[tensor.dtype.str],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + len(data)],
        }
        parts.append(data)
        offset += len(data)
    raw = json.dumps(head).encode()
    raw += b" " * (-len(raw) % 8)  # tensors are aligned, as mmap wants them
    return struct.pack("<Q", len(raw)) + raw + b"".join(parts)


def _parquet_like(rows: bytes) -> bytes:
    footer = json.dumps({"row_groups": 1, "bytes": len(rows)}).encode()
    return b"PAR1" + rows + footer + struct.pack("<I", len(footer)) + b"PAR1"
