# SPDX-License-Identifier: GPL-3.0-or-later
"""How inputs and decisions of the machine stand in the log, and back: shared by those who write and who replay.

Each input has one event type, so replay can feed the machine exactly what it was told. Facts that only a reader
needs (hashes, packets) ride along in the same event and are ignored here.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ivr.consent import effects as fx
from ivr.consent import inputs as i
from ivr.consent.policy import Policy

Data = dict[str, Any]
DECISIONS = frozenset({"consent.decided", "consent.withdrawn", "recording.permitted", "recording.blocked"})


class RecordError(ValueError):
    """A logged event is not what the machine of this version writes."""


def input_event(event: i.Input) -> tuple[str, Data]:
    """The event type of an input and those fields of it that replay needs.

    Raises RecordError for an input that `event_input` would not give back: replay would decide otherwise.
    """
    match event:
        case i.Answered(paths):
            return "call.answered", {"key_paths": sorted(path.value for path in paths)}
        case i.Asked(policy):
            return "consent.asked", {"policy": policy.as_json()}
        case i.NoticeStarted(samples):
            return "notice.started", {"samples": samples}
        case i.NoticeCompleted(sent, total):
            return "notice.completed", {"samples_sent": sent, "samples_total": total}
        case i.NoticeInterrupted(reason):
            return "notice.interrupted", {"reason": reason}
        case i.NoticeFailed(reason):
            return "notice.failed", {"reason": reason}
        case i.Key(party, key, source):
            if source not in _PRESSES:
                raise RecordError(f"a key is pressed, not said by {source.value}")
            return "consent.signalled", {"party": party, "source": source.value, "value": key}
        case i.Preferred(party, preference, source):
            if source not in _PREFERS:
                raise RecordError(f"a preference comes by SIP or from an operator, not by {source.value}")
            return "consent.signalled", {"party": party, "source": source.value, "value": preference.value}
        case i.Expired(timer):
            return "consent.timed_out", {"timer": timer.value}
        case i.LedgerLost(reason):
            return "ledger.unreachable", {"reason": reason}
        case i.Faulted(reason):
            return "consent.faulted", {"reason": reason}
    return _leg_or_recorder_event(event)


def _leg_or_recorder_event(event: i.Input) -> tuple[str, Data]:
    match event:
        case i.Held(party):
            return "leg.held", {"party": party}
        case i.Resumed(party):
            return "leg.resumed", {"party": party}
        case i.Renegotiated(party, paths):
            return "leg.renegotiated", {"party": party, "key_paths": sorted(path.value for path in paths)}
        case i.Joined(party):
            return "party.joined", {"party": party}
        case i.Informed(party, recorded):
            return "agent.informed", {"party": party, "recorded": recorded}
        case i.NotInformed(party, reason):
            return "agent.not_informed", {"party": party, "reason": reason}
        case i.Left(party, reason):
            return "party.left", {"party": party, "reason": reason}
        case i.PermitAcknowledged(number):
            return "recording.armed", {"number": number}
        case i.RecorderStarted(number):
            return "recording.started", {"number": number}
        case i.RecorderFailed(number, reason):
            return "recording.failed", {"number": number, "reason": reason}
        case i.RecorderStopped(number):
            return "recording.stopped", {"number": number}
    raise RecordError(f"{type(event).__name__} has no event type")


def event_input(kind: str, data: Mapping[str, Any]) -> i.Input | None:
    """The input that this event reports, or None for an event that the machine is not told of.

    Raises RecordError for an event of an input's type whose fields are not what `input_event` writes.
    """
    reader = _READERS.get(kind)
    if reader is None:
        return None
    try:
        return reader(data)
    except (KeyError, ValueError, TypeError) as error:
        raise RecordError(f"{kind}: {type(error).__name__}: {error}") from error


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data[name]
    if type(value) is not str:
        raise TypeError(f"{name} is {value!r}, not text")
    return value


def _count(data: Mapping[str, Any], name: str) -> int:
    value = data[name]
    if type(value) is not int:  # True is an int to Python, and no number of samples
        raise TypeError(f"{name} is {value!r}, not a whole number")
    return value


def _truth(data: Mapping[str, Any], name: str) -> bool:
    value = data[name]
    if type(value) is not bool:
        raise TypeError(f"{name} is {value!r}, neither true nor false")
    return value


def _paths(data: Mapping[str, Any]) -> frozenset[i.KeyPath]:
    paths = data["key_paths"]
    if type(paths) is not list:
        raise TypeError(f"key_paths is {paths!r}, not a list")
    return frozenset(map(i.KeyPath, paths))


def _signal(data: Mapping[str, Any]) -> i.Input:
    party, source, value = _text(data, "party"), i.Source(data["source"]), _text(data, "value")
    if source in _PREFERS:
        return i.Preferred(party, i.Preference(value), source)
    if source not in _PRESSES:
        raise ValueError(f"{source.value} signals nothing")
    return i.Key(party, value, source)


_PRESSES = frozenset({i.Source.DTMF, i.Source.INFO, i.Source.INBAND})
_PREFERS = frozenset({i.Source.RECORDPREF, i.Source.OPERATOR})

_READERS: Mapping[str, Callable[[Mapping[str, Any]], i.Input]] = {
    "call.answered": lambda d: i.Answered(_paths(d)),
    "consent.asked": lambda d: i.Asked(Policy.from_json(d["policy"])),
    "notice.started": lambda d: i.NoticeStarted(_count(d, "samples")),
    "notice.completed": lambda d: i.NoticeCompleted(_count(d, "samples_sent"), _count(d, "samples_total")),
    "notice.interrupted": lambda d: i.NoticeInterrupted(_text(d, "reason")),
    "notice.failed": lambda d: i.NoticeFailed(_text(d, "reason")),
    "consent.signalled": _signal,
    "consent.timed_out": lambda d: i.Expired(i.Timer(d["timer"])),
    "ledger.unreachable": lambda d: i.LedgerLost(_text(d, "reason")),
    "consent.faulted": lambda d: i.Faulted(_text(d, "reason")),
    "leg.held": lambda d: i.Held(_text(d, "party")),
    "leg.resumed": lambda d: i.Resumed(_text(d, "party")),
    "leg.renegotiated": lambda d: i.Renegotiated(_text(d, "party"), _paths(d)),
    "party.joined": lambda d: i.Joined(_text(d, "party")),
    "party.left": lambda d: i.Left(_text(d, "party"), _text(d, "reason")),
    "agent.informed": lambda d: i.Informed(_text(d, "party"), _truth(d, "recorded")),
    "agent.not_informed": lambda d: i.NotInformed(_text(d, "party"), _text(d, "reason")),
    "recording.armed": lambda d: i.PermitAcknowledged(_count(d, "number")),
    "recording.started": lambda d: i.RecorderStarted(_count(d, "number")),
    "recording.failed": lambda d: i.RecorderFailed(_count(d, "number"), _text(d, "reason")),
    "recording.stopped": lambda d: i.RecorderStopped(_count(d, "number")),
}

INPUTS = frozenset(_READERS)
"""The event types that the machine is told of."""


def decision_event(decision: fx.LoggedDecision, policy: Policy | None) -> tuple[str, Data]:
    """The event type and every field that a decision has; a permit's recording id is added by its session."""
    match decision:
        case fx.Decided(party, answer, source, key):
            return "consent.decided", {
                "party": party,
                "decision": answer.value,
                "mode": policy.mode.value if policy else "not_asked",
                "lawful_basis": policy.lawful_basis.value if policy else "not_asked",
                "source": source.value,
                **({"key": key} if key else {}),
            }
        case fx.Withdrawn(party, source, key):
            return "consent.withdrawn", {"party": party, "source": source.value, **({"key": key} if key else {})}
        case fx.Permit(number, parties, reason):
            return "recording.permitted", {"number": number, "parties": list(parties), "reason": reason}
        case fx.Blocked(reason):
            return "recording.blocked", {"reason": reason}
