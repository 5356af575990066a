"""Exit codes, and the one line that a user reads when something failed."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import typer

from hfnfs import errors

log = logging.getLogger("hfnfs")

BUG = 70  # sysexits.h's EX_SOFTWARE
_SIGNALLED = 128  # as shells count: 130 after Ctrl-C, 143 after SIGTERM


class Exit(NamedTuple):
    """One row of the table that --help and the README show."""

    code: int
    meaning: str
    kinds: tuple[type[errors.HfnfsError], ...] = ()


EXITS = [
    Exit(0, "ended in order: unmounted, or the signal of a bare server came"),
    Exit(2, "the command line makes no sense, or names no mount",
         (errors.UsageError, errors.NotServing)),
    Exit(
        3,
        "this machine cannot mount: no helper, no NFS in the kernel, no privilege",
        (errors.MountHelperMissing, errors.KernelWithoutNfs, errors.MountNotPermitted),
    ),
    Exit(4, "the mount point cannot be used", (errors.MountPointUnusable,)),
    Exit(5, "mounting failed for another reason", (errors.MountFailed,)),
    Exit(6, "unmounting failed: the mount is still there", (errors.UnmountFailed,)),
    Exit(7, "the port cannot be had", (errors.PortRefused,)),
    Exit(8, "the cache directory cannot be used, or its disk is full",
         (errors.CacheUnusable, errors.NoSpace)),
    Exit(9, "the Hub lacks changes: they are kept, and sent later or by the next mount",
         (errors.ChangesUnsent,)),
    Exit(
        10,
        "the Hub refuses: no or a wrong token (401), no right (403), a gated repo",
        (errors.NotAuthenticated, errors.Forbidden, errors.GatedRepo),
    ),
    Exit(
        11,
        "no such repo, bucket, revision or folder",
        (errors.SourceMissing, errors.RevisionMissing, errors.RemoteEntryMissing),
    ),
    Exit(
        12,
        "the Hub cannot be reached, or wants us to slow down (429); offline and not cached",
        (errors.RemoteUnavailable, errors.RateLimited, errors.Offline),
    ),
    Exit(13, "the Hub did something else than was asked", (errors.RemoteError,)),
    Exit(BUG, "a bug; -v shows the traceback"),
    Exit(_SIGNALLED + 2, "Ctrl-C before it was mounted (143: SIGTERM)", (errors.Interrupted,)),
]  # fmt: skip

# The backspace keeps the lines from being joined into a paragraph.
EPILOG = "\n".join(["\b", "Exit codes:", *(f"  {row.code:>3}  {row.meaning}" for row in EXITS)])

_CODE_OF = {kind: row.code for row in EXITS for kind in row.kinds}


def exit_code(error: BaseException) -> int:
    """The code to leave with."""
    if isinstance(error, errors.Interrupted):
        return _SIGNALLED + error.signal_number
    if isinstance(error, KeyboardInterrupt):
        return _SIGNALLED + 2
    for kind in type(error).__mro__:
        if kind in _CODE_OF:
            return _CODE_OF[kind]
    return BUG


def reason(error: BaseException) -> BaseException:
    """What a TaskGroup wrapped: the error meant for the user, if there is one in it."""
    while isinstance(error, BaseExceptionGroup):
        ours, _ = error.split(errors.HfnfsError)
        error = (ours or error).exceptions[0]
    return error


@contextmanager
def one_line_and_a_code() -> Iterator[None]:
    """Turn what went wrong inside into one logged line and typer's exit."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except (Exception, BaseExceptionGroup, KeyboardInterrupt, asyncio.CancelledError) as caught:
        raise typer.Exit(_report(caught)) from None


def _report(caught: BaseException) -> int:
    error = reason(caught)
    code = exit_code(error)
    if code == BUG:
        log.error("a bug: %s: %s", type(error).__name__, error, exc_info=caught)
    else:
        log.error("%s", error, extra={"kind": type(error).__name__})
        log.debug("it came about here", exc_info=caught)
    return code
