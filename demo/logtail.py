# SPDX-License-Identifier: GPL-3.0-or-later
"""Follows the log of a running server, read only. For people; nothing here is verified."""

import json
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ivr.ledger.errors import LedgerMissing
from ivr.ledger.keys import load_pseudonym_key
from ivr.ledger.query import LogReader, ShownEvent
from ivr.ledger.sealed import FieldOpener


class LogTimeout(AssertionError):
    """An event did not reach the log in time; the message holds those of the call, or all."""


class LogTail:
    """All events so far, read as they become durable. For one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[ShownEvent] = []

    def poll(self) -> list[ShownEvent]:
        """Reads and returns what is new; nothing while there is no log."""
        try:
            with LogReader(self.path, self._opener()) as log:
                new = list(log.events(since=self.events[-1].seq + 1 if self.events else 0))
        except (LedgerMissing, sqlite3.OperationalError):
            return []
        self.events += new
        return new

    def _opener(self) -> FieldOpener:
        folder = self.path.parent.parent
        return FieldOpener(folder / "data/subjects", load_pseudonym_key(folder / "keys"))

    @property
    def next(self) -> int:
        """The number of the next event, for `since`."""
        self.poll()
        return self.events[-1].seq + 1 if self.events else 0

    def of(self, call: str) -> list[ShownEvent]:
        """The events of one call so far."""
        self.poll()
        return [event for event in self.events if event.call == call]

    def wait(self, type: str, **limits: Any) -> ShownEvent:
        """As `wait_any`, for one type."""
        return self.wait_any((type,), **limits)

    def wait_any(
        self,
        types: Sequence[str],
        *,
        call: str | None = None,
        within: float = 10,
        since: int = 0,
        count: int = 1,
        **fields: object,
    ) -> ShownEvent:
        """The `count`-th event of one of these types with these fields from number `since` on. Raises LogTimeout."""

        def found() -> ShownEvent | None:
            matching = [
                e
                for e in self.events
                if e.seq >= since and e.type in types and (call is None or e.call == call) and has(e, fields)
            ]
            return matching[count - 1] if len(matching) >= count else None

        event = self._until(found, within)
        if event is None:
            raise LogTimeout(
                f"no {' or '.join(types)} {fields or ''} (number {count}) within {within:g} s\n{self.story(call)}"
            )
        return event

    def _until(self, found: Callable[[], ShownEvent | None], within: float) -> ShownEvent | None:
        deadline = time.monotonic() + within
        while True:
            self.poll()
            event = found()
            if event is not None or time.monotonic() > deadline:
                return event
            time.sleep(0.03)

    def story(self, call: str | None = None, since: int = 0) -> str:
        """The events of a call, or all, from number `since` on, one a line."""
        self.poll()
        shown = [event for event in self.events if event.seq >= since and call in (None, event.call)]
        return "\n".join(map(_line, shown))


def has(event: ShownEvent, fields: Mapping[str, object]) -> bool:
    """Whether all these fields stand in it."""
    both = {**event.personal, **event.data}
    return all(name in both and both[name] == value for name, value in fields.items())


def _line(event: ShownEvent) -> str:
    fields = json.dumps({name: v for name, v in {**event.data, **event.personal}.items() if name != "policy"})
    return f"  {event.seq:5} {event.data.get('at_ms', ''):>6} {event.type:<22}{fields[:400]}"
