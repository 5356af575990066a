"""How long a mount lives, and how it ends; programs and mount table are played by files."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hfnfs.errors import (
    ChangesUnsent,
    Interrupted,
    KernelWithoutNfs,
    MountFailed,
    MountPointUnusable,
    UnmountFailed,
)
from hfnfs.host import lifetime as room
from hfnfs.host.holders import Holder
from hfnfs.host.lifetime import Mounted, stay_mounted, stay_serving
from hfnfs.host.mount_command import NfsTarget
from tests.host.stage import BUSY, MOUNTS, UNMOUNTS, Stage
from tests.until import until

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass
class Server:
    """Notes when it serves; `ended` holds what was still mounted when it ended."""

    stage: Stage
    port: int = 20049
    export: str = "/"
    read_only: bool = True
    resumed: bool = False
    is_serving: bool = False
    did: list[str] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    failure: BaseException | None = None

    async def deserted(self, silence_s: float) -> bool:
        assert self.is_serving
        self.did.append("deserted")
        return True

    async def drained(self, enough: asyncio.Event) -> None:
        assert self.is_serving
        still = sum(entry.type == "nfs" for entry in self.stage.read())
        self.did.append(f"drained with {still} mounted")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Server"]:
        if self.failure:
            raise self.failure
        self.is_serving = True
        try:
            yield self
        finally:
            self.is_serving = False
            self.ended.append(sum(entry.type == "nfs" for entry in self.stage.read()))


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage(tmp_path)
    stage.program("mount.nfs", MOUNTS)
    stage.program("umount", UNMOUNTS)
    monkeypatch.setattr(room, "mount_table", lambda: stage)
    return stage


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """No signal is ignored, as it is in what nohup has started."""
    ignored = [n for n in SIGNALS if signal.getsignal(n) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


def send(number: signal.Signals) -> Callable[[object], None]:
    """A callback of "it is mounted" that sends a signal to this process."""
    return lambda _: os.kill(os.getpid(), number)


def nothing(_: object) -> None:
    pass


async def test_it_ends_when_the_mount_is_gone(stage: Stage) -> None:
    server = Server(stage)

    def unmount_by_hand(mounted: Mounted[Server]) -> None:
        assert server.is_serving
        assert mounted.served is server
        assert mounted.point.path == str(stage.mount_point)
        stage.change("41 1", "gone")

    await stay_mounted(stage.plan(), server.serving(), unmount_by_hand)
    assert server.ended == [0]
    assert [call.split()[0] for call in stage.called()] == ["mount.nfs"]


async def test_the_server_says_what_is_mounted_and_the_plan_how(stage: Stage) -> None:
    server = Server(stage, port=777, export="/x", read_only=False)
    seen = []

    def see(mounted: Mounted[Server]) -> None:
        seen.append(mounted.target)
        stage.change("41 1", "gone")

    await stay_mounted(stage.plan(), server.serving(), see)
    assert seen == [NfsTarget(777, "/x", read_only=False, attributes_cached_s=10.0)]


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_unmounts_before_the_server_ends(
    stage: Stage, number: signal.Signals
) -> None:
    server = Server(stage)
    await stay_mounted(stage.plan(), server.serving(), send(number))
    assert server.ended == [0]
    assert stage.called()[-1] == f"umount {stage.mount_point}"


async def test_a_busy_mount_is_served_on_until_it_is_free(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(stage)
    stage.program("umount", BUSY)
    monkeypatch.setattr(room, "BUSY_RETRY_S", 0)

    def look(mount_point: str) -> list[Holder]:
        assert server.is_serving
        stage.program("umount", UNMOUNTS)
        return [Holder(pid, "vim") for pid in range(1, 8)]

    monkeypatch.setattr(room, "holders", look)
    await stay_mounted(stage.plan(), server.serving(), send(signal.SIGTERM))
    assert server.ended == [0]
    assert [c for c in stage.called() if c.startswith("umount -")] == []
    (said,) = [r.getMessage() for r in caplog.records]
    assert "vim (pid 1)" in said
    assert "and 2 more" in said


async def test_a_second_signal_detaches_a_busy_mount_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.program("umount", f'case "$1" in -l) {UNMOUNTS};; *) {BUSY};; esac')

    def again(mount_point: str) -> list[Holder]:
        os.kill(os.getpid(), signal.SIGINT)
        return []

    monkeypatch.setattr(room, "holders", again)
    server = Server(stage)
    await stay_mounted(stage.plan(), server.serving(), send(signal.SIGINT))
    assert server.ended == [0]
    assert stage.called()[-1] == f"umount -l {stage.mount_point}"


async def test_patience_with_a_busy_mount_ends(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "BUSY_RETRY_S", 0)
    stage.program("umount", f'case "$1" in -l) {UNMOUNTS};; *) {BUSY};; esac')
    await stay_mounted(stage.plan(), Server(stage).serving(), send(signal.SIGTERM))
    clean = [call for call in stage.called() if call == f"umount {stage.mount_point}"]
    assert len(clean) == room.BUSY_TRIES
    assert stage.called()[-1] == f"umount -l {stage.mount_point}"


async def test_a_mount_that_nothing_ends_is_an_error_that_says_what_to_run(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "BUSY_RETRY_S", 0)
    stage.program("umount", BUSY)
    with pytest.raises(UnmountFailed, match=f"umount -f -l {stage.mount_point}"):
        await stay_mounted(stage.plan(), Server(stage).serving(), send(signal.SIGTERM))


async def test_a_server_that_fails_takes_its_mount_along(stage: Stage) -> None:
    server = Server(stage)

    def fail(_: object) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        await stay_mounted(stage.plan(), server.serving(), fail)
    assert server.ended == [0]


async def test_a_signal_before_the_mount_ends_the_start(stage: Stage) -> None:
    @asynccontextmanager
    async def slow() -> AsyncIterator[Server]:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()
        yield Server(stage)

    with pytest.raises(Interrupted) as caught:
        await stay_mounted(stage.plan(), slow(), nothing)
    assert caught.value.signal_number == signal.SIGTERM
    assert stage.called() == []


async def test_a_signal_while_the_helper_runs_leaves_no_mount(stage: Stage) -> None:
    stage.program("mount.nfs", f"{MOUNTS}; kill -TERM $PPID; exec sleep 100")
    server = Server(stage)
    with pytest.raises(Interrupted):
        await stay_mounted(stage.plan(), server.serving(), nothing)
    assert server.ended == [0]


async def test_a_mount_point_that_was_made_is_removed_at_the_end(stage: Stage) -> None:
    path = stage.mount_point / "new" / "deep"
    await stay_mounted(stage.plan(str(path)), Server(stage).serving(), send(signal.SIGTERM))
    assert list(stage.mount_point.iterdir()) == []


async def test_a_mount_point_that_was_made_is_removed_when_nothing_came_of_it(stage: Stage) -> None:
    stage.program("mount.nfs", "exit 32")
    path = stage.mount_point / "new"
    with pytest.raises(MountFailed):
        await stay_mounted(stage.plan(str(path)), Server(stage).serving(), nothing)
    assert list(stage.mount_point.iterdir()) == []


async def test_checks_come_before_anything_is_served(stage: Stage) -> None:
    def never() -> AbstractAsyncContextManager[Server]:
        return Server(stage, failure=AssertionError("served")).serving()

    with pytest.raises(MountPointUnusable):
        await stay_mounted(stage.plan("/dev/null"), never(), nothing)
    plan = stage.plan()
    (stage.programs.parent / "proc/filesystems").write_text("ext4\n")
    with pytest.raises(KernelWithoutNfs):
        await stay_mounted(plan, never(), nothing)


async def test_a_bare_server_serves_until_a_signal(stage: Stage) -> None:
    server = Server(stage, port=9)
    seen = []

    def see(_: Server, target: NfsTarget) -> None:
        assert server.is_serving
        seen.append(target.port)
        os.kill(os.getpid(), signal.SIGTERM)

    await stay_serving(stage.plan(), server.serving(), see)
    assert (seen, server.ended, stage.called()) == ([9], [0], [])


async def test_signals_mean_again_what_they_did_before(stage: Stage) -> None:
    before = [signal.getsignal(n) for n in SIGNALS]
    await stay_mounted(stage.plan(), Server(stage).serving(), send(signal.SIGTERM))
    after = [signal.getsignal(n) for n in SIGNALS]
    assert after == before


async def test_an_ignored_hangup_stays_ignored(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    server = Server(stage)

    def hang_up_then_unmount(_: object) -> None:
        os.kill(os.getpid(), signal.SIGHUP)
        stage.change("41 1", "gone")

    try:
        await stay_mounted(stage.plan(), server.serving(), hang_up_then_unmount)
        assert [call.split()[0] for call in stage.called()] == ["mount.nfs"]
    finally:
        signal.signal(signal.SIGHUP, before)


# ------------------------------------------------------- what was written gets to the far side


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_unmounts_then_lets_the_client_hang_up_then_drains(
    stage: Stage, number: signal.Signals
) -> None:
    server = Server(stage, read_only=False)
    await stay_mounted(stage.plan(), server.serving(), send(number))
    assert stage.called()[1:] == [f"umount {stage.mount_point}"]
    assert server.did == ["deserted", "drained with 0 mounted"]


async def test_a_client_that_does_not_hang_up_is_not_waited_for_for_ever(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    class Silent(Server):
        async def deserted(self, silence_s: float) -> bool:
            assert silence_s >= 60
            return False

    server = Silent(stage, read_only=False)
    await stay_mounted(stage.plan(), server.serving(), send(signal.SIGTERM))
    assert server.did == ["drained with 0 mounted"]
    assert "still connected" in caplog.text


async def test_a_second_signal_ends_the_wait_for_a_client_that_writes_on(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    class Busy(Server):
        async def deserted(self, silence_s: float) -> bool:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.Event().wait()
            return True

    server = Busy(stage, read_only=False)
    await stay_mounted(stage.plan(), server.serving(), send(signal.SIGTERM))
    assert server.did == ["drained with 0 mounted"]
    assert "still connected" in caplog.text


async def test_w11_a_mount_is_over_when_it_is_gone_from_the_table_and_not_before(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """A client says UMNT before it unmounts, and stays if it is busy; nothing here listens to it.

    Drained is after the table says so, and while there is still a server to write back to.
    """
    server = Server(stage, read_only=False)
    stage.program("umount", BUSY)
    tried = []

    async def see() -> None:
        await until(lambda: "is in use" in caplog.text)  # it was tried once, and is still there
        tried.append(list(server.did))
        stage.change("41 1", "gone")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(see())
        await stay_mounted(stage.plan(), server.serving(), send(signal.SIGTERM))
    assert tried == [[]], "nothing is drained while it is mounted"
    assert server.did == ["deserted", "drained with 0 mounted"]


async def test_w12_a_busy_writable_mount_is_synced_before_it_is_detached(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "BUSY_RETRY_S", 0)
    stage.program("sync", "exit 0")
    stage.program("umount", f'case "$1" in -l) {UNMOUNTS};; *) {BUSY};; esac')
    server = Server(stage, read_only=False)
    await stay_mounted(stage.plan(), server.serving(), send(signal.SIGTERM))
    clean, *_ = called = stage.called()[1:]
    assert clean == f"umount {stage.mount_point}"
    assert called[-2:] == [f"sync -f {stage.mount_point}", f"umount -l {stage.mount_point}"]
    assert not any(" -l" in call or " -f -l" in call for call in called[:-2])


async def test_w12_a_writable_mount_whose_server_failed_is_unmounted_kindly_at_first(
    stage: Stage,
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        await stay_mounted(stage.plan(), Server(stage, read_only=False).serving(), fail)
    assert stage.called()[1:] == [f"umount {stage.mount_point}"]


async def drained_with(stage: Stage, *, first: int, then: int) -> asyncio.Event:
    """What a drain was given to end it, with so many signals before it and in it."""
    events: list[asyncio.Event] = []

    class Slow(Server):
        async def drained(self, enough: asyncio.Event) -> None:
            events.append(enough)
            for _ in range(then):
                os.kill(os.getpid(), signal.SIGTERM)
                for _ in range(10):
                    await asyncio.sleep(0)

    def begin(_: object) -> None:
        for _ in range(first):
            os.kill(os.getpid(), signal.SIGTERM)
        if not first:
            stage.change("41 1", "gone")

    await stay_mounted(stage.plan(), Slow(stage, read_only=False).serving(), begin)
    return events[0]


@pytest.mark.parametrize(
    ("first", "then", "is_enough"), [(1, 0, 0), (1, 1, 1), (0, 1, 0), (0, 2, 1)]
)
async def test_a_second_signal_ends_the_drain(
    stage: Stage, first: int, then: int, is_enough: int
) -> None:
    enough = await drained_with(stage, first=first, then=then)
    assert enough.is_set() == bool(is_enough)


async def test_what_the_far_side_lacks_at_the_end_is_raised_after_all_was_ended(
    stage: Stage,
) -> None:
    class Lacking(Server):
        async def drained(self, enough: asyncio.Event) -> None:
            raise ChangesUnsent("a.txt")

    server = Lacking(stage, read_only=False)
    with pytest.raises(ChangesUnsent):
        await stay_mounted(stage.plan(), server.serving(), send(signal.SIGTERM))
    assert server.ended == [0]


async def test_a_bare_server_drains_while_it_serves(stage: Stage) -> None:
    server = Server(stage, read_only=False)
    await stay_serving(stage.plan(), server.serving(), lambda s, _: send(signal.SIGTERM)(s))
    assert server.did == ["drained with 0 mounted"]


# ------------------------------------------------------- what an earlier process left mounted


def leave_a_mount(stage: Stage, port: int) -> None:
    with stage.table_file.open("a") as table:
        options = f"rw,vers=3,port={port},mountport={port}"
        table.write(f"40 1 0:50 / {stage.mount_point} rw - nfs 127.0.0.1:/ {options}\n")


async def test_a_mount_that_a_killed_server_left_goes_on(stage: Stage) -> None:
    leave_a_mount(stage, 20049)
    server = Server(stage, read_only=False, resumed=True)
    await stay_mounted(stage.plan(), server.serving(), send(signal.SIGTERM))
    assert stage.called() == [f"umount {stage.mount_point}"]
    assert server.ended == [0]


@pytest.mark.parametrize(("port", "resumed"), [(20050, True), (20049, False)])
async def test_a_mount_of_another_server_is_in_the_way(
    stage: Stage, port: int, resumed: bool
) -> None:
    leave_a_mount(stage, port)
    server = Server(stage, read_only=False, resumed=resumed)
    with pytest.raises(MountPointUnusable, match="is busy"):
        await stay_mounted(stage.plan(), server.serving(), nothing)
    assert stage.called() == []
