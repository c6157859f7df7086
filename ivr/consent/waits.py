# SPDX-License-Identifier: GPL-3.0-or-later
"""Every wait ends: the timers are derived from the state, so that no way into a waiting state can forget one."""

from dataclasses import replace

from ivr.consent.effects import Arm, Disarm, Effect
from ivr.consent.errors import InvariantError
from ivr.consent.inputs import Expired, Input, PermitAcknowledged, Timer
from ivr.consent.state import PARTY_WAITS, RECORDING_WAITS, STOP_TIMEOUT_MS, State


def in_time(state: State, event: Input, now_ms: int) -> Input | None:
    """The event as time sees it: None for an expiry nobody waits for (yet), an expiry for a permit that came late."""
    match event:
        case Expired(timer):
            return event if _is_due(state, timer, now_ms) else None
        case PermitAcknowledged(number) if number == state.number and _is_due(state, Timer.PERMIT, now_ms):
            # Whether the timer or the acknowledgement is seen first must not decide whether a call is recorded.
            return Expired(Timer.PERMIT)
    return event


def with_deadlines(before: State, after: State, effects: list[Effect], now_ms: int) -> tuple[State, tuple[Effect, ...]]:
    """Arms the timer of every wait that was entered and disarms those that ended."""
    if not before.deadlines and after.caller not in PARTY_WAITS and after.recording not in RECORDING_WAITS:
        return after, tuple(effects)  # nothing is waited for: most of a call, and most of what replay does
    old = dict(before.deadlines)
    if before.number != after.number:
        old.pop(Timer.PERMIT, None)  # another permit is waited for: it has the whole time
    wanted = {PARTY_WAITS[after.caller]} if after.caller in PARTY_WAITS else set()
    if after.recording in RECORDING_WAITS:
        wanted.add(RECORDING_WAITS[after.recording])
    new = {timer: old[timer] if timer in old else now_ms + _length(after, timer) for timer in sorted(wanted)}
    effects += [Disarm(timer) for timer, _ in before.deadlines if timer not in new]
    effects += [Arm(timer, due) for timer, due in new.items() if timer not in old]
    deadlines = tuple(new.items())
    return after if deadlines == after.deadlines else replace(after, deadlines=deadlines), tuple(effects)


def _is_due(state: State, timer: Timer, now_ms: int) -> bool:
    due = state.due(timer)
    return due is not None and due <= now_ms


def _length(state: State, timer: Timer) -> int:
    policy = state.policy
    if policy is None:
        raise InvariantError(f"the machine waits for {timer} before any consent step")
    return {
        Timer.NOTICE: policy.notice_timeout_ms,
        Timer.WINDOW: policy.window_ms,
        Timer.PERMIT: policy.permit_timeout_ms,
        Timer.START: policy.start_timeout_ms,
        Timer.STOP: STOP_TIMEOUT_MS,
    }[timer]
