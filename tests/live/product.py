"""A local Hub with repos, and hf-mount-nfs as a process of its own that serves them."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hfnfs.localhub.accounts import DEFAULT_TOKEN
from hfnfs.localhub.background import HubThread
from hfnfs.localhub.hub import LocalHub, Source

PROGRAM = Path(sys.executable).with_name("hf-mount-nfs")
END_TIMEOUT_S = 30.0


@contextmanager
def hub_with(folder: Path, repos: Mapping[str, Mapping[str, Source]]) -> Iterator[LocalHub]:
    """A local Hub, kept in `folder`, with these models and their files."""
    with HubThread(folder) as thread:
        for name, tree in repos.items():
            thread.do(thread.hub.create_repo("model", name))
            thread.do(thread.hub.commit("model", name, tree))
        yield thread.hub


@dataclass(frozen=True, slots=True)
class Served:
    """A running `hf-mount-nfs --serve-only`."""

    pid: int
    port: int
    url: str  # for libnfs; a path may follow it
    log: Path

    def url_of(self, path: str) -> str:
        """The libnfs URL of a file or directory."""
        base, _, arguments = self.url.partition("?")
        return f"{base}{path}?{arguments}"


@contextmanager
def hub_with_bucket(
    folder: Path, name: str, files: Mapping[str, Source]
) -> Iterator[tuple[LocalHub, HubThread]]:
    """A local Hub, kept in `folder`, with this bucket and its files; and the thread it runs on."""
    with HubThread(folder) as thread:
        thread.do(thread.hub.create_bucket(name))
        thread.do(thread.hub.put(name, files))
        yield thread.hub, thread


@contextmanager
def served(
    endpoint: str,
    source: str,
    folder: Path,
    *options: str,
    kind: str = "repo",
    end_timeout_s: float = END_TIMEOUT_S,
) -> Iterator[Served]:
    """Serve a repo or bucket without mounting it; its cache and log lie in `folder`.

    Fails if it does not start, or does not end in order on SIGTERM.
    """
    program, server = launched(endpoint, source, folder, *options, kind=kind)
    try:
        yield server
        program.terminate()
        assert program.wait(end_timeout_s) == 0, server.log.read_text()
    finally:
        program.kill()
        program.communicate()


def launched(
    endpoint: str, source: str, folder: Path, *options: str, kind: str = "repo"
) -> tuple[subprocess.Popen[str], Served]:
    """Start to serve as `served` does, and leave the end of it to the caller."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    argv = [str(PROGRAM), *arguments(endpoint, source, folder, *options, kind=kind)]
    login = {"HF_TOKEN": DEFAULT_TOKEN} if kind == "bucket" else {}  # without it, none may write
    with log.open("a") as stderr:
        program = subprocess.Popen(
            argv,
            env={**os.environ, **login},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        return program, Served(program.pid, *_announced(program, log), log)
    except BaseException:
        program.kill()
        program.communicate()
        raise


def arguments(endpoint: str, source: str, folder: Path, *options: str, kind: str) -> list[str]:
    """What the program is started with."""
    argv = [kind, source, "--serve-only", "-v", "--hub-endpoint", endpoint]
    return [*argv, "--cache-dir", str(folder / "cache"), *options]


def _announced(program: subprocess.Popen[str], log: Path) -> tuple[int, str]:
    """The port and the URL that it prints once it serves."""
    assert program.stdout is not None
    for line in program.stdout:
        if found := re.search(r"nfs://\S*nfsport=(\d+)\S*", line):
            return int(found[1]), found[0]
    raise AssertionError(f"{program.args!r} did not start:\n{log.read_text()}")
