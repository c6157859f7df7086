# SPDX-License-Identifier: GPL-3.0-or-later
"""How many calls a second are replayed on one core, their verified events in memory: `python -m bench.replay_speed`.

The calls are what the real machine writes: opt-out, opt-in and required ones, recorded and refused, several notices,
times of their own, 50 of them up at one time. No two calls are equal, as in a log; what is in them is, as in a log.
"""

import gc
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from random import Random
from typing import Any

import orjson

from bench.figures import Figure, Target
from ivr.audit.replay import replay
from ivr.consent import inputs as i
from ivr.consent.effects import LoggedDecision, Permit
from ivr.consent.inputs import CALLER, Input, KeyPath, Timer
from ivr.consent.machine import VERSION, step
from ivr.consent.policy import LawfulBasis, Mode, Policy
from ivr.consent.record import decision_event, input_event
from ivr.consent.state import State, initial
from ivr.ledger.event import Event

_GROUP = "evidence"
_AGENT = "agent-1"
_UP_AT_ONE_TIME = 50
_RATE = 8_000
_POLICIES = (
    Policy(Mode.OPT_OUT, LawfulBasis.LEGITIMATE_INTERESTS, refuse_key="1", withdraw_key="9", window_ms=3_000),
    Policy(Mode.OPT_IN, LawfulBasis.CONSENT, refuse_key="1", accept_key="2", withdraw_key="9", window_ms=5_000),
    Policy(Mode.REQUIRED, LawfulBasis.LEGAL_OBLIGATION),
)
_NOTICES = {"en": 61_440, "de": 72_960, "fr": 70_400, "es": 68_800}


@dataclass
class _Call:
    """One call's part of the log, written as a worker writes it."""

    name: str
    luck: Random
    state: State = field(default_factory=initial)
    now: int = 0
    events: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def note(self, kind: str, **data: Any) -> None:
        self.events.append((kind, {"at_ms": self.now, **data}))

    def tell(self, event: Input, after_ms: int | None = None, **facts: Any) -> None:
        self.now += self.luck.randint(2, 900) if after_ms is None else after_ms
        self.state, effects = step(self.state, event, self.now)
        kind, data = input_event(event)
        self.note(kind, **data, **facts)
        for effect in effects:
            if isinstance(effect, LoggedDecision):
                kind, data = decision_event(effect, self.state.policy)
                self.note(kind, **data, **({"recording": self.name} if isinstance(effect, Permit) else {}))


def _call(number: int, luck: Random, refused: bool) -> _Call:
    call = _Call(f"0197a0b0-{number % 65536:04x}-7000-8000-{number:012x}", luck)
    policy, samples = luck.choice(_POLICIES[:1] if refused else _POLICIES), luck.choice(list(_NOTICES.values()))
    call.note("call.received", flow="sales", worker="worker-1", flow_sha256="0" * 64)
    call.tell(i.Answered(frozenset({KeyPath.RFC4733, KeyPath.INFO})), codec="PCMA")
    call.tell(i.Asked(policy), machine=VERSION, policy_sha256="0" * 64)
    call.tell(i.NoticeStarted(samples), language="de", rate=_RATE, text_sha256="0" * 64)
    if refused:
        call.tell(i.Key(CALLER, "1"))
        call.tell(i.NoticeInterrupted("stopped"), samples_sent=samples // 2)
    else:
        call.tell(i.NoticeCompleted(samples, samples), samples // 8, packets_sent=samples // 160, packets_lost=0)
    if policy.mode is Mode.OPT_IN:
        call.tell(i.Key(CALLER, "2"))
    elif policy.window_ms and not refused:
        due = call.state.due(Timer.WINDOW) or 0
        call.tell(i.Expired(Timer.WINDOW), due - call.now + luck.randint(0, 3))
    call.tell(i.Joined(_AGENT))
    call.tell(i.Informed(_AGENT, not refused))
    if not refused:
        _record(call)
    call.tell(i.Left(CALLER, "bye"))
    call.tell(i.Left(_AGENT, "bridge_ended"), 5)
    if not refused:
        spans = [[0, _RATE, call.now - 1_500]]
        call.tell(i.RecorderStopped(1), 5, reason="caller_left", rate=_RATE, spans=spans, samples=_RATE)
    call.note("call.ended", outcome="completed", reason="bye")
    return call


def _record(call: _Call) -> None:
    call.tell(i.PermitAcknowledged(1), call.luck.randint(1, 20), waited_us=900)
    call.tell(i.RecorderStarted(1), call.luck.randint(20, 80), recording=call.name)
    call.note("bridge.started", party=_AGENT, codec="PCMA")
    call.now += call.luck.randint(2_000, 600_000)
    call.note("bridge.ended", party=_AGENT, reason="bye")


def log(calls: int, refused: float, seed: int = 7) -> list[Event]:
    """Verified events of so many calls, mixed as they are in a log; this share of the callers refuses."""
    luck = Random(seed)
    made = [_call(n, luck, luck.random() < refused) for n in range(calls)]
    events: list[Event] = []
    for first in range(0, calls, _UP_AT_ONE_TIME):
        up = made[first : first + _UP_AT_ONE_TIME]
        for row in zip_longest(*([(call.name, *event) for event in call.events] for call in up)):
            for name, kind, data in filter(None, row):
                events.append(_read(Event("example.org/log", len(events), None, "", "", name, kind, data)))
    return events


def _read(event: Event) -> Event:
    """As it comes from a log: no text of one event is the same object as that of another."""
    kind, call, data = orjson.loads(orjson.dumps([event.type, event.call, event.data]))
    return replace(event, type=kind, call=call, data=data)


def measure(calls: int = 3_000, repeats: int = 7) -> Iterator[Figure]:
    """Calls replayed a second, in CPU time. Every call must hold."""
    for name, refused, target in (("recorded", 0.0, Target(20_000, at_least=True)), ("one in five refused", 0.2, None)):
        events = log(calls, refused)
        rates = []
        for _ in range(repeats):
            gc.collect()
            began = time.thread_time()
            report = replay(events)
            rates.append(calls / (time.thread_time() - began))
            if report.differences or report.calls != calls or report.open_calls:
                raise AssertionError(f"the log does not hold: {report.differences[:3]}, {report.open_calls} calls open")
        read = report.inputs + report.decisions + 2 * calls
        note = f"{calls} calls of {read / calls:.1f} relevant and {len(events) / calls:.1f} events, in memory"
        yield Figure(f"calls replayed a second, {name}", "/s", rates, target, note, _GROUP, 0)


if __name__ == "__main__":
    for figure in measure():
        print(figure.name, figure.note, [round(value) for value in sorted(figure.values)], figure.verdict)
