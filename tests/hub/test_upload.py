"""Uploads: right contents or an error that says why, and no file holds up another."""

import asyncio
import gc
import random
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hfnfs.errors import (
    Forbidden,
    NotAuthenticated,
    QuotaReached,
    RateLimited,
    RemoteError,
    RemoteUnavailable,
    SourceMissing,
)
from hfnfs.hub import upload, xet_writer
from hfnfs.hub.upload import ASK_BYTES_MIN, GROUP_BYTES_MAX, Uploader, grouped
from hfnfs.hub.xet_writer import Dedup, Job, LocalFile
from hfnfs.localhub import hub as hub_module
from hfnfs.localhub.background import HubThread
from hfnfs.localhub.faults import Lie
from hfnfs.localhub.hub import LocalHub
from hfnfs.remote import EMPTY, ContentId, Put, WritableRemote
from hfnfs.xet.whole import whole_hash
from tests.hub.writing import BUCKET, asking, connected, content, serving, written
from tests.localhub.clients import run
from tests.until import PATIENCE_S

MIB = 1 << 20
CHANCE = random.Random(7)


def noise(size: int) -> bytes:
    """Bytes that were never uploaded before."""
    return CHANCE.randbytes(size)


@pytest.fixture
def thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubThread]:
    yield from serving(tmp_path, monkeypatch)


async def put(remote: WritableRemote, files: dict[str, Path], mtime_ns: int = 0) -> None:
    """Upload and give names."""
    contents = await remote.upload(list(files.values()))
    puts = [Put(name, content(c), mtime_ns) for name, c in zip(files, contents, strict=True)]
    assert not await remote.commit(puts)


async def test_what_is_uploaded_is_what_is_there(thread: HubThread, tmp_path: Path) -> None:
    datas = [noise(3 * MIB + 17), b"small", b"", b"\0" * (2 * MIB), b"small"]
    names = ["big.bin", "dir/text #1 ü.txt", "empty", "zeros", "same"]
    paths = written(tmp_path / "up", *datas)
    async with connected(thread.hub) as remote:
        await put(remote, dict(zip(names, paths, strict=True)))
        contents = [entry.content for entry in (await remote.list("")).entries.values()]
    assert thread.do(thread.hub.files(BUCKET)) == dict(zip(names, datas, strict=True))
    sizes = sorted(c.size for c in contents if c is not None)
    assert sizes == sorted(
        len(data) for name, data in zip(names, datas, strict=True) if "/" not in name
    )


async def test_a_content_is_named_by_its_hash(thread: HubThread, tmp_path: Path) -> None:
    data = noise(MIB + 1)
    (path,) = written(tmp_path / "up", data)
    async with asking(thread.hub) as api:
        (found,) = await Uploader(api).upload([path])
    assert found == ContentId(f"xet-{whole_hash([data], len(data))}", len(data))


async def test_huggingface_hub_reads_what_was_written(thread: HubThread, tmp_path: Path) -> None:
    files = {"d/big.bin": noise(2 * MIB), "d/sub/ü #1.txt": b"text", "empty": b""}
    paths = written(tmp_path / "up", *files.values())
    async with connected(thread.hub) as remote:
        await put(remote, dict(zip(files, paths, strict=True)), 1_234_567_890_987_654_321)
    script = """
from huggingface_hub import hf_hub_download
entries = {e.path: e for e in api.list_bucket_tree("local/b", recursive=True)}
pairs = [(name, os.path.join(given["to"], name)) for name in entries]
api.download_bucket_files("local/b", pairs)
import hf_xet
(big,) = hf_xet.hash_files([os.path.join(given["to"], "d/big.bin")])
tell([{n: [e.size, e.mtime.timestamp()] for n, e in entries.items()},
      big.hash == entries["d/big.bin"].xet_hash])
"""
    to = tmp_path / "got"
    told, is_equal = await asyncio.to_thread(run, thread.hub, tmp_path / "home", script, to=str(to))
    assert told == {name: [len(data), 1_234_567_890.987] for name, data in files.items()}
    assert is_equal
    assert {name: (to / name).read_bytes() for name in files} == files


async def test_small_files_share_their_requests(thread: HubThread, tmp_path: Path) -> None:
    files = {f"d{n % 7}/f{n}": noise(1000 + n) for n in range(300)}
    paths = written(tmp_path / "up", *files.values())
    async with connected(thread.hub) as remote:
        thread.hub.counters.clear()
        await put(remote, dict(zip(files, paths, strict=True)))
    asked = dict(thread.hub.counters.requests)
    assert sum(asked.values()) <= 30, asked
    assert "chunk_query" not in asked
    assert thread.do(thread.hub.files(BUCKET)) == files


