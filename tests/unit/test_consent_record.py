# SPDX-License-Identifier: GPL-3.0-or-later
"""Inputs and decisions in the log: each comes back as it was, and what is written is declared in the catalogue."""

from typing import Any

import pytest

from consent_kit import NEVER, OPT_IN, OPT_OUT, PATHS
from ivr.consent import effects as fx
from ivr.consent import inputs as i
from ivr.consent.inputs import CALLER, KeyPath, Preference, Source, Timer
from ivr.consent.record import DECISIONS, RecordError, decision_event, event_input, input_event
from ivr.ledger import canonical
from ivr.ledger.catalogue import TYPES

INPUTS: list[i.Input] = [
    i.Answered(),
    i.Answered(frozenset(KeyPath)),
    i.Asked(OPT_IN),
    i.Asked(NEVER),
    i.NoticeStarted(8_000),
    i.NoticeCompleted(8_000, 8_000),
    i.NoticeInterrupted("held"),
    i.NoticeFailed("file"),
    *(i.Key(CALLER, "1", source) for source in (Source.DTMF, Source.INFO, Source.INBAND)),
    i.Key("agent-1", "#"),
    *(i.Preferred(CALLER, preference) for preference in Preference),
    i.Preferred("agent-2", Preference.OFF, Source.OPERATOR),
    i.Held(CALLER),
    i.Resumed("agent-1"),
    i.Renegotiated(CALLER),
    i.Renegotiated("agent-1", PATHS),
    i.Joined("agent-1"),
    i.Informed("agent-1", True),
    i.Informed("agent-1", False),
    i.NotInformed("agent-1", "hangup"),
    i.Left(CALLER, "bye"),
    i.PermitAcknowledged(1),
    i.RecorderStarted(2),
    i.RecorderFailed(3, "disk_full"),
    i.RecorderStopped(4),
    i.LedgerLost(),
    i.LedgerLost("refused"),
    i.Faulted(),
    *(i.Expired(timer) for timer in Timer),
]


def named(event: i.Input) -> str:
    """The same on every run: sets have no order of their own."""
    return f"{type(event).__name__}-{INPUTS.index(event)}"


@pytest.mark.parametrize("event", INPUTS, ids=named)
def test_an_input_comes_back_as_it_was(event: i.Input) -> None:
    kind, data = input_event(event)
    assert event_input(kind, {"at_ms": 5, "further": "facts", **data}) == event


@pytest.mark.parametrize("event", INPUTS, ids=named)
def test_what_is_written_is_declared(event: i.Input) -> None:
    kind, data = input_event(event)
    assert set(data) <= set(TYPES[kind].data)


@pytest.mark.parametrize("event", INPUTS, ids=named)
def test_what_is_written_is_plain_json(event: i.Input) -> None:
    """The ledger's canonical form takes text, not a class that looks like it."""
    assert canonical.loads(canonical.dumps(input_event(event)[1])) == input_event(event)[1]


def test_every_kind_of_input_is_tried_here() -> None:
    assert {type(event) for event in INPUTS} == set(i.Input.__args__)


def test_every_kind_of_input_has_its_own_type_but_for_signals() -> None:
    kinds = {type(event): input_event(event)[0] for event in INPUTS}
    assert kinds.pop(i.Key) == kinds[i.Preferred] == "consent.signalled"
    assert len(set(kinds.values())) == len(kinds)


@pytest.mark.parametrize("kind", sorted(set(TYPES) - {input_event(event)[0] for event in INPUTS}))
def test_what_the_machine_is_not_told_is_no_input(kind: str) -> None:
    assert event_input(kind, {"at_ms": 1}) is None


@pytest.mark.parametrize(
    "event",
    [i.Key(CALLER, "1", Source.OPERATOR), i.Key(CALLER, "1", Source.RECORDPREF), i.Key(CALLER, "1", Source.SILENCE)],
    ids=repr,
)
def test_a_key_that_would_come_back_as_something_else_is_not_written(event: i.Key) -> None:
    with pytest.raises(RecordError, match="key"):
        input_event(event)


