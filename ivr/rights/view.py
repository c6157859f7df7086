# SPDX-License-Identifier: GPL-3.0-or-later
"""The log as rights see it: recordings with their clocks, calls, holds and requests. One pass; proves nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from ivr.consent.policy import OnWithdraw
from ivr.ledger.query import LogReader, ShownEvent

_TYPES = (
    "call.received", "call.ended", "call.lost", "consent.asked", "consent.decided", "consent.withdrawn",
    "recording.permitted", "recording.started", "recording.stopped", "recording.erased", "recording.not_erased",
    "recording.accessed", "recording.exported",
    "hold.placed", "hold.lifted", "retention.applied",
    "subject.request.opened", "subject.request.packaged", "subject.request.closed",
)  # fmt: skip


def parse_time(text: str) -> datetime:
    """A time as events have it."""
    return datetime.fromisoformat(text)


def event_time(moment: datetime) -> str:
    """The form of `time` in events; sorts as text."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(slots=True)
class Recording:
    """One recording. `stopped` is None while it runs, `erased` the event that says it is gone."""

    id: str
    call: str
    started: str
    stopped: str | None = None
    seconds: float = 0.0
    erased: ShownEvent | None = None
    owed: str | None = None
    """Since when it should have been erased: the storage refused, or the worker died over it."""


@dataclass(slots=True)
class Call:
    """One call. `settings` is what its consent step enforced; empty when it was not asked, or not said in the log."""

    id: str
    received: ShownEvent
    asked: ShownEvent | None = None
    decisions: list[ShownEvent] = field(default_factory=list)
    over: bool = False
    recordings: list[Recording] = field(default_factory=list)
    permits: set[str] = field(default_factory=set)
    owed: dict[str, str] = field(default_factory=dict)
    """Recordings by id that were permitted before a withdrawal that erases, and when that was. Not each began."""

    @property
    def settings(self) -> Mapping[str, Any]:
        found = self.asked.data.get("settings") if self.asked else None
        return found if isinstance(found, dict) else {}

    @property
    def erases(self) -> bool:
        """Whether a withdrawal destroys what was recorded before it."""
        policy = self.asked.data.get("policy") if self.asked else None
        return isinstance(policy, dict) and policy.get("on_withdraw") == OnWithdraw.ERASE

    @property
    def retention_days(self) -> int | None:
        """Days that the caller was told recordings are kept."""
        days = self.settings.get("retention_days")
        return days if type(days) is int else None


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold in force. `seq` is the event that placed it; the number, if any, is its pseudonym's business."""

    id: str
    seq: int
    placed: str
    case: str | None
    calls: tuple[str, ...]
    number: str | None
    why: str


@dataclass(slots=True)
class Request:
    """A person's request and its clock."""

    id: str
    kind: str
    received: date
    due: date
    opened: ShownEvent
    subject: str | None
    calls: tuple[str, ...]
    packaged: ShownEvent | None = None
    closed: ShownEvent | None = None

    def overdue(self, today: date) -> bool:
        """Open past its last day."""
        return self.closed is None and today > self.due


@dataclass(slots=True)
class View:
    """Everything at one moment. `covered` are the calls that a hold in force covers, `covered_events` the events."""

    calls: dict[str, Call] = field(default_factory=dict)
    recordings: dict[str, Recording] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    applied: list[ShownEvent] = field(default_factory=list)
    listened: list[ShownEvent] = field(default_factory=list)
    covered: frozenset[str] = frozenset()
    covered_events: frozenset[int] = frozenset()


def look(log: LogReader) -> View:
    """Read the log. Raises EventError."""
    view = View()
    for event in log.of_types(_TYPES):
        _take(view, event)
    view.covered, view.covered_events = covered(log, view.holds.values())
    return view


