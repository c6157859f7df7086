# SPDX-License-Identifier: GPL-3.0-or-later
"""How the recording follows: permit, start, pause, stop, erase; what is said aloud; what is final."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from consent_kit import (
    AGENT,
    COMPLETED,
    OPT_IN,
    OPT_OUT,
    OPT_OUT_NO_WINDOW,
    PATHS,
    RECORDABLE,
    REFUSE,
    SECOND,
    STARTED,
    WITHDRAW,
    Call,
    asked,
    awaiting,
    cleared,
    opening,
    ringing,
    running,
)
from ivr.consent import inputs as i
from ivr.consent.effects import (
    Blocked,
    Decided,
    Decision,
    Effect,
    EraseRecording,
    Message,
    PauseRecording,
    Permit,
    ResumeRecording,
    Say,
    StartRecording,
    StopRecording,
    Withdrawn,
)
from ivr.consent.inputs import CALLER, Preference, Source, Timer
from ivr.consent.machine import InvariantError
from ivr.consent.policy import OnWithdraw, Policy
from ivr.consent.state import Recording, Standing

R = Recording
ERASING = replace(OPT_OUT, on_withdraw=OnWithdraw.ERASE)
BOTH = (CALLER, AGENT)
CALLER_STOPPED = Say(CALLER, Message.RECORDING_STOPPED)
CALLER_ERASED = Say(CALLER, Message.RECORDING_STOPPED_ERASED)
AGENT_STOPPED = Say(AGENT, Message.AGENT_RECORDING_STOPPED)
AGENT_NOT = Say(AGENT, Message.AGENT_NOT_RECORDED)
WITHDREW = Withdrawn(CALLER, Source.DTMF, WITHDRAW)
AGENT_WITHDREW = Withdrawn(AGENT, Source.DTMF, WITHDRAW)
PAUSE = i.Preferred(CALLER, Preference.PAUSE)


def key(value: str, party: str = CALLER) -> i.Key:
    return i.Key(party, value)


def off(party: str) -> i.Preferred:
    return i.Preferred(party, Preference.OFF)


def after(call: Call, *events: i.Input) -> Call:
    call.tell(*events)
    return call


def permitted() -> Call:
    """The permit is there, but the agent holds."""
    return after(awaiting(), i.Held(AGENT), i.PermitAcknowledged(1))


def paused() -> Call:
    return after(running(), i.Held(CALLER))


def stopping() -> Call:
    """Closing, but not for good: a second agent is cleared and needs another permit."""
    return after(running(), i.Joined(SECOND), i.Informed(SECOND, True))


def idle() -> Call:
    """The first agent is gone, the recording is closed; the next one is rung."""
    return after(running(), i.Left(AGENT, "bye"), i.RecorderStopped(1))


def with_policy(given: Callable[[Policy], Call], policy: Policy) -> Callable[[], Call]:
    return lambda: given(policy)


@dataclass(frozen=True)
class Case:
    given: Callable[[], Call]
    when: i.Input
    then: list[Effect]
    at: Recording


CASES: dict[str, Case] = {
    # -- the way up --
    "cleared, nobody there": Case(asked, STARTED, [], R.IDLE),
    "agent cleared": Case(ringing, i.Informed(AGENT, True), [Permit(1, BOTH, "all_cleared")], R.AWAITING_PERMIT),
    "permit durable": Case(awaiting, i.PermitAcknowledged(1), [StartRecording(1)], R.OPENING),
    "permit durable, agent holds": Case(
        lambda: after(awaiting(), i.Held(AGENT)), i.PermitAcknowledged(1), [], R.PERMITTED
    ),
    "hold lifted": Case(permitted, i.Resumed(AGENT), [StartRecording(1)], R.OPENING),
    "hold lifted before the permit is there": Case(
        lambda: after(awaiting(), i.Held(AGENT)), i.Resumed(AGENT), [], R.AWAITING_PERMIT
    ),
    "recorder runs": Case(opening, i.RecorderStarted(1), [], R.RUNNING),
    # -- pauses --
    "caller holds": Case(running, i.Held(CALLER), [PauseRecording(1, "held")], R.PAUSED),
    "agent holds": Case(running, i.Held(AGENT), [PauseRecording(1, "held")], R.PAUSED),
    "caller prefers pause": Case(running, PAUSE, [PauseRecording(1, "preference")], R.PAUSED),
    "operator pauses": Case(
        running,
        i.Preferred(CALLER, Preference.PAUSE, Source.OPERATOR),
        [PauseRecording(1, "operator")],
        R.PAUSED,
    ),
    "pause on pause": Case(paused, PAUSE, [], R.PAUSED),
    "hold lifted, resumed": Case(paused, i.Resumed(CALLER), [ResumeRecording(1)], R.RUNNING),
    "one of two holds lifted": Case(lambda: after(paused(), i.Held(AGENT)), i.Resumed(CALLER), [], R.PAUSED),
    "nopreference takes pause back": Case(
        lambda: after(running(), PAUSE), i.Preferred(CALLER, Preference.NONE), [ResumeRecording(1)], R.RUNNING
    ),
    "on takes pause back": Case(
        lambda: after(running(), PAUSE), i.Preferred(CALLER, Preference.ON), [ResumeRecording(1)], R.RUNNING
    ),
    "on takes only its own pause back": Case(
        lambda: after(running(), i.Preferred(AGENT, Preference.PAUSE)),
        i.Preferred(CALLER, Preference.ON),
        [],
        R.PAUSED,
    ),
    "a re-INVITE does not resume what an operator paused": Case(
        lambda: after(running(), i.Preferred(CALLER, Preference.PAUSE, Source.OPERATOR)),
        i.Preferred(CALLER, Preference.ON),
        [],
        R.PAUSED,
    ),
    "hold while opening closes: samples may be kept already": Case(
        opening, i.Held(AGENT), [StopRecording(1, "held")], R.STOPPING
    ),
    # -- others come and go --
    "newcomer pauses": Case(running, i.Joined(SECOND), [PauseRecording(1, "party_not_cleared")], R.PAUSED),
    "newcomer while opening": Case(opening, i.Joined(SECOND), [StopRecording(1, "party_not_cleared")], R.STOPPING),
    "newcomer while the permit is on its way": Case(awaiting, i.Joined(SECOND), [], R.IDLE),
    "newcomer while the permit is there": Case(permitted, i.Joined(SECOND), [], R.IDLE),
    "newcomer leaves uninformed": Case(
        lambda: after(running(), i.Joined(SECOND)), i.Left(SECOND, "bye"), [ResumeRecording(1)], R.RUNNING
    ),
    "newcomer cleared: stop, for a permit that names them": Case(
        lambda: after(running(), i.Joined(SECOND)),
        i.Informed(SECOND, True),
        [StopRecording(1, "parties_changed")],
        R.STOPPING,
    ),
    "permit for three": Case(
        stopping, i.RecorderStopped(1), [Permit(2, (*BOTH, SECOND), "all_cleared")], R.AWAITING_PERMIT
    ),
    "newcomer not informed": Case(
        lambda: after(running(), i.Joined(SECOND)),
        i.NotInformed(SECOND, "hangup"),
        [StopRecording(1, "agent_not_informed"), AGENT_STOPPED],
        R.STOPPING,
    ),
    "newcomer refuses": Case(
        lambda: after(running(), i.Joined(SECOND)),
        off(SECOND),
        [
            Decided(SECOND, Decision.REFUSED, Source.RECORDPREF),
            StopRecording(1, "refused_by_other"),
            AGENT_STOPPED,
        ],
        R.STOPPING,
    ),
    "agent leaves": Case(running, i.Left(AGENT, "bye"), [StopRecording(1, "party_left")], R.STOPPING),
    "agent leaves while paused": Case(paused, i.Left(AGENT, "bye"), [StopRecording(1, "party_left")], R.STOPPING),
    "agent leaves while opening": Case(opening, i.Left(AGENT, "bye"), [StopRecording(1, "party_left")], R.STOPPING),
    "agent leaves while the permit is on its way": Case(awaiting, i.Left(AGENT, "bye"), [], R.IDLE),
    "closed, nobody there": Case(lambda: after(running(), i.Left(AGENT, "bye")), i.RecorderStopped(1), [], R.IDLE),
    "next agent cleared: next permit": Case(
        lambda: after(idle(), i.Joined(SECOND)),
        i.Informed(SECOND, True),
        [Permit(2, (CALLER, SECOND), "all_cleared")],
        R.AWAITING_PERMIT,
    ),
    # -- acknowledgements that do not count --
    "permit too late": Case(
        lambda: late(awaiting()), i.PermitAcknowledged(1), [Blocked("ledger"), AGENT_NOT], R.DENIED
    ),
    "permit after its time-out": Case(lambda: expired(awaiting(), Timer.PERMIT), i.PermitAcknowledged(1), [], R.DENIED),
    "acknowledgement of a dropped permit": Case(
        lambda: after(awaiting(), i.Left(AGENT, "bye")), i.PermitAcknowledged(1), [], R.IDLE
    ),
    "acknowledgement of the permit before": Case(
        lambda: after(stopping(), i.RecorderStopped(1)), i.PermitAcknowledged(1), [], R.AWAITING_PERMIT
    ),
    "acknowledged twice": Case(running, i.PermitAcknowledged(1), [], R.RUNNING),
    # -- the recorder --
    "recorder fails": Case(
        running, i.RecorderFailed(1, "disk_full"), [StopRecording(1, "disk_full"), AGENT_STOPPED], R.STOPPING
    ),
    "recorder fails while opening": Case(
        opening, i.RecorderFailed(1, "disk_full"), [StopRecording(1, "disk_full"), AGENT_STOPPED], R.STOPPING
    ),
    "recorder fails while paused": Case(
        paused, i.RecorderFailed(1, "evidence"), [StopRecording(1, "evidence"), AGENT_STOPPED], R.STOPPING
    ),
    "recorder fails without saying why": Case(
        running, i.RecorderFailed(1, ""), [StopRecording(1, "recorder_failed"), AGENT_STOPPED], R.STOPPING
    ),
    "failed and closed: no second try": Case(
        lambda: after(running(), i.RecorderFailed(1, "disk_full")), i.RecorderStopped(1), [], R.DENIED
    ),
    "failed without a why and closed": Case(
        lambda: after(running(), i.RecorderFailed(1, "")), i.RecorderStopped(1), [], R.DENIED
    ),
    "fails while closing": Case(stopping, i.RecorderFailed(1, "disk_full"), [], R.STOPPING),
    "starts while closing": Case(lambda: after(opening(), i.Left(AGENT, "bye")), i.RecorderStarted(1), [], R.STOPPING),
    "closes by itself": Case(running, i.RecorderStopped(1), [AGENT_STOPPED], R.DENIED),
    "closes by itself while opening": Case(opening, i.RecorderStopped(1), [AGENT_STOPPED], R.DENIED),
    "closes by itself while paused": Case(paused, i.RecorderStopped(1), [AGENT_STOPPED], R.DENIED),
    "closed a second time": Case(idle, i.RecorderStopped(1), [], R.IDLE),
    # -- the ledger --
    "ledger lost, nothing begun": Case(ringing, i.LedgerLost(), [], R.IDLE),
    "ledger lost, permit on its way": Case(awaiting, i.LedgerLost(), [Blocked("ledger"), AGENT_NOT], R.DENIED),
    "ledger lost, permit there": Case(permitted, i.LedgerLost(), [Blocked("ledger"), AGENT_NOT], R.DENIED),
    "ledger refuses, and why": Case(awaiting, i.LedgerLost("refused"), [Blocked("refused"), AGENT_NOT], R.DENIED),
    "ledger lost without a why": Case(awaiting, i.LedgerLost(""), [Blocked("ledger"), AGENT_NOT], R.DENIED),
    "ledger lost, opening": Case(opening, i.LedgerLost(), [StopRecording(1, "ledger"), AGENT_STOPPED], R.STOPPING),
    "ledger lost, running": Case(running, i.LedgerLost(), [StopRecording(1, "ledger"), AGENT_STOPPED], R.STOPPING),
    "ledger lost, paused": Case(paused, i.LedgerLost(""), [StopRecording(1, "ledger"), AGENT_STOPPED], R.STOPPING),
    "ledger lost, closing": Case(stopping, i.LedgerLost(), [], R.STOPPING),
    "ledger lost and closed: final": Case(
        lambda: after(running(), i.LedgerLost("")), i.RecorderStopped(1), [], R.DENIED
    ),
    # -- a contradiction --
    "faulted, nothing begun": Case(ringing, i.Faulted(), [Blocked("internal")], R.DENIED),
    "faulted, permit on its way": Case(awaiting, i.Faulted(""), [Blocked("internal"), AGENT_NOT], R.DENIED),
    "faulted, permit there": Case(permitted, i.Faulted(), [Blocked("internal"), AGENT_NOT], R.DENIED),
    "faulted, opening": Case(opening, i.Faulted(), [StopRecording(1, "internal"), AGENT_STOPPED], R.STOPPING),
    "faulted, running": Case(running, i.Faulted(), [StopRecording(1, "internal"), AGENT_STOPPED], R.STOPPING),
    "faulted, paused": Case(paused, i.Faulted(), [StopRecording(1, "internal"), AGENT_STOPPED], R.STOPPING),
    "faulted, closing, and closed: final": Case(
        lambda: after(stopping(), i.Faulted()), i.RecorderStopped(1), [], R.DENIED
    ),
    # -- the key path --
    "key path lost": Case(
        running, i.Renegotiated(CALLER), [StopRecording(1, "no_key_path"), AGENT_STOPPED], R.STOPPING
    ),
    "key path changed": Case(running, i.Renegotiated(CALLER, frozenset({i.KeyPath.INFO})), [], R.RUNNING),
    "key path lost while paused": Case(
        paused, i.Renegotiated(CALLER), [StopRecording(1, "no_key_path"), AGENT_STOPPED], R.STOPPING
    ),
    "key path lost while ringing": Case(ringing, i.Renegotiated(CALLER), [Blocked("no_key_path")], R.DENIED),
    "key path lost, permit on its way": Case(
        awaiting, i.Renegotiated(CALLER), [Blocked("no_key_path"), AGENT_NOT], R.DENIED
    ),
    # -- withdrawal --
    "caller withdraws": Case(
        running,
        key(WITHDRAW),
        [WITHDREW, StopRecording(1, "withdrawn"), CALLER_STOPPED, AGENT_STOPPED],
        R.STOPPING,
    ),
    "caller withdraws, erase": Case(
        with_policy(running, ERASING),
        key(WITHDRAW),
        [WITHDREW, StopRecording(1, "withdrawn", erase=True), CALLER_ERASED, AGENT_STOPPED],
        R.STOPPING,
    ),
    "caller withdraws while opening": Case(
        opening,
        key(WITHDRAW),
        [WITHDREW, StopRecording(1, "withdrawn"), CALLER_STOPPED, AGENT_STOPPED],
        R.STOPPING,
    ),
    "caller withdraws while paused": Case(
        paused,
        key(WITHDRAW),
        [WITHDREW, StopRecording(1, "withdrawn"), CALLER_STOPPED, AGENT_STOPPED],
        R.STOPPING,
    ),
    "caller withdraws, permit on its way": Case(
        awaiting, key(WITHDRAW), [WITHDREW, Say(CALLER, Message.NOT_RECORDED), AGENT_NOT], R.DENIED
    ),
    "caller withdraws, permit there": Case(
        permitted, key(WITHDRAW), [WITHDREW, Say(CALLER, Message.NOT_RECORDED), AGENT_NOT], R.DENIED
    ),
    "caller withdraws while the agent is told": Case(
        ringing, key(WITHDRAW), [WITHDREW, Say(CALLER, Message.NOT_RECORDED)], R.DENIED
    ),
    "caller withdraws between two agents": Case(idle, key(WITHDRAW), [WITHDREW, CALLER_STOPPED], R.DENIED),
    "agent withdraws": Case(
        running,
        key(WITHDRAW, AGENT),
        [AGENT_WITHDREW, StopRecording(1, "withdrawn_by_other"), CALLER_STOPPED, AGENT_STOPPED],
        R.STOPPING,
    ),
    "agent withdraws, erase": Case(
        with_policy(running, ERASING),
        key(WITHDRAW, AGENT),
        [AGENT_WITHDREW, StopRecording(1, "withdrawn_by_other", erase=True), CALLER_ERASED, AGENT_STOPPED],
        R.STOPPING,
    ),
    "operator's objection": Case(
        running,
        i.Preferred(CALLER, Preference.OFF, Source.OPERATOR),
        [Withdrawn(CALLER, Source.OPERATOR), StopRecording(1, "withdrawn"), CALLER_STOPPED, AGENT_STOPPED],
        R.STOPPING,
    ),
    "withdrawn and closed": Case(lambda: after(running(), key(WITHDRAW)), i.RecorderStopped(1), [], R.DENIED),
    "withdraws after a failure": Case(
        lambda: after(running(), i.RecorderFailed(1, "disk_full"), i.RecorderStopped(1)),
        key(WITHDRAW),
        [WITHDREW, CALLER_STOPPED, AGENT_NOT],
        R.DENIED,
    ),
    # -- the caller leaves --
    "caller leaves": Case(running, i.Left(CALLER, "bye"), [StopRecording(1, "caller_left")], R.STOPPING),
    "caller leaves while opening": Case(opening, i.Left(CALLER, "bye"), [StopRecording(1, "caller_left")], R.STOPPING),
    "caller leaves while paused": Case(paused, i.Left(CALLER, "bye"), [StopRecording(1, "caller_left")], R.STOPPING),
    "caller leaves, permit on its way": Case(awaiting, i.Left(CALLER, "bye"), [], R.DENIED),
    "caller leaves, permit there": Case(permitted, i.Left(CALLER, "bye"), [], R.DENIED),
    "caller leaves while closing": Case(stopping, i.Left(CALLER, "bye"), [], R.STOPPING),
    "caller leaves, nothing open": Case(ringing, i.Left(CALLER, "bye"), [], R.DENIED),
}


def late(call: Call) -> Call:
    """The permit's time is up, but the timer was not seen yet."""
    call.now += OPT_OUT.permit_timeout_ms - 10
    return call


