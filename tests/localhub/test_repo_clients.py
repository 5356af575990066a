"""Repos, as huggingface_hub and hf_xet download from them."""

import random
from pathlib import Path

import pytest

from hfnfs.localhub.background import HubThread
from tests.localhub.clients import run

BIG = random.Random(3).randbytes(2_500_000)
FILES = {"config.json": b"{}", "sub/w.safetensors": BIG, "sub/deep/ä b#.txt": b"text", "empty": b""}


def filled(thread: HubThread, kind: str = "model", name: str = "local/m") -> str:
    thread.do(thread.hub.create_repo(kind, name))
    return thread.do(thread.hub.commit(kind, name, FILES))


def below(directory: Path) -> dict[str, bytes]:
    found = (path for path in directory.rglob("*") if path.is_file() and ".cache" not in path.parts)
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_a_snapshot_is_the_repo(thread: HubThread, tmp_path: Path, kind: str) -> None:
    sha = filled(thread, kind)
    script = """
tell([snapshot_download("local/m", repo_type=given["kind"], local_dir=given["to"]),
      api.repo_info("local/m", repo_type=given["kind"]).sha])
"""
    told = run(thread.hub, tmp_path / "home", script, kind=kind, to=str(tmp_path / "got"))
    assert told[1] == sha
    assert below(tmp_path / "got") == FILES
    assert thread.hub.counters.requests["bridge"] == 0, "Xet was not spoken"


def test_without_xet_the_bridge_gives_the_same_bytes(thread: HubThread, tmp_path: Path) -> None:
    filled(thread)
    script = """
os.environ["HF_HUB_DISABLE_XET"] = "1"
from huggingface_hub import constants
constants.HF_HUB_DISABLE_XET = True
tell(hf_hub_download("local/m", "sub/w.safetensors"))
"""
    path = run(thread.hub, tmp_path / "home", script)
    assert Path(path).read_bytes() == BIG
    assert thread.hub.counters.requests["bridge"] >= 1
    assert thread.hub.counters.requests["xorb"] == 0


def test_revisions_are_branches_tags_commits_and_requests(
    thread: HubThread, tmp_path: Path
) -> None:
    hub = thread.hub
    first = filled(thread)
    thread.do(hub.tag("model", "local/m", "v1"))
    second = thread.do(hub.commit("model", "local/m", {"config.json": b"2", "empty": None}))
    branch = thread.do(hub.commit("model", "local/m", {"b": b""}, revision="branch"))
    request = thread.do(hub.commit("model", "local/m", {"pr": b""}, revision="refs/pr/1"))
    script = """
def at(revision):
    files = [f.rfilename for f in api.repo_info("local/m", revision=revision).siblings]
    return [open(hf_hub_download("local/m", "config.json", revision=revision)).read(), files]
refs = api.list_repo_refs("local/m", include_pull_requests=True)
named = {r.ref: r.target_commit for l in (refs.branches, refs.tags, refs.pull_requests) for r in l}
tell([named, [at(revision) for revision in given["revisions"]]])
"""
    revisions = ["main", "v1", first, "branch", "refs/pr/1"]
    named, seen = run(hub, tmp_path / "home", script, revisions=revisions)
    assert named == {
        "refs/heads/main": second,
        "refs/heads/branch": branch,
        "refs/tags/v1": first,
        "refs/pr/1": request,
    }
    old, new = sorted(FILES), sorted(set(FILES) - {"empty"})
    assert seen == [
        ["2", new],
        ["{}", old],
        ["{}", old],
        ["2", sorted([*new, "b"])],
        ["2", sorted([*new, "pr"])],
    ]


def test_an_older_name_leads_to_the_canonical_one(thread: HubThread, tmp_path: Path) -> None:
    thread.do(thread.hub.create_repo("model", "openai/gpt2", aliases=["gpt2"]))
    thread.do(thread.hub.commit("model", "openai/gpt2", FILES))
    script = """
tell([api.repo_info("gpt2").id, open(hf_hub_download("gpt2", "config.json")).read(),
      open(hf_hub_download("gpt2", "sub/w.safetensors"), "rb").read(4).hex()])
"""
    told = run(thread.hub, tmp_path / "home", script)
    assert told == ["openai/gpt2", "{}", BIG[:4].hex()]


