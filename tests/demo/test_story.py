"""The demo: what it shows is measured and compared, not claimed."""

import os
import re
from pathlib import Path

import pytest

from hfnfs.app.running import running
from hfnfs.config import MountConfig
from hfnfs.demo import saving, story
from hfnfs.demo.looks import MountLook, over_nfs
from hfnfs.demo.story import CHAPTERS, tell
from hfnfs.errors import HostError, KernelWithoutNfs, MountPointUnusable, RemoteCorrupt
from hfnfs.host.preflight import Machine, Surroundings
from hfnfs.localhub import sample
from hfnfs.localhub.accounts import DEFAULT_TOKEN
from hfnfs.localhub.hub import LocalHub

STEP = re.compile(r"^  (?P<done>.+?)\.* (?P<bytes>[\d.]+ k?M?B in \d+ requests?|nothing .*)$")


@pytest.fixture(autouse=True)
def without_mounting(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(around: Surroundings) -> Machine:
        raise KernelWithoutNfs("the kernel has no NFS client: mount elsewhere")

    monkeypatch.setattr(story, "check_machine", cannot)


async def told() -> list[str]:
    lines: list[str] = []
    await tell(None, lambda text: lines.extend(text.splitlines()))
    return lines


async def test_every_file_is_shown_and_every_step_says_what_it_cost() -> None:
    lines = await told()
    shown = {line.split()[-1] for line in lines if line.startswith("    ")}
    assert shown == {path for chapter in CHAPTERS for path in chapter.content()}
    steps = [match for match in map(STEP.match, lines) if match]
    assert len(steps) == 4 * len(CHAPTERS) + 3
    whole = [s for s in steps if "read to its end, equal" in s["done"]]
    again = [s for s in steps if "the same again" in s["done"]]
    assert all("requests" in s["bytes"] for s in whole)
    assert [s["bytes"] for s in again] == ["nothing transferred"] * len(CHAPTERS)


async def test_it_says_why_nothing_is_mounted_and_ends_with_what_to_do_next() -> None:
    lines = await told()
    assert "Nothing can be mounted here: the kernel has no NFS client." in lines
    assert lines[-1].startswith("Now yours: hf-mount-nfs repo ")


async def test_a_header_of_a_safetensors_file_costs_a_part_of_it() -> None:
    (line,) = [line for line in await told() if "its 9 tensors" in line]
    match = STEP.match(line)
    assert match is not None
    assert "wte.weight" in match["done"]
    assert match["bytes"].endswith("kB in 2 requests")


async def test_what_is_written_goes_to_the_hub_once_and_a_rename_sends_no_bytes() -> None:
    written, sent, renamed = (s for s in map(STEP.match, (await told())[-5:-2]) if s)
    assert (written["bytes"], sent["done"]) == (
        "nothing sent",
        "sent to the Hub, which has it, equal",
    )
    assert sent["bytes"].startswith("1.0 MB in ")
    assert re.match(r"\d+ B in \d+ requests", renamed["bytes"])


async def test_a_hub_that_has_anything_else_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def files(hub: LocalHub, bucket: str) -> dict[str, bytes]:
        return {saving.SAVED: b"?"}

    monkeypatch.setattr(LocalHub, "files", files)
    with pytest.raises(RemoteCorrupt, match=r"state\.bin is not on the Hub as it was written"):
        await told()


async def test_a_byte_that_is_not_what_it_should_be_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = CHAPTERS[0]
    wrong = dict(model.content())
    wrong[model.read_whole] = wrong[model.read_whole][:-1] + b"?"
    monkeypatch.setattr(story, "CHAPTERS", [model._replace(content=lambda: wrong)])
    with pytest.raises(RemoteCorrupt, match=r"model\.safetensors reads as"):
        await told()


async def test_what_is_wrong_with_the_mount_point_is_not_served_around(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def unusable(self: object) -> None:
        raise MountPointUnusable(f"{tmp_path} is busy")

    monkeypatch.setattr(story, "check_machine", lambda _: None)
    monkeypatch.setattr("hfnfs.demo.story._Stage.play_mounted", unusable)
    with pytest.raises(HostError, match="busy"):
        await tell(str(tmp_path), print)


async def test_the_kernel_s_way_and_ours_show_the_same(tmp_path: Path) -> None:
    content = sample.dataset_files()
    for path, data in content.items():
        (tmp_path / "as mounted" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "as mounted" / path).write_bytes(data)
    mounted = MountLook(str(tmp_path / "as mounted"))
    async with LocalHub(tmp_path / "hub") as hub:
        await sample.fill(hub)
        config = MountConfig(
            source=f"datasets/{sample.DATASET}",
            cache_dir=tmp_path / "cache",
            endpoint=hub.endpoint,
            token=DEFAULT_TOKEN,
        )
        async with (
            running(config) as served,
            over_nfs("127.0.0.1", served.port, served.export) as over,
        ):
            assert await over.files() == await mounted.files()
            for path, size in await over.files():
                assert await over.sha256(path) == await mounted.sha256(path)
                for offset, count in [(0, 10), (size // 2, 1000), (size - 3, 10), (size, 1)]:
                    ours = await over.read(path, offset, count)
                    assert ours == await mounted.read(path, offset, count)


async def test_the_kernel_s_way_and_ours_leave_the_same(tmp_path: Path) -> None:
    (tmp_path / "as mounted" / "logs").mkdir(parents=True)
    (tmp_path / "as mounted" / "logs" / "train.log").write_bytes(
        sample.bucket_files()["logs/train.log"]
    )
    mounted = MountLook(str(tmp_path / "as mounted"))
    async with LocalHub(tmp_path / "hub") as hub:
        await hub.create_bucket("local/data")
        await hub.put("local/data", {"logs/train.log": sample.bucket_files()["logs/train.log"]})
        config = MountConfig(
            source="local/data",
            kind="bucket",
            cache_dir=tmp_path / "cache",
            endpoint=hub.endpoint,
            token=DEFAULT_TOKEN,
            uid=os.getuid(),
            gid=os.getgid(),
        )
        async with (
            running(config) as served,
            over_nfs("127.0.0.1", served.port, served.export) as over,
        ):
            for look in (over, mounted):
                await look.save("logs/new/a", b"saved")
                await look.save("logs/other/b", b"saved too")
                await look.rename("logs/new/a", "logs/other/c")
            assert await over.files() == await mounted.files()
            assert await over.sha256("logs/other/c") == await mounted.sha256("logs/other/c")
