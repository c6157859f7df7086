# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machine did before, remembered: most calls of a log are told the same things in the same order.

Why it may be used in place of the machine. `step` is pure: its result follows from state, input and `now`. Of the time,
a step only asks which of its waits are due, and sets new due times at a length from `now`. So what it does follows from
the state less its due times (a Point), the input (its key, inputkey.py) and the timers that are due; the due times
stand beside, in the call. What a step does with them is learnt from its Arm effects and checked against the state that
it returned: a machine that keeps time in another way is never remembered, and so replayed step by step.

Only what a machine did is remembered, never what it refused. The memory is bounded: when full it begins anew.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace

from ivr.consent.effects import (
    Arm,
    Blocked,
    Decided,
    Effect,
    PauseRecording,
    Permit,
    ResumeRecording,
    StartRecording,
    StopRecording,
    Withdrawn,
)
from ivr.consent.inputs import Input, Timer
from ivr.consent.machines import Machine
from ivr.consent.record import Data, decision_event
from ivr.consent.state import State

LIMIT = 16_384
"""Steps remembered. A log of a few flows has some hundreds of them; one step takes about 2 kB."""
NEVER = 2**63
"""Later than any `at_ms`."""

Deadlines = tuple[tuple[Timer, int], ...]


class Point:
    """A state whose due times are 0. Compared by identity: equal states are one Point until the memory begins anew."""

    __slots__ = ("state",)

    def __init__(self, state: State) -> None:
        self.state = state


@dataclass(frozen=True, slots=True)
class Step:
    """What one input led to. `timers`: what is waited for after it, by its length, or None for as long as before."""

    point: Point
    decisions: tuple[tuple[str, Data], ...]
    keeping: tuple[Effect, ...]
    timers: tuple[tuple[Timer, int | None], ...]
    armed: tuple[Timer, int] | None
    """The timer and its length when it is all that is waited for, and was armed by this step."""
    same_timers: bool

    def deadlines(self, before: Deadlines, now: int) -> Deadlines:
        """The due times after a step that was made at `now`."""
        if self.armed:  # the usual case: one wait has ended and another begins
            return ((self.armed[0], now + self.armed[1]),)
        if not self.timers:
            return ()
        old = dict(before)
        return tuple(
            (timer, old.get(timer, NEVER) if length is None else now + length) for timer, length in self.timers
        )


class Memo:
    """The steps of one machine. With a limit of 0 nothing is remembered: the machine makes every step."""

    def __init__(self, machine: Machine, limit: int = LIMIT) -> None:
        self._machine = machine
        self._limit = limit
        self._points: dict[State, Point] = {}
        self.steps: dict[Hashable, Step] = {}
        """By (point, key), or (point, key, timers that are due) when any is."""
        state = machine.initial()
        self._beginning = self._point(state), state.deadlines

    def beginning(self) -> tuple[Point, Deadlines]:
        """Where a call begins."""
        return self._beginning

    def make(self, at: Point, due: Deadlines, told: Input, now: int, place: Hashable | None) -> tuple[Step, Deadlines]:
        """The machine's own step and the due times after it, remembered at `place` unless that is None.

        Raises InvariantError as the machine does.
        """
        state, effects = self._machine.step(replace(at.state, deadlines=due), told, now)
        if max(len(self.steps), len(self._points)) >= self._limit:
            self._points.clear()
            self.steps.clear()
        step = self._learnt(state, effects, due, now)
        if place is not None and self._limit and step.deadlines(due, now) == state.deadlines:
            self.steps[place] = step
        return step, state.deadlines

    def _learnt(self, state: State, effects: Iterable[Effect], before: Deadlines, now: int) -> Step:
        effects = tuple(effects)
        armed = {effect.timer: effect.due_ms - now for effect in effects if isinstance(effect, Arm)}
        timers = tuple((timer, armed.get(timer)) for timer, _ in state.deadlines)
        said = tuple(e for e in effects if isinstance(e, Decided | Withdrawn | Permit | Blocked))
        return Step(
            self._point(state),
            tuple(decision_event(decision, state.policy) for decision in said),
            tuple(
                e for e in effects if isinstance(e, StartRecording | ResumeRecording | PauseRecording | StopRecording)
            ),
            timers,
            _only(timers),
            not armed and tuple(timer for timer, _ in before) == tuple(timer for timer, _ in timers),
        )

    def _point(self, state: State) -> Point:
        bare = replace(state, deadlines=tuple((timer, 0) for timer, _ in state.deadlines))
        return self._points.setdefault(bare, Point(bare))


def _only(timers: tuple[tuple[Timer, int | None], ...]) -> tuple[Timer, int] | None:
    if len(timers) != 1 or timers[0][1] is None:
        return None
    return timers[0][0], timers[0][1]


def due_at(deadlines: Deadlines, now: int) -> tuple[Timer, ...]:
    """The timers that are due."""
    return tuple(timer for timer, due in deadlines if due <= now)