def covered(log: LogReader, holds: Iterable[Hold]) -> tuple[frozenset[str], frozenset[int]]:
    """The calls and events that these holds cover: named, or of a number that they name."""
    in_force = list(holds)
    calls = {call for hold in in_force for call in hold.calls}
    alike = log.sharing([hold.seq for hold in in_force]) if in_force else []
    calls |= {call for _, call in alike if call is not None}
    return frozenset(calls), frozenset({seq for seq, _ in alike} | {hold.seq for hold in in_force})


def holds_now(log: LogReader) -> dict[str, Hold]:
    """The holds in force."""
    view = View()
    for event in log.of_types(("hold.placed", "hold.lifted")):
        _take(view, event)
    return view.holds


def one_month_after(day: date) -> date:
    """The last day to answer: the same day of the next month, or its last one (Regulation 1182/71, Art. 3(2)(c))."""
    year, month = (day.year, day.month + 1) if day.month < 12 else (day.year + 1, 1)
    end = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
    return date(year, month, min(day.day, end.day))


def _take(view: View, event: ShownEvent) -> None:
    kind, data = event.type, event.data
    if kind.startswith(("call.", "consent.")):
        _call(view, event)
    elif kind.startswith("recording."):
        _recording(view, event)
    elif kind == "hold.placed":
        number = event.personal.get("number")
        hold = str(data["hold"])
        calls = tuple(map(str, data.get("calls") or ()))
        case = data.get("case")
        view.holds[hold] = Hold(hold, event.seq, event.time, case, calls, _text(number), str(data.get("why")))
    elif kind == "hold.lifted":
        view.holds.pop(str(data["hold"]), None)
    elif kind == "retention.applied":
        view.applied.append(event)
    elif kind == "subject.request.opened":
        _opened(view, event)
    else:
        request = view.requests.get(str(data.get("request")))
        if kind == "subject.request.packaged":
            view.listened.append(event)
        if request is not None and kind == "subject.request.packaged":
            request.packaged = event
        elif request is not None:
            request.closed = event


def _call(view: View, event: ShownEvent) -> None:
    if event.call is None:
        return
    if event.type == "call.received":
        view.calls[event.call] = Call(event.call, event)
        return
    call = view.calls.get(event.call)
    if call is None:
        return
    if event.type == "consent.asked":
        call.asked = event
    elif event.type.startswith("consent."):
        call.decisions.append(event)
        if event.type == "consent.withdrawn" and call.erases:
            call.owed = dict.fromkeys(call.permits, event.time) | call.owed
            for recording in call.recordings:
                recording.owed = recording.owed or event.time
    else:
        call.over = True


def _recording(view: View, event: ShownEvent) -> None:
    name = str(event.data.get("recording"))
    if event.type in ("recording.accessed", "recording.exported"):
        view.listened.append(event)
        return
    call = view.calls.get(event.call or "")
    if event.type == "recording.permitted":
        if call is not None:
            call.permits.add(name)
        return
    found = view.recordings.get(name)
    # A worker that was lost may not have said that it had begun; what it kept was found by the ledger.
    began = event.type == "recording.started" or (event.type == "recording.stopped" and event.data.get("segments"))
    if found is None and began and event.call is not None:
        found = view.recordings[name] = Recording(name, event.call, event.time)
        if call is not None:
            call.recordings.append(found)
            # The withdrawal came while the recorder was opening.
            found.owed = call.owed.get(name)
    if found is None:
        return
    if event.type == "recording.stopped":
        found.stopped = event.time
        rate = event.data.get("rate") or 1
        found.seconds = int(event.data.get("samples") or 0) / int(rate)
        if event.data.get("erased") is True:
            found.erased = event
    elif event.type == "recording.not_erased":
        found.owed = event.time
    elif event.type == "recording.erased":
        found.erased = event


def _opened(view: View, event: ShownEvent) -> None:
    data = event.data
    request = str(data["request"])
    view.requests[request] = Request(
        request,
        str(data["kind"]),
        date.fromisoformat(str(data["received"])),
        date.fromisoformat(str(data["due"])),
        event,
        _text(event.personal.get("subject")),
        tuple(map(str, data.get("calls") or ())),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)
