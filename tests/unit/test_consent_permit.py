# SPDX-License-Identifier: GPL-3.0-or-later
"""The one gate. It says yes to one state below, and to none that lacks a single thing of it."""

from dataclasses import replace
from typing import Any

import pytest

from consent_kit import AGENT, NEVER, OPT_IN, OPT_OUT, PATHS, REQUIRED, REQUIRED_WITH_WAY, SAMPLES, SECOND
from ivr.consent.inputs import CALLER
from ivr.consent.permit import Answer, Verdict, expects_recording, is_recording, may_record
from ivr.consent.state import Recording, Standing, State

ALL_THERE = State(
    parties=((CALLER, Standing.CLEARED), (AGENT, Standing.CLEARED)),
    policy=OPT_OUT,
    answered=True,
    key_paths=PATHS,
    notice_total=SAMPLES,
    notice_sent=SAMPLES,
)


def parties(caller: Standing, *agents: Standing) -> dict[str, Any]:
    named = [(CALLER, caller), *((f"agent-{n}", standing) for n, standing in enumerate(agents, 1))]
    return {"parties": tuple(named)}


S = Standing
NO, WAIT = Answer.NO, Answer.WAIT
LACKING: dict[str, tuple[dict[str, Any], Verdict]] = {
    "no policy": ({"policy": None}, Verdict(WAIT, "not_asked")),
    "mode never": ({"policy": NEVER}, Verdict(NO, "mode_never")),
    "not answered": ({"answered": False}, Verdict(NO, "not_answered", True)),
    "no key path, opt-out": ({"key_paths": frozenset()}, Verdict(NO, "no_key_path", True)),
    "no key path, opt-in": ({"key_paths": frozenset(), "policy": OPT_IN}, Verdict(NO, "no_key_path", True)),
    "no key path, required with a way out": (
        {"key_paths": frozenset(), "policy": REQUIRED_WITH_WAY},
        Verdict(NO, "no_key_path", True),
    ),
    "no notice": ({"notice_total": 0, "notice_sent": 0}, Verdict(NO, "notice_incomplete", True)),
    "a sample short": ({"notice_sent": SAMPLES - 1}, Verdict(NO, "notice_incomplete", True)),
    "caller not asked": (parties(S.UNASKED, S.CLEARED), Verdict(WAIT, "undecided")),
    "caller asked": (parties(S.ASKED, S.CLEARED), Verdict(WAIT, "undecided")),
    "caller listening": (parties(S.LISTENING, S.CLEARED), Verdict(WAIT, "undecided")),
    "caller accepted early": (parties(S.ACCEPTED_EARLY, S.CLEARED), Verdict(WAIT, "undecided")),
    "caller deciding": (parties(S.DECIDING, S.CLEARED), Verdict(WAIT, "undecided")),
    "caller refused": (parties(S.REFUSED, S.CLEARED), Verdict(NO, "refused")),
    "caller withdrew": (parties(S.WITHDRAWN, S.CLEARED), Verdict(NO, "withdrawn")),
    "caller left": (parties(S.LEFT, S.CLEARED), Verdict(NO, "caller_left")),
    "caller left unasked": ({**parties(S.LEFT), "policy": None}, Verdict(NO, "caller_left")),
    "caller uninformed": (parties(S.UNINFORMED, S.CLEARED), Verdict(NO, "not_informed", True)),
    "caller uninformed, and why": (
        {**parties(S.UNINFORMED, S.CLEARED), "reason": "notice_held"},
        Verdict(NO, "notice_held", True),
    ),
    "caller hung up in the notice": ({**parties(S.UNINFORMED), "reason": "hangup"}, Verdict(NO, "hangup", False)),
    "nobody there": (parties(S.CLEARED), Verdict(WAIT, "nobody_to_talk_to")),
    "agent left": (parties(S.CLEARED, S.LEFT), Verdict(WAIT, "nobody_to_talk_to")),
    "agent not told yet": (parties(S.CLEARED, S.UNASKED), Verdict(WAIT, "party_not_cleared")),
    "newcomer not told yet": (parties(S.CLEARED, S.CLEARED, S.UNASKED), Verdict(WAIT, "party_not_cleared")),
    "agent not informed": (parties(S.CLEARED, S.UNINFORMED), Verdict(NO, "agent_not_informed", True)),
    "agent refused": (parties(S.CLEARED, S.REFUSED), Verdict(NO, "refused_by_other")),
    "agent withdrew": (parties(S.CLEARED, S.WITHDRAWN), Verdict(NO, "withdrawn_by_other")),
    "one of two withdrew": (parties(S.CLEARED, S.CLEARED, S.WITHDRAWN), Verdict(NO, "withdrawn_by_other")),
    "agent refused before the question": (
        {**parties(S.UNASKED, S.REFUSED), "policy": None},
        Verdict(NO, "refused_by_other"),
    ),
    "agent withdrew while the caller decides": (parties(S.DECIDING, S.WITHDRAWN), Verdict(NO, "withdrawn_by_other")),
    "held": ({"paused_by": frozenset({(AGENT, "held")})}, Verdict(WAIT, "held")),
    "paused": ({"paused_by": frozenset({(CALLER, "preference")})}, Verdict(WAIT, "preference")),
    "held and paused": (
        {"paused_by": frozenset({(CALLER, "preference"), (SECOND, "held")})},
        Verdict(WAIT, "held"),
    ),
}


def test_yes_when_every_proof_is_there() -> None:
    assert may_record(ALL_THERE) == Verdict(Answer.YES, "all_cleared")


@pytest.mark.parametrize("name", LACKING)
def test_no_or_not_yet_when_one_is_missing(name: str) -> None:
    changes, verdict = LACKING[name]
    assert may_record(replace(ALL_THERE, **changes)) == verdict


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"policy": REQUIRED, "key_paths": frozenset()}, "required names no key, so none must be hearable"),
        ({"notice_sent": SAMPLES + 160}, "the last frame is filled up"),
        (parties(S.CLEARED, S.CLEARED, S.CLEARED), "three who all know"),
        (parties(S.CLEARED, S.LEFT, S.CLEARED), "somebody else's agent is gone"),
    ],
)
def test_yes_as_well(changes: dict[str, Any], why: str) -> None:
    assert may_record(replace(ALL_THERE, **changes)).answer is Answer.YES, why


@pytest.mark.parametrize("recording", Recording)
def test_samples_may_be_kept_only_while_a_recorder_is_open(recording: Recording) -> None:
    open_ = recording in (Recording.OPENING, Recording.RUNNING, Recording.PAUSED)
    assert is_recording(replace(ALL_THERE, recording=recording)) is open_


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"recording": Recording.RUNNING}, True),
        ({"recording": Recording.STOPPING}, True),
        ({"recording": Recording.STOPPING, "reason": "disk_full"}, False),
        ({"recording": Recording.DENIED}, False),
        ({"policy": None}, False),
        ({"policy": NEVER}, False),
        (parties(S.DECIDING), False),
        (parties(S.WITHDRAWN), False),
    ],
)
def test_whether_the_next_agent_is_told_that_it_is_recorded(changes: dict[str, Any], expected: bool) -> None:
    assert expects_recording(replace(ALL_THERE, **changes)) is expected
