# SPDX-License-Identifier: GPL-3.0-or-later
"""A log as a worker writes it: every input of a call, then the decisions that the real machine takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from consent_kit import AGENT, COMPLETED, OPT_OUT, PATHS, SAMPLES
from ivr.consent import inputs as i
from ivr.consent.effects import LoggedDecision, Permit
from ivr.consent.inputs import CALLER, Input, Timer
from ivr.consent.machine import VERSION, step
from ivr.consent.policy import Policy
from ivr.consent.record import decision_event, input_event
from ivr.consent.state import State, initial

RATE = 8_000


@dataclass(frozen=True)
class Logged:
    """An event as replay reads it."""

    seq: int
    call: str | None
    type: str
    data: Mapping[str, Any]


@dataclass
class Writer:
    """One call's part of the log. `tell` logs an input and its decisions; `note` logs anything else."""

    call: str = "call-1"
    state: State = field(default_factory=initial)
    now: int = 0
    events: list[Logged] = field(default_factory=list)
    permits_reach_the_ledger: bool = True

    def __post_init__(self) -> None:
        self.note("call.received", flow="sales")

    def note(self, kind: str, **data: Any) -> "Writer":
        self.events.append(Logged(len(self.events), self.call, kind, {"at_ms": self.now, **data}))
        return self

    def tell(self, event: Input, after_ms: int = 20, **facts: Any) -> "Writer":
        self.now += after_ms
        self.state, effects = step(self.state, event, self.now)
        kind, data = input_event(event)
        if isinstance(event, i.Asked):
            facts = {"machine": VERSION, "policy_sha256": "00", **facts}
        self.note(kind, **data, **facts)
        for effect in effects:
            if not isinstance(effect, LoggedDecision):
                continue
            kind, data = decision_event(effect, self.state.policy)
            if isinstance(effect, Permit):
                data["recording"] = f"recording-{effect.number}"
                if not self.permits_reach_the_ledger:
                    continue
            self.note(kind, **data)
        return self

    def expire(self, timer: Timer) -> "Writer":
        due = dict(self.state.deadlines)[timer]
        return self.tell(i.Expired(timer), max(0, due - self.now))

    def stopped(self, number: int, spans: list[list[int]], **facts: Any) -> "Writer":
        return self.tell(i.RecorderStopped(number), **{"reason": "", "rate": RATE, "spans": spans, **facts})


def asked(policy: Policy = OPT_OUT, call: str = "call-1") -> Writer:
    return Writer(call).tell(i.Answered(PATHS)).tell(i.Asked(policy))


def cleared(policy: Policy = OPT_OUT, call: str = "call-1") -> Writer:
    writer = asked(policy, call).tell(i.NoticeStarted(SAMPLES)).tell(COMPLETED)
    return writer.expire(Timer.WINDOW) if policy.window_ms else writer


def permitted(policy: Policy = OPT_OUT, call: str = "call-1") -> Writer:
    return cleared(policy, call).tell(i.Joined(AGENT)).tell(i.Informed(AGENT, True))


def recorded(policy: Policy = OPT_OUT, call: str = "call-1") -> Writer:
    """A whole call: 10 s recorded, and everybody hangs up."""
    writer = permitted(policy, call).tell(i.PermitAcknowledged(1), waited_us=900)
    start = writer.now
    writer.tell(i.RecorderStarted(1), 60)
    writer.tell(i.Left(CALLER, "bye"), start + 10_000 - writer.now)
    return writer.stopped(1, [[0, 10 * RATE, start]]).note("call.ended", outcome="completed", reason="bye")


def numbered(events: list[Logged]) -> list[Logged]:
    """The same events with sequence numbers in order."""
    return [replace(event, seq=n) for n, event in enumerate(events)]


def without(events: list[Logged], wrong: Callable[[Logged], bool]) -> list[Logged]:
    """The log as it would be had those events never been signed."""
    return numbered([event for event in events if not wrong(event)])


def changed(events: list[Logged], kind: str, **data: Any) -> list[Logged]:
    """The log as it would be had the first event of this type said something else."""
    at = next(n for n, event in enumerate(events) if event.type == kind)
    return [*events[:at], replace(events[at], data={**events[at].data, **data}), *events[at + 1 :]]
