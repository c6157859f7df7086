# SPDX-License-Identifier: GPL-3.0-or-later
"""Retention: what goes when, and letting it go. A run that was cut short is finished by the next one.

A recording is kept for as long as its caller was told (the consent step's retention, as logged). Personal fields have
two clocks of their own. The ledger looks at the clock and at the holds again before a field goes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from ivr.ledger.canonical import Json
from ivr.ledger.event import peek
from ivr.ledger.personal import rule_of
from ivr.ledger.query import LogReader
from ivr.ledger.tool import LedgerTool
from ivr.rights.view import Recording, View, covered, event_time, holds_now, look, parse_time
from ivr.vault.store import RecordingStore

REASON = "retention"
_FIELDS_AT_ONCE = 1000
_NAMES_AT_ONCE = 500
T = TypeVar("T")


class Rule(StrEnum):
    """A retention clock."""

    RECORDING = "recording"
    """Audio: from the end of the recording, as long as the notice said."""
    PERSONAL = "personal"
    """Personal fields that prove nothing."""
    EVIDENCE = "evidence"
    """The caller's number of a call that was asked for consent, and who did what."""


@dataclass(frozen=True, slots=True)
class Clocks:
    """Days by kind. `recordings` is for those whose log does not say."""

    recordings: int
    personal: int
    evidence: int


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that will go. `due` is a time as in events; `fields` are names of personal fields of event `seq`."""

    rule: Rule
    due: str
    call: str | None
    held: bool
    recording: str | None = None
    seq: int | None = None
    name: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Applied:
    """What a run did."""

    recordings: list[str] = field(default_factory=list)
    fields: dict[str, int] = field(default_factory=dict)
    held: int = 0


def plan(log: LogReader, clocks: Clocks) -> list[Item]:
    """Everything that is kept and will go, soonest first. What has no end yet (a call that is up) is left out."""
    view = look(log)
    items = [*_recordings(view, clocks), *_fields(view, log, clocks)]
    return sorted(items, key=lambda item: (item.due, item.recording or "", item.seq or 0))


def run(log: LogReader, store: RecordingStore, tool: LedgerTool, clocks: Clocks, now: datetime) -> Applied:
    """Let go what is due. Raises VaultError, LedgerUnavailable; what went until then is in the log or goes again."""
    moment = event_time(now)
    items = plan(log, clocks)
    due = [item for item in items if item.due <= moment]
    done = Applied(held=sum(item.held for item in due))
    view = look(log)
    for item in due:
        if item.rule is Rule.RECORDING and item.recording is not None:
            recording = view.recordings[item.recording]
            # Asked again for each: a hold may have been placed since this run began.
            if recording.call in covered(log, holds_now(log).values())[0]:
                continue
            erase_recording(store, tool, view, recording, REASON if recording.owed is None else "withdrawn", now)
            done.recordings.append(recording.id)
    _announce(log, tool)
    for rule in (Rule.PERSONAL, Rule.EVIDENCE):
        fields = [(item.seq, item.name) for item in due if item.rule is rule and not item.held and item.seq is not None]
        for part in _parts(fields, _FIELDS_AT_ONCE):
            data: dict[str, Json] = {"rule": rule.value, "recordings": 0, "fields": 0, "what": [], "held": 0}
            ack = tool.erase("retention.applied", part, data=data)
            done.fields[rule.value] = done.fields.get(rule.value, 0) + int(peek(ack.jws).data["fields"])
    return done


def erase_recording(
    store: RecordingStore, tool: LedgerTool, view: View, recording: Recording, reason: str, now: datetime
) -> None:
    """Key, files, then the event that says so. A crash before the event: it is done once more, and then logged."""
    erasure = store.erase(recording.call, recording.id)
    call = view.calls.get(recording.call)
    began = parse_time(call.received.time if call else recording.started)
    at_ms = max(0, int((now - began).total_seconds() * 1000))
    data: dict[str, Json] = {"at_ms": at_ms, "recording": recording.id, "reason": reason, "segments": erasure.files}
    if erasure.archived:
        data["archived"] = erasure.archived
    tool.append("recording.erased", call=recording.call, data=data)


def _announce(log: LogReader, tool: LedgerTool) -> None:
    """Name the recordings that went and that no `retention.applied` names: those of a run that was cut short too."""
    view = look(log)
    named = {
        name
        for event in view.applied
        if event.data.get("rule") == Rule.RECORDING
        for name in event.data.get("what", ())
    }
    gone = [
        one.id
        for one in view.recordings.values()
        if one.erased is not None and one.erased.data.get("reason") == REASON and one.id not in named
    ]
    for part in _parts(gone, _NAMES_AT_ONCE):
        data: dict[str, Json] = {"rule": Rule.RECORDING.value, "recordings": len(part), "what": part}
        tool.append("retention.applied", data=data)


def _recordings(view: View, clocks: Clocks) -> Iterator[Item]:
    for one in view.recordings.values():
        if one.stopped is None or one.erased is not None:
            continue
        call = view.calls.get(one.call)
        told = call.retention_days if call else None
        # What a withdrawal should have erased is due since then.
        due = one.owed or _after(one.stopped, clocks.recordings if told is None else told)
        yield Item(Rule.RECORDING, due, one.call, one.call in view.covered, recording=one.id)


def _fields(view: View, log: LogReader, clocks: Clocks) -> Iterator[Item]:
    waiting = {request.opened.seq for request in view.requests.values() if request.closed is None}
    waiting |= {hold.seq for hold in view.holds.values()}
    for one in log.fields():
        call = view.calls.get(one.call) if one.call else None
        # A call that is up, a request that is open and a hold in force have not begun to age.
        if (call is not None and not call.over) or one.seq in waiting:
            continue
        rule = Rule(rule_of(one.name, one.call is not None, call is not None and call.asked is not None))
        days = clocks.evidence if rule is Rule.EVIDENCE else clocks.personal
        held = one.call in view.covered or one.seq in view.covered_events
        yield Item(rule, _after(one.time, days), one.call, held, seq=one.seq, name=one.name)


def _after(time: str, days: int) -> str:
    return event_time(parse_time(time) + timedelta(days=days))


def _parts(values: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(values), size):
        yield list(values[start : start + size])
