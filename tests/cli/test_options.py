"""Options: what they mean, and that they may stand before or after the command."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from hfnfs.cli.options import (
    CacheMode,
    MountOptions,
    Reader,
    mount_config,
    parse_mode,
    parse_quota,
    parse_size,
    takes_options,
)
from hfnfs.config import GIB, MIB, MountConfig
from hfnfs.errors import UsageError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("10000000000", 10_000_000_000),
        ("512M", 512 * MIB),
        ("10g", 10 * GIB),
        ("10GiB", 10 * GIB),
        ("1.5T", 1536 * GIB),
        ("10GB", 10_000_000_000),
        ("20000000B", 20_000_000),
    ],
)
def test_sizes_are_bytes_or_have_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "G", "-1", "1e9", "ten", "10X", "10 G G", "0", "1M", "10GiBB"]
)
def test_what_is_no_size_or_too_little_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_size(text)


def test_a_quota_may_be_small() -> None:
    assert (parse_quota("0"), parse_quota("64K")) == (0, 65536)


def test_modes_are_octal() -> None:
    assert (parse_mode("444"), parse_mode("0750")) == (0o444, 0o750)
    for text in ["", "8", "999", "4444", "rwx", "0o444"]:
        with pytest.raises(typer.BadParameter):
            parse_mode(text)


def config(options: MountOptions, mount_point: str | None = "/mnt/x") -> MountConfig:
    return mount_config(options, "repo", "gpt2", mount_point, None)


def test_what_is_not_given_keeps_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/me")
    plain = config(MountOptions())
    assert plain == MountConfig(
        source="gpt2",
        kind="repo",
        cache_dir=Path("/var/cache/me/hfnfs"),
        mount_point=Path("/mnt/x"),
        uid=os.getuid(),
        gid=os.getgid(),
    )


def test_every_option_arrives(tmp_path: Path) -> None:
    made = config(
        MountOptions(
            hf_token="secret",
            token_file=tmp_path / "token",
            hub_endpoint="http://127.0.0.1:1",
            cache_dir=tmp_path,
            cache_size=20 * MIB,
            cache_mode=CacheMode.FILE,
            reader=Reader.HF_XET,
            no_disk_cache=True,
            memory_limit=64 * MIB,
            uid=0,
            gid=7,
            file_mode=0o400,
            dir_mode=0o500,
            metadata_ttl_ms=1500,
            inode_soft_limit=5000,
            port=20049,
            offline=True,
            read_only=True,
            quota=GIB,
            max_staging_size=2 * GIB,
            flush_debounce_ms=100,
            flush_max_batch_window_ms=2000,
            flush_shutdown_timeout_ms=0,
            poll_interval_secs=0,
            poll_listing_concurrency=8,
            no_filter_os_files=True,
        )
    )
    assert (made.token, made.token_file) == ("secret", tmp_path / "token")
    assert (made.endpoint, made.cache_dir) == ("http://127.0.0.1:1", tmp_path)
    assert (made.cache_bytes_max, made.uid, made.gid) == (20 * MIB, 0, 7)
    assert (made.file_mode, made.directory_mode) == (0o400, 0o500)
    assert (made.cache_mode, made.reader) == ("file", "hf-xet")
    assert (made.disk_cache, made.memory_bytes_max) == (False, 64 * MIB)
    assert (made.metadata_ttl_s, made.port, made.offline) == (1.5, 20049, True)
    assert made.nodes_soft_max == 5000
    assert (made.read_only, made.quota_bytes, made.staging_bytes_max) == (True, GIB, 2 * GIB)
    assert (made.flush_debounce_s, made.flush_window_s) == (0.1, 2.0)
    assert made.flush_shutdown_timeout_s == 0
    assert (made.poll_interval_s, made.poll_listing_concurrency) == (0, 8)
    assert made.filter_os_files is False


def test_no_token_is_in_what_a_config_prints() -> None:
    assert "secret" not in repr(config(MountOptions(hf_token="secret")))


@pytest.mark.parametrize("cache", ["m", "m/cache", "./m/../m/c"])
def test_the_cache_cannot_lie_on_the_mount(
    cache: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="below the mount point"):
        config(MountOptions(cache_dir=Path(cache)), str(tmp_path / "m"))


def test_a_cache_beside_the_mount_is_fine(tmp_path: Path) -> None:
    assert config(MountOptions(cache_dir=tmp_path / "mm"), str(tmp_path / "m"))


# ------------------------------------------------------------ before and after


def given(*argv: str) -> MountOptions:
    """What a command of a small program gets when it is called like that."""
    app = typer.Typer()
    seen: list[MountOptions] = []

    @app.callback()
    @takes_options
    def before(ctx: typer.Context, *, options: MountOptions) -> None:
        ctx.obj = options

    @app.command()
    @takes_options
    def go(ctx: typer.Context, *, options: MountOptions) -> None:
        seen.append(options.over(ctx.obj))

    result = CliRunner().invoke(app, argv)
    assert result.exit_code == 0, result.output
    return seen[0]


EXAMPLES: list[tuple[str, list[str], Any]] = [
    ("hf_token", ["--hf-token", "t"], "t"),
    ("token_file", ["--token-file", "/t"], Path("/t")),
    ("hub_endpoint", ["--hub-endpoint", "http://h"], "http://h"),
    ("cache_dir", ["--cache-dir", "/c"], Path("/c")),
    ("cache_size", ["--cache-size", "1G"], GIB),
    ("uid", ["--uid", "0"], 0),
    ("gid", ["--gid", "5"], 5),
    ("file_mode", ["--file-mode", "640"], 0o640),
    ("dir_mode", ["--dir-mode", "750"], 0o750),
    ("read_only", ["--read-only"], True),
    ("quota", ["--quota", "1M"], MIB),
    ("max_staging_size", ["--max-staging-size", "1G"], GIB),
    ("flush_debounce_ms", ["--flush-debounce-ms", "5"], 5),
    ("flush_max_batch_window_ms", ["--flush-max-batch-window-ms", "0"], 0),
    ("flush_shutdown_timeout_ms", ["--flush-shutdown-timeout-ms", "9"], 9),
    ("poll_interval_secs", ["--poll-interval-secs", "0.5"], 0.5),
    ("poll_listing_concurrency", ["--poll-listing-concurrency", "2"], 2),
    ("no_filter_os_files", ["--no-filter-os-files"], True),
    ("metadata_ttl_ms", ["--metadata-ttl-ms", "0"], 0),
    ("inode_soft_limit", ["--inode-soft-limit", "1000"], 1000),
    ("port", ["--port", "2049"], 2049),
    ("serve_only", ["--serve-only"], True),
    ("offline", ["--offline"], True),
    ("reader", ["--reader", "hf-xet"], "hf-xet"),
    ("cache_mode", ["--cache-mode", "file"], "file"),
    ("no_disk_cache", ["--no-disk-cache"], True),
    ("memory_limit", ["--memory-limit", "64M"], 64 * MIB),
    ("verbose", ["-vv"], 2),
    ("log_format", ["--log-format", "json"], "json"),
]


def test_the_examples_below_are_all_options_there_are() -> None:
    assert {name for name, _, _ in EXAMPLES} == {f.name for f in fields(MountOptions)}


@pytest.mark.parametrize(("name", "words", "value"), EXAMPLES)
def test_an_option_may_stand_before_or_after_the_command(
    name: str, words: list[str], value: Any
) -> None:
    for argv in ([*words, "go"], ["go", *words]):
        assert getattr(given(*argv), name) == value


def test_the_one_after_the_command_counts() -> None:
    assert given("--port", "1", "--uid", "7", "go", "--port", "2") == MountOptions(
        port=2, uid=7, verbose=0
    )


def test_v_adds_up() -> None:
    assert given("-v", "go", "-v").verbose == 2
