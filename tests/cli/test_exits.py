"""Exit codes, and the one line that goes with them."""

import asyncio
import inspect
import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from hfnfs import errors
from hfnfs.cli.exits import BUG, EPILOG, EXITS, exit_code, one_line_and_a_code, reason

ROOT = Path(__file__).resolve().parents[2]


def leaves(kind: type[errors.HfnfsError]) -> Iterator[type[errors.HfnfsError]]:
    own = [k for k in kind.__subclasses__() if k.__module__ == errors.__name__]
    if not own:
        yield kind
    for child in own:
        yield from leaves(child)


def made(kind: type[errors.HfnfsError]) -> errors.HfnfsError:
    return kind(signal.SIGINT) if kind is errors.Interrupted else kind("the reason")


@pytest.mark.parametrize("kind", [*leaves(errors.HostError), *leaves(errors.RemoteError)])
def test_whatever_can_happen_on_this_machine_or_the_hub_has_a_code(
    kind: type[errors.HfnfsError],
) -> None:
    code = exit_code(made(kind))
    assert code in {row.code for row in EXITS}
    assert code not in {0, BUG}


def test_every_code_has_one_row_and_every_error_one_code() -> None:
    codes = [row.code for row in EXITS]
    kinds = [kind for row in EXITS for kind in row.kinds]
    assert codes == sorted(set(codes))
    assert len(kinds) == len(set(kinds))


def test_a_signal_is_counted_as_shells_do() -> None:
    assert exit_code(errors.Interrupted(signal.SIGINT)) == 130
    assert exit_code(errors.Interrupted(signal.SIGTERM)) == 143
    assert exit_code(KeyboardInterrupt()) == 130


def test_what_nobody_foresaw_is_a_bug() -> None:
    assert exit_code(ValueError("x")) == BUG
    assert exit_code(errors.WireError("x")) == BUG


def test_the_error_for_the_user_is_found_in_nested_groups() -> None:
    ours = errors.SourceMissing("gpt7")
    inner = ExceptionGroup("inner", [ValueError("noise"), ours])
    assert reason(ExceptionGroup("outer", [KeyError("noise"), inner])) is ours


def test_without_one_the_first_of_a_group_is_the_reason() -> None:
    first = ValueError("first")
    assert reason(BaseExceptionGroup("outer", [ExceptionGroup("in", [first])])) is first


@pytest.mark.logs_errors
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.SourceMissing("there is no gpt7"), 11),
        (ExceptionGroup("tasks", [errors.PortRefused("port 80: permission denied")]), 7),
        (asyncio.CancelledError(), BUG),
        (ZeroDivisionError("by zero"), BUG),
    ],
)
def test_an_error_becomes_one_logged_line_and_its_code(
    error: BaseException, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(typer.Exit) as left, one_line_and_a_code():
        raise error
    assert left.value.exit_code == code
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert str(reason(error)) in record.getMessage()
    assert (record.exc_info is not None) == (code == BUG)


def test_typer_s_own_end_passes() -> None:
    with pytest.raises(typer.Exit) as left, one_line_and_a_code():
        raise typer.Exit(5)
    assert left.value.exit_code == 5


def test_the_readme_shows_the_same_table() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for row in EXITS:
        assert f"| {row.code} | {row.meaning} |" in readme


def test_the_help_shows_each_code() -> None:
    assert all(f"{row.code:>3}  {row.meaning}" in EPILOG for row in EXITS)


def test_each_error_says_in_its_docstring_when_it_happens() -> None:
    assert all(inspect.getdoc(kind) for kind in leaves(errors.HfnfsError))
