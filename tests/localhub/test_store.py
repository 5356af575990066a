"""What outlives the process, and who may open it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hfnfs.errors import CacheUnusable, PortRefused
from hfnfs.localhub.background import HubThread
from hfnfs.localhub.hub import LocalHub
from hfnfs.localhub.store import Store

DATA = os.urandom(1_000_000)

KILLED_WHILE_IT_PUTS = """
import asyncio, os, signal, sys
from pathlib import Path
from hfnfs.localhub.hub import LocalHub

def endless():
    while True:
        yield os.urandom(1 << 20)
        if sum(1 for path in Path(sys.argv[1], "xorbs").rglob("*") if path.is_file()) > 1:
            os.kill(os.getpid(), signal.SIGKILL)

async def main():
    async with LocalHub(Path(sys.argv[1])) as hub:
        await hub.create_bucket("local/b")
        await hub.put("local/b", {"kept": b"kept"})
        await hub.put("local/b", {"lost": endless()})

asyncio.run(main())
"""


def test_a_restart_keeps_repos_buckets_and_bytes(tmp_path: Path) -> None:
    with HubThread(tmp_path) as thread:
        hub = thread.hub
        thread.do(hub.create_repo("model", "local/m", aliases=["m"]))
        sha = thread.do(hub.commit("model", "local/m", {"a": b"a", "w.bin": DATA}))
        thread.do(hub.create_bucket("local/b"))
        thread.do(hub.put("local/b", {"x": DATA, "empty": b""}))
    with HubThread(tmp_path) as thread:
        assert thread.do(thread.hub.files("local/b")) == {"x": DATA, "empty": b""}
        again = thread.do(thread.hub.commit("model", "local/m", {"b": b"b"}))
        assert again != sha


def test_a_kill_loses_only_what_was_not_done(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED_WHILE_IT_PUTS, str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    with HubThread(tmp_path) as thread:
        assert thread.do(thread.hub.files("local/b")) == {"kept": b"kept"}
        assert list((tmp_path / "incoming").iterdir()) == []
        thread.do(thread.hub.put("local/b", {"lost": DATA}))
        assert thread.do(thread.hub.files("local/b")) == {"kept": b"kept", "lost": DATA}


def test_a_directory_has_one_hub_at_a_time(tmp_path: Path) -> None:
    first = Store(tmp_path)
    with pytest.raises(CacheUnusable, match="another local Hub"):
        Store(tmp_path)
    first.close()
    Store(tmp_path).close()


def test_what_is_no_hubs_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CacheUnusable):
        Store(tmp_path / "file")
    (tmp_path / "hub.db").write_bytes(b"something else, and quite long enough" * 100)
    with pytest.raises(CacheUnusable):
        Store(tmp_path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.db.execute("UPDATE facts SET value = 99 WHERE name = 'format'")
    store.close()
    with pytest.raises(CacheUnusable, match="99"):
        Store(tmp_path)


def test_what_fails_half_way_is_undone(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def half_of_it() -> None:
        with store.transaction() as db:
            db.execute("INSERT INTO facts VALUES ('half', 1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_of_it()
    assert store.db.execute("SELECT * FROM facts WHERE name = 'half'").fetchone() is None
    store.close()


async def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    async with LocalHub(tmp_path / "one") as first:
        port = int(first.endpoint.rpartition(":")[2])
        with pytest.raises(PortRefused, match=str(port)):
            await LocalHub(tmp_path / "two", port=port).start()
        async with LocalHub(tmp_path / "two") as second:
            assert second.endpoint != first.endpoint
