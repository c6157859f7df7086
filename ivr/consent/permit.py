# SPDX-License-Identifier: GPL-3.0-or-later
"""The one gate: may this call be recorded now? A reason for yes and for no."""

from dataclasses import dataclass
from enum import StrEnum

from ivr.consent.inputs import CALLER
from ivr.consent.policy import Mode
from ivr.consent.state import Recording, Standing, State


class Answer(StrEnum):
    """YES: all that is needed is there. WAIT: not now, perhaps later. NO: never again in this call."""

    YES = "yes"
    WAIT = "wait"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`technical` marks a no that is nobody's wish: it is logged as blocked, and metrics keep it apart."""

    answer: Answer
    reason: str
    technical: bool = False


_NO_BY_CALLER = {
    Standing.REFUSED: "refused",
    Standing.WITHDRAWN: "withdrawn",
    Standing.LEFT: "caller_left",
}


def may_record(state: State) -> Verdict:
    """Starts at no and gives yes only when every proof is there: policy, whole notice, key path, all parties."""
    policy = state.policy
    if state.caller in _NO_BY_CALLER:
        return Verdict(Answer.NO, _NO_BY_CALLER[state.caller])
    others = [standing for party, standing in state.parties if party != CALLER]
    # Before anything is waited for: whoever said no may be gone when the wait is over.
    if Standing.REFUSED in others:
        return Verdict(Answer.NO, "refused_by_other")
    if Standing.WITHDRAWN in others:
        return Verdict(Answer.NO, "withdrawn_by_other")
    if policy is None:
        return Verdict(Answer.WAIT, "not_asked")
    if policy.mode is Mode.NEVER:
        return Verdict(Answer.NO, "mode_never")
    if state.caller is Standing.UNINFORMED:
        return Verdict(Answer.NO, state.reason or "not_informed", technical=state.reason != "hangup")
    if policy.needs_key_path and not state.key_paths:
        return Verdict(Answer.NO, "no_key_path", technical=True)
    if state.caller is not Standing.CLEARED:
        return Verdict(Answer.WAIT, "undecided")
    if not state.answered:
        return Verdict(Answer.NO, "not_answered", technical=True)
    if not 0 < state.notice_total <= state.notice_sent:
        return Verdict(Answer.NO, "notice_incomplete", technical=True)
    return _others(state, [standing for standing in others if standing is not Standing.LEFT])


def _others(state: State, present: list[Standing]) -> Verdict:
    if Standing.UNINFORMED in present:
        return Verdict(Answer.NO, "agent_not_informed", technical=True)
    if not present:
        return Verdict(Answer.WAIT, "nobody_to_talk_to")
    if any(standing is not Standing.CLEARED for standing in present):
        return Verdict(Answer.WAIT, "party_not_cleared")
    if state.paused_by:
        return Verdict(Answer.WAIT, min(why for _, why in state.paused_by))
    return Verdict(Answer.YES, "all_cleared")


def is_recording(state: State) -> bool:
    """Whether samples may be being kept right now, for operators and for the agent's announcement."""
    return state.recording in (Recording.RUNNING, Recording.PAUSED, Recording.OPENING)


def expects_recording(state: State) -> bool:
    """Whether the next party to join has to be told that the call is recorded."""
    return (
        state.policy is not None
        and state.policy.mode is not Mode.NEVER
        and state.caller is Standing.CLEARED
        and not state.final
    )