def expired(call: Call, timer: Timer) -> Call:
    call.expire(timer)
    return call


@pytest.mark.parametrize("name", CASES)
def test_what_becomes_of_the_recording(name: str) -> None:
    case = CASES[name]
    call = case.given()
    assert call.tell(case.when) == case.then
    assert call.state.recording is case.at


WAITS: dict[str, tuple[Callable[[], Call], Timer, list[Effect], Recording]] = {
    "no permit in time": (awaiting, Timer.PERMIT, [Blocked("ledger"), AGENT_NOT], R.DENIED),
    "no sample in time": (opening, Timer.START, [StopRecording(1, "start_timeout"), AGENT_STOPPED], R.STOPPING),
    "does not close in time": (stopping, Timer.STOP, [Blocked("stop_timeout")], R.DENIED),
    "does not close in time after a no": (
        lambda: after(running(), key(WITHDRAW)),
        Timer.STOP,
        [Blocked("stop_timeout")],
        R.DENIED,
    ),
}


@pytest.mark.parametrize("name", WAITS)
def test_a_wait_that_ends(name: str) -> None:
    given, timer, effects, at = WAITS[name]
    call = given()
    told = call.expire(timer)
    assert [e for e in told if not isinstance(e, Say) or e in effects] == effects
    assert call.state.recording is at


