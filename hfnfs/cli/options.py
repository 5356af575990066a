"""The options of a mount: declared once, understood before and after the subcommand."""

import functools
import inspect
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

from hfnfs.cli.logs import LogFormat
from hfnfs.config import KIB, MIB, MountConfig
from hfnfs.disk.layout import default_cache_dir
from hfnfs.errors import UsageError

_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]?)(?P<decimal>B?)(?:IB)?")
CACHE_BYTES_MIN = 16 * MIB  # less would hold no two read windows


class CacheMode(StrEnum):
    """What is fetched of a file that is read."""

    BLOCK = "block"
    FILE = "file"


class Reader(StrEnum):
    """Who reads Xet content."""

    HFNFS = "hfnfs"
    HF_XET = "hf-xet"


def parse_size(text: str) -> int:
    """Bytes of what parse_quota reads, enough to work with."""
    size = parse_quota(text)
    if size < CACHE_BYTES_MIN:
        raise typer.BadParameter(f"{text!r} is less than {CACHE_BYTES_MIN // MIB}M")
    return size


def parse_quota(text: str) -> int:
    """Bytes of "1048576", "512M", "10GiB" (powers of 1024) or "10GB" (powers of 1000)."""
    match = _SIZE.fullmatch(text.strip().upper())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no size; 500000000, 512M, 10G or 10GB would be")
    base = 1000 if match["decimal"] and match["unit"] else KIB
    return int(float(match["number"]) * base ** (" KMGT".index(match["unit"] or " ")))


def parse_mode(text: str) -> int:
    """Permission bits, written in octal as for chmod."""
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise typer.BadParameter(f"{text!r} is no mode; 444 or 0755 would be")
    return int(text, 8)


