"""hf-mount localhub, as a user starts and ends it."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_RUN = "import typer; from hfnfs.cli.localhub import localhub; typer.run(localhub)"


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The command, and what it says to export."""
    command = [sys.executable, "-c", _RUN, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            exports: dict[str, str] = {}
            while "NO_PROXY" not in exports:
                line = process.stdout.readline()
                assert line, "it ended too early"
                if line.startswith("export "):
                    name, _, value = line.removeprefix("export ").strip().partition("=")
                    exports[name] = value
            yield process, exports
        finally:
            process.kill()


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_the_sample_until_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    with running(str(tmp_path / "a b"), "--sample") as (process, exports):
        url = f"{exports['HF_ENDPOINT']}/api/models/local/tiny-model"
        with urllib.request.urlopen(url) as response:
            assert json.load(response)["id"] == "local/tiny-model"
        assert exports["HF_TOKEN"].startswith("hf_")
        process.send_signal(number)
        assert process.wait() == 0


def test_faults_are_there_from_the_start(tmp_path: Path) -> None:
    faults = ["--fault", "GET /api/ status=503 count=1", "--fault", "/api/ status=504"]
    with running(str(tmp_path), "--sample", *faults) as (_, exports):
        url = f"{exports['HF_ENDPOINT']}/api/models/local/tiny-model"
        assert [status_of(url) for _ in range(3)] == [503, 504, 200]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [(["--fault", "/x y=1"], 2, "y is none of"), (["--port", "70000"], 7, "70000")],
)
def test_what_cannot_be_is_one_line_and_a_code(
    tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    command = [sys.executable, "-c", _RUN, str(tmp_path), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_directory_in_use_is_told(tmp_path: Path) -> None:
    with running(str(tmp_path)):
        command = [sys.executable, "-c", _RUN, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 8
    assert "another local Hub" in done.stderr
