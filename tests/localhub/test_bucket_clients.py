"""Buckets, as huggingface_hub and hf_xet use them."""

import random
from pathlib import Path

from hfnfs.localhub.background import HubThread
from tests.localhub.clients import run

BIG = random.Random(1).randbytes(3_000_000)
UPLOAD = """
api.create_bucket(given["bucket"], exist_ok=True)
paths = {name: open(path, "rb").read() for name, path in given["files"].items()}
api.batch_bucket_files(given["bucket"], add=[(data, name) for name, data in paths.items()])
"""


def written(directory: Path, files: dict[str, bytes]) -> dict[str, str]:
    """Files on disk for a client to upload, by the path they shall get."""
    directory.mkdir()
    paths = {}
    for number, (name, data) in enumerate(files.items()):
        (directory / str(number)).write_bytes(data)
        paths[name] = str(directory / str(number))
    return paths


def test_what_is_uploaded_is_what_is_there(thread: HubThread, tmp_path: Path) -> None:
    files = {"big.bin": BIG, "sub/dir/text #1 ü.txt": b"text " * 9000, "empty": b"", "one": b"1"}
    paths = written(tmp_path / "up", files)
    run(thread.hub, tmp_path / "home", UPLOAD, bucket="local/b", files=paths)
    assert thread.do(thread.hub.files("local/b")) == files
    counts = thread.hub.counters.requests
    assert counts["xorb_grant"] == counts["xorb_put"] == counts["xorb_commit"] == 1
    assert counts["shard_upload"] == 1
    assert counts["xorb_upload"] == 0


def test_a_directory_of_files_downloads_by_path(thread: HubThread, tmp_path: Path) -> None:
    files = {"big.bin": BIG, "a/b": b"small", "empty": b""}
    thread.do(thread.hub.create_bucket("local/b"))
    thread.do(thread.hub.put("local/b", files))
    script = """
pairs = [(name, os.path.join(given["to"], name)) for name in given["names"]]
api.download_bucket_files("local/b", pairs)
"""
    run(thread.hub, tmp_path / "home", script, to=str(tmp_path / "got"), names=list(files))
    assert {name: (tmp_path / "got" / name).read_bytes() for name in files} == files
    assert thread.hub.counters.requests["bridge"] == 0, "Xet was not spoken"


def test_a_tree_lists_by_letters_and_one_level_or_all(thread: HubThread, tmp_path: Path) -> None:
    names = ["logs/a", "logs/sub/b", "logs.json", "logs_old/c", "other"]
    thread.do(thread.hub.create_bucket("local/b"))
    thread.do(thread.hub.put("local/b", dict.fromkeys(names, b"x")))
    script = """
def listed(**how):
    entries = api.list_bucket_tree("local/b", **how)
    return sorted((type(entry).__name__, entry.path) for entry in entries)
tell([listed(), listed(recursive=True), listed(prefix="logs"), listed(prefix="logs/"),
      listed(prefix="none")])
"""
    top, all_files, lexical, below, none = run(thread.hub, tmp_path / "home", script)
    assert [path for _, path in all_files] == sorted(names)
    assert {kind for kind, _ in all_files} == {"BucketFile"}
    directory, file = "BucketFolder", "BucketFile"
    assert top == [
        [file, "logs.json"],
        [file, "other"],
        [directory, "logs"],
        [directory, "logs_old"],
    ]
    inside = [[file, "logs/a"], [directory, "logs/sub"]]
    assert sorted(below) == sorted(inside)
    beside = [[file, "logs.json"], [directory, "logs_old"]]
    assert sorted(lexical) == sorted(inside + beside)
    assert none == []


def test_a_long_listing_comes_in_pages(thread: HubThread, tmp_path: Path) -> None:
    names = [f"d{number:04}/file" for number in range(1300)] + [f"d{n:04}.x" for n in range(900)]
    thread.do(thread.hub.create_bucket("local/b"))
    thread.do(thread.hub.put("local/b", dict.fromkeys(names, b"x")))
    script = """
tell([[entry.path for entry in api.list_bucket_tree("local/b", recursive=how)] for how in (0, 1)])
"""
    level, everything = run(thread.hub, tmp_path / "home", script)
    assert sorted(everything) == sorted(names)
    assert sorted(level) == sorted({name.partition("/")[0] for name in names})
    assert thread.hub.counters.requests["bucket_tree"] == 6


def test_a_bucket_is_made_described_moved_and_deleted(thread: HubThread, tmp_path: Path) -> None:
    script = """
from huggingface_hub.errors import BucketNotFoundError
url = api.create_bucket("me/first", private=True)
again = api.create_bucket("local/first", exist_ok=True)
before = api.bucket_info("local/first")
api.update_bucket_settings("local/first", private=False)
api.move_bucket("local/first", "local/second")
names = [[bucket.id, bucket.private] for bucket in api.list_buckets("local")]
api.delete_bucket("local/second")
api.delete_bucket("local/second", missing_ok=True)
try:
    api.bucket_info("local/second")
    missing = False
except BucketNotFoundError:
    missing = True
tell([url.bucket_id, again.bucket_id, before.private, before.size, before.total_files, names,
      missing])
"""
    told = run(thread.hub, tmp_path / "home", script)
    assert told == ["local/first", "local/first", True, 0, 0, [["local/second", False]], True]


