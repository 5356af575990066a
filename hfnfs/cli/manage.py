"""hf-mount: what is not the mounting of one source itself."""

from typing import Annotated

import typer

from hfnfs.cli import exits
from hfnfs.cli.demo import demo
from hfnfs.cli.localhub import localhub
from hfnfs.cli.logs import LogFormat, set_up_logging
from hfnfs.cli.status import flush, status
from hfnfs.cli.version import version_option

PROGRAM = "hf-mount"

app = typer.Typer(
    name=PROGRAM,
    help="See what hf-mount-nfs has mounted, have changes sent, or try it.",
    epilog=exits.EPILOG,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def before(
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="say more", show_default=False)
    ] = 0,
    log_format: LogFormat = LogFormat.TEXT,
    version: Annotated[bool, version_option(PROGRAM)] = False,
) -> None:
    """Set up what all commands share."""
    set_up_logging(PROGRAM, verbose, log_format)


app.command()(demo)
app.command()(localhub)
app.command()(status)
app.command()(flush)


def main() -> None:
    """The program hf-mount."""
    app(prog_name=PROGRAM)
