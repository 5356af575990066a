"""A local Hub on a thread of its own, so that it serves whatever the test's loop does, with a
bucket; and the remote that writes to it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hfnfs.clock import SystemClock
from hfnfs.hub.account import Account, Finder
from hfnfs.hub.api import Api
from hfnfs.hub.connect import BucketRemote, connect
from hfnfs.hub.http import Http
from hfnfs.hub.pace import Patience
from hfnfs.hub.source import parse
from hfnfs.localhub.accounts import DEFAULT_TOKEN
from hfnfs.localhub.background import HubThread
from hfnfs.localhub.hub import LocalHub
from hfnfs.remote import ContentId

BUCKET = "local/b"
HASTE = Patience(attempts_max=3, first_delay_s=0.001, delay_max_s=0.001)


def serving(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubThread]:
    """A Hub with an empty bucket, which hf_xet has never met."""
    monkeypatch.setenv("HF_XET_CACHE", str(directory / "xet"))
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_BASE_DELAY", "1ms")
    monkeypatch.setenv("HF_XET_CLIENT_RETRY_MAX_ATTEMPTS", "2")
    with HubThread(directory / "hub") as thread:
        thread.do(thread.hub.create_bucket(BUCKET))
        yield thread


def account(hub: LocalHub, token: str | None = DEFAULT_TOKEN) -> Account:
    return Account(hub.endpoint, Finder(lambda: token, "the test", None), SystemClock())


@asynccontextmanager
async def asking(hub: LocalHub, token: str | None = DEFAULT_TOKEN) -> AsyncIterator[Api]:
    """The Hub about its bucket, by the machine's clock: hf_xet looks at no other."""
    async with Http(SystemClock(), patience=HASTE) as http:
        yield Api(parse(f"hf://buckets/{BUCKET}"), account(hub, token), http)


@asynccontextmanager
async def connected(hub: LocalHub, folder: str = "") -> AsyncIterator[BucketRemote]:
    """The bucket, or a folder of it that has files."""
    async with Http(SystemClock(), patience=HASTE) as http:
        source = parse(f"hf://buckets/{BUCKET}{folder and '/' + folder}")
        remote = await connect(source, account(hub), http)
        assert isinstance(remote, BucketRemote)
        yield remote


def written(directory: Path, *datas: bytes) -> list[Path]:
    """Local files of these bytes."""
    directory.mkdir(exist_ok=True)
    paths = [directory / f"snapshot-{number}" for number in range(len(datas))]
    for path, data in zip(paths, datas, strict=True):
        path.write_bytes(data)
    return paths


def content(given: object) -> ContentId:
    assert isinstance(given, ContentId), given
    return given
