"""The option --version."""

import importlib.metadata
from typing import Any

import typer


def version_option(program: str) -> Any:
    """Print the version and end."""

    def show(wanted: bool) -> None:
        if wanted:
            typer.echo(f"{program} {importlib.metadata.version('hfnfs')}")
            raise typer.Exit

    return typer.Option("--version", callback=show, is_eager=True, help="print the version")
