# SPDX-License-Identifier: GPL-3.0-or-later
"""The consent machine: `step(state, input, now_ms) -> (state, effects)`. Pure, guarded, replayable.

A party's standing changes only through TABLE below; a pair that is not listed is an InvariantError, never a silent
assignment. The recording follows from the standings through the one gate (permit.py), in recording.py. A change of
behaviour is a new VERSION; the log says which version decided a call.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from ivr.consent import recording
from ivr.consent.effects import (
    Arm,
    Decided,
    Decision,
    Disarm,
    Effect,
    Message,
    Say,
    Settled,
    StopNotice,
    Withdrawn,
)
from ivr.consent.inputs import (
    CALLER,
    Answered,
    Asked,
    Expired,
    Held,
    Informed,
    Input,
    Joined,
    Key,
    LedgerLost,
    Left,
    NoticeCompleted,
    NoticeFailed,
    NoticeInterrupted,
    NoticeStarted,
    NotInformed,
    PermitAcknowledged,
    Preference,
    Preferred,
    RecorderFailed,
    RecorderStarted,
    RecorderStopped,
    Renegotiated,
    Resumed,
    Source,
    Timer,
)
from ivr.consent.policy import Mode, Policy
from ivr.consent.state import ABSORBING, PARTY_WAITS, RECORDING_WAITS, STOP_TIMEOUT_MS, Recording, Standing, State

VERSION = 1

T = TypeVar("T")
Result = tuple[State, list[Effect]]
Handler = Callable[[State, str, Input], Result]


class InvariantError(Exception):
    """The machine was told something that cannot happen in this state. The call goes on unrecorded."""


def step(state: State, event: Input, now_ms: int) -> tuple[State, tuple[Effect, ...]]:
    """One input in, the next state and what is to be done out.

    Raises InvariantError for an input that cannot be true in this state; the caller of `step` keeps the old state.
    """
    if isinstance(event, Expired) and not _is_due(state, event.timer, now_ms):
        return state, ()
    changed, effects = _standings(state, event)
    changed, more = recording.follow(state, changed, event)
    return _with_deadlines(state, changed, [*effects, *more], now_ms)


def _is_due(state: State, timer: Timer, now_ms: int) -> bool:
    due = state.due(timer)
    return due is not None and due <= now_ms


def _standings(state: State, event: Input) -> Result:
    """What the input changes in the standings of the parties and in the facts of the call."""
    match event:
        case Answered(key_paths):
            return replace(state, key_paths=key_paths), []
        case Joined(party):
            if state.standing(party) is not None:
                raise InvariantError(f"{party} joined twice: every leg is a party of its own")
            return state.with_standing(party, Standing.UNASKED), []
        case Held(party) | Resumed(party) | Renegotiated(party):
            return _media(state, party, event)
        case Left(party):
            pauses = frozenset(pause for pause in state.paused_by if pause[0] != party)
            return _dispatch(replace(state, paused_by=pauses), party, event)
        case Informed(party) | NotInformed(party) | Key(party) | Preferred(party):
            return _dispatch(state, party, event)
        case PermitAcknowledged() | RecorderStarted() | RecorderFailed() | RecorderStopped() | LedgerLost():
            return state, []
        case Expired(Timer.PERMIT | Timer.START | Timer.STOP):
            return state, []
        case _:
            return _dispatch(state, CALLER, event)


def _dispatch(state: State, party: str, event: Input) -> Result:
    standing = state.standing(party)
    if standing is None:
        raise InvariantError(f"{type(event).__name__} of {party}, who never joined")
    table = CALLER_TABLE if party == CALLER else OTHER_TABLE
    handler = table.get((standing, type(event)))
    if handler is None:
        raise InvariantError(f"{type(event).__name__} of {party} cannot happen while {standing}")
    return handler(state, party, event)


def _media(state: State, party: str, event: Held | Resumed | Renegotiated) -> Result:
    """Hold and re-INVITE: a pause for a recording, the end of a notice that is playing on that leg."""
    if state.standing(party) in (None, Standing.LEFT):
        return state, []
    if isinstance(event, Held):
        state = replace(state, paused_by=state.paused_by | {(party, "held")})
    elif isinstance(event, Resumed):
        return replace(state, paused_by=state.paused_by - {(party, "held")}), []
    elif party == CALLER:
        state = replace(state, key_paths=event.key_paths)
    if party == CALLER and state.caller in (Standing.LISTENING, Standing.ACCEPTED_EARLY):
        return _uninformed(state, "notice_held" if isinstance(event, Held) else "notice_renegotiated")
    return state, []


# -- the caller ------------------------------------------------------------------------------------------------------


def _ignore(state: State, _party: str, _event: Input) -> Result:
    return state, []


def _asked(state: State, _party: str, event: Input) -> Result:
    policy = _of(event, Asked).policy
    state = replace(state, policy=policy)
    if policy.mode is Mode.NEVER:
        return state, [Settled(False)]
    if policy.needs_key_path and not state.key_paths:
        # Promise 5. The notice would name a key that cannot be heard, so it is not even begun.
        changed, effects = _uninformed(state, "no_key_path", playing=False)
        return changed, [Say(CALLER, Message.NOT_RECORDED), *effects]
    return state.with_standing(CALLER, Standing.ASKED), []


def _asked_after_refusal(state: State, _party: str, event: Input) -> Result:
    return replace(state, policy=_of(event, Asked).policy), [Say(CALLER, Message.NOT_RECORDED), Settled(False)]


def _started(state: State, _party: str, event: Input) -> Result:
    samples = _of(event, NoticeStarted).samples
    if samples <= 0:
        return _uninformed(state, "notice_empty")
    if (CALLER, "held") in state.paused_by:
        return _uninformed(state, "notice_held")
    return replace(state, notice_total=samples).with_standing(CALLER, Standing.LISTENING), []


def _completed(state: State, _party: str, event: Input) -> Result:
    sent = _of(event, NoticeCompleted)
    if sent.samples_total != state.notice_total or sent.samples_sent < state.notice_total:
        return _uninformed(state, "notice_short", playing=False)
    early = state.caller is Standing.ACCEPTED_EARLY
    state = replace(state, notice_sent=sent.samples_sent)
    policy = _policy(state)
    if policy.mode is Mode.OPT_IN:
        if early:
            return _granted(state, state.early_source or Source.DTMF, policy.accept_key)
        return state.with_standing(CALLER, Standing.DECIDING), []
    if policy.window_ms:
        return state.with_standing(CALLER, Standing.DECIDING), []
    return _silence(state)


def _silence(state: State) -> Result:
    """What it means that the caller said nothing, by mode."""
    policy = _policy(state)
    if policy.mode is Mode.OPT_IN:
        return _refused(state, Decision.NOT_GIVEN, Source.SILENCE, None)
    decision, source = (
        (Decision.INFORMED, Source.NOTICE) if policy.mode is Mode.REQUIRED else (Decision.NOT_OBJECTED, Source.SILENCE)
    )
    cleared = state.with_standing(CALLER, Standing.CLEARED)
    return cleared, [Decided(CALLER, decision, source), Settled(True)]


def _granted(state: State, source: Source, key: str | None) -> Result:
    cleared = state.with_standing(CALLER, Standing.CLEARED)
    decided = Decided(CALLER, Decision.GRANTED, source, key)
    return cleared, [decided, Say(CALLER, Message.RECORDED_THANKS), Settled(True)]


def _refused(state: State, decision: Decision, source: Source, key: str | None) -> Result:
    effects: list[Effect] = []
    if state.caller in (Standing.LISTENING, Standing.ACCEPTED_EARLY):
        effects.append(StopNotice())
    effects += [Decided(CALLER, decision, source, key)]
    if state.caller is not Standing.UNASKED:
        effects += [Say(CALLER, Message.NOT_RECORDED), Settled(False)]
    return state.with_standing(CALLER, Standing.REFUSED), effects


def _uninformed(state: State, reason: str, playing: bool = True) -> Result:
    effects: list[Effect] = []
    if playing and state.caller in (Standing.LISTENING, Standing.ACCEPTED_EARLY):
        effects.append(StopNotice())
    changed = replace(state, reason=reason).with_standing(CALLER, Standing.UNINFORMED)
    return changed, [*effects, Settled(False)]


def _broken(state: State, _party: str, event: Input) -> Result:
    """The notice failed or stopped. A caller who hung up is not a technical fault."""
    if isinstance(event, NoticeInterrupted):
        reason = "hangup" if event.reason == "hangup" else "notice_interrupted"
    else:
        reason = "notice_failed"
    return _uninformed(state, reason, playing=False)


def _key_while_asked(state: State, _party: str, event: Input) -> Result:
    """A key while the notice is about to play or plays: the refuse key decides at once, the accept key is kept."""
    key = _of(event, Key)
    policy = _policy(state)
    if key.key == policy.refuse_key or (policy.mode is Mode.OPT_IN and key.key == policy.withdraw_key):
        return _refused(state, Decision.REFUSED, key.source, key.key)
    if key.key == policy.accept_key and state.caller is Standing.LISTENING:
        return replace(state, early_source=key.source).with_standing(CALLER, Standing.ACCEPTED_EARLY), []
    return state, []


def _key_while_deciding(state: State, _party: str, event: Input) -> Result:
    key = _of(event, Key)
    policy = _policy(state)
    if key.key == policy.accept_key:
        return _granted(state, key.source, key.key)
    if key.key in (policy.refuse_key, policy.withdraw_key):
        return _refused(state, Decision.REFUSED, key.source, key.key)
    if policy.mode is Mode.OPT_IN:
        return _refused(state, Decision.NOT_GIVEN, key.source, key.key)
    return state, []


def _key_while_cleared(state: State, party: str, event: Input) -> Result:
    key = _of(event, Key)
    policy = state.policy
    if policy is None or key.key not in (policy.withdraw_key, policy.refuse_key):
        return state, []
    return _withdrawn(state, party, key.source, key.key)


def _withdrawn(state: State, party: str, source: Source, key: str | None) -> Result:
    return state.with_standing(party, Standing.WITHDRAWN), [Withdrawn(party, source, key)]


def _preferred(state: State, party: str, event: Input) -> Result:
    """RFC 7866: `off` is a refusal or withdrawal, `pause` a pause, `on` by itself never consent."""
    said = _of(event, Preferred)
    pause = (party, "preference")
    if said.preference is not Preference.OFF:
        wants = said.preference is Preference.PAUSE
        return replace(state, paused_by=state.paused_by | {pause} if wants else state.paused_by - {pause}), []
    policy = state.policy
    if policy and policy.mode is Mode.REQUIRED and policy.refuse_key is None and said.source is Source.RECORDPREF:
        return state, []  # a legal obligation without an unrecorded way: the caller may leave, not switch it off
    if state.standing(party) is Standing.CLEARED:
        return _withdrawn(state, party, said.source, None)
    if party == CALLER:
        return _refused(state, Decision.REFUSED, said.source, None)
    changed = state.with_standing(party, Standing.REFUSED)
    return changed, [Decided(party, Decision.REFUSED, said.source)]


def _left(state: State, party: str, _event: Input) -> Result:
    effects: list[Effect] = []
    if party == CALLER and state.caller in (Standing.LISTENING, Standing.ACCEPTED_EARLY):
        effects.append(StopNotice())
    return state.with_standing(party, Standing.LEFT), effects


def _expired(state: State, _party: str, event: Input) -> Result:
    if _of(event, Expired).timer is Timer.WINDOW:
        return _silence(state)
    return _uninformed(state, "notice_timeout")


# -- other parties ---------------------------------------------------------------------------------------------------


def _informed(state: State, party: str, event: Input) -> Result:
    if not _of(event, Informed).recorded:
        return state, []  # told that it is not recorded: never cleared by that
    return state.with_standing(party, Standing.CLEARED), []


def _not_informed(state: State, party: str, _event: Input) -> Result:
    return state.with_standing(party, Standing.UNINFORMED), []


# -- the table -------------------------------------------------------------------------------------------------------

_NOTICE_ENDS = (NoticeCompleted, NoticeInterrupted, NoticeFailed)
_PLAYING = (Standing.LISTENING, Standing.ACCEPTED_EARLY)


def _rows(
    standings: Iterable[Standing], events: Iterable[type[Input]], handler: Handler
) -> dict[tuple[Standing, type[Input]], Handler]:
    return {(standing, event): handler for standing in standings for event in events}


CALLER_TABLE: dict[tuple[Standing, type[Input]], Handler] = {
    **_rows([Standing.UNASKED], [Asked], _asked),
    **_rows([Standing.REFUSED], [Asked], _asked_after_refusal),
    **_rows([Standing.ASKED], [NoticeStarted], _started),
    **_rows([Standing.ASKED, *_PLAYING], [NoticeInterrupted, NoticeFailed], _broken),
    **_rows(_PLAYING, [NoticeCompleted], _completed),
    # A notice that was stopped by a decision still reports how it ended; by then it means nothing.
    **_rows([*ABSORBING, Standing.CLEARED, Standing.DECIDING], _NOTICE_ENDS, _ignore),
    **_rows(ABSORBING - {Standing.REFUSED}, [NoticeStarted], _ignore),
    **_rows([Standing.REFUSED], [NoticeStarted], _ignore),
    **_rows([Standing.ASKED, *_PLAYING], [Key], _key_while_asked),
    **_rows([Standing.DECIDING], [Key], _key_while_deciding),
    **_rows([Standing.CLEARED], [Key], _key_while_cleared),
    **_rows([Standing.UNASKED, *ABSORBING], [Key], _ignore),
    **_rows(set(Standing) - ABSORBING, [Preferred], _preferred),
    **_rows(ABSORBING, [Preferred], _ignore),
    **_rows([Standing.ASKED, *_PLAYING, Standing.DECIDING], [Expired], _expired),
    **_rows(set(Standing) - {Standing.LEFT}, [Left], _left),
    **_rows([Standing.LEFT], [Left], _ignore),
}

OTHER_TABLE: dict[tuple[Standing, type[Input]], Handler] = {
    **_rows([Standing.UNASKED], [Informed], _informed),
    **_rows([Standing.UNASKED], [NotInformed], _not_informed),
    **_rows(ABSORBING, [Informed, NotInformed], _ignore),
    **_rows([Standing.CLEARED], [Key], _key_while_cleared),
    **_rows([Standing.UNASKED, *ABSORBING], [Key], _ignore),
    **_rows([Standing.UNASKED, Standing.CLEARED], [Preferred], _preferred),
    **_rows(ABSORBING, [Preferred], _ignore),
    **_rows(set(Standing) - {Standing.LEFT}, [Left], _left),
    **_rows([Standing.LEFT], [Left], _ignore),
}


# -- waits -----------------------------------------------------------------------------------------------------------


def _with_deadlines(
    before: State, after: State, effects: list[Effect], now_ms: int
) -> tuple[State, tuple[Effect, ...]]:
    """Arms the timer of every wait that was entered and disarms those that ended. Derived, so none is forgotten."""
    old = dict(before.deadlines)
    wanted = {PARTY_WAITS[after.caller]} if after.caller in PARTY_WAITS else set()
    if after.recording in RECORDING_WAITS:
        wanted.add(RECORDING_WAITS[after.recording])
    new = {timer: old[timer] if timer in old else now_ms + _length(after, timer) for timer in sorted(wanted)}
    effects += [Disarm(timer) for timer in old if timer not in new]
    effects += [Arm(timer, due) for timer, due in new.items() if timer not in old]
    return replace(after, deadlines=tuple(new.items())), tuple(effects)


def _length(state: State, timer: Timer) -> int:
    policy = _policy(state)
    return {
        Timer.NOTICE: policy.notice_timeout_ms,
        Timer.WINDOW: policy.window_ms,
        Timer.PERMIT: policy.permit_timeout_ms,
        Timer.START: policy.start_timeout_ms,
        Timer.STOP: STOP_TIMEOUT_MS,
    }[timer]


def _policy(state: State) -> Policy:
    if state.policy is None:
        raise InvariantError("no consent step was reached, yet one is being decided")
    return state.policy


def _of(event: Input, kind: type[T]) -> T:
    if not isinstance(event, kind):
        raise InvariantError(f"{type(event).__name__} was sent where {kind.__name__} belongs")
    return event


def is_recording(state: State) -> bool:
    """Whether samples may be being kept right now, for operators and for the agent's announcement."""
    return state.recording in (Recording.RUNNING, Recording.PAUSED, Recording.OPENING)


def expects_recording(state: State) -> bool:
    """Whether the next party to join has to be told that the call is recorded."""
    return (
        state.policy is not None
        and state.policy.mode is not Mode.NEVER
        and state.caller is Standing.CLEARED
        and state.recording is not Recording.DENIED
    )
