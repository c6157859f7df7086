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
    Decided,
    Decision,
    Effect,
    Message,
    Say,
    Settled,
    StopNotice,
    Withdrawn,
)
from ivr.consent.errors import InvariantError
from ivr.consent.inputs import (
    CALLER,
    Answered,
    Asked,
    Expired,
    Faulted,
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
from ivr.consent.permit import expects_recording, is_recording
from ivr.consent.policy import Mode, Policy
from ivr.consent.state import ABSORBING, Standing, State
from ivr.consent.waits import in_time, with_deadlines

__all__ = ["VERSION", "InvariantError", "expects_recording", "is_recording", "step"]

VERSION = 1

T = TypeVar("T")
Result = tuple[State, list[Effect]]
Handler = Callable[[State, str, Input], Result]


def step(state: State, event: Input, now_ms: int) -> tuple[State, tuple[Effect, ...]]:
    """One input in, the next state and what is to be done out.

    Raises InvariantError for an input that cannot be true in this state; the caller of `step` keeps the old state.
    """
    timely = in_time(state, event, now_ms)
    if timely is None:
        return state, ()
    changed, effects = _standings(state, timely)
    changed, more = recording.follow(state, changed, timely)
    return with_deadlines(state, changed, [*effects, *more], now_ms)


def _standings(state: State, event: Input) -> Result:
    """What the input changes in the standings of the parties and in the facts of the call."""
    match event:
        case Answered(key_paths):
            if state.answered or state.caller is Standing.LEFT:
                raise InvariantError("the caller's leg is answered once, and while it is there")
            return replace(state, answered=True, key_paths=key_paths), []
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
        case PermitAcknowledged() | RecorderStarted() | RecorderFailed() | RecorderStopped() | LedgerLost() | Faulted():
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
    standing = state.standing(party)
    if standing is None:
        raise InvariantError(f"{type(event).__name__} of {party}, who never joined")
    if standing is Standing.LEFT:
        return state, []
    if isinstance(event, Resumed):
        return replace(state, paused_by=state.paused_by - {(party, "held")}), []
    if isinstance(event, Held):
        state = replace(state, paused_by=state.paused_by | {(party, "held")})
    elif party == CALLER:
        state = replace(state, key_paths=event.key_paths)
    if party != CALLER:
        return state, []
    if standing in _PLAYING:
        return _uninformed(state, "notice_held" if isinstance(event, Held) else "notice_renegotiated")
    if standing in (Standing.ASKED, Standing.DECIDING) and _policy(state).needs_key_path and not state.key_paths:
        return _uninformed(state, "no_key_path", tell=True)
    return state, []


# -- the caller ------------------------------------------------------------------------------------------------------


def _ignore(state: State, _party: str, _event: Input) -> Result:
    return state, []


def _asked(state: State, _party: str, event: Input) -> Result:
    policy = _of(event, Asked).policy
    if state.policy is not None:
        raise InvariantError("a call is asked once: a second consent step could undo the first")
    state = replace(state, policy=policy)
    if policy.mode is Mode.NEVER:
        return state, [Settled(False)]
    if _overrules(policy, Source.RECORDPREF):
        kept = frozenset(pause for pause in state.paused_by if pause[1] != _PAUSES[Source.RECORDPREF])
        state = replace(state, paused_by=kept)
    if state.objection and not _overrules(policy, state.objection):
        return _refused(state, Decision.REFUSED, state.objection, None)
    if policy.needs_key_path and not state.key_paths:
        # Promise 5. The notice would name a key that cannot be heard, so it is not even begun.
        return _uninformed(state, "no_key_path", tell=True)
    return state.with_standing(CALLER, Standing.ASKED), []


def _started(state: State, _party: str, event: Input) -> Result:
    samples = _of(event, NoticeStarted).samples
    if not state.answered:
        return _uninformed(state, "notice_unanswered")
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
    if early:
        return _granted(state, state.early_source or Source.DTMF, policy.accept_key)
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
    decided = Decided(CALLER, decision, source, key)
    effects = [*_hush(state), decided, Say(CALLER, Message.NOT_RECORDED), Settled(False)]
    return state.with_standing(CALLER, Standing.REFUSED), effects


def _uninformed(state: State, reason: str, playing: bool = True, tell: bool = False) -> Result:
    effects = _hush(state) if playing else []
    if tell:
        effects.append(Say(CALLER, Message.NOT_RECORDED))
    changed = replace(state, reason=reason).with_standing(CALLER, Standing.UNINFORMED)
    return changed, [*effects, Settled(False)]


def _hush(state: State) -> list[Effect]:
    """While ASKED too: the notice may be on its way to the leg, and would say what is no longer true."""
    return [StopNotice()] if state.caller in (Standing.ASKED, *_PLAYING) else []


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
    if key.key in (policy.refuse_key, policy.withdraw_key):
        return _refused(state, Decision.REFUSED, key.source, key.key)
    if key.key == policy.accept_key and state.caller is Standing.LISTENING:
        return replace(state, early_source=key.source).with_standing(CALLER, Standing.ACCEPTED_EARLY), []
    if key.key != policy.accept_key and state.caller is Standing.ACCEPTED_EARLY:
        # Yes and then something else is not unambiguous (GDPR Art. 4(11)): the answer is waited for again.
        return replace(state, early_source=None).with_standing(CALLER, Standing.LISTENING), []
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
    if state.policy and _overrules(state.policy, said.source):
        return state, []
    if said.preference is not Preference.OFF:
        pause = (party, _PAUSES[said.source])  # what an operator paused, a re-INVITE does not resume
        wants = said.preference is Preference.PAUSE
        return replace(state, paused_by=state.paused_by | {pause} if wants else state.paused_by - {pause}), []
    standing = state.standing(party)
    if standing is Standing.CLEARED:
        return _withdrawn(state, party, said.source, None)
    if party == CALLER and standing is Standing.UNASKED:
        stronger = Source.OPERATOR if state.objection is Source.OPERATOR else said.source
        return replace(state, objection=stronger), []
    if party == CALLER:
        return _refused(state, Decision.REFUSED, said.source, None)
    changed = state.with_standing(party, Standing.REFUSED)
    return changed, [Decided(party, Decision.REFUSED, said.source)]


def _overrules(policy: Policy, source: Source) -> bool:
    """A legal obligation without an unrecorded way: a phone's preference does not switch it off."""
    return policy.mode is Mode.REQUIRED and policy.refuse_key is None and source is Source.RECORDPREF


def _left(state: State, party: str, _event: Input) -> Result:
    return state.with_standing(party, Standing.LEFT), _hush(state) if party == CALLER else []


def _expired(state: State, _party: str, event: Input) -> Result:
    if _of(event, Expired).timer is Timer.WINDOW:
        return _silence(state)
    return _uninformed(state, "notice_timeout")


# -- other parties ---------------------------------------------------------------------------------------------------


def _informed(state: State, party: str, event: Input) -> Result:
    if not _of(event, Informed).recorded:
        return state, []  # told that it is not recorded: never cleared by that
    if (party, "held") in state.paused_by:
        return _not_informed(state, party, event)  # nobody listens on a held leg
    return state.with_standing(party, Standing.CLEARED), []


def _not_informed(state: State, party: str, _event: Input) -> Result:
    return state.with_standing(party, Standing.UNINFORMED), []


def _key_while_joining(state: State, party: str, event: Input) -> Result:
    """A no while the party hears that the call is recorded. At any other time the key may mean something else."""
    key = _of(event, Key)
    if not expects_recording(state) or key.key not in (_policy(state).refuse_key, _policy(state).withdraw_key):
        return state, []
    changed = state.with_standing(party, Standing.REFUSED)
    return changed, [
        Decided(party, Decision.REFUSED, key.source, key.key),
        Say(party, Message.AGENT_NOT_RECORDED),
    ]


# -- the table -------------------------------------------------------------------------------------------------------

_NOTICE_ENDS = (NoticeCompleted, NoticeInterrupted, NoticeFailed)
_PLAYING = (Standing.LISTENING, Standing.ACCEPTED_EARLY)
_PAUSES = {source: "preference" if source is Source.RECORDPREF else source.value for source in Source}


def _rows(
    standings: Iterable[Standing], events: Iterable[type[Input]], handler: Handler
) -> dict[tuple[Standing, type[Input]], Handler]:
    return {(standing, event): handler for standing in standings for event in events}


CALLER_TABLE: dict[tuple[Standing, type[Input]], Handler] = {
    **_rows([Standing.UNASKED], [Asked], _asked),
    **_rows([Standing.ASKED], [NoticeStarted], _started),
    **_rows([Standing.ASKED, *_PLAYING], [NoticeInterrupted, NoticeFailed], _broken),
    **_rows(_PLAYING, [NoticeCompleted], _completed),
    # A notice that was stopped by a decision still reports how it ended; by then it means nothing.
    **_rows([*ABSORBING, Standing.CLEARED, Standing.DECIDING], _NOTICE_ENDS, _ignore),
    **_rows(ABSORBING, [NoticeStarted], _ignore),
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
    **_rows([Standing.UNASKED], [Key], _key_while_joining),
    **_rows([Standing.CLEARED], [Key], _key_while_cleared),
    **_rows(ABSORBING, [Key], _ignore),
    **_rows([Standing.UNASKED, Standing.CLEARED], [Preferred], _preferred),
    **_rows(ABSORBING, [Preferred], _ignore),
    **_rows(set(Standing) - {Standing.LEFT}, [Left], _left),
    **_rows([Standing.LEFT], [Left], _ignore),
}


def _policy(state: State) -> Policy:
    if state.policy is None:
        raise InvariantError("no consent step was reached, yet one is being decided")
    return state.policy


def _of(event: Input, kind: type[T]) -> T:
    if not isinstance(event, kind):
        raise InvariantError(f"{type(event).__name__} was sent where {kind.__name__} belongs")
    return event