def test_when_a_recorder_does_not_close_the_agents_hear_that_recording_is_over() -> None:
    assert stopping().expire(Timer.STOP) == [
        Blocked("stop_timeout"),
        AGENT_STOPPED,
        Say(SECOND, Message.AGENT_RECORDING_STOPPED),
    ]


def test_a_start_that_came_late_and_closed_is_not_tried_again() -> None:
    call = expired(opening(), Timer.START)
    assert call.tell(i.RecorderStopped(1)) == []
    assert call.state.recording is R.DENIED


# -- nobody's no is forgotten ----------------------------------------------------------------------------------------

NO_WHILE_CLOSING: dict[str, tuple[Callable[[], Call], i.Input, str]] = {
    "agent withdrew, then closing": (running, key(WITHDRAW, AGENT), AGENT),
    "agent withdraws while closing": (stopping, key(WITHDRAW, AGENT), AGENT),
    "second withdraws while closing": (stopping, key(WITHDRAW, SECOND), SECOND),
    "agent objects while closing": (stopping, off(AGENT), AGENT),
    "newcomer refuses": (lambda: after(running(), i.Joined(SECOND)), off(SECOND), SECOND),
    "newcomer is not informed": (lambda: after(running(), i.Joined(SECOND)), i.NotInformed(SECOND, "x"), SECOND),
    "third refuses while closing": (lambda: after(stopping(), i.Joined("agent-3")), off("agent-3"), "agent-3"),
}


