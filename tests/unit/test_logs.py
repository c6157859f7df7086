# SPDX-License-Identifier: GPL-3.0-or-later
"""What processes write to stderr: in words or as JSON, the wanted level, about which call, and nobody's number."""

import asyncio
import json
import logging
import os
import threading
from collections.abc import Iterator

import pytest

from ivr.calltrace import LATE, PERSONAL, TRACE, PersonalValues, Trace, tracing
from ivr.node.logs import set_up_logs
from ivr.node.masking import masked
from ivr.node.settings import LogFormat, LogLevel, LogPersonal
from ivr.sip.events import Ringing
from ivr.sip.leg import Leg
from ivr.sip.linger import Linger


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


@pytest.mark.parametrize("form", list(LogFormat))
def test_the_journal_is_told_the_level_of_each_line_and_nobody_else(
    form: LogFormat, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status = os.fstat(2)
    for stream, marks in ((f"{status.st_dev}:{status.st_ino}", True), (f"{status.st_dev}:{status.st_ino + 1}", False)):
        monkeypatch.setenv("JOURNAL_STREAM", stream)
        set_up_logs("p", LogLevel.INFO, form)
        logging.getLogger("x").warning("beware")
        try:
            raise ValueError("of this kind")
        except ValueError:
            logging.getLogger("x").exception("it broke")
        first, *others = capsys.readouterr().err.splitlines()
        assert first.startswith("<4>") is marks
        assert others
        assert {line.startswith("<3>") for line in others} == {marks}  # a traceback has many


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


# -- the call that a line is about -----------------------------------------------------------------------------------

CALL = "01a2007f-7ac7-75bd-aa28-810c422c5cd9"
EDGE = "5b2d9c0f8e7a4d1b9c3e6f0a1d2b3c4e"


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    (line,) = capsys.readouterr().err.splitlines()
    told: dict[str, str] = json.loads(line)
    return told


def test_a_line_is_about_the_call_that_is_worked_on(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("w0", LogLevel.INFO, LogFormat.JSON)
    with tracing(Trace(CALL, EDGE)):
        logging.getLogger("x").info("the recorder did not start")
    told = said(capsys)
    assert (told["call"], told["edge"]) == (CALL, EDGE)
    logging.getLogger("x").info("of no call")
    assert "call" not in said(capsys)


def test_what_a_line_says_itself_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("ledger", LogLevel.INFO, LogFormat.JSON)
    with tracing(Trace("another")):
        logging.getLogger("x").info("lost", extra=Trace(CALL).fields)
    told = said(capsys)
    assert told["call"] == CALL
    assert "edge" not in told


def test_tasks_timers_and_callbacks_of_a_call_inherit_it(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("w0", LogLevel.INFO, LogFormat.JSON)

    async def run() -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        async def task() -> None:
            loop.call_later(0.001, timer)

        def timer() -> None:
            logging.getLogger("x").info("late")
            done.set()

        with tracing(Trace(CALL)):
            made = loop.create_task(task())
        await made
        await done.wait()

    asyncio.run(run())
    assert said(capsys)["call"] == CALL


def test_what_a_leg_reports_belongs_to_whoever_listens() -> None:
    heard: list[Trace | None] = []

    async def run() -> None:
        leg = Leg(asyncio.get_running_loop(), Linger(asyncio.get_running_loop()), lambda _leg: None)
        with tracing(Trace(CALL)):
            leg.listen(lambda _event: heard.append(TRACE.get()))
        thread = threading.Thread(target=leg.post, args=(Ringing(180),))
        thread.start()
        while not heard:
            await asyncio.sleep(0.001)
        thread.join()

    asyncio.run(asyncio.wait_for(run(), 10))
    assert heard == [Trace(CALL)]


def test_text_names_the_call_once_and_the_edge(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("w0", LogLevel.INFO, LogFormat.TEXT)
    with tracing(Trace(CALL, EDGE)):
        logging.getLogger("x").info("call %s: answered", CALL)
        logging.getLogger("x").info("no prompt")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith(f"w0 INFO call {CALL}: answered edge={EDGE}")
    assert second.endswith(f"w0 INFO call {CALL}: no prompt edge={EDGE}")


# -- personal data ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("dialling +4930987654321 now", "dialling +49…21 now"),
        ("dialling +49 (30) 987-654 321 now", "dialling +49…21 now"),
        ("dialling 030987654 now", "dialling 030…54 now"),
        ("to sip:bob@192.0.2.7:5060;transport=tcp failed", "to sip:… failed"),
        ("to <sips:+4930987654@example.org> failed", "to <sips:…> failed"),
        ('from "Maria Musterfrau" <sip:maria@example.org>', 'from "…" <sip:…>'),
        ("tel:+4930987654 is no target", "tel:… is no target"),
        ("Call-ID 8f3a-11@10.0.0.9 is unknown", "Call-ID …@… is unknown"),
        ("maria@example.org", "…@…"),
    ],
)
def test_what_has_the_form_of_a_person_is_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        f"call {CALL}: completed (hangup)",
        "listening on sip:127.0.0.1:5060 (udp)",
        "recording 01a20086-2328-76c7-85ea-7bb6750cb86b: 1048576 samples in 0.25 s at 16000 Hz",
        "w0 (pid 10467) takes calls, 180 ms after it was asked for",
        "checkpoint 20000000 of 2026-11-21T23:44:46.922Z is not anchored",
        f"sha256:{'0123456789abcdef' * 4}",
        "metrics on http://127.0.0.1:9464/metrics",
        "cannot read /var/lib/ivr/data/0123456789/000001-000000016000-000000016000.flac.age",
    ],
)
def test_what_is_nobodys_is_left_as_it_is(text: str) -> None:
    assert masked(text) == text


def test_what_a_process_knows_of_its_calls_is_masked_in_any_form() -> None:
    PERSONAL.keep(CALL, ["reception-desk", "aGVsbG8gd29ybGQ", "alice", "12"])
    text = masked("INVITE of alice (aGVsbG8gd29ybGQ) to reception-desk, 12 times; malice stays")
    assert text == "INVITE of … (…) to …, 12 times; malice stays"


def test_values_of_calls_that_are_long_over_are_forgotten_and_those_of_a_long_call_are_not() -> None:
    values = PersonalValues()
    values.keep("long", ["long-call-value"])
    for n in range(LATE + 5):
        values.keep(f"call-{n}", [f"value-of-call-{n}"])
        values.over(f"call-{n}")
    assert "long-call-value" in values.known
    assert f"value-of-call-{LATE + 4}" in values.known
    assert "value-of-call-0" not in values.known
    assert len(values.known) == LATE + 1


@pytest.mark.parametrize("form", list(LogFormat))
def test_nothing_personal_gets_past_the_formatter(form: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("w0", LogLevel.INFO, form)
    try:
        raise ValueError("cannot ring sip:bob@example.org")
    except ValueError:
        logging.getLogger("x").exception("of %s", "+4930987654321")
    err = capsys.readouterr().err
    assert "+49…21" in err
    assert "30987654" not in err
    assert "bob" not in err


def test_clear_leaves_it(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("w0", LogLevel.INFO, LogFormat.TEXT, LogPersonal.CLEAR)
    logging.getLogger("x").info("of +4930987654321")
    assert "+4930987654321" in capsys.readouterr().err
