# SPDX-License-Identifier: GPL-3.0-or-later
"""What processes write to stderr: in words or as JSON, one handler, the wanted level."""

import json
import logging
from collections.abc import Iterator

import pytest

from ivr.node.logs import set_up_logs
from ivr.node.settings import LogFormat, LogLevel


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_text_says_who_and_what(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("worker-7", LogLevel.INFO, LogFormat.TEXT)
    logging.getLogger("x").info("call %s: answered", "abc")
    out, err = capsys.readouterr()
    assert out == ""  # stdout is for data
    assert err.rstrip().endswith("worker-7 INFO call abc: answered")


def test_json_is_one_object_a_line_and_names_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("worker-7", LogLevel.INFO, LogFormat.JSON)
    try:
        raise ValueError("of this kind")
    except ValueError:
        logging.getLogger("ivr.calls").exception("it\nbroke: ü")
    (line,) = capsys.readouterr().err.splitlines()
    told = json.loads(line)
    assert told["level"] == "error"
    assert told["process"] == "worker-7"
    assert told["logger"] == "ivr.calls"
    assert told["message"] == "it\nbroke: ü"
    assert "ValueError: of this kind" in told["exception"]
    assert told["time"].endswith("Z")


@pytest.mark.parametrize("level", list(LogLevel))
def test_lines_below_the_level_are_not_written(level: LogLevel, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("p", level, LogFormat.TEXT)
    for name in LogLevel:
        logging.getLogger("x").log(logging.getLevelNamesMapping()[name.value.upper()], name.value)
    order = list(LogLevel)
    written = [line.rsplit(" ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert written == [name.value for name in order[order.index(level) :]]


def test_setting_up_again_does_not_double_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        set_up_logs("p", LogLevel.INFO, LogFormat.TEXT)
    logging.getLogger("x").info("once")
    assert len(capsys.readouterr().err.splitlines()) == 1