def test_files_are_copied_moved_and_deleted_without_their_bytes(
    thread: HubThread, tmp_path: Path
) -> None:
    hub = thread.hub
    thread.do(hub.create_bucket("local/b"))
    hashes = thread.do(hub.put("local/b", {"old": BIG, "gone": b"x"}))
    hub.counters.clear()
    script = """
api.batch_bucket_files("local/b", copy=[("bucket", "local/b", given["hash"], "copied/new")],
                       delete=["old", "gone"])
"""
    run(hub, tmp_path / "home", script, hash=hashes["old"])
    assert thread.do(hub.files("local/b")) == {"copied/new": BIG}
    assert set(hub.counters.requests) == {"bucket_batch"}


def test_copy_files_goes_from_a_repo_to_a_bucket(thread: HubThread, tmp_path: Path) -> None:
    hub = thread.hub
    thread.do(hub.create_bucket("local/b"))
    thread.do(hub.create_repo("model", "local/m"))
    thread.do(hub.commit("model", "local/m", {"w.bin": BIG, "config.json": b"{}"}))
    run(hub, tmp_path / "home", 'api.copy_files("hf://local/m", "hf://buckets/local/b/kept/")')
    assert thread.do(hub.files("local/b")) == {"kept/w.bin": BIG, "kept/config.json": b"{}"}


def test_what_fails_of_a_batch_is_told_and_the_rest_is_done(
    thread: HubThread, tmp_path: Path
) -> None:
    hub = thread.hub
    thread.do(hub.create_bucket("local/b"))
    hashes = thread.do(hub.put("local/b", {"a": b"1"}))
    script = """
from huggingface_hub.errors import BucketBatchError
failures = []
for copies, deletes in [([given["hash"]], ["a", "nowhere"]), (["00" * 31 + "01"], ["nowhere"])]:
    try:
        copy = [("bucket", "local/b", name, "copy") for name in copies]
        api.batch_bucket_files("local/b", copy=copy, delete=deletes)
    except BucketBatchError as error:
        failures.append([failure["path"] if isinstance(failure, dict) else failure.path
                         for failure in error.failures])
tell(failures)
"""
    told = run(hub, tmp_path / "home", script, hash=hashes["a"])
    assert told == [["nowhere"], ["copy", "nowhere"]]
    assert thread.do(hub.files("local/b")) == {"copy": b"1"}


def test_the_file_system_of_huggingface_hub_reads_and_writes(
    thread: HubThread, tmp_path: Path
) -> None:
    hub = thread.hub
    thread.do(hub.create_bucket("local/b"))
    thread.do(hub.put("local/b", {"d/big": BIG, "d/sub/x": b"x"}))
    script = """
fs = HfFileSystem()
root = "hf://buckets/local/b"
with fs.open(f"{root}/d/big", "rb", block_size=65536) as file:
    file.seek(1_000_000)
    middle = file.read(1000).hex()
with fs.open(f"{root}/new.txt", "wb") as file:
    file.write(b"written")
fs.rm(f"{root}/d/sub/x")
tell([middle, sorted(fs.find(root)), fs.cat(f"{root}/new.txt").decode()])
"""
    middle, found, new = run(hub, tmp_path / "home", script)
    assert bytes.fromhex(middle) == BIG[1_000_000:1_001_000]
    assert found == ["buckets/local/b/d/big", "buckets/local/b/new.txt"]
    assert new == "written"
    assert thread.do(hub.files("local/b")) == {"d/big": BIG, "new.txt": b"written"}


def test_a_follower_sees_changes_as_they_come(thread: HubThread, tmp_path: Path) -> None:
    thread.do(thread.hub.create_bucket("local/b"))
    thread.do(thread.hub.put("local/b", {"old": b"x"}))
    script = """
import time
fs = HfFileSystem(live_follow=True)
other = HfApi()
root = "buckets/local/b"
assert fs.ls(root, detail=False) == [f"{root}/old"]
other.batch_bucket_files("local/b", add=[(b"y", "new")], delete=["old"])
until = time.monotonic() + 80
while fs.ls(root, detail=False) != [f"{root}/new"] and time.monotonic() < until:
    time.sleep(0.02)
tell(fs.ls(root, detail=False))
os._exit(0) if sys.stdout.flush() is None else None
"""
    assert run(thread.hub, tmp_path / "home", script) == ["buckets/local/b/new"]
    assert thread.hub.counters.requests["bucket_tree"] <= 4


def test_equal_chunks_of_others_are_not_uploaded_again(thread: HubThread, tmp_path: Path) -> None:
    """A second client, with nothing cached, learns from the CAS what it has already."""
    data = random.Random(2).randbytes(20_000_000)
    first = written(tmp_path / "1", {"a": data})
    second = written(tmp_path / "2", {"b": data + b"a little more"})
    run(thread.hub, tmp_path / "home1", UPLOAD, bucket="local/b", files=first)
    sent = thread.hub.counters.bytes_in["xorb_put"]
    thread.hub.counters.clear()
    run(thread.hub, tmp_path / "home2", UPLOAD, bucket="local/b", files=second)
    assert thread.hub.counters.bytes_in["xorb_put"] < sent / 10
    assert thread.do(thread.hub.files("local/b")) == {"a": data, "b": data + b"a little more"}
