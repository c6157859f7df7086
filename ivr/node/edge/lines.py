# SPDX-License-Identifier: GPL-3.0-or-later
"""Kamailio's lines in the form of ours. What it says of its own is told by its place and by words that are known.

Its errors quote what strangers send: URIs, Call-IDs, whole headers. Those texts are never passed on, and one place in
its code speaks once a minute, so nobody fills the log by making it complain. Imports little: see `scribe`.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ivr.node import journal
from ivr.node.masking import masked

EACH_S = 60.0
"""How often one place in Kamailio's code is heard."""

MOST = 1000
"""Texts that are remembered."""

_LEVELS = {"DEBUG": "debug", "INFO": "info", "NOTICE": "info", "WARNING": "warning", "ERROR": "error"}
_SAFE = (
    re.compile(r"error:[0-9A-F]{8}:[A-Za-z0-9 _:,.-]*"),  # OpenSSL's own words
    re.compile(r"maximum number of (?:tls )?connections exceeded[:0-9/ ()]*"),
    re.compile(r"(?i:could not allocate|not enough|no more|no|out of)(?: shared| private| shm| pkg)? mem(?:ory)?\b"),
    re.compile(r"[Ff]ailed to load [a-z ]{1,40}|[Uu]nable to load [a-z ]{1,40}"),
)
"""Words of errors that hold nothing of a message."""
_EDGE_ID = re.compile(r"\bid=([0-9a-f]{32})\b")
_HEAD = re.compile(
    rb'\{ "idx": [1-9]\d*, "pid": \d+, "level": "\w+", "module": "[\w.-]+", "file": "([^"]*)", "line": (\d+),'
)
"""The beginning of a line by a process that reads messages: before anything that it quotes."""
_LEADING = re.compile(r"^\s*\d+\(\d+\) (?:[A-Z]+): ")


@dataclass
class _Place:
    said: float
    since: int = 0


@dataclass
class Lines:
    """`whole`: with log.level debug everything is told, as it is. `clock` is monotonic, `now` the time of day."""

    form: str
    whole: bool = False
    clear: bool = False
    to_journal: bool = False
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    _started: bool = False
    _places: dict[str, _Place] = field(default_factory=dict)
    _wordless: dict[bytes, _Place] = field(default_factory=dict)

    def of(self, raw: bytes) -> Iterator[str]:
        """What is to be written for one line of Kamailio's; nothing where its place has been heard."""
        if self._heard(raw):
            return
        text = raw.decode(errors="replace").strip()
        if not text:
            return
        told = _json(text)
        if told is None:
            yield from self._plain(text)
        elif told["module"] == "xlog" and told["message"].startswith("event="):
            if told["message"].startswith("event=quiet"):
                self._started = True
                return
            yield self._line(told["level"], told["message"].strip(), "edge")
        elif self.whole or told["idx"] == 0:
            # Its main process reads no messages: what it says is of files and sockets, and is told whole.
            yield self._line(told["level"], _flat(told["message"]), f"kamailio.{told['module']}")
        else:
            self._started = True
            message = _known(told)
            yield from self._seldom(message, told["level"], f"kamailio.{told['module']}")
            if message.endswith(")") and (head := _HEAD.match(raw)):
                self._wordless[head[0][head.start(1) :]] = self._places[message]

    def _heard(self, raw: bytes) -> bool:
        """Whether nothing is to be told, found out in a tenth of the time: a flood of complaints is for this."""
        head = _HEAD.match(raw)
        if head is None:
            return False
        known = self._wordless.get(head[0][head.start(1) :])
        if known is None or self.clock() - known.said >= EACH_S:
            return False
        known.since += 1
        return True

    def _plain(self, text: str) -> Iterator[str]:
        """Its greeting, and errors before it has a log. Later: a long line of which another one took a part."""
        if self.whole or not self._started:
            yield self._line("INFO" if " ERROR: " not in f" {text}" else "ERROR", _LEADING.sub("", text), "kamailio")
        else:
            yield from self._seldom("a line that cannot be read was left out", "WARNING", "kamailio")

    def _seldom(self, message: str, level: str, logger: str) -> Iterator[str]:
        """OpenSSL's words are few, and each is another trouble: so by text and not by place alone."""
        now = self.clock()
        known = self._places.get(message)
        if known is not None and now - known.said < EACH_S:
            known.since += 1
            return
        more = f" ({known.since} more since it was last said)" if known is not None and known.since else ""
        if len(self._places) >= MOST:
            self._places.clear()
            self._wordless.clear()
        self._places[message] = _Place(now)
        yield self._line(level, message + more, logger)

    def _line(self, level: str, message: str, logger: str) -> str:
        """As ivr.node.logs writes it."""
        level = _LEVELS.get(level, "critical")
        line = self._formed(level, message, logger)
        return journal.with_level(level, line) if self.to_journal else line

    def _formed(self, level: str, message: str, logger: str) -> str:
        at = self.now()
        said = message if self.clear or self.whole else masked(message)
        if self.form == "text":
            stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
            return f"{stamp},{int(at % 1 * 1000):03d} edge {level.upper()} {said}"
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
        line = {"time": f"{stamp}.{int(at % 1 * 1000):03d}Z", "level": level, "process": "edge"}
        line |= {"logger": logger, "message": said}
        if found := _EDGE_ID.search(message):
            line["edge"] = found[1]
        return json.dumps(line, ensure_ascii=False)


def _json(text: str) -> dict[str, Any] | None:
    try:
        told = json.loads(text, strict=False)
        return {name: told[name] for name in ("idx", "level", "module", "file", "line", "message")} | {
            "function": told.get("function", "")
        }
    except (ValueError, KeyError, TypeError):
        return None


def _flat(message: str) -> str:
    return " ".join(message.split())


def _known(told: dict[str, Any]) -> str:
    """Where it was said, and the words that are known."""
    where = f"Kamailio: {told['module']} {told['function']} ({told['file']}:{told['line']})"
    words = next((found[0].strip() for safe in _SAFE if (found := safe.search(told["message"]))), "")
    return f"{where}: {words}" if words else where