async def test_what_has_gone_up_is_forgotten(
    thread: HubThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Watched(Job):
        """A commit that can be seen to be gone."""

    jobs = weakref.WeakSet[Job]()

    def made(self: Job, *args: Any) -> None:
        jobs.add(self)
        Job.__init__(self, *args)

    monkeypatch.setattr(Watched, "__init__", made)
    monkeypatch.setattr(xet_writer, "Job", Watched)
    good, bad = written(tmp_path / "up", noise(50_000), noise(50_000))
    async with asking(thread.hub) as api:
        uploader = Uploader(api)
        (found,) = await uploader.upload([good])
        thread.hub.faults.add("/shards", status=403, count=None)
        (failed,) = await uploader.upload([bad])
    assert isinstance(found, ContentId)
    assert isinstance(failed, RemoteError)
    del failed  # its traceback knows what ran
    gc.collect()
    assert not jobs


async def test_an_empty_file_needs_no_upload(thread: HubThread, tmp_path: Path) -> None:
    (path,) = written(tmp_path / "up", b"")
    async with asking(thread.hub) as api:
        assert await Uploader(api).upload([path]) == [EMPTY]
        assert await Uploader(api).upload([]) == []
    assert not thread.hub.counters.requests


async def test_the_same_bytes_are_not_sent_twice(thread: HubThread, tmp_path: Path) -> None:
    (path,) = written(tmp_path / "up", noise(20_000_000))
    async with asking(thread.hub) as api:
        uploader = Uploader(api)
        first = await uploader.upload([path])
        sent = thread.hub.counters.bytes_in["xorb_put"]
        with path.open("ab") as file:
            file.write(b"a little more")
        second = await uploader.upload([path])
    assert content(second[0]).size == content(first[0]).size + 13
    assert thread.hub.counters.bytes_in["xorb_put"] - sent < sent / 10


async def test_what_this_machine_does_not_know_is_asked_for(
    thread: HubThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = written(tmp_path / "up", noise(20_000_000))
    async with asking(thread.hub) as api:
        await Uploader(api).upload([path])
        sent = thread.hub.counters.bytes_in["xorb_put"]
        monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "another machine's"))
        await Uploader(api).upload([path])
    assert thread.hub.counters.bytes_in["xorb_put"] - sent < sent / 10