def test_a_preference_that_would_come_back_as_a_key_is_not_written() -> None:
    with pytest.raises(RecordError, match="preference"):
        input_event(i.Preferred(CALLER, Preference.OFF, Source.DTMF))


MALFORMED: dict[str, tuple[str, dict[str, Any]]] = {
    "field missing": ("notice.completed", {"samples_sent": 1}),
    "count as text": ("notice.started", {"samples": "8000"}),
    "count as truth": ("notice.started", {"samples": True}),
    "count as fraction": ("recording.armed", {"number": 1.0}),
    "reason as number": ("notice.failed", {"reason": 3}),
    "party as list": ("party.joined", {"party": ["agent-1"]}),
    "truth as text": ("agent.informed", {"party": "agent-1", "recorded": "yes"}),
    "unknown timer": ("consent.timed_out", {"timer": "tea"}),
    "unknown source": ("consent.signalled", {"party": CALLER, "source": "gut", "value": "1"}),
    "source of no signal": ("consent.signalled", {"party": CALLER, "source": "silence", "value": "1"}),
    "unknown preference": ("consent.signalled", {"party": CALLER, "source": "operator", "value": "1"}),
    "unknown key path": ("call.answered", {"key_paths": ["morse"]}),
    "key paths as text": ("call.answered", {"key_paths": "info"}),
    "no policy": ("consent.asked", {"policy": None}),
    "a policy that cannot be": ("consent.asked", {"policy": {**OPT_OUT.as_json(), "refuse_key": None}}),
    "hold without a party": ("leg.held", {}),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_this_version_does_not_write_is_refused_by_name(name: str) -> None:
    kind, data = MALFORMED[name]
    with pytest.raises(RecordError, match=kind):
        event_input(kind, data)


CASES: list[tuple[fx.LoggedDecision, str, dict[str, Any]]] = [
    (
        fx.Decided(CALLER, fx.Decision.GRANTED, Source.DTMF, "2"),
        "consent.decided",
        {
            "party": CALLER,
            "decision": "granted",
            "mode": "opt_in",
            "lawful_basis": "consent",
            "source": "dtmf",
            "key": "2",
        },
    ),
    (
        fx.Decided(CALLER, fx.Decision.NOT_GIVEN, Source.SILENCE),
        "consent.decided",
        {
            "party": CALLER,
            "decision": "not_given",
            "mode": "opt_in",
            "lawful_basis": "consent",
            "source": "silence",
        },
    ),
    (fx.Withdrawn(CALLER, Source.INFO, "9"), "consent.withdrawn", {"party": CALLER, "source": "info", "key": "9"}),
    (fx.Withdrawn("agent-1", Source.OPERATOR), "consent.withdrawn", {"party": "agent-1", "source": "operator"}),
    (
        fx.Permit(2, (CALLER, "agent-1"), "all_cleared"),
        "recording.permitted",
        {"number": 2, "parties": [CALLER, "agent-1"], "reason": "all_cleared"},
    ),
    (fx.Blocked("ledger"), "recording.blocked", {"reason": "ledger"}),
]


@pytest.mark.parametrize(
    ("decision", "kind", "data"), CASES, ids=lambda case: getattr(case, "__class__", type).__name__
)
def test_a_decision_is_written_with_everything_that_proves_it(
    decision: fx.LoggedDecision, kind: str, data: dict[str, Any]
) -> None:
    assert decision_event(decision, OPT_IN) == (kind, data)
    assert set(data) <= set(TYPES[kind].data)
    assert kind in DECISIONS


def test_a_decision_before_any_policy_says_so() -> None:
    _, data = decision_event(fx.Decided("agent-1", fx.Decision.REFUSED, Source.RECORDPREF), None)
    assert (data["mode"], data["lawful_basis"]) == ("not_asked", "not_asked")


def test_no_decision_is_an_input() -> None:
    assert not DECISIONS & {input_event(event)[0] for event in INPUTS}
