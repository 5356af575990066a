import asyncio
import gc

import pytest

from hfnfs.errors import RemoteUnavailable
from hfnfs.transfer.single_flight import SingleFlight


class Job:
    """Counts its runs; ends when told to."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.go_on = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, key: str) -> str:
        self.started.append(key)
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        return key.upper()


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_many_callers_share_one_run() -> None:
    job = Job()
    async with asyncio.TaskGroup() as tasks:
        flight = SingleFlight(tasks, job)
        callers = [tasks.create_task(flight("a")) for _ in range(200)]
        await turns()
        assert flight.is_flying("a")
        assert not flight.is_flying("b")
        job.go_on.set()
    assert {caller.result() for caller in callers} == {"A"}
    assert job.started == ["a"]
    assert not flight.is_flying("a")


async def test_other_keys_and_later_callers_run_again() -> None:
    job = Job()
    job.go_on.set()
    async with asyncio.TaskGroup() as tasks:
        flight = SingleFlight(tasks, job)
        assert await flight("a") == "A"
        assert await flight("b") == "B"
        assert await flight("a") == "A"
    assert job.started == ["a", "b", "a"]


async def test_a_failure_reaches_all_who_wait_and_nobody_later() -> None:
    job = Job()
    job.error = RemoteUnavailable("no")
    async with asyncio.TaskGroup() as tasks:
        flight = SingleFlight(tasks, job)

        async def fails() -> None:
            with pytest.raises(RemoteUnavailable):
                await flight("a")

        for _ in range(3):
            tasks.create_task(fails())
        await turns()
        job.go_on.set()
        await turns()
        job.error = None
        assert await flight("a") == "A"
    assert job.started == ["a", "a"]


async def test_a_caller_that_is_cancelled_leaves_the_job_flying() -> None:
    job = Job()
    async with asyncio.TaskGroup() as tasks:
        flight = SingleFlight(tasks, job)
        impatient = tasks.create_task(flight("a"))
        await turns()
        impatient.cancel()
        await turns()
        patient = tasks.create_task(flight("a"))
        await turns()
        job.go_on.set()
    assert patient.result() == "A"
    assert job.started == ["a"]


async def test_a_foreseen_failure_that_nobody_waits_for_is_not_complained_of() -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    job = Job()
    job.error = RemoteUnavailable("no")
    async with asyncio.TaskGroup() as tasks:
        flight = SingleFlight(tasks, job)
        caller = tasks.create_task(flight("a"))
        await turns()
        caller.cancel()
        await turns()
        job.go_on.set()
    del flight, caller, job
    gc.collect()
    assert complaints == []
