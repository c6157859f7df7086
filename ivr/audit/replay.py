# SPDX-License-Identifier: GPL-3.0-or-later
"""Replay: the logged inputs of every call, run through the consent machine of their version, give the logged decisions.

Pure, and shares only the machine and record.py with what wrote the log. Memory grows with the calls that are up at one
time, not with the log. An input and its decisions are neighbours in the log of their call; only a permit may be absent,
because one that the ledger could not take is never sent again. Then it must not have been used either.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from ivr.audit.inputkey import KEYS
from ivr.audit.memo import LIMIT, NEVER, Deadlines, Memo, Point, Step, due_at
from ivr.audit.recordings import LOST
from ivr.audit.spans import Kept
from ivr.consent.errors import InvariantError
from ivr.consent.machines import MACHINES, NEWEST
from ivr.consent.record import DECISIONS, INPUTS, RecordError, event_input

PERMITTED = "recording.permitted"

_RELEVANT = INPUTS | DECISIONS | {"call.received", "call.ended", "call.lost"}
_PLAIN = INPUTS - {"recording.started", "recording.stopped"}
"""Inputs that concern nothing but the machine."""


class ReplayEvent(Protocol):
    """What is read of an event whose signature holds; ivr.ledger.event.Event is one."""

    @property
    def seq(self) -> int: ...
    @property
    def call(self) -> str | None: ...
    @property
    def type(self) -> str: ...
    @property
    def data(self) -> Mapping[str, Any]: ...


class Differs(StrEnum):
    """In what way the log and the machine differ."""

    DECISION_MISSING = "decision-missing"
    """The machine decides something that the log does not have."""
    DECISION_ADDED = "decision-added"
    """The log has a decision that the machine does not take."""
    DECISION_CHANGED = "decision-changed"
    """Both decide, not the same."""
    INPUT_IMPOSSIBLE = "input-impossible"
    """The log has an input that cannot be true in the state before it, as a recording without a permit."""
    INPUT_MALFORMED = "input-malformed"
    """An event has not the fields that its machine's version writes."""
    CALL_NOT_OPEN = "call-not-open"
    """An event before the call was received, or after its end."""
    TIME_GOES_BACK = "time-goes-back"
    """An input's at_ms is before the one of the input before."""
    SPAN_NOT_CLEARED = "span-not-cleared"
    """Samples were kept at a time in which not everybody was cleared."""
    MACHINE_UNKNOWN = "machine-unknown"
    """The call was decided by a machine that this program does not have; it cannot be replayed."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference, with the event where it shows. `expected`: what the machine says; `found`: what the log says."""

    what: Differs
    call: str
    seq: int
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.what}: event {self.seq}, call {self.call}: expected {self.expected}; found {self.found}"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


@dataclass(slots=True)
class ReplayReport:
    """`open_calls` had not ended where the log does: what they decided last may not be written yet."""

    events: int = 0
    calls: int = 0
    inputs: int = 0
    decisions: int = 0
    lost_calls: int = 0
    open_calls: int = 0
    differences: list[Difference] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every logged decision is the machine's, and every decision of the machine is logged."""
        return not self.differences


def replay(events: Iterable[ReplayEvent], remember: int = LIMIT) -> ReplayReport:
    """Replays all calls in one pass over verified events in the order of the log.

    Steps that a machine made before are remembered, at most `remember` of them; with 0 it makes every one again.
    """
    report = ReplayReport()
    memos = {version: Memo(machine, remember) for version, machine in MACHINES.items()}
    calls: dict[str, _Call] = {}
    for event in events:
        report.events += 1
        kind = event.type
        if kind not in _RELEVANT:
            continue
        name = event.call
        if name is None:
            continue
        call = calls.get(name)
        if kind == "call.received":
            if call is not None:
                call.differ(Differs.CALL_NOT_OPEN, event.seq, "a call is received once", kind)
            else:
                calls[name] = _Call(name, report, memos)
        elif call is None:
            expected = "nothing: the call was not received, or is over"
            report.differences.append(Difference(Differs.CALL_NOT_OPEN, name, event.seq, expected, kind))
        elif call.take(event):
            del calls[name]
    for call in calls.values():
        call.settle()
    report.open_calls = len(calls)
    return report


_Decision = tuple[str, Mapping[str, Any]]


