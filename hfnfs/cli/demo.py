"""hf-mount demo: see it run, with no token and no network."""

import asyncio
import os
from typing import Annotated

import typer

from hfnfs.cli.exits import one_line_and_a_code
from hfnfs.demo.environment import forget_the_account

Place = Annotated[
    str | None,
    typer.Argument(
        metavar="MOUNTPOINT",
        help="mount there and stay until Ctrl-C; without it, mounts are temporary",
        show_default=False,
    ),
]


def demo(mount_point: Place = None) -> None:
    """Mount a small model, dataset and bucket from a Hub of its own, and look at them.

    Needs no token and no internet. Where this machine may not mount, they are served all the
    same and read over NFS.
    """
    with one_line_and_a_code():
        forget_the_account(os.environ)
        from hfnfs.demo.story import tell

        asyncio.run(tell(mount_point, typer.echo))