@pytest.mark.parametrize("name", NO_WHILE_CLOSING)
def test_a_no_outlives_its_author(name: str) -> None:
    """Whoever said no may be gone before the recorder is closed; the next agent must not be recorded for that."""
    given, no, author = NO_WHILE_CLOSING[name]
    call = after(given(), no, i.Left(author, "bye"), i.RecorderStopped(1))
    assert call.state.recording is R.DENIED
    call.tell(i.Joined("agent-9"))
    assert call.tell(i.Informed("agent-9", True)) == []


def test_a_no_while_closing_is_said_to_those_who_stay() -> None:
    call = after(stopping(), i.Joined("agent-3"))
    assert call.tell(off("agent-3"))[1:] == [AGENT_STOPPED, Say(SECOND, Message.AGENT_RECORDING_STOPPED)]


def test_the_first_reason_of_a_final_stop_stands() -> None:
    call = after(running(), i.LedgerLost(), key(WITHDRAW))
    assert call.state.reason == "ledger"


def test_an_uninformed_agent_denies_even_after_leaving() -> None:
    call = after(ringing(), i.NotInformed(AGENT, "hangup"), i.Left(AGENT, "bye"), i.Joined(SECOND))
    assert call.tell(i.Informed(SECOND, True)) == []


# -- erasure -----------------------------------------------------------------------------------------------------------