Source = Annotated[str, typer.Argument(metavar="ID", show_default=False)]
MountPoint = Annotated[
    str | None,
    typer.Argument(
        metavar="MOUNTPOINT",
        help="directory to mount on; made if missing. Not needed with --serve-only",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class MountOptions:
    """What may be given with every mount; None was not given."""

    hf_token: Annotated[
        str | None, typer.Option(help="token to use. Others on this machine can see it: prefer "
        "--token-file or a login (`hf auth login`)", show_default=False)
    ] = None  # fmt: skip
    token_file: Annotated[
        Path | None, typer.Option(help="file with the token; read again when it changes")
    ] = None
    hub_endpoint: Annotated[
        str | None, typer.Option(help="the Hub's URL (default: HF_ENDPOINT or huggingface.co)")
    ] = None
    cache_dir: Annotated[
        Path | None,
        typer.Option(
            help="where is kept what was read, and what the Hub lacks "
            "of changes (default: ~/.cache/hfnfs)"
        ),
    ] = None
    cache_size: Annotated[
        int | None, typer.Option(parser=parse_size, metavar="SIZE", help="bound of the cache, "
        "e.g. 500M (default: 10G)")
    ] = None  # fmt: skip
    cache_mode: Annotated[
        CacheMode | None, typer.Option(help="block: keep what is read; file: fetch the rest of a "
        "file in the background too (default: block)")
    ] = None  # fmt: skip
    no_disk_cache: Annotated[
        bool | None, typer.Option("--no-disk-cache", help="keep what is read in memory alone, up "
        "to half of --memory-limit; nothing of it is written to disk (changes of a bucket are)")
    ] = None  # fmt: skip
    memory_limit: Annotated[
        int | None, typer.Option(parser=parse_size, metavar="SIZE", help="what reading may hold in "
        "memory: half for what is on its way, half for what no disk can keep (default: 512M)")
    ] = None  # fmt: skip
    reader: Annotated[
        Reader | None, typer.Option(help="who reads Xet content: hfnfs itself or hf_xet (default: "
        "hfnfs)")
    ] = None  # fmt: skip
    uid: Annotated[int | None, typer.Option(min=0, help="owner shown (default: you)")] = None
    gid: Annotated[int | None, typer.Option(min=0, help="group shown (default: yours)")] = None
    file_mode: Annotated[
        int | None,
        typer.Option(
            parser=parse_mode,
            metavar="OCTAL",
            help="mode of files (default: 644, of what is read-only 444)",
        ),
    ] = None
    dir_mode: Annotated[
        int | None,
        typer.Option(
            parser=parse_mode,
            metavar="OCTAL",
            help="mode of directories (default: 755, of what is read-only 555)",
        ),
    ] = None
    read_only: Annotated[
        bool | None,
        typer.Option("--read-only", help="refuse changes to a bucket (repos always do)"),
    ] = None
    quota: Annotated[
        int | None, typer.Option(parser=parse_quota, metavar="SIZE", help="refuse writes beyond "
        "which the bucket would hold more (default: no bound of ours)")
    ] = None  # fmt: skip
    max_staging_size: Annotated[
        int | None, typer.Option(parser=parse_size, metavar="SIZE", help="written bytes kept on "
        "the local disk; writers wait while the Hub lacks so many (default: 10G)")
    ] = None  # fmt: skip
    flush_debounce_ms: Annotated[
        int | None, typer.Option(min=0, max=3_600_000, metavar="MS", help="what was changed goes "
        "to the Hub once it was quiet for so long (default: 2000)")
    ] = None  # fmt: skip
    flush_max_batch_window_ms: Annotated[
        int | None, typer.Option(min=0, max=3_600_000, metavar="MS", help="but no later than so "
        "long after its first change (default: 30000)")
    ] = None  # fmt: skip
    flush_shutdown_timeout_ms: Annotated[
        int | None, typer.Option(min=0, max=86_400_000, metavar="MS", help="at the end, send what "
        "the Hub lacks for so long; the rest is kept for the next mount (default: 45000)")
    ] = None  # fmt: skip
    poll_interval_secs: Annotated[
        float | None, typer.Option(min=0, max=86_400, metavar="SECONDS", help="ask so often what "
        "others changed, where the Hub does not tell; 0: never (default: 30)")
    ] = None  # fmt: skip
    poll_listing_concurrency: Annotated[
        int | None, typer.Option(min=1, max=64, metavar="N", help="directories listed at once "
        "when others changed something (default: 4)")
    ] = None  # fmt: skip
    no_filter_os_files: Annotated[
        bool | None, typer.Option("--no-filter-os-files", help="send .DS_Store, Thumbs.db and the "
        "like to the Hub too; else they stay on this machine")
    ] = None  # fmt: skip
    metadata_ttl_ms: Annotated[
        int | None, typer.Option(min=0, max=86_400_000, metavar="MS", help="how long names and "
        "attributes may be out of date, here and in the kernel (default: 10000)")
    ] = None  # fmt: skip
    inode_soft_limit: Annotated[
        int | None, typer.Option(min=1000, metavar="N", help="files and directories held in "
        "memory, about 600 bytes each; unused ones beyond it are forgotten and listed again when "
        "asked for (default: 1000000)")
    ] = None  # fmt: skip
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="port to serve on (default: of a bucket "
        "that takes changes the one it had last, if it is free; else any that is)")
    ] = None  # fmt: skip
    serve_only: Annotated[
        bool | None, typer.Option("--serve-only", help="do not mount: print the command that "
        "would, and a URL for libnfs")
    ] = None  # fmt: skip
    offline: Annotated[
        bool | None, typer.Option("--offline", help="ask nothing of the Hub: show what is cached")
    ] = None
    verbose: Annotated[
        int | None, typer.Option("--verbose", "-v", count=True, help="say more; -vv: everything",
        show_default=False)
    ] = None  # fmt: skip
    log_format: Annotated[LogFormat | None, typer.Option(help="(default: text)")] = None

    def over(self, before: "MountOptions") -> "MountOptions":
        """These, given after the subcommand, and where none was given those before it."""
        pairs = {f.name: (getattr(before, f.name), getattr(self, f.name)) for f in fields(self)}
        merged = {name: old if new is None else new for name, (old, new) in pairs.items()}
        merged["verbose"] = (before.verbose or 0) + (self.verbose or 0)
        return MountOptions(**merged)


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let typer call a function that takes `options: MountOptions`, one option for each field."""
    hints = get_type_hints(MountOptions, include_extras=True)
    by_name = inspect.Parameter.KEYWORD_ONLY
    ours = [
        inspect.Parameter(f.name, by_name, default=None, annotation=hints[f.name])
        for f in fields(MountOptions)
    ]
    own_hints = get_type_hints(command, include_extras=True)
    own = [
        parameter.replace(annotation=own_hints[name])
        for name, parameter in inspect.signature(command).parameters.items()
        if name != "options"
    ]

    @functools.wraps(command)
    def called(**given: Any) -> None:
        options = MountOptions(**{f.name: given.pop(f.name) for f in fields(MountOptions)})
        command(**given, options=options)

    called.__signature__ = inspect.Signature([*own, *ours])  # type: ignore[attr-defined]  # PEP 362
    called.__annotations__ = {p.name: p.annotation for p in (*own, *ours)}
    return called


def mount_config(
    options: MountOptions,
    kind: Literal["repo", "bucket"],
    source: str,
    mount_point: str | None,
    revision: str | None,
) -> MountConfig:
    """The tunables of one mount; what was not given keeps its default. Raises UsageError."""
    cache_dir = options.cache_dir or default_cache_dir(os.environ)
    if mount_point is not None and _is_below(cache_dir, mount_point):
        raise UsageError(f"the cache {cache_dir} cannot lie below the mount point {mount_point}")
    given: dict[str, object] = {
        "cache_bytes_max": options.cache_size,
        "cache_mode": options.cache_mode and options.cache_mode.value,
        "disk_cache": False if options.no_disk_cache else None,
        "memory_bytes_max": options.memory_limit,
        "reader": options.reader and options.reader.value,
        "endpoint": options.hub_endpoint,
        "token": options.hf_token,
        "token_file": options.token_file,
        "offline": options.offline,
        "read_only": options.read_only,
        "quota_bytes": options.quota,
        "staging_bytes_max": options.max_staging_size,
        "flush_debounce_s": _seconds(options.flush_debounce_ms),
        "flush_window_s": _seconds(options.flush_max_batch_window_ms),
        "flush_shutdown_timeout_s": _seconds(options.flush_shutdown_timeout_ms),
        "poll_interval_s": options.poll_interval_secs,
        "poll_listing_concurrency": options.poll_listing_concurrency,
        "filter_os_files": False if options.no_filter_os_files else None,
        "metadata_ttl_s": _seconds(options.metadata_ttl_ms),
        "file_mode": options.file_mode,
        "directory_mode": options.dir_mode,
        "nodes_soft_max": options.inode_soft_limit,
        "port": options.port,
    }
    return MountConfig(
        source=source,
        kind=kind,
        cache_dir=cache_dir.absolute(),
        mount_point=None if mount_point is None else Path(os.path.abspath(mount_point)),
        revision=revision,
        uid=os.getuid() if options.uid is None else options.uid,
        gid=os.getgid() if options.gid is None else options.gid,
        **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]  # by name
    )


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _is_below(path: Path, directory: str) -> bool:
    """By name alone: what is mounted there already might never answer."""
    directory = os.path.abspath(directory)
    return os.path.commonpath([os.path.abspath(path), directory]) == directory
