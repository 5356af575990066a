"""hf_xet's sessions, and what its failures mean."""

from pathlib import Path
from typing import Any

import hf_xet
import pytest

from hfnfs.errors import (
    Forbidden,
    NotAuthenticated,
    QuotaReached,
    RateLimited,
    RemoteError,
    RemoteUnavailable,
)
from hfnfs.hub.cas import Access
from hfnfs.hub.errors import xet_failure
from hfnfs.hub.xet_writer import Dedup, LocalFile, Target, XetWriter


def refused(words: str) -> ConnectionError:
    """As hf_xet writes it."""
    where = "domain: http://127.0.0.1:1/v2/shards"
    return ConnectionError(f"Network error: Request error: HTTP status {words}, {where}")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (refused("server error (500 Internal Server Error)"), RemoteUnavailable),
        (refused("server error (507 Insufficient Storage)"), QuotaReached),
        (refused("client error (401 Unauthorized)"), NotAuthenticated),
        (refused("client error (403 Forbidden)"), Forbidden),
        (refused("client error (413 Request Entity Too Large)"), QuotaReached),
        (refused("client error (400 Bad Request)"), RemoteError),
        (refused("client error (429 Too Many Requests)"), RateLimited),
        (ConnectionError("Network error: error sending request"), RemoteUnavailable),
        (TimeoutError("timed out"), RemoteUnavailable),
        (OSError("I/O error: No such file or directory (os error 2)"), RemoteError),
        (RuntimeError("Internal error: xorb is not stored"), RemoteError),
        (ValueError("something else"), RemoteError),
    ],
)
def test_a_failure_is_classed_by_what_it_says(error: Exception, kind: type[RemoteError]) -> None:
    failure = xet_failure(error, "bucket me/b")
    assert type(failure) is kind
    assert str(failure).startswith("bucket me/b: upload failed: ")


def test_a_failure_names_no_secret() -> None:
    text = "Internal error: hf_abcdef and\n https://host/x?signature=1"
    assert "hf_abc" not in str(xet_failure(RuntimeError(text), "b"))
    assert "signature" not in str(xet_failure(RuntimeError(text), "b"))


@pytest.mark.parametrize("dedup", Dedup)
def test_the_environment_is_asked_first(
    dedup: Dedup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs: list[Any] = []
    monkeypatch.setenv("HF_XET_CLIENT_CONNECT_TIMEOUT", "7s")
    monkeypatch.setattr(hf_xet, "XetSession", configs.append)
    XetWriter()._session(dedup)
    (config,) = configs
    assert config.get("client.connect_timeout").total_seconds() == 7
    assert config.get("client.retry_max_attempts") == 4
    assert config.get("telemetry.enabled") is False, "HF_HUB_DISABLE_TELEMETRY is set"
    is_asked = config.get("deduplication.global_dedup_query_enabled")
    assert is_asked is (dedup is not Dedup.KNOWN)


def test_what_is_aborted_before_it_began_does_nothing(tmp_path: Path) -> None:
    target = Target("b", Access("http://127.0.0.1:9", "t", 0.0, 2**62), "http://127.0.0.1:9", {})
    job = XetWriter().job(target, [LocalFile(tmp_path / "missing", 1)], Dedup.KNOWN)
    job.abort()
    with pytest.raises(RemoteError, match="aborted"):
        job.run()


def test_a_target_does_not_print_its_secrets() -> None:
    headers = {"authorization": "Bearer hf_secret"}
    target = Target("b", Access("http://h", "secret", 0.0, 0), "http://h/token", headers)
    assert "secret" not in repr(target)
