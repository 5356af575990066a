"""⏳ Run a program of the system for a bounded time, while the event loop goes on serving."""

import asyncio
import logging
import os
from collections.abc import Sequence
from typing import NamedTuple

from hfnfs.host.preflight import search_path

log = logging.getLogger(__name__)

_KILLED_WITHIN_S = 2.0  # a killed process in a system call that cannot be interrupted is left


class Outcome(NamedTuple):
    """How a program ended."""

    code: int | None  # None: it did not end in time and was killed
    said: str  # what it wrote to stdout and stderr, in one line

    @property
    def ok(self) -> bool:
        """Whether it did what it was asked."""
        return self.code == 0


async def run_helper(argv: Sequence[str], timeout_s: float) -> Outcome:
    """Run `argv` without a terminal, in English, out of reach of the terminal's Ctrl-C."""
    log.debug("running %s", argv)
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "LC_ALL": "C", "PATH": search_path()},
            start_new_session=True,
        )
    except OSError as error:
        return Outcome(127, f"{argv[0]}: {error.strerror}")
    try:
        async with asyncio.timeout(timeout_s):
            said, _ = await process.communicate()
    except TimeoutError:
        await _kill(process)
        return Outcome(None, f"{argv[0]} did not end within {timeout_s:g} s")
    except asyncio.CancelledError:
        await _kill(process)
        raise
    outcome = Outcome(process.returncode, " ".join(said.decode(errors="replace").split()))
    log.debug("%s ended with %s: %s", argv[0], outcome.code, outcome.said)
    return outcome


async def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        try:
            async with asyncio.timeout(_KILLED_WITHIN_S):
                await process.wait()
        except TimeoutError:
            log.warning("process %d does not end, even killed", process.pid)
