# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts of what became durable, kept while the ledger runs: a dictionary and an addition for each event.

Counters begin at 0 with the process; `since` says when that was. What is counted is declared here by event type, so the
metrics and the log cannot speak of different things. Labels hold words of our own, never anything personal.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from time import time
from typing import Any

from ivr.histogram import Histogram
from ivr.ledger.log import Entry

MAX_SERIES = 200
"""Label sets of one counter; more are counted under `other`: a broken worker must not fill a monitoring server."""

OTHER = "other"
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,47}")
_NUMBER = re.compile(r"\d{5,}")

LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
LENGTH_S = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)


@dataclass(frozen=True, slots=True)
class Counted:
    """One event type counts under `name`, by these fields of its data; `fixed` labels come first."""

    name: str
    fields: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()


COUNTED: Mapping[str, Counted] = {
    "call.received": Counted("calls_received", ("flow",)),
    "call.ended": Counted("calls_ended", ("outcome", "reason")),
    "call.lost": Counted("calls_ended", ("reason",), ("lost",)),
    "consent.decided": Counted("consent_decisions", ("decision", "mode", "source")),
    "consent.withdrawn": Counted("consent_withdrawals", ("source",)),
    "consent.faulted": Counted("consent_faults", ("reason",)),
    "consent.timed_out": Counted("consent_timeouts", ("timer",)),
    "ledger.unreachable": Counted("ledger_unreachable", ("reason",)),
    "notice.completed": Counted("notices", (), ("completed", "")),
    "notice.interrupted": Counted("notices", ("reason",), ("interrupted",)),
    "notice.failed": Counted("notices", ("reason",), ("failed",)),
    "agent.informed": Counted("agent_notices", (), ("completed", "")),
    "agent.not_informed": Counted("agent_notices", ("reason",), ("not_informed",)),
    "recording.permitted": Counted("recordings_permitted", ("reason",)),
    "recording.blocked": Counted("recordings_blocked", ("reason",)),
    "recording.started": Counted("recordings_started"),
    "recording.failed": Counted("recordings_failed", ("reason",)),
    "recording.paused": Counted("recordings_paused", ("reason",)),
    "recording.stopped": Counted("recordings_stopped", ("reason",)),
    "recording.erased": Counted("recordings_erased", ("reason",)),
    "bridge.started": Counted("bridges_started"),
    "bridge.failed": Counted("bridges_failed", ("status", "reason")),
}
"""What is counted beside the plain number of events by type."""


class LedgerStats:
    """Owned by the ledger's event loop."""

    def __init__(self) -> None:
        self.since = time()
        self._events: dict[str, int] = {}
        self._counts: dict[str, dict[tuple[str, ...], int]] = {one.name: {} for one in COUNTED.values()}
        self.commit = Histogram(LATENCY_S)
        self.permit = Histogram(LATENCY_S)
        self.length = Histogram(LENGTH_S)

    def durable(self, entry: Entry, waited_s: float) -> None:
        """An event is on disk, so long after it had come in."""
        kind, data = entry.type, entry.data
        self._events[kind] = self._events.get(kind, 0) + 1
        self.commit.observe(waited_s)
        counted = COUNTED.get(kind)
        if counted is not None:
            self._count(counted, data)
        if kind == "recording.armed":
            _observe(self.permit, data.get("waited_us"), 1_000_000)
        elif kind == "call.ended":
            _observe(self.length, data.get("at_ms"), 1_000)

    def _count(self, counted: Counted, data: Mapping[str, Any]) -> None:
        series = self._counts[counted.name]
        key = (*counted.fixed, *(_label(data.get(name)) for name in counted.fields))
        if key not in series and len(series) >= MAX_SERIES:
            key = (OTHER,) * len(key)
        series[key] = series.get(key, 0) + 1

    def as_json(self) -> dict[str, Any]:
        """Everything counted, as it goes over the socket."""
        return {
            "since": self.since,
            "events": dict(self._events),
            "counts": {name: [[list(key), n] for key, n in series.items()] for name, series in self._counts.items()},
            "histograms": {
                "commit": self.commit.as_json(),
                "permit": self.permit.as_json(),
                "length": self.length.as_json(),
            },
        }


def _observe(histogram: Histogram, value: object, unit: int) -> None:
    if isinstance(value, int):
        histogram.observe(value / unit)


def _label(value: object) -> str:
    return "" if value is None else _word(str(value))


@lru_cache(1024)
def _word(text: str) -> str:
    """A word of ours as it is; anything that could be a number, an address or a sentence of a stranger as `other`."""
    return text if not text or (_WORD.fullmatch(text) and not _NUMBER.search(text)) else OTHER
