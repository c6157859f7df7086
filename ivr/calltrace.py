# SPDX-License-Identifier: GPL-3.0-or-later
"""Which call a line of the log is about, and what in it is personal. Known to whoever writes lines, imported by all.

A process sets the trace of a call while it works on it; tasks, timers and callbacks made meanwhile inherit it.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trace:
    """The ids of one call: `call` is that of the log, `edge` the one that the edge gave it, or empty."""

    call: str
    edge: str = ""

    @property
    def fields(self) -> dict[str, str]:
        """As `extra` of a log line, where the trace is not set."""
        return {"call": self.call, "edge": self.edge}


TRACE: ContextVar[Trace | None] = ContextVar("assent_trace", default=None)


@contextmanager
def tracing(trace: Trace) -> Iterator[None]:
    """Lines written inside, and by tasks that are made inside, are about this call."""
    token = TRACE.set(trace)
    try:
        yield
    finally:
        TRACE.reset(token)


SHORTEST = 5
"""A shorter value is not looked for: it would be found in every line."""


LATE = 16
"""Calls that are over and whose values are still masked."""


class PersonalValues:
    """What this process knows to be personal in the calls that it has: numbers, addresses, Call-IDs."""

    def __init__(self) -> None:
        self._by_call: dict[str, set[str]] = {}
        self._over: deque[str] = deque()
        self._longest_first: tuple[str, ...] = ()

    def keep(self, call: str, values: Iterable[str]) -> None:
        """From here on these are masked wherever they are written."""
        self._by_call.setdefault(call, set()).update(value for value in values if len(value) >= SHORTEST)
        self._sort()

    def over(self, call: str) -> None:
        """The call has ended. Its values are kept until LATE more have: a line may still be written of it."""
        self._over.append(call)
        if len(self._over) > LATE:
            self._by_call.pop(self._over.popleft(), None)
            self._sort()

    def _sort(self) -> None:
        everything = set().union(*self._by_call.values())
        self._longest_first = tuple(sorted(everything, key=len, reverse=True))

    @property
    def known(self) -> tuple[str, ...]:
        """Longest first, so that a number inside an address does not hide the rest of it."""
        return self._longest_first


PERSONAL = PersonalValues()
