# SPDX-License-Identifier: GPL-3.0-or-later
"""How the recording follows the standings. It asks the one gate after every input and does what the answer says."""

from collections.abc import Callable
from dataclasses import replace

from ivr.consent.effects import (
    Blocked,
    Effect,
    EraseRecording,
    Message,
    PauseRecording,
    Permit,
    ResumeRecording,
    Say,
    StartRecording,
    StopRecording,
)
from ivr.consent.errors import InvariantError
from ivr.consent.inputs import (
    CALLER,
    Expired,
    Faulted,
    Input,
    LedgerLost,
    PermitAcknowledged,
    RecorderFailed,
    RecorderStarted,
    RecorderStopped,
    Timer,
)
from ivr.consent.permit import Answer, Verdict, may_record
from ivr.consent.policy import OnWithdraw
from ivr.consent.state import Recording, Standing, State

Result = tuple[State, list[Effect]]

_OPEN = frozenset({Recording.OPENING, Recording.RUNNING, Recording.PAUSED})
_ASKING = frozenset({Recording.AWAITING_PERMIT, Recording.PERMITTED})


def follow(before: State, state: State, event: Input) -> Result:
    """The recording's answer to an input whose effect on the standings is already in `state`."""
    told, effects = _told(state, event)
    obeyed, more = _obey(told, may_record(told))
    return obeyed, [*effects, *more, *_erase(before, obeyed), *_announce(before, obeyed)]


def _told(state: State, event: Input) -> Result:
    """What the recorder, the ledger and the timers report."""
    match event:
        case PermitAcknowledged(number):
            return _acknowledged(state, number)
        case RecorderStarted(number) | RecorderFailed(number) | RecorderStopped(number):
            if not 0 < number == state.opened:
                raise InvariantError(
                    f"{type(event).__name__} of recorder {number}, the newest opened is {state.opened}"
                )
            return _recorder(state, event)
        case LedgerLost(reason) if state.recording in _ASKING:
            return _deny(state, reason or "ledger")
        case LedgerLost(reason) if state.recording in _OPEN:
            return _stop_for_good(state, reason or "ledger")
        case Faulted(reason) if state.recording in _OPEN:
            return _stop_for_good(state, reason or "internal")
        case Faulted(reason) if state.recording is Recording.STOPPING:
            return replace(state, reason=state.reason or reason or "internal"), []
        case Faulted(reason) if state.recording is not Recording.DENIED:
            return _deny(state, reason or "internal")
        case Expired(Timer.PERMIT):
            return _deny(state, "ledger")
        case Expired(Timer.START):
            return _stop_for_good(state, "start_timeout")
        case Expired(Timer.STOP):
            return _deny(state, "stop_timeout")
    return state, []


def _acknowledged(state: State, number: int) -> Result:
    """Only the permit that is being waited for counts: one that was dropped or came late opens nothing."""
    if not 0 < number <= state.number:
        raise InvariantError(f"permit {number} was acknowledged, the newest asked for is {state.number}")
    if state.recording is Recording.AWAITING_PERMIT and number == state.number:
        return replace(state, recording=Recording.PERMITTED), []
    return state, []


def _recorder(state: State, event: RecorderStarted | RecorderFailed | RecorderStopped) -> Result:
    """What the recorder of the newest opened permit reports. It may cross with a stop that is on its way."""
    match event:
        case RecorderStarted(number):
            if state.recording is Recording.OPENING:
                return replace(state, recording=Recording.RUNNING), []
            if state.recording not in (Recording.STOPPING, Recording.DENIED):
                raise InvariantError(f"recorder {number} started while {state.recording}")
        case RecorderFailed(_, reason) if state.recording in _OPEN:
            return _stop_for_good(state, reason or "recorder_failed")
        case RecorderStopped() if state.recording is Recording.STOPPING:
            return replace(state, recording=Recording.DENIED if state.final else Recording.IDLE), []
        case RecorderStopped() if state.recording in _OPEN:
            return replace(state, recording=Recording.DENIED, reason="recorder_closed"), []
    return state, []


def _obey(state: State, verdict: Verdict) -> Result:
    return _BY_STATE[state.recording](state, verdict)


def _idle(state: State, verdict: Verdict) -> Result:
    if verdict.answer is Answer.YES:
        number = state.number + 1
        parties = state.present
        asking = replace(state, recording=Recording.AWAITING_PERMIT, number=number, permit_parties=parties)
        return asking, [Permit(number, parties, verdict.reason)]
    if verdict.answer is Answer.NO:
        blocked: list[Effect] = [Blocked(verdict.reason)] if verdict.technical else []
        return replace(state, recording=Recording.DENIED), blocked
    return state, []


