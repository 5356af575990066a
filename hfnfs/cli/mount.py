"""hf-mount-nfs: mount one repo or bucket in the foreground."""

import functools
import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from hfnfs.cli import exits
from hfnfs.cli.logs import LogFormat, set_up_logging
from hfnfs.cli.loop import run
from hfnfs.cli.options import (
    MountOptions,
    MountPoint,
    Source,
    mount_config,
    takes_options,
)
from hfnfs.cli.version import version_option
from hfnfs.config import MountConfig
from hfnfs.errors import UsageError
from hfnfs.host.allocator import keep_freed_memory
from hfnfs.host.lifetime import Mounted, MountPlan, stay_mounted, stay_serving
from hfnfs.host.limits import raise_open_files_limit
from hfnfs.host.mount_command import (
    NfsTarget,
    libnfs_url,
    mount_line,
    this_system,
    unmount_line,
)

if TYPE_CHECKING:
    from hfnfs.app.running import Running

PROGRAM = "hf-mount-nfs"
SHORT_SHA = 7
ELSEWHERE = "/mnt"  # shown in the printed command when no mount point was given

log = logging.getLogger(__name__)
app = typer.Typer(
    name=PROGRAM,
    help="Mount a repo or bucket of the Hugging Face Hub as a directory. It stays mounted until "
    "Ctrl-C, SIGTERM or umount. Options may stand before or after the command.",
    epilog=exits.EPILOG,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


Version = Annotated[bool, version_option(PROGRAM)]


@app.callback()
@takes_options
def before(ctx: typer.Context, version: Version = False, *, options: MountOptions) -> None:
    """Keep the options that stand before the command."""
    ctx.obj = options


@app.command(epilog=exits.EPILOG)
@takes_options
def repo(
    ctx: typer.Context,
    source: Source,
    mount_point: MountPoint = None,
    revision: Annotated[
        str | None, typer.Option(help="branch, tag, commit or refs/pr/N", show_default=False)
    ] = None,
    *,
    options: MountOptions,
) -> None:
    """Mount a model, dataset or space, read-only.

    ID is NAME or NAMESPACE/NAME, with datasets/ or spaces/ before it for those, and may go on with
    @REVISION and /FOLDER; hf:// URLs and addresses of the web site are understood too.
    """
    options = options.over(ctx.obj)
    with _reporting(options):
        _run(mount_config(options, "repo", source, mount_point, revision), options)


@app.command(epilog=exits.EPILOG)
@takes_options
def bucket(
    ctx: typer.Context, source: Source, mount_point: MountPoint = None, *, options: MountOptions
) -> None:
    """Mount a bucket, to read and to write.

    ID is NAMESPACE/NAME and may go on with /FOLDER; hf://buckets/… is understood too. What is
    written is on the local disk first and goes to the Hub by itself; at the end all that is left
    to be sent is.
    """
    options = options.over(ctx.obj)
    with _reporting(options):
        _run(mount_config(options, "bucket", source, mount_point, None), options)


@contextmanager
def _reporting(options: MountOptions) -> Iterator[None]:
    set_up_logging(PROGRAM, options.verbose or 0, options.log_format or LogFormat.TEXT)
    with exits.one_line_and_a_code():
        yield


def _run(config: MountConfig, options: MountOptions) -> None:
    """Mount, or only serve, until it is over."""
    from hfnfs.app.running import running

    raise_open_files_limit()
    keep_freed_memory()
    gc.freeze()  # what was imported stays: nobody waits while the collector looks through it
    path = ELSEWHERE if config.mount_point is None else str(config.mount_point)
    if options.serve_only:
        config = replace(config, mount_point=None)
    plan = MountPlan(path, config.metadata_ttl_s)
    if options.serve_only:
        on_serving = functools.partial(_say_serving, path)
        run(stay_serving(plan, running(config), on_serving))
    elif config.mount_point is None:
        raise UsageError("MOUNTPOINT is missing; only --serve-only can do without")
    else:
        run(stay_mounted(plan, running(config), _say_mounted))


def _say_mounted(mounted: "Mounted[Running]") -> None:
    served, path = mounted.served, mounted.point.path
    if mounted.point.hides:
        log.warning("%s was not empty; what is in it is back after the mount", path)
    log.info(
        "mounted %s %s on %s (%s); to unmount: Ctrl-C or %s",
        served.kind,
        served.source_label,
        path,
        _described(served),
        unmount_line(path, sudo=mounted.sudo),
        extra={"event": "mounted", "mount_point": path, **_facts(served)},
    )


def _say_serving(path: str, served: "Running", target: NfsTarget) -> None:
    log.info(
        "serving %s %s (%s) until Ctrl-C; below: a command that mounts it, and its URL for "
        "libnfs (nfs-ls, nfs-cat, …)",
        served.kind,
        served.source_label,
        _described(served),
        extra={"event": "serving", **_facts(served)},
    )
    typer.echo(mount_line(target, path, this_system()))
    typer.echo(libnfs_url(target))


def _described(served: "Running") -> str:
    at = f"at {served.revision[:SHORT_SHA]}, " if served.kind == "repo" else ""
    how = "read-only" if served.read_only else "read-write"
    return f"{at}{how}, port {served.port}"


def _facts(served: "Running") -> dict[str, object]:
    """For JSON logs."""
    return {
        "kind": served.kind,
        "source": served.source_label,
        "revision": served.revision,
        "port": served.port,
        "read_only": served.read_only,
    }


def main() -> None:
    """The program hf-mount-nfs."""
    app(prog_name=PROGRAM)