async def test_a_storage_that_lost_what_it_had_gets_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hf_xet remembers for weeks what it uploaded, and would refer to it for ever."""
    paths = written(tmp_path / "up", noise(300_000), noise(3 * MIB))
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet"))
    async with LocalHub(tmp_path / "hub") as hub, asking(hub) as api:
        await hub.create_bucket(BUCKET)
        port = int(hub.cas_url.rpartition(":")[2])
        await Uploader(api).upload(paths)
    ports = iter([0, port])
    bound = hub_module._bound
    monkeypatch.setattr(hub_module, "_bound", lambda _: bound(next(ports)))
    async with LocalHub(tmp_path / "another") as hub:  # at the address of the first, and empty
        await hub.create_bucket(BUCKET)
        async with connected(hub) as remote:
            await put(remote, {path.name: path for path in paths})
        found = await hub.files(BUCKET)
    assert found == {path.name: path.read_bytes() for path in paths}


# ------------------------------------------------------------------------- failures


async def test_a_file_that_cannot_be_read_holds_up_no_other(
    thread: HubThread, tmp_path: Path
) -> None:
    good = written(tmp_path / "up", noise(2000), noise(2 * MIB), b"")
    paths = [tmp_path / "missing", good[0], tmp_path, good[1], good[2]]
    async with asking(thread.hub) as api:
        found = await Uploader(api).upload(paths)
    kinds = [type(one) for one in found]
    assert kinds == [RemoteError, ContentId, RemoteError, ContentId, ContentId]
    assert str(found[0]) == "missing: cannot be read to be uploaded: No such file or directory"
    assert [content(found[n]).size for n in (1, 3, 4)] == [2000, 2 * MIB, 0]


async def test_a_file_that_vanishes_meanwhile_holds_up_no_other(
    thread: HubThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = written(tmp_path / "up", *(noise(500) for _ in range(20)))
    seen = upload.looked_at

    def looked_at(path: Path) -> LocalFile | RemoteError:
        file = seen(path)
        if path == paths[13]:
            path.unlink()
        return file

    monkeypatch.setattr(upload, "looked_at", looked_at)
    async with asking(thread.hub) as api:
        found = await Uploader(api).upload(paths)
    assert [n for n, one in enumerate(found) if isinstance(one, RemoteError)] == [13]
    assert "No such file" in str(found[13])


async def test_a_file_that_changed_meanwhile_is_not_taken(
    thread: HubThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = written(tmp_path / "up", noise(500), noise(500))
    sizes = {paths[0]: 500, paths[1]: 499}
    monkeypatch.setattr(upload, "looked_at", lambda path: LocalFile(path, sizes[path]))
    async with asking(thread.hub) as api:
        found = await Uploader(api).upload(paths)
    assert content(found[0]).size == 500
    assert "changed meanwhile" in str(found[1])


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("/xorb-grants", {"status": 500}),
        ("/xorb-grants", {"drop": True}),
        ("/xorb-grants", {"status": 401, "count": 1}),
        ("/shards", {"status": 503}),
        ("/shards", {"drop": True}),
        ("/shards", {"lie": Lie.SHARD_ERROR}),
        ("/xet-write-token", {"status": 500}),
        ("/xet-write-token", {"lie": Lie.EXPIRED_TOKEN}),
    ],
)
async def test_it_goes_up_in_spite_of(
    thread: HubThread, tmp_path: Path, path: str, fault: dict[str, Any]
) -> None:
    (file,) = written(tmp_path / "up", noise(200_000))
    thread.hub.faults.add(path, **fault)
    async with connected(thread.hub) as remote:
        await put(remote, {"a": file})
    assert thread.do(thread.hub.files(BUCKET)) == {"a": file.read_bytes()}


@pytest.mark.parametrize(
    ("path", "fault", "kind"),
    [
        ("/xorb-grants", {"status": 500}, RemoteUnavailable),
        ("/xorb-grants", {"status": 401}, NotAuthenticated),
        ("/xorb-grants", {"status": 403}, Forbidden),
        ("/xorb-grants", {"status": 400}, RemoteError),
        ("/xorb-grants", {"drop": True}, RemoteUnavailable),
        ("/shards", {"status": 413}, QuotaReached),
        ("/shards", {"status": 429}, RateLimited),
        ("/shards", {"status": 500}, RemoteUnavailable),
        ("/shards", {"lie": Lie.SHARD_ERROR}, RemoteError),
        ("/xet-write-token", {"status": 500}, RemoteUnavailable),
        ("/xet-write-token", {"status": 403}, Forbidden),
        ("/xet-write-token", {"status": 404, "code": "RepoNotFound"}, SourceMissing),
    ],
)
async def test_what_stays_wrong_is_an_error_that_says_what(
    thread: HubThread, tmp_path: Path, path: str, fault: dict[str, Any], kind: type[RemoteError]
) -> None:
    paths = written(tmp_path / "up", noise(2000), b"", noise(3000))
    async with asking(thread.hub) as api:
        uploader = Uploader(api)
        thread.hub.faults.add(path, count=None, **fault)
        found = await uploader.upload(paths)
        assert [type(one) for one in found] == [kind, ContentId, kind]
        assert "127.0.0.1:" not in str(found[0]) or kind is RemoteUnavailable
        thread.hub.faults.clear()
        again = await uploader.upload(paths)
    assert [type(one) for one in again] == [ContentId] * 3


async def test_one_that_makes_no_progress_is_given_up(thread: HubThread, tmp_path: Path) -> None:
    paths = written(tmp_path / "up", noise(2000))
    thread.hub.faults.add("/xorb-grants", latency_s=1000, count=None)
    async with asking(thread.hub) as api:
        uploader = Uploader(api, stall_timeout_s=0.5)
        (found,) = await uploader.upload(paths)
        assert type(found) is RemoteUnavailable
        assert "no progress" in str(found)
        thread.hub.faults.clear()
        uploader._stall_timeout_s = PATIENCE_S  # a slow machine is no stall
        (found,) = await uploader.upload(paths)
    assert type(found) is ContentId


async def test_one_that_is_cancelled_reads_no_more(
    thread: HubThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = written(tmp_path / "up", noise(2000))
    jobs: list[xet_writer.Job] = []
    begun = asyncio.Event()
    job_of = xet_writer.XetWriter.job

    def job(*given: Any) -> xet_writer.Job:
        jobs.append(job_of(*given))
        begun.set()
        return jobs[-1]

    monkeypatch.setattr(xet_writer.XetWriter, "job", job)
    thread.hub.faults.add("/xorb-grants", latency_s=1000, count=None)
    async with asking(thread.hub) as api:
        uploader = Uploader(api)
        async with asyncio.TaskGroup() as tasks:
            uploading = tasks.create_task(uploader.upload(paths))
            await begun.wait()
            uploading.cancel()
        assert uploading.cancelled()
        assert jobs[0]._is_aborted
        thread.hub.faults.clear()
        assert type((await uploader.upload(paths))[0]) is ContentId


# --------------------------------------------------------------------------- groups


def test_groups_are_bounded_and_keep_every_file() -> None:
    sizes = [10, ASK_BYTES_MIN, *([ASK_BYTES_MIN - 1] * 600), GROUP_BYTES_MAX * 3, 5, *([1] * 1500)]
    files = [(n, LocalFile(Path(str(n)), size)) for n, size in enumerate(sizes)]
    groups = grouped(files)
    assert sorted(n for group in groups for n in group.numbers) == list(range(len(sizes)))
    for group in groups:
        assert [str(n) for n in group.numbers] == [str(file.path) for file in group.files]
        assert len(group.files) == 1 or sum(f.size for f in group.files) <= GROUP_BYTES_MAX
        assert len(group.files) <= upload.GROUP_FILES_MAX
        asked = {file.size >= ASK_BYTES_MIN for file in group.files}
        assert asked == {group.dedup is Dedup.ASKED}