def second_recording(policy: Policy) -> Call:
    call = after(running(policy), i.Left(AGENT, "bye"), i.RecorderStopped(1), i.Joined(SECOND))
    return after(call, i.Informed(SECOND, True), i.PermitAcknowledged(2), i.RecorderStarted(2))


def test_a_withdrawal_that_erases_reaches_the_earlier_recordings() -> None:
    call = second_recording(ERASING)
    assert call.tell(key(WITHDRAW)) == [
        WITHDREW,
        StopRecording(2, "withdrawn", erase=True),
        EraseRecording(1),
        CALLER_ERASED,
        Say(SECOND, Message.AGENT_RECORDING_STOPPED),
    ]


def test_nothing_is_erased_unless_somebody_withdraws() -> None:
    call = second_recording(ERASING)
    call.tell(i.Held(CALLER), i.Resumed(CALLER), i.RecorderFailed(2, "disk_full"), i.RecorderStopped(2))
    assert not any(isinstance(effect, EraseRecording) for effect in call.all)


def test_a_withdrawal_that_keeps_erases_nothing() -> None:
    call = second_recording(OPT_OUT)
    call.tell(key(WITHDRAW))
    assert not any(isinstance(effect, EraseRecording) for effect in call.all)


ERASED_WHEN: dict[str, Callable[[], Call]] = {
    "between two agents": lambda: after(running(ERASING), i.Left(AGENT, "bye"), i.RecorderStopped(1)),
    "while it closes": lambda: after(running(ERASING), i.Joined(SECOND), i.Informed(SECOND, True)),
    "after it failed": lambda: after(running(ERASING), i.RecorderFailed(1, "disk"), i.RecorderStopped(1)),
    "while the next permit is on its way": lambda: after(
        running(ERASING), i.Joined(SECOND), i.Informed(SECOND, True), i.RecorderStopped(1)
    ),
}


