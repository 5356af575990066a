"""The program hf-mount-nfs as a user meets it."""

import asyncio
import json
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from hfnfs import errors
from hfnfs.cli.mount import app
from hfnfs.config import MountConfig
from hfnfs.host import lifetime
from hfnfs.host.lifetime import MountPlan
from hfnfs.localhub import sample
from hfnfs.localhub.background import HubThread
from hfnfs.nfs3.client import NfsClient
from tests.host.stage import MOUNTS, UNMOUNTS, Stage

ENDED = pytest.mark.logs_errors


class Served(NamedTuple):
    """What app.running gives, as far as words are made of it."""

    config: MountConfig
    port: int = 4711
    export: str = "/"
    source_label: str = "openai-community/gpt2"
    kind: str = "repo"
    revision: str = "607a30d783dfa663caf39e06633721c8d4cfcd7e"
    read_only: bool = True
    resumed: bool = False

    async def deserted(self, silence_s: float) -> bool:
        return True

    async def drained(self, enough: asyncio.Event) -> None:
        """Nothing is lacking."""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Served]:
    """What was served instead of the real thing."""
    all_served: list[Served] = []

    @asynccontextmanager
    async def running(config: MountConfig) -> AsyncIterator[Served]:
        all_served.append(Served(config, kind=config.kind or "none"))
        yield all_served[-1]

    monkeypatch.setattr("hfnfs.app.running.running", running)
    return all_served


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A machine that can mount, and on which every mount is unmounted at once."""
    stage = Stage(tmp_path)
    stage.program("mount.nfs", f"{MOUNTS}")
    stage.program("umount", UNMOUNTS)
    around = stage.plan().around
    monkeypatch.setattr(lifetime, "mount_table", lambda: stage)
    monkeypatch.setattr("hfnfs.cli.mount.MountPlan", lambda p, s: MountPlan(p, s, around))

    async def end(mounting: object, stop: object, table: object) -> None:
        stage.change("41 1", "gone")

    monkeypatch.setattr(lifetime, "until_over", end)
    return stage


class Ran(NamedTuple):
    code: int
    out: list[str]
    err: list[str]


def run(*argv: str | Path) -> Ran:
    result = CliRunner().invoke(app, [str(word) for word in argv])
    return Ran(result.exit_code, result.stdout.splitlines(), result.stderr.splitlines())


def test_one_line_says_what_is_mounted_and_how_it_ends(stage: Stage, served: list[Served]) -> None:
    ran = run("repo", "gpt2", stage.mount_point)
    said = (
        f"hf-mount-nfs: mounted repo openai-community/gpt2 on {stage.mount_point} (at 607a30d, "
        f"read-only, port 4711); to unmount: Ctrl-C or umount {stage.mount_point}"
    )
    assert ran == Ran(0, [], [said])


def test_source_kind_and_revision_are_passed_on_as_typed(
    stage: Stage, served: list[Served]
) -> None:
    run("repo", "datasets/a/b", stage.mount_point, "--revision", "refs/pr/1")
    run("bucket", "me/data/sub", stage.mount_point)
    first, second = (one.config for one in served)
    assert (first.kind, first.source, first.revision) == ("repo", "datasets/a/b", "refs/pr/1")
    assert (second.kind, second.source, second.revision) == ("bucket", "me/data/sub", None)


def test_a_directory_with_files_in_it_is_covered_with_a_warning(
    stage: Stage, served: list[Served]
) -> None:
    (stage.mount_point / "file").touch()
    ran = run("repo", "gpt2", stage.mount_point)
    assert (ran.code, len(ran.err)) == (0, 2)
    assert ran.err[0].startswith("hf-mount-nfs: warning: ")


def test_it_says_whether_one_can_write(
    stage: Stage, served: list[Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = run("bucket", "me/data", stage.mount_point, "--read-only")
    assert "(read-only, port 4711)" in ran.err[0]
    monkeypatch.setattr(Served, "read_only", False)
    ran = run("bucket", "me/data", stage.mount_point)
    assert "(read-write, port 4711)" in ran.err[0]


def test_machines_read_the_same_as_json(stage: Stage, served: list[Served]) -> None:
    ran = run("--log-format", "json", "repo", "gpt2", stage.mount_point)
    (line,) = map(json.loads, ran.err)
    assert line["event"] == "mounted"
    assert (line["port"], line["read_only"]) == (4711, True)
    assert line["mount_point"] == str(stage.mount_point)


# --------------------------------------------------------------------- failures


@ENDED
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("'x/y/z' is a bucket: hf-mount-nfs bucket x/y/z"), 2),
        (errors.PortRefused("port 2049 on 127.0.0.1 is taken"), 7),
        (errors.CacheUnusable("/c belongs to uid 7"), 8),
        (errors.ChangesUnsent("not on the Hub yet: a.txt"), 9),
        (errors.NotAuthenticated("the Hub wants a token (401)"), 10),
        (errors.Forbidden("the token does not reach that far (403)"), 10),
        (errors.GatedRepo("accept its terms first"), 10),
        (errors.SourceMissing("there is no gpt7 (404)"), 11),
        (errors.RevisionMissing("gpt2 has no v7"), 11),
        (errors.RemoteUnavailable("huggingface.co does not answer"), 12),
        (errors.RateLimited("429"), 12),
        (errors.Offline("not cached"), 12),
        (errors.RemoteCorrupt("not JSON"), 13),
        (ZeroDivisionError("a bug"), 70),
    ],
)
def test_each_failure_of_the_far_side_is_one_line_and_a_code(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    @asynccontextmanager
    async def running(config: MountConfig) -> AsyncIterator[Served]:
        raise error
        yield Served(config)

    monkeypatch.setattr("hfnfs.app.running.running", running)
    ran = run("repo", "gpt2", stage.mount_point)
    assert (ran.code, len(ran.err)) == (code, 1)
    assert str(error) in ran.err[0]
    assert ran.err[0].startswith("hf-mount-nfs: error: ")


def no_helper(stage: Stage) -> None:
    (stage.programs / "mount.nfs").unlink()


def no_kernel(stage: Stage) -> None:
    (stage.programs.parent / "proc/filesystems").write_text("ext4\n")


def no_capability(stage: Stage) -> None:
    (stage.programs.parent / "proc/self").mkdir()
    (stage.programs.parent / "proc/self/status").write_text("CapEff:\t0\n")


def busy(stage: Stage) -> None:
    with stage.table_file.open("a") as table:
        table.write(f"9 1 0:9 / {stage.mount_point} rw - tmpfs none rw\n")


def no_directory(stage: Stage) -> None:
    stage.mount_point.rmdir()
    stage.mount_point.touch()


def helper_fails(stage: Stage) -> None:
    stage.program("mount.nfs", "echo 'mount.nfs: Connection refused' >&2; exit 32")


@ENDED
@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (no_helper, 3),
        (no_kernel, 3),
        (no_capability, 3),
        (busy, 4),
        (no_directory, 4),
        (helper_fails, 5),
    ],
)
def test_each_failure_of_this_machine_is_one_line_and_a_code(
    stage: Stage, served: list[Served], spoil: object, code: int
) -> None:
    assert callable(spoil)
    spoil(stage)
    ran = run("repo", "gpt2", stage.mount_point)
    assert (ran.code, len(ran.err)) == (code, 1), ran
    assert len(served) == (code == 5), "nothing is served before the machine was looked at"


@ENDED
def test_a_mount_point_is_needed_to_mount(served: list[Served]) -> None:
    ran = run("repo", "gpt2")
    assert (ran.code, len(ran.err)) == (2, 1)
    assert "MOUNTPOINT" in ran.err[0]


@pytest.mark.parametrize(
    "argv",
    [
        ["repo"],
        ["repos", "gpt2", "/m"],
        ["repo", "gpt2", "/m", "extra"],
        ["repo", "gpt2", "/m", "--port", "70000"],
        ["repo", "gpt2", "/m", "--cache-size", "lots"],
        ["bucket", "a/b", "/m", "--revision", "main"],
        ["--what", "repo", "gpt2", "/m"],
    ],
)
def test_what_typer_does_not_understand_is_code_2(argv: list[str]) -> None:
    assert run(*argv).code == 2


@ENDED
def test_no_token_is_in_what_is_said(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def running(config: MountConfig) -> AsyncIterator[Served]:
        raise ValueError(f"a bug that shows {config}")
        yield Served(config)

    monkeypatch.setattr("hfnfs.app.running.running", running)
    ran = run("-vv", "--hf-token", "hf_secret", "repo", "gpt2", stage.mount_point)
    assert ran.code == 70
    assert "a bug that shows MountConfig" in "\n".join(ran.err)
    assert "hf_secret" not in "\n".join(ran.err)


def test_the_version_is_told() -> None:
    assert run("--version").out[0].startswith("hf-mount-nfs 0.")


def test_help_has_the_exit_codes() -> None:
    assert any(line.startswith("     10  the Hub refuses") for line in run("repo", "--help").out)


# ------------------------------------------------------------- the real program


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with HubThread(tmp_path_factory.mktemp("hub")) as thread:
        thread.do(sample.fill(thread.hub))
        yield thread.hub.endpoint


@contextmanager
def program(endpoint: str, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """hf-mount-nfs in a process of its own; killed if it is left."""
    words = [sys.executable, "-m", "hfnfs", "--hub-endpoint", endpoint, *argv]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def lines_of(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().rstrip("\n") for _ in range(count)]


async def test_serve_only_prints_a_command_and_a_url_that_lead_to_the_files(endpoint: str) -> None:
    with program(endpoint, "repo", sample.MODEL, "--serve-only") as process:
        command, url = lines_of(process, 2)
        words = shlex.split(command)
        assert words[:4] == ["sudo", "mount.nfs", "127.0.0.1:/", "/mnt"]
        found = re.fullmatch(r"nfs://127\.0\.0\.1//\?nfsport=(\d+)&mountport=\1", url)
        assert found is not None
        assert f"port={found[1]}" in words[-1].split(",")
        client = await NfsClient.connect("127.0.0.1", int(found[1]))
        root = await client.mount(b"/")
        paths = {entry.path.decode() async for entry in client.walk(root)}
        await client.close()
        assert paths == set(sample.model_files())
        process.send_signal(signal.SIGTERM)
        assert process.wait(100) == 0
        assert process.stderr is not None
        (said,) = process.stderr.read().splitlines()
        assert f"serving repo {sample.MODEL} (at " in said


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (["repo", "local/no-such-model"], 11, "local/no-such-model"),
        (["repo", sample.BUCKET], 11, f"hf-mount-nfs bucket {sample.BUCKET}"),
        (["repo", sample.MODEL, "--revision", "v9"], 11, "v9"),
        (["repo", f"{sample.MODEL}/no/such/folder"], 11, "no/such/folder"),
        (["repo", "a/../b"], 2, "'..'"),
        (["repo", sample.MODEL, "--hf-token", "hf_wrong"], 10, "token"),
        (["repo", sample.MODEL, "--token-file", "/nowhere/token"], 2, "/nowhere/token"),
        (["repo", sample.MODEL, "--cache-dir", "/dev/null"], 8, "/dev/null"),
        (["repo", sample.MODEL, "--hub-endpoint", "http://127.0.0.1:9"], 12, "127.0.0.1"),
        (["repo", sample.MODEL, "--offline"], 12, "offline"),
    ],
)
def test_what_goes_wrong_on_the_way_is_one_line(
    endpoint: str, argv: list[str], code: int, said: str
) -> None:
    with program(endpoint, *argv, "--serve-only") as process:
        out, err = process.communicate(timeout=100)
    assert (process.returncode, out, len(err.splitlines())) == (code, "", 1), err
    assert said in err


def test_a_taken_port_is_one_line(endpoint: str) -> None:
    port = endpoint.rpartition(":")[2]
    with program(endpoint, "repo", sample.MODEL, "--serve-only", "--port", port) as process:
        out, err = process.communicate(timeout=100)
    assert (process.returncode, out, len(err.splitlines())) == (7, "", 1), err
    assert port in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_the_hub_is_silent_ends_it_at_once(number: int, code: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with program(address, "repo", sample.MODEL, "--serve-only") as process:
            connection, _ = silent.accept()
            process.send_signal(number)
            _, err = process.communicate(timeout=100)
            connection.close()
    assert (process.returncode, err) == (code, "hf-mount-nfs: error: interrupted\n")
