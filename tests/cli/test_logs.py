"""What goes to stderr."""

import io
import json
import logging
import sys

import pytest

from hfnfs.cli.logs import REPEAT_AFTER_S, LogFormat, Once, TextFormatter, one_line, set_up_logging


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def fail() -> None:
    error = ValueError("inner")
    logging.getLogger("hfnfs.x").error("it broke", exc_info=error)


def test_a_person_reads_program_and_message(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("prog", 0, LogFormat.TEXT)
    logging.getLogger("hfnfs.x").info("mounted %s", "a")
    logging.getLogger("hfnfs.x").warning("not empty")
    logging.getLogger("hfnfs.x").debug("unsaid")
    logging.getLogger("other").info("unsaid")
    assert lines(capsys) == ["prog: mounted a", "prog: warning: not empty"]


def test_more_v_say_more(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("prog", 1, LogFormat.TEXT)
    logging.getLogger("hfnfs.x").debug("ours")
    logging.getLogger("other").debug("theirs")
    assert [line.endswith("hfnfs.x: debug: ours") for line in lines(capsys)] == [True]
    set_up_logging("prog", 2, LogFormat.TEXT)
    logging.getLogger("other").debug("theirs")
    assert [line.endswith("other: debug: theirs") for line in lines(capsys)] == [True]


@pytest.mark.logs_errors
def test_a_traceback_is_shown_only_with_v(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("prog", 0, LogFormat.TEXT)
    fail()
    assert lines(capsys) == ["prog: error: it broke (-v shows the traceback)"]
    set_up_logging("prog", 1, LogFormat.TEXT)
    fail()
    assert lines(capsys)[-1] == "  ValueError: inner"


NASTY = ["\n", "\r", "\x1b[2J", "\x85", "\0", "\u2028", "\u202e", "\udc80"]


@pytest.mark.parametrize("ending", NASTY)
def test_a_name_cannot_end_the_line_or_move_the_cursor(ending: str) -> None:
    record = logging.LogRecord("n", logging.INFO, "f", 1, "name %s", (f"a{ending}b",), None)
    text = TextFormatter("prog", is_verbose=False).format(record)
    assert text.isprintable()
    assert text.startswith("prog: name a\\")


@pytest.mark.parametrize("ending", NASTY)
def test_a_name_in_a_traceback_cannot_either(ending: str) -> None:
    error = OSError(f"a{ending}prog: error: forged")
    info = (type(error), error, None)
    record = logging.LogRecord("n", logging.ERROR, "f", 1, "it broke", (), info)
    first, *told = TextFormatter("prog", is_verbose=True).format(record).split("\n")
    assert first.endswith("it broke")
    assert all(line.startswith("  ") and line.isprintable() for line in told)


def test_names_are_shown_as_they_are() -> None:
    assert one_line("días/日本\tü 'x' \\n") == "días/日本\tü 'x' \\n"


@pytest.mark.logs_errors
def test_machines_read_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging("prog", 0, LogFormat.JSON)
    logging.getLogger("hfnfs.x").info("mounted\n%s", "a", extra={"event": "mounted", "port": 7})
    fail()
    first, second = map(json.loads, lines(capsys))
    assert {"time", "level", "logger", "message", "program"} <= first.keys()
    assert (first["level"], first["event"], first["port"]) == ("INFO", "mounted", 7)
    assert "ValueError: inner" in second["exc_info"]


class GoneReader(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_reader_that_went_away_does_not_end_the_mount(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", GoneReader())
    set_up_logging("prog", 0, LogFormat.TEXT)
    logging.getLogger("hfnfs").info("to nobody")


def warned(message: str, at_s: float, level: int = logging.WARNING) -> logging.LogRecord:
    record = logging.LogRecord("n", level, "f", 1, message, (), None)
    record.created = at_s
    return record


def test_a_warning_is_not_repeated_for_a_while() -> None:
    once = Once()
    given = [(text, at) for at in (0, 1, 59, REPEAT_AFTER_S, 61) for text in ("a", "b")]
    assert [(t, at) for t, at in given if once.filter(warned(t, at))] == [
        ("a", 0), ("b", 0), ("a", REPEAT_AFTER_S), ("b", REPEAT_AFTER_S)
    ]  # fmt: skip
    assert all(once.filter(warned("a", 0, logging.INFO)) for _ in range(3))


def test_few_warnings_are_remembered() -> None:
    once = Once()
    for number in range(3000):
        assert once.filter(warned(str(number), 0))
    assert len(once._given_at) <= 1000
    assert once.filter(warned("0", 0))


@pytest.mark.parametrize(("verbosity", "times"), [(0, 1), (1, 1), (2, 3)])
def test_a_failure_of_many_reads_is_one_line(
    verbosity: int, times: int, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging("prog", verbosity, LogFormat.TEXT)
    for _ in range(3):
        logging.getLogger("hfnfs.x").warning("READ: Offline: a is not cached")
    assert len(lines(capsys)) == times
