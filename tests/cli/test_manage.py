"""The program hf-mount."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hfnfs.cli.manage import app
from hfnfs.demo.story import CHAPTERS

RUN = "from hfnfs.cli.manage import main; main()"
HOSTILE = {
    "HF_ENDPOINT": "http://127.0.0.1:9",
    "HF_TOKEN": "hf_of_somebody",
    "HF_HUB_OFFLINE": "1",
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "no_proxy": "",
    "NO_PROXY": "",
}


def test_the_demo_runs_whatever_the_user_has_set_up(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN, "demo"],
        env={**os.environ, **HOSTILE, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("read to its end, equal") == len(CHAPTERS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("argv", [["demo", "a", "b"], ["start"], ["localhub"], ["--nothing"]])
def test_what_makes_no_sense_is_code_2(argv: list[str]) -> None:
    assert CliRunner().invoke(app, argv).exit_code == 2


@pytest.mark.logs_errors
def test_a_localhub_that_cannot_be_is_one_line_and_a_code() -> None:
    result = CliRunner().invoke(app, ["localhub", "/dev/null/hub"])
    assert result.exit_code == 8
    assert result.stderr.startswith("hf-mount: error: /dev/null")
    assert len(result.stderr.splitlines()) == 1


def test_help_names_both_commands() -> None:
    out = CliRunner().invoke(app, ["--help"]).stdout
    assert "  demo " in out
    assert "  localhub " in out


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout.startswith("hf-mount 0.")
