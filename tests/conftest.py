"""What holds for every test: a home of its own, no account, no proxy, and nothing left behind."""

import asyncio
import inspect
import logging
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Turns of the loop in which what was told to end may end.
TURNS_TO_END = 10
# Audit events (sys.addaudithook) that make a thread wait.
BLOCKING_CALLS = {"time.sleep", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"}
# A test's name goes into its process's environment, and into CI's report.
PARAMETER_CHARACTERS_MAX = 60


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--deep", action="store_true", help="also run the long form of the tests")
    parser.addoption("--seed", type=int, help="what a test that throws dice begins with")


def pytest_configure(config: pytest.Config) -> None:
    # No test fails for being slow. CI draws the same examples each time; at home they are new.
    settings.register_profile("hfnfs", deadline=None, derandomize="CI" in os.environ)
    settings.load_profile("hfnfs")
    config.addinivalue_line("markers", "logs_errors: this test makes the product log an error")
    # huggingface_hub looks at the environment when it is imported: before any test is.
    home = Path(tempfile.mkdtemp(prefix="hfnfs-tests-"))
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    keep_to(home)
    sys.addaudithook(refuse_to_block)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long parameter by its length."""
    if isinstance(val, bytes | str) and len(val) > PARAMETER_CHARACTERS_MAX:
        return f"{argname} of {len(val)}"
    return None


def keep_to(home: Path) -> None:
    """Point everything that is looked up in a user's home, account or network to `home`."""
    for name in list(os.environ):
        foreign = name.startswith(("HF_", "HUGGING", "XDG_", "HFNFS_"))
        if foreign or name.lower().endswith("_proxy"):
            del os.environ[name]
    os.environ |= {
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_XET_CACHE": str(home / "xet"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
    }


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--deep"):
        long_form = [item for item in items if item.get_closest_marker("deep")]
        config.hook.pytest_deselected(items=long_form)
        items[:] = [item for item in items if item not in long_form]
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.function):
            item.fixturenames.insert(0, "no_task_left")


@pytest.fixture(autouse=True)
def clean_home() -> Iterator[None]:
    """Give back the environment, and empty what a test put into its home."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
    for entry in os.scandir(before["HOME"]):
        (shutil.rmtree if entry.is_dir(follow_symlinks=False) else os.unlink)(entry.path)


@pytest.fixture(autouse=True)
def no_logged_error(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """Fail a test in which an error was logged, unless it is marked `logs_errors`."""
    yield
    if request.node.get_closest_marker("logs_errors"):
        return
    records = caplog.get_records("setup") + caplog.get_records("call")
    records += caplog.get_records("teardown")
    errors = [r for r in records if r.levelno >= logging.ERROR]
    assert not errors, f"logged: {[f'{r.name}: {r.getMessage()}' for r in errors]}"


@pytest.fixture
async def no_task_left() -> AsyncIterator[None]:
    """Fail an async test that leaves a task; pytest_collection_modifyitems hands it to each."""
    yield
    for _ in range(TURNS_TO_END):
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if not left:
            return
        await asyncio.sleep(0)
    pytest.fail(f"tasks left running: {sorted(task.get_name() for task in left)}")


@pytest.fixture(autouse=True, scope="module")
def nothing_left_on_the_machine() -> Iterator[None]:
    """Fail a module that leaves a child process or a mount."""
    before = children(), mounts()
    yield
    assert not (left := children() - before[0]), f"processes left running: {left}"
    assert not (left := mounts() - before[1]), f"mounts left: {left}"


def children() -> set[str]:
    """Command lines of this process's children; known on Linux only."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            command = (process / "cmdline").read_bytes().replace(bytes(1), b" ")
        except (FileNotFoundError, ProcessLookupError):  # it ended while we looked
            continue
        if int(parent) == os.getpid():
            found.add(f"{process.name} {command.decode(errors='replace')}")
    return found


def mounts() -> set[str]:
    """NFS mount points that this process sees; known on Linux only."""
    table = Path("/proc/self/mountinfo")
    lines = table.read_text().splitlines() if table.exists() else []
    return {line.split()[4] for line in lines if " - nfs" in line}


def refuse_to_block(event: str, args: tuple[Any, ...]) -> None:
    """Audit hook: raise when a running event loop's thread is about to wait for something else."""
    blocking = event in BLOCKING_CALLS
    if event == "socket.connect" and isinstance(args[0], socket.socket):
        blocking = args[0].gettimeout() != 0
    if blocking and asyncio._get_running_loop() is not None:
        raise RuntimeError(f"{event} blocks the event loop")
