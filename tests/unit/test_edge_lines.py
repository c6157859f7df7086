# SPDX-License-Identifier: GPL-3.0-or-later
"""Kamailio's lines as ours: the same form as all others write, nothing of what strangers sent, and no flood."""

import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterator

import pytest

from ivr.node.edge.lines import EACH_S, MOST, Lines
from ivr.node.edge.scribe import ROOM, Writer, copy
from ivr.node.logs import set_up_logs
from ivr.node.settings import LogFormat, LogLevel

STARTED = {"module": "xlog", "file": "xlog.c", "line": 282, "level": "NOTICE", "message": "event=started\n"}
QUIET = {**STARTED, "level": "ALERT", "message": "event=quiet\n"}
PARSER = {"module": "core", "file": "core/parser/parse_via.c", "line": 2276, "function": "parse_via"}


def said(**told: object) -> bytes:
    line = {"idx": 3, "pid": 7, "level": "ERROR", "module": "core", "file": "f.c", "line": 1, "function": "f"}
    text = json.dumps({**line, "message": "x\n", **told})
    return text.replace('{"idx"', '{ "idx"').encode()


class Clock:
    at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lines(clock: Clock) -> Lines:
    made = Lines("text", clock=clock)
    assert list(made.of(said(**QUIET))) == []
    return made


@pytest.mark.parametrize("form", list(LogFormat))
def test_a_line_looks_like_those_of_every_other_process(form: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    at, edge = 1_795_315_445.25, "0" * 31 + "a"
    text = f"event=call id={edge} trunk=local to=w0"
    (made,) = Lines(form.value, now=lambda: at).of(said(**{**STARTED, "message": text + "\n"}))
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    try:
        set_up_logs("edge", LogLevel.INFO, form)
        record = logging.LogRecord("edge", logging.INFO, "", 0, text, None, None)
        record.created, record.msecs = at, at % 1 * 1000
        ours = root.handlers[0].format(record)
    finally:
        logging.basicConfig(handlers=before, level=level, force=True)
    if form is LogFormat.JSON:
        assert json.loads(made) == {**json.loads(ours), "edge": edge}
    else:
        assert made == ours


def test_the_journal_is_told_the_level_of_a_line() -> None:
    lines = Lines("text", to_journal=True)
    (info,) = lines.of(said(**{**STARTED, "message": "event=started\n"}))
    (error,) = lines.of(said(idx=0))
    assert (info[:3], error[:3]) == ("<6>", "<3>")


def test_what_a_stranger_sent_is_never_told(lines: Lines) -> None:
    for n, quoted in enumerate(
        ("<sip:secret@x>", "secret", "Call-ID: secret\nevent=call id=secret", "no memory secret")
    ):
        (line,) = lines.of(said(**{**PARSER, "line": n, "message": f"parse error {quoted}\n"}))
        assert "secret" not in line
        assert f"edge ERROR Kamailio: core parse_via (core/parser/parse_via.c:{n})" in line
    (line,) = lines.of(b'{ "idx": 3, half a line secret')
    assert "secret" not in line
    (line,) = lines.of(said(module="xlog", message="cannot print secret\n"))
    assert "secret" not in line


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("TLS accept:error:0A000418:SSL routines::tlsv1 alert unknown ca (sni: secret)", "tlsv1 alert unknown ca"),
        ("maximum number of connections exceeded (1024/1024)", "connections exceeded (1024/1024)"),
        ("could not allocate shared memory from shm pool", "could not allocate shared memory"),
        ("no more shared memory for [secret]", "no more shared memory"),
        ("Out of memory", "Out of memory"),
    ],
)
def test_an_error_that_is_ours_to_mend_is_told_in_words(lines: Lines, message: str, words: str) -> None:
    (line,) = lines.of(said(module="tls", message=f"{message}\n"))
    assert words in line
    assert "secret" not in line


