"""The sample is what its names promise."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load

from hfnfs.localhub import sample
from hfnfs.localhub.background import HubThread
from tests.localhub.clients import run


def test_the_model_is_loaded_by_safetensors() -> None:
    files = sample.model_files()
    tensors = load(files["model.safetensors"])
    assert len(tensors) == 9
    assert tensors["wte.weight"].shape == (2048, 256)
    assert float(np.abs(tensors["h.3.mlp.weight"]).max()) < 1


def test_shards_begin_and_end_as_parquet_does() -> None:
    shards = [data for path, data in sample.dataset_files().items() if path.endswith(".parquet")]
    for data in shards:
        assert data[:4] == data[-4:] == b"PAR1"
        length = int.from_bytes(data[-8:-4], "little")
        assert data[-8 - length : -8].startswith(b"{")


def test_it_is_a_few_megabytes_and_the_same_every_time() -> None:
    for make in (sample.model_files, sample.dataset_files, sample.bucket_files):
        first = make()
        assert first == make()
        assert 1_000_000 < sum(map(len, first.values())) < 12_000_000


def test_it_is_there_once_and_can_be_downloaded(tmp_path: Path) -> None:
    for _ in range(2):
        with HubThread(tmp_path / "hub") as thread:
            thread.do(sample.fill(thread.hub))
            assert thread.do(thread.hub.files(sample.BUCKET)) == sample.bucket_files()
            script = """
names = [entry.path for entry in api.list_bucket_tree("local/tiny-bucket", recursive=True)]
tell([open(hf_hub_download("tiny-model", "model.safetensors", revision="v1.0"), "rb").read().hex(),
      len(names)])
"""
            told = run(thread.hub, tmp_path / "home", script)
            assert bytes.fromhex(told[0]) == sample.model_files()["model.safetensors"]
            assert told[1] == 4
