"""What refusals are called, and that their words are fit for a log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import (
    Forbidden,
    GatedRepo,
    NotAuthenticated,
    QuotaReached,
    RateLimited,
    RemoteCorrupt,
    RemoteEntryMissing,
    RemoteError,
    RemoteUnavailable,
    RevisionMissing,
    SourceMissing,
)
from hfnfs.hub.errors import SERVER_TEXT_CHARS_MAX, Asked, harmless, refusal
from hfnfs.hub.http import Answer
from hfnfs.hub.source import parse

HUB = "https://hub.example"
SOURCE = parse("datasets/a/b@v1")


def error(
    status: int, code: str = "", *, token: bool = True, path: str | None = None, said: str = ""
) -> RemoteError:
    headers = {"X-Error-Code": code, "X-Error-Message": said}
    answer = Answer(status, headers, {}, b"", f"{HUB}/x")
    return refusal(answer, Asked(SOURCE, HUB, token, path))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "", RemoteError),
        (401, "", NotAuthenticated),
        (401, "RepoNotFound", SourceMissing),
        (401, "GatedRepo", GatedRepo),
        (403, "", Forbidden),
        (403, "GatedRepo", GatedRepo),
        (404, "", SourceMissing),
        (404, "RepoNotFound", SourceMissing),
        (404, "RevisionNotFound", RevisionMissing),
        (404, "EntryNotFound", RemoteEntryMissing),
        (409, "", RemoteError),
        (413, "", QuotaReached),
        (416, "", RemoteCorrupt),
        (429, "", RateLimited),
        (500, "", RemoteUnavailable),
        (501, "", RemoteUnavailable),
        (503, "", RemoteUnavailable),
        (507, "", QuotaReached),
    ],
)
@pytest.mark.parametrize("token", [True, False])
def test_every_refusal_has_its_name(
    status: int, code: str, kind: type[RemoteError], token: bool
) -> None:
    got = error(status, code, token=token)
    assert type(got) is kind
    assert str(got).startswith("dataset a/b")
    assert "\n" not in str(got)


def test_a_path_that_is_not_there_is_no_missing_repo() -> None:
    got = error(404, path="x/y.bin")
    assert type(got) is RemoteEntryMissing
    assert str(got) == "dataset a/b: x/y.bin: no such file or folder"
    assert type(error(404, "RepoNotFound", path="x/y.bin")) is SourceMissing


@pytest.mark.parametrize(
    ("got", "step"),
    [
        (error(401, "RepoNotFound", token=False), "log in"),
        (error(401, token=False), "log in"),
        (error(401), "does not take this token"),
        (error(403), "permissions"),
        (error(403, token=False), "log in"),
        (error(404), "token may not see it"),
        (error(404, token=False), "log in"),
        (error(403, "GatedRepo"), f"accept its terms at {HUB}/datasets/a/b"),
        (error(403, "GatedRepo", token=False), "then log in"),
        (error(404, "RevisionNotFound"), "no branch, tag or commit 'v1'"),
    ],
)
def test_the_next_step_is_named(got: RemoteError, step: str) -> None:
    assert step in str(got)


def test_the_servers_words_are_passed_on() -> None:
    assert str(error(500, said="disk on fire")).endswith("(disk on fire)")
    answer = Answer(400, {}, {}, b'{"error": "bad limit"}', f"{HUB}/x")
    assert str(refusal(answer, Asked(SOURCE, HUB, False))).endswith("(bad limit)")


@pytest.mark.parametrize("body", [b"[" * 9999, b"\xff", b'{"error": 1}', b'["error"]', b""])
def test_an_error_body_that_says_nothing_is_passed_over(body: bytes) -> None:
    answer = Answer(400, {}, {}, body, f"{HUB}/x")
    assert str(refusal(answer, Asked(SOURCE, HUB, False))) == "dataset a/b: refused with 400"


@pytest.mark.parametrize(
    "text",
    ["token hf_abcDEF123 is bad", "Authorization: Bearer SECRETsecret", "eyJhbGciSECRET.x.y",
     "http://s3/x?X-Amz-Signature=SECRET"],
)  # fmt: skip
def test_secrets_that_a_server_repeats_are_not_passed_on(text: str) -> None:
    assert "SECRET" not in harmless(text)
    assert "abcDEF" not in harmless(text)


@given(st.text(max_size=500))
def test_any_text_becomes_one_printable_line(text: str) -> None:
    line = harmless(text)
    assert line.isprintable()
    assert len(line) <= SERVER_TEXT_CHARS_MAX + 1