def test_trees_come_in_pages_with_what_is_known_of_files(thread: HubThread, tmp_path: Path) -> None:
    hub = thread.hub
    names = [f"d/{number:05}" for number in range(2345)]
    filled(thread)
    thread.do(hub.commit("model", "local/m", dict.fromkeys(names, b"x")))
    hub.counters.clear()
    script = """
flat = [entry.path for entry in api.list_repo_tree("local/m")]
deep = [entry.path for entry in api.list_repo_tree("local/m", "d", recursive=True)]
(file,) = [f for f in api.list_repo_tree("local/m", "sub", expand=True) if hasattr(f, "lfs")]
infos = api.get_paths_info("local/m", ["sub", "config.json", "nowhere"], expand=True)
tell([flat, deep, [file.size, file.lfs.size, file.xet_hash is None, file.last_commit.title],
      [[type(info).__name__, info.path] for info in infos]])
"""
    flat, deep, file, infos = run(hub, tmp_path / "home", script)
    assert flat == ["config.json", "d", "empty", "sub"]
    assert deep == names
    assert file == [len(BIG), len(BIG), False, f"Change {len(FILES)} files"]
    assert infos == [["RepoFolder", "sub"], ["RepoFile", "config.json"]]
    assert hub.counters.requests["repo_tree"] == 1 + 3 + 1


def test_refusals_have_the_clients_own_names(thread: HubThread, tmp_path: Path) -> None:
    hub = thread.hub
    filled(thread)
    thread.do(hub.create_repo("model", "other/private", private=True))
    thread.do(hub.create_repo("model", "other/gated", gated=True))
    thread.do(hub.commit("model", "other/gated", FILES))
    script = """
def outcome(*where, **how):
    try:
        hf_hub_download(*where, **how)
        return "got it"
    except Exception as error:
        return type(error).__name__
tell([outcome("other/none", "x"), outcome("other/private", "x"), outcome("local/m", "nowhere"),
      outcome("local/m", "config.json", revision="none"), outcome("other/gated", "config.json"),
      outcome("local/m", "config.json", token="hf_wrong"), api.repo_info("other/gated").gated,
      outcome("local/m", "config.json", token=False)])
"""
    assert run(hub, tmp_path / "home", script) == [
        "RepositoryNotFoundError",
        "RepositoryNotFoundError",
        "RemoteEntryNotFoundError",
        "RevisionNotFoundError",
        "GatedRepoError",
        "HfHubHTTPError",
        "manual",
        "got it",
    ]


def test_an_owner_reads_what_is_private_or_gated(thread: HubThread, tmp_path: Path) -> None:
    thread.do(thread.hub.create_repo("dataset", "local/p", private=True))
    thread.do(thread.hub.create_repo("dataset", "local/g", gated=True))
    for name in ("local/p", "local/g"):
        thread.do(thread.hub.commit("dataset", name, FILES))
    script = """
tell([[open(hf_hub_download(name, "config.json", repo_type="dataset")).read()
       for name in ("local/p", "local/g")], api.whoami()["name"]])
"""
    assert run(thread.hub, tmp_path / "home", script) == [["{}", "{}"], "local"]


def test_the_file_system_of_huggingface_hub_reads_ranges(thread: HubThread, tmp_path: Path) -> None:
    filled(thread)
    script = """
fs = HfFileSystem()
with fs.open("local/m/sub/w.safetensors", "rb", block_size=4096) as file:
    file.seek(2_000_000)
    middle = file.read(5000).hex()
tell([middle, sorted(fs.find("local/m"))])
"""
    middle, found = run(thread.hub, tmp_path / "home", script)
    assert bytes.fromhex(middle) == BIG[2_000_000:2_005_000]
    assert found == sorted(f"local/m/{path}" for path in FILES)
