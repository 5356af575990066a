"""hf-mount localhub: a Hub of one's own on loopback, to try and to test without the network."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from hfnfs.cli.exits import one_line_and_a_code
from hfnfs.cli.loop import run
from hfnfs.localhub import sample
from hfnfs.localhub.accounts import DEFAULT_TOKEN
from hfnfs.localhub.faults import described
from hfnfs.localhub.hub import LocalHub
from hfnfs.localhub.serve import serve

Directory = Annotated[
    Path, typer.Argument(help="where it keeps its data; made if missing", show_default=False)
]
Port = Annotated[int, typer.Option(help="port of the Hub; 0: any that is free")]
FaultSpecs = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        help="make requests go wrong: '[METHOD] REGEX field=value …', as in 'GET /tree status=503 "
        "count=2' or '/xorbs/ latency_s=0.2 count=all'. Fields: status, code, latency_s, drop, "
        "cut_after, corrupt_at, late_by, lie, after, count. May be repeated",
        show_default=False,
    ),
]
Sample = Annotated[
    bool, typer.Option("--sample", help="put a small model, dataset and bucket there")
]


def localhub(
    directory: Directory, port: Port = 0, fault: FaultSpecs = None, sample_wanted: Sample = False
) -> None:
    """Run a Hub of one's own on loopback until Ctrl-C; its data stays in DIRECTORY."""
    with one_line_and_a_code():
        faults = [described(text) for text in fault or ()]

        def ready(hub: LocalHub) -> None:
            typer.echo(how_to_use(hub.endpoint, directory, sample_wanted=sample_wanted))

        run(serve(directory, port=port, faults=faults, with_sample=sample_wanted, ready=ready))


def how_to_use(endpoint: str, directory: Path, *, sample_wanted: bool) -> str:
    """What a user types in another shell to talk to it."""
    lines = [
        f"A Hub of your own in {shlex.quote(str(directory))} until Ctrl-C. For its clients:",
        f"export HF_ENDPOINT={endpoint}",
        f"export HF_TOKEN={DEFAULT_TOKEN}",
        # What hf_xet remembers to be on one Hub is not on another.
        f"export HF_XET_CACHE={shlex.quote(str(directory / 'client-cache'))}",
        "export NO_PROXY=127.0.0.1",
    ]
    if sample_wanted:
        names = f"{sample.MODEL}, datasets/{sample.DATASET} and the bucket {sample.BUCKET}"
        lines.append(f"# There are {names}")
    return "\n".join(lines)
