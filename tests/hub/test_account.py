"""Which token is sent, and how a newer one is found."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hfnfs.errors import NotAuthenticated, UsageError
from hfnfs.hub.account import (
    FILE_CHECK_S,
    REFUSED_CHECK_S,
    Account,
    Finder,
    checked_endpoint,
    clean_token,
    find_account,
)
from tests.hub.fakes import TOKEN, Clock

HUB = "https://hub.example"


class Looks:
    """A finder that counts how often it was asked and gives what the test says."""

    def __init__(self, *answers: str | Exception | None) -> None:
        self.answers = list(answers)
        self.count = 0

    def __call__(self) -> str | None:
        self.count += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def account(looks: Looks, clock: Clock, every_s: float | None = 60.0) -> Account:
    return Account(HUB, Finder(looks, "the test", every_s), clock)


async def test_a_token_is_looked_for_once_however_many_ask(clock: Clock) -> None:
    looks = Looks("a")
    mine = account(looks, clock)
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(mine.token()) for _ in range(8)]
    assert {task.result() for task in asked} == {"a"}
    assert looks.count == 1


async def test_an_old_answer_is_looked_for_again(clock: Clock) -> None:
    mine = account(Looks("a", "b"), clock)
    assert await mine.token() == "a"
    clock.advance(59)
    assert await mine.token() == "a"
    clock.advance(1)
    assert await mine.token() == "b"


async def test_a_refused_token_is_looked_for_again_at_a_bounded_rate(clock: Clock) -> None:
    looks = Looks("a", "a", "b")
    mine = account(looks, clock)
    assert await mine.token() == "a"
    assert not await mine.has_other_than("a")
    assert looks.count == 1, "it was looked for just now"
    clock.advance(REFUSED_CHECK_S)
    assert not await mine.has_other_than("a")
    assert not await mine.has_other_than("a")
    assert looks.count == 2
    clock.advance(REFUSED_CHECK_S)
    assert await mine.has_other_than("a")
    assert await mine.has_other_than("a"), "who comes later finds it without looking"
    assert (looks.count, await mine.token()) == (3, "b")


async def test_a_given_token_does_not_change(clock: Clock) -> None:
    mine = await find_account(clock, endpoint=HUB, token=f" {TOKEN}\n")
    clock.advance(1e6)
    assert await mine.token() == TOKEN
    assert not await mine.has_other_than(TOKEN)


async def test_a_token_file_is_taken_up_when_it_changes(clock: Clock, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    mine = await find_account(clock, endpoint=HUB, token="unused", token_file=path)
    assert await mine.token() == "first"
    path.write_text("second\n")
    assert await mine.token() == "first"
    clock.advance(FILE_CHECK_S)
    assert await mine.token() == "second"


async def test_a_token_file_that_is_gone_for_a_moment_does_no_harm(
    clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    mine = await find_account(clock, endpoint=HUB, token_file=path)
    await mine.token()
    path.unlink()
    clock.advance(FILE_CHECK_S)
    assert await mine.token() == TOKEN
    assert "keeping the known token" in caplog.text
    assert TOKEN not in caplog.text


async def test_a_token_file_that_is_not_there_is_a_usage_error(
    clock: Clock, tmp_path: Path
) -> None:
    mine = await find_account(clock, endpoint=HUB, token_file=tmp_path / "none")
    with pytest.raises(UsageError, match=r"none: No such file"):
        await mine.token()


async def test_a_login_that_fails_at_first_is_told(clock: Clock) -> None:
    mine = account(Looks(NotAuthenticated("no"), "a"), clock)
    with pytest.raises(NotAuthenticated):
        await mine.token()
    assert await mine.token() == "a", "it may be mended"


def test_the_token_is_never_printed(clock: Clock) -> None:
    mine = Account(HUB, Finder(lambda: TOKEN, "x", None), clock)
    assert TOKEN not in repr(mine) + str(mine)


@pytest.mark.parametrize("text", ["", " \n", "a b", "a\nb", "é", "a" * 9000, "a\x7f"])
def test_what_is_no_token_is_refused_without_printing_it(text: str) -> None:
    with pytest.raises(UsageError) as error:
        clean_token(text, "the file")
    assert text.strip() == "" or text not in str(error.value)


@pytest.mark.parametrize(
    "endpoint",
    ["", "hub.example", "ftp://h", "http://", "http://u:p@h", "http://h?x", "http://h#x",
     "http://h:x", "http://h:0", "http://[", "http://h /"],
)  # fmt: skip
def test_what_is_no_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(UsageError, match="endpoint"):
        checked_endpoint(endpoint)


def test_an_endpoint_may_have_a_path() -> None:
    assert checked_endpoint("http://localhost:8080/hf/") == "http://localhost:8080/hf"


# huggingface_hub reads the environment when it is imported, so each case is a process of its own.
FOUND = """
import asyncio
from hfnfs.clock import SystemClock
from hfnfs.hub.account import find_account, is_offline
from huggingface_hub.utils import build_hf_headers

async def main():
    account = await find_account(SystemClock())
    token = await account.token()
    theirs = build_hf_headers().get("authorization", "Bearer None")
    assert theirs == f"Bearer {token}", theirs
    print(account.endpoint, token, await is_offline())

asyncio.run(main())
"""


def found(home: Path, **environment: str) -> str:
    """Endpoint, token and whether offline, as a new process finds them in this environment."""
    base = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd()}
    command = [sys.executable, "-c", FOUND]
    return subprocess.check_output(command, env={**base, **environment}, text=True).strip()


def test_account_and_endpoint_are_found_as_huggingface_hub_finds_them(tmp_path: Path) -> None:
    default = tmp_path / ".cache" / "huggingface"
    default.mkdir(parents=True)
    (default / "token").write_text("hf_of_the_login\n")
    (tmp_path / "elsewhere").write_text("hf_elsewhere")
    hub = "https://huggingface.co"
    path = str(tmp_path / "elsewhere")
    cases: list[tuple[dict[str, str], str]] = [
        ({}, f"{hub} hf_of_the_login False"),
        ({"HF_TOKEN": "hf_env", "HF_ENDPOINT": "http://h:1/"}, "http://h:1 hf_env False"),
        ({"HUGGING_FACE_HUB_TOKEN": "hf_old"}, f"{hub} hf_old False"),
        ({"HF_TOKEN_PATH": path, "HF_HUB_OFFLINE": "1"}, f"{hub} hf_elsewhere True"),
        ({"HF_HOME": str(tmp_path / "empty")}, f"{hub} None False"),
        ({"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, f"{hub} None False"),
    ]
    for environment, expected in cases:
        assert found(tmp_path, **environment) == expected, environment