def test_one_place_is_heard_once_a_minute_and_counted(lines: Lines, clock: Clock) -> None:
    assert len(list(lines.of(said(**PARSER)))) == 1
    for _ in range(1000):
        assert list(lines.of(said(**PARSER))) == []
    assert len(list(lines.of(said(**{**PARSER, "line": 2})))) == 1
    clock.at += EACH_S
    (line,) = lines.of(said(**PARSER))
    assert line.endswith("(1000 more since it was last said)")


def test_another_word_of_openssl_is_another_trouble(lines: Lines) -> None:
    for reason in ("wrong version number", "tlsv1 alert unknown ca"):
        told = said(module="tls", message=f"TLS accept:error:0A000418:SSL routines::{reason}\n")
        assert len(list(lines.of(told))) == 1
        assert list(lines.of(told)) == []


def test_what_it_remembers_is_bounded(lines: Lines) -> None:
    for n in range(3 * MOST):
        list(lines.of(said(**{**PARSER, "line": n})))
    assert len(lines._places) <= MOST
    assert len(lines._wordless) <= MOST


def test_what_is_in_its_way_at_the_start_is_told_whole() -> None:
    made = Lines("text")
    (line,) = made.of(said(idx=0, message="bind(4, …): Address already in use\n"))
    assert "Address already in use" in line
    (line,) = made.of(b" 0(17) ERROR: <core> [core/cfg.y:3]: syntax error")
    assert line.endswith("edge ERROR <core> [core/cfg.y:3]: syntax error")


def test_with_debug_everything_is_told() -> None:
    made = Lines("text", whole=True)
    list(made.of(said(**STARTED)))
    for _ in range(2):
        (line,) = made.of(said(**{**PARSER, "message": "parse error <sip:alice@example.org>\n"}))
        assert "sip:alice@example.org" in line


# -- the process -----------------------------------------------------------------------------------------------------


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    source, sink = os.pipe()
    yield source, sink
    for end in (source, sink):
        try:
            os.close(end)
        except OSError:
            continue


def taken(source: int, sink: int, writer: Writer) -> bytes:
    """What comes out when somebody reads at last, to the end."""
    got: list[bytes] = []

    def read() -> None:
        while data := os.read(source, 65_536):
            got.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    writer.close()
    os.close(sink)
    reader.join(20)
    return b"".join(got)


def test_nobody_waits_for_who_does_not_read_and_nothing_is_lost_that_has_room(pipe: tuple[int, int]) -> None:
    source, sink = pipe
    writer = Writer(sink)
    many = 20_000  # more than the pipe holds, less than there is room for
    started = time.monotonic()
    for n in range(many):
        writer.put(f"line {n} of all that there are")
    assert time.monotonic() - started < 10
    got = taken(source, sink, writer)
    found = got.splitlines()
    assert found == [f"line {n} of all that there are".encode() for n in range(many)]


def test_what_has_no_room_is_left_out_and_counted(pipe: tuple[int, int]) -> None:
    source, sink = pipe
    writer, line = Writer(sink), "x" * 1023
    put = 2 * ROOM // 1024
    for _ in range(put):
        writer.put(line)
    got = taken(source, sink, writer)
    text = got.decode()
    missing = re.findall(r"(\d+) lines are missing here", text)
    assert len(missing) == 1
    assert text.count(line) + int(missing[0]) == put


def test_lines_that_come_in_parts_are_put_together(pipe: tuple[int, int]) -> None:
    source, sink = pipe
    text = said(**STARTED) + b"\n" + said(**{**STARTED, "message": "event=call id=1\n"})
    threading.Thread(target=lambda: ([os.write(sink, bytes([one])) for one in text], os.close(sink))).start()
    out: list[str] = []

    class Kept(Writer):
        def __init__(self) -> None:
            """No thread."""

        def put(self, line: str) -> None:
            out.append(line)

    copy(source, Kept(), Lines("text"))
    assert [line.rpartition("INFO ")[2] for line in out] == ["event=started", "event=call id=1"]
