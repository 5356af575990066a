import asyncio
from collections.abc import Callable

import pytest

from hfnfs.errors import (
    HfnfsError,
    NoSpace,
    NotAuthenticated,
    QuotaReached,
    RateLimited,
    RemoteUnavailable,
    StaleHandle,
    TryLater,
)
from hfnfs.nfs3.waiting import Waiting
from hfnfs.vfs.needs import Held, Journaled, Listed, Need, NotYet
from tests.fakes.volume import FarSide

ATTEMPTS_MAX = 5
JOURNALED = Journaled(1)


def needs(far: FarSide, count: int) -> Callable[[], str]:
    """A request that misses something `count` times, then gives what was pinned meanwhile."""
    left = count

    def run() -> str:
        nonlocal left
        if left:
            left -= 1
            raise NotYet(root_need(far))
        return f"done with {len(far.pinned)} pinned"

    return run


def root_need(far: FarSide) -> Listed:
    return Listed(far.volume.root.fileid, 0.0)


def told(error: Exception) -> str:
    return type(error).__name__


def holding() -> Callable[[], str | Held[str]]:
    """A request that is done at once and must become durable."""
    return lambda: Held("written", JOURNALED)


def finished(result: str) -> str:
    return result


def waiting(far: FarSide, deadline_s: float = 20.0, hold_deadline_s: float = 20.0) -> Waiting:
    return Waiting(
        far, attempts_max=ATTEMPTS_MAX, deadline_s=deadline_s, hold_deadline_s=hold_deadline_s
    )


async def test_a_request_is_run_again_once_its_need_is_met() -> None:
    far = FarSide({})
    assert (
        await waiting(far).rerun(needs(far, 0), root_need(far), finished, told)
        == "done with 1 pinned"
    )
    assert far.met == [root_need(far)]


async def test_what_every_round_brought_stays_pinned_until_the_last_run() -> None:
    far = FarSide({})
    assert (
        await waiting(far).rerun(needs(far, 3), root_need(far), finished, told)
        == "done with 4 pinned"
    )
    assert far.pinned == []


async def test_rounds_are_bounded() -> None:
    far = FarSide({})
    assert await waiting(far).rerun(needs(far, 99), root_need(far), finished, told) == "TryLater"
    assert len(far.met) == ATTEMPTS_MAX
    assert far.pinned == []


async def test_time_is_bounded() -> None:
    far = FarSide({})
    far.gate = asyncio.Event()  # nobody ever sets it
    assert (
        await waiting(far, deadline_s=0).rerun(needs(far, 0), root_need(far), finished, told)
        == "TryLater"
    )


async def test_a_need_that_cannot_be_met_is_the_requests_failure() -> None:
    far = FarSide({})

    def refuse(need: Need) -> None:
        raise RemoteUnavailable("down")

    far.before_meeting = refuse
    result = await waiting(far).rerun(needs(far, 0), root_need(far), finished, told)
    assert result == "RemoteUnavailable"


async def test_an_error_of_the_last_run_is_the_requests_failure() -> None:
    far = FarSide({})

    def run() -> str:
        raise HfnfsError("no")

    assert await waiting(far).rerun(run, root_need(far), finished, told) == "HfnfsError"
    assert far.pinned == []


async def test_a_timeout_of_somebody_else_is_not_taken_for_our_deadline() -> None:
    far = FarSide({})

    def run() -> str:
        raise TimeoutError

    assert await waiting(far).rerun(run, root_need(far), finished, told) == "TimeoutError"


async def test_a_held_result_is_given_once_its_need_is_met() -> None:
    far = FarSide({})
    held = Held("written", JOURNALED)
    assert await waiting(far).hold(held, finished, told) == "written"
    assert far.met == [JOURNALED]


async def test_a_held_result_after_a_miss_waits_too() -> None:
    far = FarSide({})
    assert await waiting(far).rerun(holding(), root_need(far), finished, told) == "written"
    assert len(far.met) == 2


async def test_what_has_run_is_waited_for_longer_than_what_has_not() -> None:
    far = FarSide({})

    def run() -> str | Held[str]:
        far.gate = asyncio.Event()  # from now on nothing is met at once
        asyncio.get_running_loop().call_soon(far.gate.set)
        return Held("written", JOURNALED)

    result = await waiting(far, deadline_s=0).rerun(run, root_need(far), finished, told)
    assert result == "written"


async def test_an_answer_is_made_once_all_is_durable() -> None:
    far = FarSide({})

    def finish(result: str) -> str:
        return f"{result}, {len(far.met)} met"

    assert await waiting(far).hold(Held("done", JOURNALED), finish, told) == "done, 1 met"
    result = await waiting(far).rerun(holding(), root_need(far), finish, told)
    assert result == "written, 3 met"


async def test_the_time_for_what_must_be_durable_is_bounded() -> None:
    far = FarSide({})
    far.gate = asyncio.Event()  # nobody ever sets it
    held = Held("written", JOURNALED)
    assert await waiting(far, hold_deadline_s=0).hold(held, finished, told) == "NotDurable"
    far.gate.set()  # too late: what was answered stays so


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TryLater("busy"), "NotDurable"),
        (RateLimited("busy"), "NotDurable"),
        (NotAuthenticated("who?"), "NotDurable"),
        (StaleHandle("removed meanwhile"), "NotDurable"),
        (NoSpace("full"), "NoSpace"),
        (QuotaReached("full"), "QuotaReached"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (TimeoutError(), "TimeoutError"),
    ],
)
async def test_what_was_done_is_never_answered_as_if_it_had_not_been(
    error: Exception, expected: str
) -> None:
    far = FarSide({})

    def refuse(need: Need) -> None:
        if need == JOURNALED:
            raise error

    far.before_meeting = refuse
    held = Held("written", JOURNALED)

    def run() -> str | Held[str]:
        return held

    assert await waiting(far).hold(held, finished, told) == expected
    assert await waiting(far).rerun(run, root_need(far), finished, told) == expected


async def test_being_cancelled_is_no_failure_of_the_request() -> None:
    far = FarSide({})
    far.gate = asyncio.Event()
    reached = asyncio.Event()
    far.before_meeting = lambda need: reached.set()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(waiting(far).rerun(needs(far, 0), root_need(far), finished, told))
        await reached.wait()
        task.cancel()
    assert task.cancelled()
