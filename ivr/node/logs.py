# SPDX-License-Identifier: GPL-3.0-or-later
"""What the processes write to stderr. Lines about a call name it by its ids; what is personal is masked."""

import json
import logging
import sys
import time
from dataclasses import dataclass

from ivr.calltrace import TRACE
from ivr.node import journal
from ivr.node.masking import masked
from ivr.node.settings import LogFormat, LogLevel, LogPersonal


@dataclass(frozen=True, slots=True)
class _Ids:
    call: str
    edge: str


def _ids(record: logging.LogRecord) -> _Ids:
    """Those that the line itself names, else those of the call that is being worked on."""
    trace = TRACE.get()
    call, edge = getattr(record, "call", None), getattr(record, "edge", None)
    if call is None and trace is not None:
        call, edge = trace.call, trace.edge
    return _Ids(str(call or ""), str(edge or ""))


class _Lines(logging.Formatter):
    """Shared by both formats. `format` is all that reaches the handler, so masking here leaves no way around it."""

    def __init__(self, process: str, personal: LogPersonal) -> None:
        super().__init__()
        self._process = process
        self._clear = personal is LogPersonal.CLEAR

    def _said(self, text: str) -> str:
        return text if self._clear else masked(text)


class _Json(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": self._said(record.getMessage()),
        }
        ids = _ids(record)
        if ids.call:
            line["call"] = ids.call
        if ids.edge:
            line["edge"] = ids.edge
        if record.exc_info:
            line["exception"] = self._said(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


class _Text(_Lines):
    def format(self, record: logging.LogRecord) -> str:
        message, ids = self._said(record.getMessage()), _ids(record)
        if ids.call and ids.call not in message:
            message = f"call {ids.call}: {message}"
        if ids.edge:
            message = f"{message} edge={ids.edge}"
        line = f"{self.formatTime(record)} {self._process} {record.levelname} {message}"
        if record.exc_info:
            line = f"{line}\n{self._said(self.formatException(record.exc_info))}"
        return line


class _Journal(logging.Formatter):
    """Says each line's level to the journal as well."""

    def __init__(self, lines: logging.Formatter) -> None:
        super().__init__()
        self._lines = lines

    def format(self, record: logging.LogRecord) -> str:
        return journal.with_level(record.levelname, self._lines.format(record))


def set_up_logs(process: str, level: LogLevel, form: LogFormat, personal: LogPersonal = LogPersonal.MASKED) -> None:
    """One handler on stderr; `process` is the name this process has in its lines."""
    handler = logging.StreamHandler(sys.stderr)
    lines = (_Json if form is LogFormat.JSON else _Text)(process, personal)
    handler.setFormatter(_Journal(lines) if journal.reads() else lines)
    logging.basicConfig(level=level.value.upper(), handlers=[handler], force=True)