def _asking(state: State, verdict: Verdict) -> Result:
    """A permit is on its way or there. It is dropped when the parties it names are no longer those on the line."""
    if verdict.answer is Answer.NO or state.present != state.permit_parties:
        return _idle(replace(state, recording=Recording.IDLE), verdict)
    if verdict.answer is Answer.YES and state.recording is Recording.PERMITTED:
        return replace(state, recording=Recording.OPENING, opened=state.number), [StartRecording(state.number)]
    return state, []


def _open(state: State, verdict: Verdict) -> Result:
    if verdict.answer is Answer.NO:
        return _stop_for_good(state, verdict.reason)
    gone = set(state.permit_parties) - set(state.present)
    if gone:
        return _stop(state, "party_left")
    if verdict.answer is Answer.WAIT:
        if state.recording is Recording.RUNNING:
            pause = PauseRecording(state.number, verdict.reason)
            return replace(state, recording=Recording.PAUSED), [pause]
        if state.recording is Recording.OPENING:
            return _stop(state, verdict.reason)  # it may be keeping samples before it says so
        return state, []
    if state.present != state.permit_parties:
        return _stop(state, "parties_changed")  # a newcomer who is cleared needs a permit that names them
    if state.recording is Recording.PAUSED:
        return replace(state, recording=Recording.RUNNING), [ResumeRecording(state.number)]
    return state, []


def _stopping(state: State, verdict: Verdict) -> Result:
    """A no that comes while a recorder closes is kept: whoever said it may be gone before the recorder is."""
    if verdict.answer is Answer.NO and not state.final:
        return replace(state, reason=verdict.reason), []
    return state, []


def _denied(state: State, _verdict: Verdict) -> Result:
    return state, []


_BY_STATE: dict[Recording, Callable[[State, Verdict], Result]] = {
    Recording.IDLE: _idle,
    Recording.AWAITING_PERMIT: _asking,
    Recording.PERMITTED: _asking,
    Recording.OPENING: _open,
    Recording.RUNNING: _open,
    Recording.PAUSED: _open,
    Recording.STOPPING: _stopping,
    Recording.DENIED: _denied,
}


def _deny(state: State, reason: str) -> Result:
    return replace(state, recording=Recording.DENIED, reason=reason), [Blocked(reason)]


def _stop_for_good(state: State, reason: str) -> Result:
    return _stop(replace(state, reason=reason), reason)


def _stop(state: State, reason: str) -> Result:
    """Without a reason in the state the stop is not final: another permit may follow when the recorder is closed."""
    withdrawn = Standing.WITHDRAWN in dict(state.parties).values()
    erase = withdrawn and _erases(state)
    return replace(state, recording=Recording.STOPPING), [StopRecording(state.number, reason, erase)]


def _erases(state: State) -> bool:
    return state.policy is not None and state.policy.on_withdraw is OnWithdraw.ERASE


def _withdrew(before: State, after: State) -> bool:
    standings = dict(before.parties)
    return any(s is Standing.WITHDRAWN and standings.get(p) is not s for p, s in after.parties)


def _erase(before: State, after: State) -> list[Effect]:
    """A withdrawal that erases reaches every recording of this call, not only the one that is open."""
    if not _withdrew(before, after) or not _erases(after):
        return []
    closed = before.opened - 1 if before.recording in _OPEN else before.opened
    return [EraseRecording(number) for number in range(1, closed + 1)]


def _announce(before: State, after: State) -> list[Effect]:
    """Whoever was told that the call is recorded hears at once when that is no longer so."""
    if after.caller is Standing.LEFT:
        return []
    effects: list[Effect] = []
    ran = before.recording in _OPEN or before.recording is Recording.STOPPING
    withdrew = _withdrew(before, after)
    if withdrew:
        effects.append(Say(CALLER, _farewell(after)))
    if withdrew or (after.final and not before.final):
        message = Message.AGENT_RECORDING_STOPPED if ran else Message.AGENT_NOT_RECORDED
        told = (Standing.CLEARED, Standing.WITHDRAWN)
        effects += [Say(party, message) for party, s in after.parties if party != CALLER and s in told]
    return effects


def _farewell(state: State) -> Message:
    if not state.opened:
        return Message.NOT_RECORDED
    return Message.RECORDING_STOPPED_ERASED if _erases(state) else Message.RECORDING_STOPPED