@pytest.mark.parametrize("name", ERASED_WHEN)
def test_a_withdrawal_erases_what_is_no_longer_open(name: str) -> None:
    effects = ERASED_WHEN[name]().tell(key(WITHDRAW))
    assert [e for e in effects if isinstance(e, EraseRecording)] == [EraseRecording(1)]
    assert CALLER_ERASED in effects


def test_nothing_is_erased_when_nothing_was_opened() -> None:
    call = awaiting(ERASING)
    assert call.tell(key(WITHDRAW)) == [WITHDREW, Say(CALLER, Message.NOT_RECORDED), AGENT_NOT]


def test_a_stop_for_another_reason_never_erases() -> None:
    for event in (i.Left(CALLER, "bye"), i.Left(AGENT, "bye"), i.LedgerLost(), i.RecorderFailed(1, "disk")):
        stop = running(ERASING).tell(event)[0]
        assert isinstance(stop, StopRecording)
        assert not stop.erase


def test_a_second_no_erases_again_rather_than_not() -> None:
    call = after(running(ERASING), key(WITHDRAW), i.RecorderStopped(1))
    assert EraseRecording(1) in call.tell(key(WITHDRAW, AGENT))


# -- what cannot be ---------------------------------------------------------------------------------------------------

IMPOSSIBLE: dict[str, tuple[Callable[[], Call], i.Input]] = {
    "started without a permit": (ringing, i.RecorderStarted(1)),
    "started, number nought": (ringing, i.RecorderStarted(0)),
    "stopped, number nought": (ringing, i.RecorderStopped(0)),
    "started before the permit is durable": (awaiting, i.RecorderStarted(1)),
    "started with a permit that was not used": (permitted, i.RecorderStarted(1)),
    "started twice": (running, i.RecorderStarted(1)),
    "started while paused": (paused, i.RecorderStarted(1)),
    "started after it was closed": (idle, i.RecorderStarted(1)),
    "started with another number": (opening, i.RecorderStarted(2)),
    "failed with another number": (running, i.RecorderFailed(2, "disk")),
    "stopped with another number": (running, i.RecorderStopped(2)),
    "stopped the one before": (lambda: second_recording(OPT_OUT), i.RecorderStopped(1)),
    "permit nobody asked for": (ringing, i.PermitAcknowledged(1)),
    "permit from the future": (awaiting, i.PermitAcknowledged(2)),
    "permit number nought": (awaiting, i.PermitAcknowledged(0)),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_recording_that_nobody_permitted_is_an_error(name: str) -> None:
    given, event = IMPOSSIBLE[name]
    call = given()
    before = call.state
    with pytest.raises(InvariantError):
        call.tell(event)
    assert call.state == before


def test_a_recorder_that_starts_after_it_was_given_up_changes_nothing() -> None:
    call = expired(after(opening(), i.Left(AGENT, "bye")), Timer.STOP)
    before = call.state
    assert call.tell(i.RecorderStarted(1), i.RecorderStopped(1)) == []
    assert call.state == before


# -- closed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", RECORDABLE.values(), ids=RECORDABLE)
def test_a_call_is_closed_when_the_caller_is_gone_and_the_recorder_too(policy: Policy) -> None:
    call = running(policy)
    call.tell(i.Left(CALLER, "bye"))
    assert not call.state.closed
    call.tell(i.RecorderStopped(1))
    assert call.state.closed


@pytest.mark.parametrize("policy", RECORDABLE.values(), ids=RECORDABLE)
def test_every_recordable_mode_is_recorded_in_the_end(policy: Policy) -> None:
    call = running(policy)
    assert [e for e in call.all if isinstance(e, Permit | StartRecording)] == [
        Permit(1, BOTH, "all_cleared"),
        StartRecording(1),
    ]


def test_an_agent_who_was_there_first_is_recorded_when_the_caller_is_cleared() -> None:
    call = Call(i.Answered(PATHS), i.Asked(OPT_OUT_NO_WINDOW), i.Joined(AGENT), i.Informed(AGENT, True), STARTED)
    assert Permit(1, BOTH, "all_cleared") in call.tell(COMPLETED)


def test_a_refusal_is_not_blocked_a_fault_is() -> None:
    refused = after(asked(), STARTED, key(REFUSE))
    assert not any(isinstance(e, Blocked) for e in refused.all)
    broken = after(asked(), STARTED, i.NoticeFailed("file"))
    assert Blocked("notice_failed") in broken.all
    never_again = after(broken, i.Joined(AGENT), i.Informed(AGENT, True))
    assert [e for e in never_again.all if isinstance(e, Blocked)] == [Blocked("notice_failed")]


def test_a_party_that_leaves_takes_its_pauses_along() -> None:
    call = after(running(), i.Joined(SECOND), i.Held(SECOND))
    assert call.tell(i.Left(SECOND, "bye")) == [ResumeRecording(1)]
    assert call.state.paused_by == frozenset()


def test_when_all_agents_are_told_of_the_end() -> None:
    """Only those who were told that it is recorded; the caller who withdraws hears it too."""
    call = after(running(OPT_IN), i.Joined(SECOND))
    said = [e for e in call.tell(key(WITHDRAW)) if isinstance(e, Say)]
    assert said == [CALLER_ERASED, AGENT_STOPPED]
    assert cleared().state.standing(CALLER) is Standing.CLEARED
