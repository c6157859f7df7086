# SPDX-License-Identifier: GPL-3.0-or-later
"""The consent machine, party by party: what is told in which standing, what it does, where it leaves the party."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from consent_kit import (
    ACCEPT,
    AGENT,
    COMPLETED,
    NEVER,
    OPT_IN,
    OPT_OUT,
    OPT_OUT_BOTH,
    OPT_OUT_NO_WINDOW,
    OTHER,
    PATHS,
    RECORDABLE,
    REFUSE,
    REQUIRED,
    REQUIRED_WITH_WAY,
    SAMPLES,
    SECOND,
    STARTED,
    WITHDRAW,
    Call,
    asked,
    awaiting,
    cleared,
    deciding,
    listening,
    ringing,
    running,
)
from ivr.consent import inputs as i
from ivr.consent.effects import (
    Arm,
    Blocked,
    Decided,
    Decision,
    Disarm,
    Effect,
    Message,
    Permit,
    Say,
    Settled,
    StopNotice,
    Withdrawn,
)
from ivr.consent.inputs import CALLER, KeyPath, Preference, Source, Timer
from ivr.consent.machine import InvariantError, step
from ivr.consent.policy import Policy
from ivr.consent.state import STOP_TIMEOUT_MS, Recording, Standing, State, initial

S = Standing
NOT_RECORDED = Say(CALLER, Message.NOT_RECORDED)
THANKS = Say(CALLER, Message.RECORDED_THANKS)
UNRECORDED, RECORDABLE_NOW = Settled(False), Settled(True)


def key(value: str, party: str = CALLER) -> i.Key:
    return i.Key(party, value, Source.DTMF)


def off(party: str = CALLER, source: Source = Source.RECORDPREF) -> i.Preferred:
    return i.Preferred(party, Preference.OFF, source)


def refused(value: str | None, source: Source = Source.DTMF) -> Decided:
    return Decided(CALLER, Decision.REFUSED, source, value)


@dataclass(frozen=True)
class Case:
    """`given`, when it is told `when`: it does `then` (in this order) and leaves the party at `at`."""

    given: Callable[[], Call]
    when: i.Input
    then: list[Effect]
    at: Standing
    party: str = CALLER


def answered() -> Call:
    return Call(i.Answered(PATHS))


def early(policy: Policy = OPT_IN) -> Call:
    call = listening(policy)
    call.tell(key(ACCEPT))
    return call


def told_before(*events: i.Input, policy: Policy = OPT_OUT) -> Callable[[], Call]:
    return lambda: Call(i.Answered(PATHS), *events, i.Asked(policy))


CALLER_CASES: dict[str, Case] = {
    # -- being asked --
    "asked": Case(answered, i.Asked(OPT_OUT), [], S.ASKED),
    "asked, mode never": Case(answered, i.Asked(NEVER), [UNRECORDED], S.UNASKED),
    "asked without a way to hear a key": Case(
        lambda: Call(i.Answered()),
        i.Asked(OPT_OUT),
        [NOT_RECORDED, UNRECORDED, Blocked("no_key_path")],
        S.UNINFORMED,
    ),
    "asked without one, required": Case(lambda: Call(i.Answered()), i.Asked(REQUIRED), [], S.ASKED),
    # -- the notice --
    "notice starts": Case(asked, STARTED, [], S.LISTENING),
    "empty notice": Case(asked, i.NoticeStarted(0), [StopNotice(), UNRECORDED, Blocked("notice_empty")], S.UNINFORMED),
    "notice on a held leg": Case(
        lambda: told_held(asked()), STARTED, [StopNotice(), UNRECORDED, Blocked("notice_held")], S.UNINFORMED
    ),
    "notice as early media": Case(
        lambda: Call(i.Asked(REQUIRED)),
        STARTED,
        [StopNotice(), UNRECORDED, Blocked("notice_unanswered")],
        S.UNINFORMED,
    ),
    "whole notice, window": Case(listening, COMPLETED, [], S.DECIDING),
    "whole notice, no window": Case(
        lambda: listening(OPT_OUT_NO_WINDOW),
        COMPLETED,
        [Decided(CALLER, Decision.NOT_OBJECTED, Source.SILENCE), RECORDABLE_NOW],
        S.CLEARED,
    ),
    "whole notice, required": Case(
        lambda: listening(REQUIRED),
        COMPLETED,
        [Decided(CALLER, Decision.INFORMED, Source.NOTICE), RECORDABLE_NOW],
        S.CLEARED,
    ),
    "whole notice, opt-in": Case(lambda: listening(OPT_IN), COMPLETED, [], S.DECIDING),
    "a sample short": Case(
        listening,
        i.NoticeCompleted(SAMPLES - 1, SAMPLES),
        [UNRECORDED, Blocked("notice_short")],
        S.UNINFORMED,
    ),
    "another notice than the one that began": Case(
        listening, i.NoticeCompleted(SAMPLES, 5), [UNRECORDED, Blocked("notice_short")], S.UNINFORMED
    ),
    "interrupted": Case(
        listening, i.NoticeInterrupted("media"), [UNRECORDED, Blocked("notice_interrupted")], S.UNINFORMED
    ),
    "interrupted by hanging up: no fault": Case(listening, i.NoticeInterrupted("hangup"), [UNRECORDED], S.UNINFORMED),
    "failed while playing": Case(
        listening, i.NoticeFailed("file"), [UNRECORDED, Blocked("notice_failed")], S.UNINFORMED
    ),
    "could not be played": Case(asked, i.NoticeFailed("file"), [UNRECORDED, Blocked("notice_failed")], S.UNINFORMED),
    "held in mid-notice": Case(
        listening, i.Held(CALLER), [StopNotice(), UNRECORDED, Blocked("notice_held")], S.UNINFORMED
    ),
    "held after an early yes": Case(
        early, i.Held(CALLER), [StopNotice(), UNRECORDED, Blocked("notice_held")], S.UNINFORMED
    ),
    "re-INVITE in mid-notice, keys as before": Case(
        listening,
        i.Renegotiated(CALLER, PATHS),
        [StopNotice(), UNRECORDED, Blocked("notice_renegotiated")],
        S.UNINFORMED,
    ),
    "re-INVITE after an early yes": Case(
        early,
        i.Renegotiated(CALLER, PATHS),
        [StopNotice(), UNRECORDED, Blocked("notice_renegotiated")],
        S.UNINFORMED,
    ),
    "re-INVITE before the notice": Case(asked, i.Renegotiated(CALLER, frozenset({KeyPath.INFO})), [], S.ASKED),
    "key path lost before the notice": Case(
        asked,
        i.Renegotiated(CALLER),
        [StopNotice(), NOT_RECORDED, UNRECORDED, Blocked("no_key_path")],
        S.UNINFORMED,
    ),
    "key path lost in the window": Case(
        deciding, i.Renegotiated(CALLER), [NOT_RECORDED, UNRECORDED, Blocked("no_key_path")], S.UNINFORMED
    ),
    "key path lost before a required notice": Case(lambda: asked(REQUIRED), i.Renegotiated(CALLER), [], S.ASKED),
    "hold in the window": Case(deciding, i.Held(CALLER), [], S.DECIDING),
    # -- keys while asked --
    "refuse before the first sample": Case(
        asked, key(REFUSE), [StopNotice(), refused(REFUSE), NOT_RECORDED, UNRECORDED], S.REFUSED
    ),
    "refuse during the notice": Case(
        listening, key(REFUSE), [StopNotice(), refused(REFUSE), NOT_RECORDED, UNRECORDED], S.REFUSED
    ),
    "withdraw key during an opt-out notice": Case(
        listening, key(WITHDRAW), [StopNotice(), refused(WITHDRAW), NOT_RECORDED, UNRECORDED], S.REFUSED
    ),
    "withdraw key during an opt-in notice": Case(
        lambda: listening(OPT_IN),
        key(WITHDRAW),
        [StopNotice(), refused(WITHDRAW), NOT_RECORDED, UNRECORDED],
        S.REFUSED,
    ),
    "refuse by INFO": Case(
        listening,
        i.Key(CALLER, REFUSE, Source.INFO),
        [StopNotice(), refused(REFUSE, Source.INFO), NOT_RECORDED, UNRECORDED],
        S.REFUSED,
    ),
    "another key during the notice": Case(listening, key(OTHER), [], S.LISTENING),
    "accept before hearing anything": Case(lambda: asked(OPT_IN), key(ACCEPT), [], S.ASKED),
    "accept during the notice": Case(lambda: listening(OPT_IN), key(ACCEPT), [], S.ACCEPTED_EARLY),
    "accept twice": Case(early, key(ACCEPT), [], S.ACCEPTED_EARLY),
    "yes and then another key is not unambiguous": Case(early, key(OTHER), [], S.LISTENING),
    "yes and then no": Case(early, key(REFUSE), [StopNotice(), refused(REFUSE), NOT_RECORDED, UNRECORDED], S.REFUSED),
    "early yes, whole notice": Case(
        early,
        COMPLETED,
        [Decided(CALLER, Decision.GRANTED, Source.DTMF, ACCEPT), THANKS, RECORDABLE_NOW],
        S.CLEARED,
    ),
    "early yes in an opt-out that has the key": Case(
        lambda: early(OPT_OUT_BOTH),
        COMPLETED,
        [Decided(CALLER, Decision.GRANTED, Source.DTMF, ACCEPT), THANKS, RECORDABLE_NOW],
        S.CLEARED,
    ),
    "early yes, notice cut": Case(
        early, i.NoticeInterrupted("media"), [UNRECORDED, Blocked("notice_interrupted")], S.UNINFORMED
    ),
    "early yes, notice short": Case(
        early, i.NoticeCompleted(1, SAMPLES), [UNRECORDED, Blocked("notice_short")], S.UNINFORMED
    ),
    # -- keys in the window --
    "accept in the window": Case(
        lambda: deciding(OPT_IN),
        key(ACCEPT),
        [Decided(CALLER, Decision.GRANTED, Source.DTMF, ACCEPT), THANKS, RECORDABLE_NOW],
        S.CLEARED,
    ),
    "refuse in the window": Case(deciding, key(REFUSE), [refused(REFUSE), NOT_RECORDED, UNRECORDED], S.REFUSED),
    "withdraw key in the window": Case(
        deciding, key(WITHDRAW), [refused(WITHDRAW), NOT_RECORDED, UNRECORDED], S.REFUSED
    ),
    "another key in an opt-in window": Case(
        lambda: deciding(OPT_IN),
        key(OTHER),
        [Decided(CALLER, Decision.NOT_GIVEN, Source.DTMF, OTHER), NOT_RECORDED, UNRECORDED],
        S.REFUSED,
    ),
    "another key in an opt-out window": Case(deciding, key(OTHER), [], S.DECIDING),
    # -- keys afterwards --
    "withdraw before anybody is there": Case(
        cleared, key(WITHDRAW), [Withdrawn(CALLER, Source.DTMF, WITHDRAW), NOT_RECORDED], S.WITHDRAWN
    ),
    "refuse key afterwards withdraws": Case(
        cleared, key(REFUSE), [Withdrawn(CALLER, Source.DTMF, REFUSE), NOT_RECORDED], S.WITHDRAWN
    ),
    "another key afterwards": Case(cleared, key(OTHER), [], S.CLEARED),
    "accept key afterwards": Case(lambda: cleared(OPT_IN), key(ACCEPT), [], S.CLEARED),
    "required without a way: no key does anything": Case(lambda: cleared(REQUIRED), key(REFUSE), [], S.CLEARED),
    "required with a way: its key does": Case(
        lambda: cleared(REQUIRED_WITH_WAY),
        key(REFUSE),
        [Withdrawn(CALLER, Source.DTMF, REFUSE), NOT_RECORDED],
        S.WITHDRAWN,
    ),
    "a key before anybody asked": Case(answered, key(REFUSE), [], S.UNASKED),
    "a key in mode never": Case(lambda: asked(NEVER), key(REFUSE), [], S.UNASKED),
    # -- preferences (RFC 7866) and the operator --
    "off during the notice": Case(
        listening, off(), [StopNotice(), refused(None, Source.RECORDPREF), NOT_RECORDED, UNRECORDED], S.REFUSED
    ),
    "off after an early yes": Case(
        early, off(), [StopNotice(), refused(None, Source.RECORDPREF), NOT_RECORDED, UNRECORDED], S.REFUSED
    ),
    "off before the first sample": Case(
        asked, off(), [StopNotice(), refused(None, Source.RECORDPREF), NOT_RECORDED, UNRECORDED], S.REFUSED
    ),
    "off in the window": Case(deciding, off(), [refused(None, Source.RECORDPREF), NOT_RECORDED, UNRECORDED], S.REFUSED),
    "off afterwards": Case(cleared, off(), [Withdrawn(CALLER, Source.RECORDPREF), NOT_RECORDED], S.WITHDRAWN),
    "operator's objection afterwards": Case(
        cleared,
        off(source=Source.OPERATOR),
        [Withdrawn(CALLER, Source.OPERATOR), NOT_RECORDED],
        S.WITHDRAWN,
    ),
    "off, required without a way": Case(lambda: listening(REQUIRED), off(), [], S.LISTENING),
    "operator's objection, required": Case(
        lambda: listening(REQUIRED),
        off(source=Source.OPERATOR),
        [StopNotice(), refused(None, Source.OPERATOR), NOT_RECORDED, UNRECORDED],
        S.REFUSED,
    ),
    "off, required with a way": Case(
        lambda: listening(REQUIRED_WITH_WAY),
        off(),
        [StopNotice(), refused(None, Source.RECORDPREF), NOT_RECORDED, UNRECORDED],
        S.REFUSED,
    ),
    "on is not consent": Case(lambda: deciding(OPT_IN), i.Preferred(CALLER, Preference.ON), [], S.DECIDING),
    "on does not clear before being asked": Case(answered, i.Preferred(CALLER, Preference.ON), [], S.UNASKED),
    "off in the INVITE waits for the question": Case(answered, off(), [], S.UNASKED),
    "asked after off in the INVITE": Case(
        lambda: Call(i.Answered(PATHS), off()),
        i.Asked(OPT_OUT),
        [refused(None, Source.RECORDPREF), NOT_RECORDED, UNRECORDED],
        S.REFUSED,
    ),
    "a later on does not take off back": Case(
        lambda: Call(i.Answered(PATHS), off(), i.Preferred(CALLER, Preference.ON)),
        i.Asked(OPT_IN),
        [refused(None, Source.RECORDPREF), NOT_RECORDED, UNRECORDED],
        S.REFUSED,
    ),
    "off in the INVITE, required without a way": Case(
        lambda: Call(i.Answered(PATHS), off()), i.Asked(REQUIRED), [], S.ASKED
    ),
    "operator's objection and off before, required": Case(
        lambda: Call(i.Answered(PATHS), off(source=Source.OPERATOR), off()),
        i.Asked(REQUIRED),
        [refused(None, Source.OPERATOR), NOT_RECORDED, UNRECORDED],
        S.REFUSED,
    ),
    "off in the INVITE, mode never": Case(
        lambda: Call(i.Answered(PATHS), off()), i.Asked(NEVER), [UNRECORDED], S.UNASKED
    ),
    # -- leaving --
    "hangs up unasked": Case(answered, i.Left(CALLER, "bye"), [], S.LEFT),
    "cancels before the answer": Case(Call, i.Left(CALLER, "cancel"), [], S.LEFT),
    "hangs up before the notice": Case(asked, i.Left(CALLER, "bye"), [StopNotice()], S.LEFT),
    "hangs up in the notice": Case(listening, i.Left(CALLER, "bye"), [StopNotice()], S.LEFT),
    "hangs up after an early yes": Case(early, i.Left(CALLER, "bye"), [StopNotice()], S.LEFT),
    "hangs up in the window": Case(deciding, i.Left(CALLER, "bye"), [], S.LEFT),
    "hangs up while it rings": Case(cleared, i.Left(CALLER, "bye"), [], S.LEFT),
    "hangs up after refusing": Case(lambda: after(listening(), key(REFUSE)), i.Left(CALLER, "bye"), [], S.LEFT),
    "hangs up twice": Case(lambda: after(cleared(), i.Left(CALLER, "bye")), i.Left(CALLER, "bye"), [], S.LEFT),
}


def told_held(call: Call) -> Call:
    return after(call, i.Held(CALLER))


def after(call: Call, *events: i.Input) -> Call:
    call.tell(*events)
    return call


AGENT_CASES: dict[str, Case] = {
    "told that it is recorded": Case(
        ringing, i.Informed(AGENT, True), [Permit(1, (CALLER, AGENT), "all_cleared")], S.CLEARED, AGENT
    ),
    "told that it is not recorded": Case(ringing, i.Informed(AGENT, False), [], S.UNASKED, AGENT),
    "not told to the end": Case(
        ringing, i.NotInformed(AGENT, "hangup"), [Blocked("agent_not_informed")], S.UNINFORMED, AGENT
    ),
    "told while on hold": Case(
        lambda: after(ringing(), i.Held(AGENT)),
        i.Informed(AGENT, True),
        [Blocked("agent_not_informed")],
        S.UNINFORMED,
        AGENT,
    ),
    "told after hold": Case(
        lambda: after(ringing(), i.Held(AGENT), i.Resumed(AGENT)),
        i.Informed(AGENT, True),
        [Permit(1, (CALLER, AGENT), "all_cleared")],
        S.CLEARED,
        AGENT,
    ),
    "refuses while being told": Case(
        ringing,
        key(WITHDRAW, AGENT),
        [Decided(AGENT, Decision.REFUSED, Source.DTMF, WITHDRAW), Say(AGENT, Message.AGENT_NOT_RECORDED)],
        S.REFUSED,
        AGENT,
    ),
    "refuses with the refuse key": Case(
        ringing,
        key(REFUSE, AGENT),
        [Decided(AGENT, Decision.REFUSED, Source.DTMF, REFUSE), Say(AGENT, Message.AGENT_NOT_RECORDED)],
        S.REFUSED,
        AGENT,
    ),
    "another key while being told": Case(ringing, key(OTHER, AGENT), [], S.UNASKED, AGENT),
    "the key in a call that is not recorded": Case(
        lambda: after(listening(), key(REFUSE), i.Joined(AGENT)), key(WITHDRAW, AGENT), [], S.UNASKED, AGENT
    ),
    "prefers off while being told": Case(
        ringing, off(AGENT), [Decided(AGENT, Decision.REFUSED, Source.RECORDPREF)], S.REFUSED, AGENT
    ),
    "withdraws while the permit is on its way": Case(
        awaiting,
        key(WITHDRAW, AGENT),
        [
            Withdrawn(AGENT, Source.DTMF, WITHDRAW),
            NOT_RECORDED,
            Say(AGENT, Message.AGENT_NOT_RECORDED),
        ],
        S.WITHDRAWN,
        AGENT,
    ),
    "another key when cleared": Case(awaiting, key(OTHER, AGENT), [], S.CLEARED, AGENT),
    "off, required without a way": Case(lambda: awaiting(REQUIRED), off(AGENT), [], S.CLEARED, AGENT),
    "told after refusing": Case(lambda: after(ringing(), off(AGENT)), i.Informed(AGENT, True), [], S.REFUSED, AGENT),
    "not told, then told after all": Case(
        lambda: after(ringing(), i.NotInformed(AGENT, "media")), i.Informed(AGENT, True), [], S.UNINFORMED, AGENT
    ),
    "key after refusing": Case(lambda: after(ringing(), off(AGENT)), key(WITHDRAW, AGENT), [], S.REFUSED, AGENT),
    "prefers on after refusing": Case(
        lambda: after(ringing(), off(AGENT)), i.Preferred(AGENT, Preference.ON), [], S.REFUSED, AGENT
    ),
    "prefers off after leaving": Case(lambda: after(ringing(), i.Left(AGENT, "bye")), off(AGENT), [], S.LEFT, AGENT),
    "leaves while being told": Case(ringing, i.Left(AGENT, "bye"), [], S.LEFT, AGENT),
    "leaves twice": Case(lambda: after(ringing(), i.Left(AGENT, "bye")), i.Left(AGENT, "bye"), [], S.LEFT, AGENT),
    "told after leaving": Case(
        lambda: after(ringing(), i.Left(AGENT, "bye")), i.NotInformed(AGENT, "bye"), [], S.LEFT, AGENT
    ),
    "re-INVITE of the agent": Case(ringing, i.Renegotiated(AGENT), [], S.UNASKED, AGENT),
    "media of a leg that is gone": Case(
        lambda: after(ringing(), i.Left(AGENT, "bye")), i.Held(AGENT), [], S.LEFT, AGENT
    ),
}

CASES = {f"caller: {n}": c for n, c in CALLER_CASES.items()} | {f"agent: {n}": c for n, c in AGENT_CASES.items()}


@pytest.mark.parametrize("name", CASES)
def test_what_is_done_and_where_it_leaves_the_party(name: str) -> None:
    case = CASES[name]
    call = case.given()
    assert call.tell(case.when) == case.then
    assert call.state.standing(case.party) is case.at


@pytest.mark.parametrize("source", [Source.DTMF, Source.INFO, Source.INBAND])
def test_an_early_yes_keeps_how_it_was_heard(source: Source) -> None:
    call = listening(OPT_IN)
    call.tell(i.Key(CALLER, ACCEPT, source))
    assert call.tell(COMPLETED)[0] == Decided(CALLER, Decision.GRANTED, source, ACCEPT)


def test_a_yes_taken_back_by_another_key_is_waited_for_again() -> None:
    call = after(listening(OPT_IN), i.Key(CALLER, ACCEPT, Source.INFO), key(OTHER), COMPLETED)
    assert call.state.caller is S.DECIDING
    assert call.expire(Timer.WINDOW)[0] == Decided(CALLER, Decision.NOT_GIVEN, Source.SILENCE)


# -- what silence means ----------------------------------------------------------------------------------------------

SILENCE: dict[str, tuple[Policy, list[Effect], Standing]] = {
    "opt-out: not objected": (
        OPT_OUT,
        [Decided(CALLER, Decision.NOT_OBJECTED, Source.SILENCE), RECORDABLE_NOW],
        S.CLEARED,
    ),
    "opt-in: not given": (
        OPT_IN,
        [Decided(CALLER, Decision.NOT_GIVEN, Source.SILENCE), NOT_RECORDED, UNRECORDED],
        S.REFUSED,
    ),
}


@pytest.mark.parametrize("name", SILENCE)
def test_silence_until_the_window_ends(name: str) -> None:
    policy, effects, standing = SILENCE[name]
    call = deciding(policy)
    assert call.expire(Timer.WINDOW) == effects
    assert call.state.caller is standing


@pytest.mark.parametrize("given", [asked, listening, lambda: early(OPT_IN)], ids=["asked", "listening", "early yes"])
def test_a_notice_that_never_ends_is_given_up(given: Callable[[], Call]) -> None:
    call = given()
    assert call.expire(Timer.NOTICE) == [StopNotice(), UNRECORDED, Blocked("notice_timeout")]
    assert call.state.caller is S.UNINFORMED


# -- preferences and pauses ------------------------------------------------------------------------------------------


def test_a_pause_in_the_invite_does_not_stop_a_required_recording() -> None:
    call = Call(i.Answered(PATHS), i.Preferred(CALLER, Preference.PAUSE), i.Asked(REQUIRED), STARTED, COMPLETED)
    call.tell(i.Joined(AGENT))
    assert call.tell(i.Informed(AGENT, True)) == [Permit(1, (CALLER, AGENT), "all_cleared")]


def test_a_hold_or_an_operators_pause_before_the_question_is_kept_even_if_required() -> None:
    for pause in (i.Preferred(CALLER, Preference.PAUSE, Source.OPERATOR), i.Held(AGENT)):
        call = Call(i.Answered(PATHS), i.Joined(AGENT), pause, i.Asked(REQUIRED), STARTED, COMPLETED)
        assert len(call.state.paused_by) == 1


def test_a_pause_in_the_invite_is_kept_where_the_caller_may_say_no() -> None:
    call = Call(i.Answered(PATHS), i.Preferred(CALLER, Preference.PAUSE), i.Asked(OPT_OUT))
    assert call.state.paused_by == {(CALLER, "preference")}


def test_the_media_of_a_leg_that_is_gone_pauses_nobody() -> None:
    call = after(ringing(), i.Left(AGENT, "bye"))
    before = call.state
    call.tell(i.Held(AGENT), i.Renegotiated(AGENT), i.Resumed(AGENT), i.Held(AGENT))
    assert call.state == before


# -- what cannot be ---------------------------------------------------------------------------------------------------

IMPOSSIBLE: dict[str, tuple[Callable[[], Call], i.Input]] = {
    "answered twice": (answered, i.Answered(PATHS)),
    "answered after leaving": (lambda: Call(i.Left(CALLER, "cancel")), i.Answered(PATHS)),
    "asked twice": (cleared, i.Asked(OPT_OUT)),
    "asked again after never": (lambda: asked(NEVER), i.Asked(OPT_OUT)),
    "asked again after a refusal": (lambda: after(listening(), key(REFUSE)), i.Asked(OPT_OUT)),
    "asked while listening": (listening, i.Asked(OPT_OUT)),
    "notice unasked": (answered, STARTED),
    "notice twice": (listening, STARTED),
    "notice again in the window": (deciding, STARTED),
    "notice again when cleared": (cleared, STARTED),
    "completed before it began": (asked, COMPLETED),
    "completed unasked": (answered, COMPLETED),
    "key of nobody": (cleared, key(WITHDRAW, AGENT)),
    "preference of nobody": (cleared, off(AGENT)),
    "informed who never joined": (cleared, i.Informed(AGENT, True)),
    "hold of nobody": (cleared, i.Held(AGENT)),
    "resume of nobody": (cleared, i.Resumed(AGENT)),
    "re-INVITE of nobody": (cleared, i.Renegotiated(AGENT)),
    "leaves who never joined": (cleared, i.Left(AGENT, "bye")),
    "joins twice": (ringing, i.Joined(AGENT)),
    "the caller joins": (answered, i.Joined(CALLER)),
    "joins again after leaving": (lambda: after(ringing(), i.Left(AGENT, "bye")), i.Joined(AGENT)),
    "informed twice": (awaiting, i.Informed(AGENT, True)),
    "not informed after having been": (awaiting, i.NotInformed(AGENT, "late")),
    "the caller informed like an agent": (cleared, i.Informed(CALLER, True)),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_be_is_an_error_and_changes_nothing(name: str) -> None:
    given, event = IMPOSSIBLE[name]
    call = given()
    before = call.state
    with pytest.raises(InvariantError):
        call.tell(event)
    assert call.state == before


def test_an_error_leaves_a_call_that_can_still_be_withdrawn() -> None:
    call = running()
    with pytest.raises(InvariantError):
        call.tell(i.Joined(AGENT))
    assert Withdrawn(CALLER, Source.DTMF, WITHDRAW) in call.tell(key(WITHDRAW))


# -- absorbing --------------------------------------------------------------------------------------------------------

ENDED: dict[str, Callable[[], Call]] = {
    "refused": lambda: after(listening(), key(REFUSE)),
    "uninformed": lambda: after(listening(), i.NoticeFailed("file")),
    "withdrawn": lambda: after(cleared(), key(WITHDRAW)),
    "left": lambda: after(cleared(), i.Left(CALLER, "bye")),
}
LATE = [
    STARTED,
    COMPLETED,
    i.NoticeInterrupted("key"),
    i.NoticeFailed("file"),
    key(ACCEPT),
    key(REFUSE),
    key(WITHDRAW),
    off(),
    i.Preferred(CALLER, Preference.ON),
    i.Expired(Timer.NOTICE),
    i.Expired(Timer.WINDOW),
]


@pytest.mark.parametrize("event", LATE, ids=lambda e: f"{type(e).__name__}{getattr(e, 'key', '')}")
@pytest.mark.parametrize("name", ENDED)
def test_what_comes_after_the_end_changes_nothing(name: str, event: i.Input) -> None:
    call = ENDED[name]()
    before = call.state
    assert call.tell(event, after_ms=500_000) == []
    assert call.state == before


@pytest.mark.parametrize("policy", RECORDABLE.values(), ids=RECORDABLE)
def test_the_end_of_the_notice_is_told_once_more_after_a_decision(policy: Policy) -> None:
    call = cleared(policy)
    assert call.tell(i.NoticeInterrupted("stopped")) == []
    assert call.state.caller is S.CLEARED


# -- waits ------------------------------------------------------------------------------------------------------------


def test_one_notice_time_covers_rendering_and_playing() -> None:
    call = asked()
    assert Arm(Timer.NOTICE, 20 + OPT_OUT.notice_timeout_ms) in call.all
    call.tell(STARTED)
    assert call.state.due(Timer.NOTICE) == 20 + OPT_OUT.notice_timeout_ms


def test_a_decision_disarms_the_window() -> None:
    call = deciding()
    assert call.all[-2:] == [Disarm(Timer.NOTICE), Arm(Timer.WINDOW, call.now + OPT_OUT.window_ms)]
    call.tell(key(REFUSE))
    assert call.all[-1] == Disarm(Timer.WINDOW)
    assert call.state.deadlines == ()


def test_the_permit_has_its_time_and_is_disarmed() -> None:
    call = awaiting()
    assert call.all[-1] == Arm(Timer.PERMIT, call.now + OPT_OUT.permit_timeout_ms)
    call.tell(i.PermitAcknowledged(1))
    assert call.all[-2:] == [Disarm(Timer.PERMIT), Arm(Timer.START, call.now + OPT_OUT.start_timeout_ms)]
    call.tell(i.RecorderStarted(1), key(WITHDRAW))
    assert call.all[-1] == Arm(Timer.STOP, call.now + STOP_TIMEOUT_MS)


def test_another_permit_has_the_whole_time_again() -> None:
    call = awaiting()
    call.tell(i.Joined(SECOND), i.Informed(SECOND, True), after_ms=100)
    before = call.state.due(Timer.PERMIT)
    call.tell(i.Left(SECOND, "bye"), after_ms=100)
    assert before is not None
    assert call.state.number == 3
    assert call.state.due(Timer.PERMIT) == call.now + OPT_OUT.permit_timeout_ms
    assert call.all[-1] == Arm(Timer.PERMIT, call.now + OPT_OUT.permit_timeout_ms)


def test_nothing_that_happens_meanwhile_prolongs_the_wait_for_a_permit() -> None:
    call = awaiting()
    due = call.state.due(Timer.PERMIT)
    call.tell(i.Held(AGENT), i.Resumed(AGENT), i.Preferred(CALLER, Preference.PAUSE), after_ms=100)
    assert call.state.due(Timer.PERMIT) == due


def test_the_acknowledgement_of_another_permit_is_no_expiry() -> None:
    call = awaiting()
    call.tell(i.Joined(SECOND), i.Informed(SECOND, True))
    before = call.state
    assert call.tell(i.PermitAcknowledged(1), after_ms=10_000) == []
    assert call.state == before


@pytest.mark.parametrize("timer", Timer)
def test_an_expiry_nobody_waits_for_changes_nothing(timer: Timer) -> None:
    call = running()
    before = call.state
    assert call.tell(i.Expired(timer), after_ms=1_000_000) == []
    assert call.state == before


def test_an_expiry_that_is_not_due_changes_nothing() -> None:
    call = deciding()
    due = call.state.due(Timer.WINDOW)
    assert due is not None
    before = call.state
    assert call.tell(i.Expired(Timer.WINDOW), after_ms=due - call.now - 1) == []
    assert call.state == before
    assert call.tell(i.Expired(Timer.WINDOW), after_ms=1) != []


def test_a_wait_without_a_policy_cannot_be() -> None:
    broken = State(parties=((CALLER, S.CLEARED),), recording=Recording.OPENING, opened=1, number=1)
    with pytest.raises(InvariantError, match="before any consent step"):
        step(broken, i.LedgerLost(), 0)


def test_a_call_begins_with_an_unasked_caller_and_nothing_else() -> None:
    assert initial() == State()
    assert initial().present == (CALLER,)
    assert not initial().closed