class _Call:
    """One call that is up: where the machine stands, and what it decided that the log has not shown yet."""

    __slots__ = (
        "_cause",
        "_deadlines",
        "_due",
        "_early",
        "_ended",
        "_expected",
        "_kept",
        "_lost",
        "_memo",
        "_memos",
        "_name",
        "_now",
        "_open",
        "_point",
        "_report",
        "_running",
        "_unsent",
    )

    def __init__(self, name: str, report: ReplayReport, memos: Mapping[int, Memo]) -> None:
        self._name = name
        self._report = report
        self._memos = memos
        self._early: list[ReplayEvent] | None = []  # until the call says which machine decides it
        self._memo: Memo | None = None
        self._running: Memo | None = None  # the same, until the call is over
        self._expected: tuple[_Decision, ...] = ()
        self._cause = 0  # the input that led to them
        self._unsent: dict[int, _Decision] = {}  # permits that were decided and are not in the log
        self._point: Point
        self._deadlines: Deadlines = ()
        self._due = NEVER  # the first of them
        self._kept = Kept()
        self._open: set[int] = set()
        self._now = 0
        self._ended = False
        self._lost = False
        report.calls += 1

    def take(self, event: ReplayEvent) -> bool:
        """One event of this call; true when it was the last one."""
        if self._running is not None:
            kind = event.type
            if kind in _PLAIN:
                self._told(self._running, event)
                return False
            if kind in DECISIONS:
                self._decided(event)
                return False
        return self._take(event)

    def _take(self, event: ReplayEvent) -> bool:
        kind, data = event.type, event.data
        if kind in ("call.ended", "call.lost"):
            return self._end(event)
        if kind == "recording.stopped" and data.get("reason") == LOST:
            self._kept_by_a_lost_one(event)
            self._open.discard(_number(data))
            self._lost = True  # the worker is gone; only the ledger speaks from here on
            self._running = None
            return self._over()
        if self._lost or (self._ended and not kind.startswith("recording.")):
            self.differ(Differs.CALL_NOT_OPEN, event.seq, "nothing: the call is over", kind)
            return False
        if self._early is None:
            self._replay(event)
        else:
            self._early.append(event)
            if kind == "consent.asked":
                self._begin(event)
        if kind == "recording.started":
            self._open.add(_number(data))
        elif kind == "recording.stopped":
            self._open.discard(_number(data))
        return self._over()

    def settle(self) -> None:
        """The call never reached a consent step: the newest machine has a say in it all the same."""
        if self._early is not None:
            self._use(NEWEST)

    def differ(self, what: Differs, seq: int, expected: str, found: str) -> None:
        """Notes a difference."""
        self._report.differences.append(Difference(what, self._name, seq, expected, found))

    def _end(self, event: ReplayEvent) -> bool:
        self.settle()
        if self._ended:
            self.differ(Differs.CALL_NOT_OPEN, event.seq, "nothing: the call is over", event.type)
        if event.type == "call.lost":
            # What the last input led to may have died with the worker; all before it has been compared.
            self._report.lost_calls += 1
            return True
        self._missed()
        self._ended = True
        self._running = None
        return self._over()

    def _over(self) -> bool:
        return self._ended and not self._open

    # -- the machine ---------------------------------------------------------------------------------------------

    def _begin(self, asked: ReplayEvent) -> None:
        version = asked.data.get("machine")
        if type(version) is not int or version not in MACHINES:
            known = ", ".join(map(str, MACHINES))
            self.differ(Differs.MACHINE_UNKNOWN, asked.seq, f"a machine of version {known}", repr(version))
            self._early = None
            return
        self._use(version)

    def _use(self, version: int) -> None:
        events, self._early = self._early or [], None
        self._memo = self._running = self._memos[version]
        self._point, deadlines = self._memo.beginning()
        self._wait(deadlines)
        for event in events:
            self._replay(event)

    def _replay(self, event: ReplayEvent) -> None:
        if self._memo is None:
            return  # not replayed, and reported as such
        if event.type in DECISIONS:
            self._decided(event)
        else:
            self._told(self._memo, event)

    def _told(self, memo: Memo, event: ReplayEvent) -> None:
        """An input: by now the log has shown what the one before it led to."""
        if self._expected:
            self._missed()
        kind, data = event.type, event.data
        place, step = None, None
        try:
            now = data["at_ms"]
            key = KEYS[kind](data)
            if key is not None and type(now) is int and now >= self._now:
                place = (self._point, key) if now < self._due else (self._point, key, due_at(self._deadlines, now))
                step = memo.steps.get(place)
        except (KeyError, TypeError):
            place = None  # a field is not there, or not what it should be: it is read below, and said to be so
        if step is None:
            step = self._make(memo, event, place)
            if step is None:
                return
        else:
            self._report.inputs += 1
            self._now = now
            if not step.same_timers:
                self._wait(step.deadlines(self._deadlines, now))
        self._point = step.point
        self._expected, self._cause = step.decisions, event.seq
        if step.keeping:
            self._kept.follow(step.keeping, now)
        if kind == "recording.armed":
            self._armed(event)
        elif kind == "recording.stopped":
            self._stopped(event, now)

    def _make(self, memo: Memo, event: ReplayEvent, place: Hashable | None) -> Step | None:
        """The machine's own step; None when it cannot be made, which has been noted then."""
        now = event.data.get("at_ms")
        try:
            told = event_input(event.type, event.data)
            if told is None or type(now) is not int:
                raise RecordError(f"{event.type}: at_ms is {now!r}, not milliseconds")
            if now < self._now:
                self.differ(Differs.TIME_GOES_BACK, event.seq, f"at_ms of {self._now} or later", str(now))
            self._now = now
            self._report.inputs += 1
            step, deadlines = memo.make(self._point, self._deadlines, told, now, place)
        except RecordError as error:
            self.differ(Differs.INPUT_MALFORMED, event.seq, f"what machine {NEWEST} writes", str(error))
            return None
        except InvariantError as error:
            self.differ(Differs.INPUT_IMPOSSIBLE, event.seq, f"no {event.type}: {error}", event.type)
            return None
        self._wait(deadlines)
        return step

    def _wait(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        if len(deadlines) < 2:
            self._due = deadlines[0][1] if deadlines else NEVER
        else:
            self._due = min(due for _, due in deadlines)

    def _kept_by_a_lost_one(self, event: ReplayEvent) -> None:
        """What the ledger found on disk had a permit, even where nothing between that and the loss was logged."""
        for permit in [*self._unsent.values(), *self._expected]:
            if permit[0] == PERMITTED and permit[1]["number"] == _number(event.data):
                self.differ(Differs.DECISION_MISSING, event.seq, _said(permit), "what was kept, and no permit")

    def _armed(self, event: ReplayEvent) -> None:
        permit = self._unsent.pop(event.data["number"], None)
        if permit is not None:
            self.differ(Differs.DECISION_MISSING, event.seq, _said(permit), "a permit that was used and is not logged")

    def _stopped(self, event: ReplayEvent, now: int) -> None:
        self._kept.close(now)
        try:
            stray = self._kept.stray(event.data)
        except (KeyError, TypeError, ValueError) as error:
            self.differ(Differs.INPUT_MALFORMED, event.seq, "spans and their rate", str(error))
            return
        if stray:
            self.differ(Differs.SPAN_NOT_CLEARED, event.seq, "samples of cleared times only", stray)

    # -- the decisions -------------------------------------------------------------------------------------------

    def _decided(self, event: ReplayEvent) -> None:
        self._report.decisions += 1
        kind, found = event.type, dict(event.data)
        found.pop("at_ms", None)
        found.pop("recording", None)
        if self._unsent and kind == PERMITTED and self._was_on_its_way(found):
            return
        while self._expected and self._expected[0][0] == PERMITTED != kind:
            self._skip_permit()
        if not self._expected or self._expected[0][0] != kind:
            self.differ(Differs.DECISION_ADDED, event.seq, self._next(), _said((kind, found)))
            return
        expected, self._expected = self._expected[0], self._expected[1:]
        if expected[1] != found:
            self.differ(Differs.DECISION_CHANGED, event.seq, _said(expected), _said((kind, found)))

    def _missed(self) -> None:
        """What should have been in the log before now."""
        while self._expected:
            if self._expected[0][0] == PERMITTED:
                self._skip_permit()
            else:
                expected, self._expected = self._expected[0], self._expected[1:]
                self.differ(Differs.DECISION_MISSING, self._cause, _said(expected), "nothing after this input")

    def _was_on_its_way(self, found: Mapping[str, Any]) -> bool:
        """Whether this is a permit that other inputs have overtaken."""
        for number, permit in self._unsent.items():
            if permit[1] == found:
                del self._unsent[number]
                return True
        return False

    def _skip_permit(self) -> None:
        permit, self._expected = self._expected[0], self._expected[1:]
        self._unsent[permit[1]["number"]] = permit

    def _next(self) -> str:
        return _said(self._expected[0]) if self._expected else "no decision"


def _number(data: Mapping[str, Any]) -> int:
    number = data.get("number")
    return number if type(number) is int else 0


def _said(decision: _Decision) -> str:
    kind, data = decision
    return f"{kind} {' '.join(f'{name}={value}' for name, value in data.items())}"
