"""Programs of the system, run for a bounded time."""

import asyncio
import os
import signal

from hfnfs.host.helper import run_helper


async def test_what_a_program_says_comes_back_in_one_line() -> None:
    outcome = await run_helper(["sh", "-c", "echo one; echo two >&2; exit 3"], 60)
    assert (outcome.code, outcome.said, outcome.ok) == (3, "one two", False)


async def test_a_program_that_is_not_there_is_an_outcome_too() -> None:
    outcome = await run_helper(["/nowhere/mount.nfs"], 60)
    assert not outcome.ok
    assert "/nowhere/mount.nfs: No such file" in outcome.said


async def test_a_program_that_hangs_is_killed() -> None:
    outcome = await run_helper(["sleep", "100"], 0.01)
    assert outcome.code is None
    assert not outcome.ok


async def test_programs_speak_english_and_find_system_programs() -> None:
    outcome = await run_helper(["sh", "-c", 'echo "$LC_ALL $PATH"'], 60)
    language, _, path = outcome.said.partition(" ")
    assert language == "C"
    assert "/usr/sbin" in path.split(os.pathsep)


async def test_ctrl_c_of_the_terminal_does_not_reach_a_program() -> None:
    outcome = await run_helper(["sh", "-c", "ps -o pgid= -p $$"], 60)
    assert outcome.ok
    assert int(outcome.said) != os.getpgrp()


async def test_the_loop_goes_on_while_a_program_runs() -> None:
    turned = asyncio.Event()
    asyncio.get_running_loop().call_soon(turned.set)
    await run_helper(["true"], 60)
    assert turned.is_set()


async def test_a_cancelled_call_takes_its_program_along() -> None:
    reader, writer = os.pipe()
    async with asyncio.TaskGroup() as tasks:
        command = f"echo $$ > /proc/{os.getpid()}/fd/{writer}; exec sleep 100"
        task = tasks.create_task(run_helper(["sh", "-c", command], 60))
        pid = int(await asyncio.to_thread(os.read, reader, 20))
        task.cancel()
    os.close(reader)
    os.close(writer)
    try:
        os.kill(pid, signal.SIG_DFL)
    except ProcessLookupError:
        return
    raise AssertionError(f"process {pid} is left")
