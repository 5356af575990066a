"""hf-mount status and hf-mount flush, asked of a bucket that is served by this very process."""

import asyncio
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

from hfnfs.app.running import running
from hfnfs.cli.manage import app
from hfnfs.config import MountConfig
from hfnfs.host import control
from hfnfs.localhub.accounts import DEFAULT_TOKEN
from hfnfs.localhub.background import HubThread
from tests.app.test_ending import write

BUCKET = "local/data"
ENDED = pytest.mark.logs_errors


@pytest.fixture(autouse=True)
def place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No mount of anyone else's is seen."""
    path = tmp_path_factory.mktemp("c") / "hfnfs"
    monkeypatch.setattr(control, "places", lambda: [path])


@pytest.fixture
def thread(tmp_path: Path) -> Iterator[HubThread]:
    with HubThread(tmp_path / "hub") as thread:
        thread.do(thread.hub.create_bucket(BUCKET))
        yield thread


@pytest.fixture
def config(thread: HubThread, tmp_path: Path) -> MountConfig:
    return MountConfig(
        source=BUCKET,
        kind="bucket",
        cache_dir=tmp_path / "cache",
        mount_point=tmp_path / "m",
        endpoint=thread.hub.endpoint,
        token=DEFAULT_TOKEN,
        flush_debounce_s=3600.0,
        flush_window_s=3600.0,
        uid=os.getuid(),
        gid=os.getgid(),
    )


class Ran(NamedTuple):
    code: int
    out: str
    err: str


async def run(*argv: str | Path) -> Ran:
    """In a thread, while the loop serves."""
    words = [str(word) for word in argv]
    result = await asyncio.to_thread(CliRunner().invoke, app, words)
    return Ran(result.exit_code, result.stdout, result.stderr)


async def status(config: MountConfig) -> dict[str, Any]:
    ran = await run("status", "--json", "--cache-dir", config.cache_dir)
    assert ran.code == 0, ran.err
    told: dict[str, Any] = json.loads(ran.out)
    return told


async def test_nothing_is_said_to_be_nothing(tmp_path: Path) -> None:
    ran = await run("status", "--cache-dir", tmp_path)
    assert ran == Ran(0, "nothing is mounted, and nothing is left to send\n", "")


async def test_a_mount_says_where_it_is_and_what_the_hub_lacks(config: MountConfig) -> None:
    async with running(config) as served:
        await write(served, "a.txt", b"ours")
        (told,) = (await status(config))["mounts"]
        assert (told["source"], told["kind"], told["read_only"]) == (BUCKET, "bucket", False)
        assert (told["port"], told["pid"]) == (served.port, os.getpid())
        assert told["mount_point"] == str(config.mount_point)
        assert (told["pending_count"], told["unsent_bytes"], told["outage"]) == (1, 4, "")
        assert told["staged_bytes"] > 0
        (pending,) = told["pending"]
        assert (pending["path"], pending["change"], pending["attempts"]) == ("a.txt", "put", 0)
        assert pending["due_in_s"] > 0
        lines = (await run("status")).out.splitlines()
    where = f"on {config.mount_point} (read-write, port {served.port}, pid {os.getpid()})"
    assert lines[0] == f"bucket {BUCKET} {where}"
    assert lines[1].startswith("  1 change to send, 0.0 MiB; ")
    assert lines[2].startswith("    put a.txt, due in ")


@ENDED
async def test_what_fails_is_shown_with_why_and_when_it_is_tried_again(
    config: MountConfig, thread: HubThread
) -> None:
    thread.hub.faults.add("/batch", status=403, count=None)
    async with running(config) as served:
        await write(served, "a.txt", b"ours")
        assert (await run("flush", "--timeout", "0")).code == 9

        async def failed() -> dict[str, Any]:
            while True:
                (told,) = (await status(config))["mounts"]
                if told["pending"][0]["attempts"]:
                    return dict(told["pending"][0])

        pending = await failed()
        assert pending["error"]
        assert pending["due_in_s"] > 0
        assert "failed " in (await run("status")).out


async def test_a_conflict_is_shown_with_both_names(config: MountConfig, thread: HubThread) -> None:
    async with running(config) as served:
        await write(served, "a.txt", b"ours")
        await asyncio.to_thread(lambda: thread.do(thread.hub.put(BUCKET, {"a.txt": b"theirs"})))
        assert (await run("flush", "--timeout", "100")).code == 0
        (told,) = (await status(config))["mounts"]
        (conflict,) = told["conflicts"]
        assert conflict["path"] == "a.txt"
        assert conflict["ours"].startswith("a.txt.conflict-")
        assert f"a.txt is theirs, ours is {conflict['ours']}" in (await run("status")).out
    files = await asyncio.to_thread(lambda: thread.do(thread.hub.files(BUCKET)))
    assert files == {"a.txt": b"theirs", conflict["ours"]: b"ours"}


@pytest.mark.parametrize("which", ["", BUCKET, f"buckets/{BUCKET}", f"hf://buckets/{BUCKET}", "m"])
async def test_flush_returns_when_the_hub_has_all(
    config: MountConfig, thread: HubThread, tmp_path: Path, which: str
) -> None:
    async with running(config) as served:
        await write(served, "a.txt", b"ours")
        words = [str(tmp_path / "m") if which == "m" else which] if which else []
        ran = await run("flush", *words)
        assert (ran.code, ran.err) == (0, "")
        files = await asyncio.to_thread(lambda: thread.do(thread.hub.files(BUCKET)))
        assert files == {"a.txt": b"ours"}
        assert "the Hub has everything" in (await run("status")).out


@ENDED
async def test_flush_that_is_out_of_time_says_what_is_left(
    config: MountConfig, thread: HubThread
) -> None:
    thread.hub.faults.add("/batch", status=403, count=None)
    async with running(config) as served:
        await write(served, "a.txt", b"ours")
        ran = await run("flush", BUCKET, "--timeout", "0")
    assert ran.code == 9
    assert f"error: {BUCKET}: 1 change to send" in ran.err


@ENDED
async def test_flush_of_what_is_not_mounted_is_an_error(config: MountConfig) -> None:
    async with running(config):
        ran = await run("flush", "local/other")
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)


async def test_what_a_mount_has_left_is_shown_when_it_is_over(config: MountConfig) -> None:
    async with running(config) as served:
        await write(served, "a.txt", b"ours")
    told = await status(config)
    assert told["mounts"] == []
    (left,) = told["not_mounted"]
    assert (left["source"], left["kind"], left["pending_count"]) == (BUCKET, "bucket", 1)
    assert left["pending"][0]["path"] == "a.txt"
    out = (await run("status", "--cache-dir", config.cache_dir)).out
    assert f"bucket {BUCKET} is not mounted, and has changes to send:\n    put a.txt\n" in out


async def test_a_read_only_mount_is_shown_too(config: MountConfig) -> None:
    async with running(replace(config, read_only=True, mount_point=None)) as served:
        out = (await run("status", "--cache-dir", config.cache_dir)).out
        assert (await run("flush")).code == 0
    how = f"served only (read-only, port {served.port}, pid {os.getpid()})"
    assert out == f"bucket {BUCKET} {how}\n"


async def test_names_from_elsewhere_write_no_lines_of_their_own(config: MountConfig) -> None:
    async with running(config) as served:
        await write(served, "a\nroot is fine", b"ours")
        out = (await run("status")).out
    assert "a\\nroot is fine" in out
