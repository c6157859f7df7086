# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows the log of a running server, read only, straight from its database. For people; nothing here is verified."""

import json
import sqlite3
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Logged:
    """One event as it stands in the log, personal fields included while they are there."""

    seq: int
    type: str
    call: str | None
    time: str
    data: Mapping[str, Any]
    personal: Mapping[str, Any]

    def has(self, fields: Mapping[str, object]) -> bool:
        """Whether all these fields stand in it."""
        both = {**self.personal, **self.data}
        return all(name in both and both[name] == value for name, value in fields.items())

    def __str__(self) -> str:
        return (
            f"{self.seq:5} {self.data.get('at_ms', ''):>6} {self.type:<22}{json.dumps({**self.data, **self.personal})}"
        )


class LogTimeout(AssertionError):
    """An event did not reach the log in time; the message holds those of the call, or all."""


class LogTail:
    """All events so far, read as they become durable."""

    def __init__(self, database: Path) -> None:
        self.path = database
        self.events: list[Logged] = []

    def poll(self) -> list[Logged]:
        """Reads and returns what is new."""
        if not self.path.exists():
            return []
        after = self.events[-1].seq if self.events else -1
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=5)) as db:
            rows = db.execute("select seq, jws from events where seq > ? order by seq", (after,)).fetchall()
            told = db.execute("select seq, text from disclosures where seq > ?", (after,)).fetchall()
        personal: dict[int, dict[str, Any]] = {}
        for seq, text in told:
            _, name, value = json.loads(_decoded(text))
            personal.setdefault(seq, {})[name] = value
        new = [_logged(jws, personal.get(seq, {})) for seq, jws in rows]
        self.events += new
        return new

    def of(self, call: str) -> list[Logged]:
        """The events of one call so far."""
        self.poll()
        return [event for event in self.events if event.call == call]

    def wait(
        self,
        type: str,
        *,
        call: str | None = None,
        within: float = 10,
        after: int = -1,
        count: int = 1,
        **fields: object,
    ) -> Logged:
        """The `count`-th event of this type with these fields and a higher number than `after`. Raises LogTimeout."""

        def found() -> Logged | None:
            matching = [
                e
                for e in self.events
                if e.seq > after and e.type == type and (call is None or e.call == call) and e.has(fields)
            ]
            return matching[count - 1] if len(matching) >= count else None

        event = self._until(found, within)
        if event is None:
            raise LogTimeout(f"no {type} {fields or ''} (number {count}) within {within:g} s\n{self.story(call)}")
        return event

    def _until(self, found: Callable[[], Logged | None], within: float) -> Logged | None:
        deadline = time.monotonic() + within
        while True:
            self.poll()
            event = found()
            if event is not None or time.monotonic() > deadline:
                return event
            time.sleep(0.03)

    def story(self, call: str | None = None) -> str:
        """The events of a call, or all, one a line."""
        return "\n".join(f"  {event}" for event in self.events if call is None or event.call == call)


def _logged(jws: str, personal: dict[str, Any]) -> Logged:
    payload = json.loads(_decoded(jws.split(".")[1]))
    return Logged(payload["seq"], payload["type"], payload["call"], payload["time"], payload["data"], personal)


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
