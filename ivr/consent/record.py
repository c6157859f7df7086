# SPDX-License-Identifier: GPL-3.0-or-later
"""How inputs and decisions of the machine stand in the log, and back: shared by those who write and who replay.

Each input has one event type, so replay can feed the machine exactly what it was told. Facts that only a reader
needs (hashes, packets) ride along in the same event and are ignored here.
"""

from collections.abc import Mapping
from typing import Any

from ivr.consent import effects as fx
from ivr.consent import inputs as i
from ivr.consent.policy import Policy

Data = dict[str, Any]
DECISIONS = frozenset({"consent.decided", "consent.withdrawn", "recording.permitted", "recording.blocked"})


class RecordError(ValueError):
    """A logged event is not what the machine of this version writes."""


def input_event(event: i.Input) -> tuple[str, Data]:
    """The event type of an input and those fields of it that replay needs."""
    match event:
        case i.Answered(paths):
            return "call.answered", {"key_paths": sorted(paths)}
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
            return "consent.signalled", {"party": party, "source": source.value, "value": key}
        case i.Preferred(party, preference, source):
            return "consent.signalled", {"party": party, "source": source.value, "value": preference.value}
        case i.Expired(timer):
            return "consent.timed_out", {"timer": timer.value}
        case i.LedgerLost(reason):
            return "ledger.unreachable", {"reason": reason}
    return _leg_or_recorder_event(event)


def _leg_or_recorder_event(event: i.Input) -> tuple[str, Data]:
    match event:
        case i.Held(party):
            return "leg.held", {"party": party}
        case i.Resumed(party):
            return "leg.resumed", {"party": party}
        case i.Renegotiated(party, paths):
            return "leg.renegotiated", {"party": party, "key_paths": sorted(paths)}
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

    Raises RecordError for an event of an input's type whose fields are not an input's.
    """
    try:
        return _event_input(kind, data)
    except (KeyError, ValueError, TypeError) as error:
        raise RecordError(f"{kind}: {type(error).__name__}: {error}") from error


def _event_input(kind: str, data: Mapping[str, Any]) -> i.Input | None:
    match kind:
        case "call.answered":
            return i.Answered(_paths(data))
        case "consent.asked":
            return i.Asked(Policy.from_json(data["policy"]))
        case "notice.started":
            return i.NoticeStarted(int(data["samples"]))
        case "notice.completed":
            return i.NoticeCompleted(int(data["samples_sent"]), int(data["samples_total"]))
        case "notice.interrupted":
            return i.NoticeInterrupted(str(data["reason"]))
        case "notice.failed":
            return i.NoticeFailed(str(data["reason"]))
        case "consent.signalled":
            return _signal(str(data["party"]), i.Source(data["source"]), str(data["value"]))
        case "consent.timed_out":
            return i.Expired(i.Timer(data["timer"]))
        case "ledger.unreachable":
            return i.LedgerLost(str(data["reason"]))
        case "leg.held":
            return i.Held(str(data["party"]))
        case "leg.resumed":
            return i.Resumed(str(data["party"]))
        case "leg.renegotiated":
            return i.Renegotiated(str(data["party"]), _paths(data))
    return _party_or_recorder_input(kind, data)


def _party_or_recorder_input(kind: str, data: Mapping[str, Any]) -> i.Input | None:
    match kind:
        case "party.joined":
            return i.Joined(str(data["party"]))
        case "agent.informed":
            return i.Informed(str(data["party"]), data["recorded"] is True)
        case "agent.not_informed":
            return i.NotInformed(str(data["party"]), str(data["reason"]))
        case "party.left":
            return i.Left(str(data["party"]), str(data["reason"]))
        case "recording.armed":
            return i.PermitAcknowledged(int(data["number"]))
        case "recording.started":
            return i.RecorderStarted(int(data["number"]))
        case "recording.failed":
            return i.RecorderFailed(int(data["number"]), str(data["reason"]))
        case "recording.stopped":
            return i.RecorderStopped(int(data["number"]))
    return None


def _paths(data: Mapping[str, Any]) -> frozenset[i.KeyPath]:
    return frozenset(i.KeyPath(path) for path in data["key_paths"])


def _signal(party: str, source: i.Source, value: str) -> i.Input:
    if source in (i.Source.RECORDPREF, i.Source.OPERATOR):
        return i.Preferred(party, i.Preference(value), source)
    return i.Key(party, value, source)


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
